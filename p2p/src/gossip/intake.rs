//! How much gossip is taken of each peer. It is asked before gossipsub sees a message: what is refused here is not cached, and its id
//! is not noted, so whoever else has the message can still bring it.
//!
//! A peer that goes on after many refusals is expelled for a while. Time is an argument; nothing here knows libp2p.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::bucket::TokenBucket;
use crate::config::Limits;

/// Refusals that a peer may collect in a burst, and per second, before it is expelled: as many as for requests.
const STRIKES: (u32, u32) = (2000, 20);
/// What a message costs that is over the rate: honest nodes may be so for a moment.
const OVER_RATE: u32 = 1;
/// What one costs of a topic that this node has not subscribed. Only such are honest that cross our leaving a topic.
const UNSOLICITED: u32 = 8;
/// What is known of a peer is kept so long after it was last heard, so that reconnecting does not fill its buckets.
const KEPT: Duration = Duration::from_secs(60);
/// Peers that are not connected and of which something is known.
const MAX_KEPT: usize = 4096;

/// Why a message is not taken: the label under which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody here has subscribed its topic.
    Unsolicited,
    /// Only validators may bring it, and the peer is none. It costs nothing: one of the two may be behind, and not know who these are.
    Outsider,
    /// The peer sends too much.
    Rate,
    /// It is expelled.
    Expelled,
}

impl Refusal {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Unsolicited => "unsolicited",
            Self::Outsider => "not-a-validator",
            Self::Rate => "rate",
            Self::Expelled => "expelled",
        }
    }
}

/// Whether this node wants messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Subscribed,
    /// It does, but not of this peer.
    OfValidators,
    None,
}

/// What is known of one peer.
struct Conduct {
    messages: TokenBucket,
    bytes: TokenBucket,
    strikes: TokenBucket,
    expelled_until: Option<Instant>,
    /// `None` while it is connected.
    left: Option<Instant>,
}

impl Conduct {
    fn is_expelled(&self, now: Instant) -> bool {
        self.expelled_until.is_some_and(|until| now < until)
    }

    /// Whether forgetting it would change anything.
    fn matters(&self, now: Instant) -> bool {
        self.is_expelled(now) || self.left.is_none_or(|left| now.saturating_duration_since(left) < KEPT)
    }
}

/// All peers.
pub(crate) struct Intake<P> {
    messages: (u32, u32),
    bytes: (u32, u32),
    /// How long an expulsion lasts.
    expulsion: Duration,
    peers: HashMap<P, Conduct>,
}

impl<P: Copy + Eq + Hash> Intake<P> {
    pub(crate) fn new(limits: &Limits, expulsion: Duration) -> Self {
        Self {
            messages: (limits.gossip_burst, limits.gossip_per_second),
            bytes: (limits.gossip_bytes_burst, limits.gossip_bytes_per_second),
            expulsion,
            peers: HashMap::new(),
        }
    }

    /// Whether a message of so many bytes is taken.
    pub(crate) fn take(&mut self, peer: P, interest: Interest, bytes: usize, now: Instant) -> Result<(), Refusal> {
        let expulsion = self.expulsion;
        let conduct = self.conduct(peer, now);
        if conduct.is_expelled(now) {
            return Err(Refusal::Expelled);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Both buckets are charged, whatever the other says.
        let within = [conduct.messages.take(now), conduct.bytes.take_many(bytes, now)];
        let (refusal, strikes) = match (interest, within) {
            (Interest::Subscribed, [true, true]) => return Ok(()),
            (Interest::Subscribed, _) => (Refusal::Rate, OVER_RATE),
            (Interest::OfValidators, [true, true]) => (Refusal::Outsider, 0),
            (Interest::OfValidators, _) => (Refusal::Outsider, OVER_RATE),
            (Interest::None, _) => (Refusal::Unsolicited, UNSOLICITED),
        };
        if !conduct.strikes.take_many(strikes, now) {
            conduct.expelled_until = Some(now + expulsion);
        }
        Err(refusal)
    }

    /// Whether the peer is expelled.
    pub(crate) fn is_expelled(&self, peer: &P, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|conduct| conduct.is_expelled(now))
    }

    pub(crate) fn connected(&mut self, peer: P, now: Instant) {
        self.conduct(peer, now).left = None;
    }

    pub(crate) fn disconnected(&mut self, peer: &P, now: Instant) {
        if let Some(conduct) = self.peers.get_mut(peer) {
            conduct.left = Some(now);
        }
        self.peers.retain(|_, conduct| conduct.matters(now));
        if self.peers.values().filter(|conduct| conduct.left.is_some()).count() > MAX_KEPT {
            self.peers.retain(|_, conduct| conduct.left.is_none());
        }
    }

    fn conduct(&mut self, peer: P, now: Instant) -> &mut Conduct {
        self.peers.entry(peer).or_insert_with(|| Conduct {
            messages: TokenBucket::new(self.messages.0, self.messages.1, now),
            bytes: TokenBucket::new(self.bytes.0, self.bytes.1, now),
            strikes: TokenBucket::new(STRIKES.0, STRIKES.1, now),
            expelled_until: None,
            left: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPULSION: Duration = Duration::from_secs(10);

    fn intake() -> Intake<u32> {
        let limits = Limits {
            gossip_burst: 50,
            gossip_per_second: 1,
            gossip_bytes_burst: 1 << 20,
            gossip_bytes_per_second: 1 << 10,
            ..Limits::default()
        };
        Intake::new(&limits, EXPULSION)
    }

    #[test]
    fn messages_and_bytes_are_limited_for_each_peer_alone() {
        let (mut intake, now) = (intake(), Instant::now());
        let taken = (0..100).filter(|_| intake.take(1, Interest::Subscribed, 10, now).is_ok()).count();
        assert_eq!(taken, 50);
        let taken = (0..10).filter(|_| intake.take(2, Interest::Subscribed, 500 << 10, now).is_ok()).count();
        assert_eq!(taken, 2);
        assert_eq!(
            intake.take(2, Interest::Subscribed, 10, now),
            Ok(()),
            "what is too long for the rest takes none of it"
        );
        assert_eq!(intake.take(3, Interest::Subscribed, 10, now), Ok(()));
    }

    #[test]
    fn what_nobody_has_asked_for_soon_expels() {
        let (mut intake, now) = (intake(), Instant::now());
        let refused =
            (0..1000).take_while(|_| intake.take(1, Interest::None, 10, now) == Err(Refusal::Unsolicited)).count();
        assert_eq!(refused, 251, "a burst of 250, and the one that was too many");
        let refused =
            (0..9000).take_while(|_| intake.take(3, Interest::OfValidators, 10, now) == Err(Refusal::Outsider));
        assert_eq!(refused.count(), 50 + 2001, "what is within the rate costs nothing");
        assert!(intake.is_expelled(&1, now));
        assert_eq!(
            intake.take(1, Interest::Subscribed, 10, now),
            Err(Refusal::Expelled),
            "it is not listened to at all"
        );
        assert_eq!(intake.take(2, Interest::Subscribed, 10, now), Ok(()));
        assert!(!intake.is_expelled(&1, now + EXPULSION));
    }

    #[test]
    fn reconnecting_fills_no_bucket_and_those_who_left_are_forgotten() {
        let (mut intake, now) = (intake(), Instant::now());
        while intake.take(1, Interest::Subscribed, 10, now).is_ok() {}
        intake.disconnected(&1, now);
        intake.connected(1, now);
        assert_eq!(intake.take(1, Interest::Subscribed, 10, now), Err(Refusal::Rate));
        intake.disconnected(&1, now);
        intake.connected(2, now);
        intake.disconnected(&2, now + KEPT);
        assert_eq!(intake.peers.keys().copied().collect::<Vec<_>>(), [2]);
        for peer in 0..2 * u32::try_from(MAX_KEPT).unwrap_or(u32::MAX) {
            intake.connected(peer, now + KEPT);
            intake.disconnected(&peer, now + KEPT);
        }
        assert!(intake.peers.len() <= MAX_KEPT);
    }
}
