//! What others show of this machine that it cannot see by itself: that its clock is off, and that another machine runs with its key.
//!
//! A block's time is within seconds of the clocks of two thirds of the validators' power when it is decided, whoever delivers it. And only
//! the holder of the node key can sign its attestations: one that was not made here was made elsewhere.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_types::id::NodeId;
use lucid_types::time::UnixMillis;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::history::metrics::Attestation;

/// So far a clock may be off without a word. Votes and probes suffer from less, but a block may also be late.
const TOLERANCE: Duration = Duration::from_secs(60);
/// A block that seems old may have come late, or have been fetched. So many one after the other, at the pace at which they were made, have not.
const OLD_BLOCKS: u32 = 3;
/// Own attestations that are remembered.
const OWN: usize = 64;

/// How the clock compares with the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skew {
    Behind(Duration),
    Ahead(Duration),
}

/// Compares the clock with the times of blocks.
#[derive(Debug, Default)]
struct ClockWatch {
    old_blocks: u32,
    /// Time and adoption of the block before.
    last: Option<(UnixMillis, UnixMillis)>,
    skew: Option<Skew>,
}

impl ClockWatch {
    /// A block of this time was adopted at `adopted_at`, by this machine's clock. Whether that changes what there is to say.
    fn adopted(&mut self, time: UnixMillis, adopted_at: UnixMillis) -> bool {
        let last = self.last.replace((time, adopted_at));
        // Blocks of the past are fetched faster than they were made.
        let keeps_pace =
            last.is_some_and(|(made, adopted)| adopted.until(adopted_at).saturating_mul(2) >= made.until(time));
        let (behind, ahead) = (adopted_at.until(time), time.until(adopted_at));
        let skew = if behind > TOLERANCE {
            self.old_blocks = 0;
            Some(Skew::Behind(behind))
        } else if ahead > TOLERANCE {
            self.old_blocks = if keeps_pace { self.old_blocks.saturating_add(1) } else { 0 };
            match self.old_blocks {
                ..OLD_BLOCKS => self.skew,
                OLD_BLOCKS.. => Some(Skew::Ahead(ahead)),
            }
        } else {
            self.old_blocks = 0;
            None
        };
        let before = std::mem::replace(&mut self.skew, skew);
        before.map(|skew| std::mem::discriminant(&skew)) != skew.map(|skew| std::mem::discriminant(&skew))
    }

    fn alert(&self) -> Option<String> {
        let what = match self.skew? {
            Skew::Behind(off) => format!("this machine's clock is {} behind the network's", minutes_of(off)),
            Skew::Ahead(off) => format!(
                "this machine's clock is {} ahead of the network's (or else the machine is too slow, and the node late by as much)",
                minutes_of(off)
            ),
        };
        Some(format!(
            "{what}: set it, and let NTP keep it, as by `timedatectl set-ntp true`. Until then this node's votes, measurements and attestations \
             come at the wrong time and are not taken"
        ))
    }
}

fn minutes_of(duration: Duration) -> String {
    format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
}

/// Remembers what this run of the node has signed.
#[derive(Debug, Default)]
struct TwinWatch {
    /// Sequences of own attestations, ascending.
    own: VecDeque<u64>,
    is_seen: bool,
}

impl TwinWatch {
    fn sent(&mut self, sequence: u64) {
        if self.own.len() >= OWN {
            self.own.pop_front();
        }
        self.own.push_back(sequence);
    }

    /// One with this node's signature has come. Whether it is the first that shows another machine: it is newer than what this run is known
    /// to have signed, so it is none of an earlier run, and none of these.
    fn heard(&mut self, sequence: u64) -> bool {
        let is_others = self.own.front().is_some_and(|oldest| sequence > *oldest) && !self.own.contains(&sequence);
        is_others && !std::mem::replace(&mut self.is_seen, true)
    }
}

/// The alert of [`TwinWatch`].
const TWIN: &str = "another machine runs with this node's key: an attestation has come that this one did not sign. Both are one node to the \
                    network, which reaches now the one and now the other. Stop one of them; a copy of a home never runs beside the first";

/// What was found so far.
pub struct Health {
    me: NodeId,
    clock: Mutex<ClockWatch>,
    twin: Mutex<TwinWatch>,
}

impl Health {
    /// Nothing is known yet. `me` is this node's account.
    pub fn new(me: NodeId) -> Self {
        Self { me, clock: Mutex::default(), twin: Mutex::default() }
    }

    /// This node has signed an attestation.
    pub fn sent(&self, attestation: &Attestation) {
        self.twin.lock().unwrap_or_else(PoisonError::into_inner).sent(attestation.signed.record.sequence);
    }

    /// An attestation has come, of whatever node.
    pub fn heard(&self, attestation: &Attestation) {
        let mut twin = self.twin.lock().unwrap_or_else(PoisonError::into_inner);
        if attestation.account == self.me && twin.heard(attestation.signed.record.sequence) {
            tracing::warn!("{TWIN}");
        }
    }

    /// Compares the clock with the blocks that are adopted, until `stop`.
    pub async fn watch_clock(self: Arc<Self>, mut head: watch::Receiver<Head>, stop: CancellationToken) {
        // What was found on disk is as old as it is.
        head.mark_unchanged();
        let mut newest = head.borrow().state.height();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
            let (height, time, adopted_at) = {
                let head = head.borrow_and_update();
                (head.state.height(), head.state.time(), head.adopted_at)
            };
            if height > newest {
                newest = height;
                self.adopted(time, adopted_at);
            }
        }
    }

    fn adopted(&self, time: UnixMillis, adopted_at: UnixMillis) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if clock.adopted(time, adopted_at) {
            match clock.alert() {
                Some(alert) => tracing::warn!("{alert}"),
                None => tracing::info!("this machine's clock agrees with the network's again"),
            }
        }
    }

    /// What the owner should know.
    pub fn alerts(&self) -> Vec<String> {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner).alert();
        let is_seen = self.twin.lock().unwrap_or_else(PoisonError::into_inner).is_seen;
        clock.into_iter().chain(is_seen.then(|| TWIN.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis::new(1_000_000_000_000 + 1_000 * seconds)
    }

    #[test]
    fn a_clock_that_is_an_hour_off_is_named_once_and_until_it_is_set() {
        let mut watch = ClockWatch::default();
        assert!(!watch.adopted(at(5), at(4)));
        assert!(watch.adopted(at(10).after(HOUR), at(10)), "no block comes from the future");
        assert!(watch.alert().is_some_and(|alert| alert.contains("60 min 0 s behind")), "{watch:?}");
        assert!(!watch.adopted(at(15).after(HOUR), at(15)), "once");
        assert!(watch.adopted(at(20), at(21)));
        assert_eq!(watch.alert(), None);
        let fast = |n: u64| (at(20 + 5 * n), at(20 + 5 * n).after(HOUR));
        let told: Vec<_> = (1..6).map(|n| watch.adopted(fast(n).0, fast(n).1)).collect();
        assert_eq!(told, [false, false, true, false, false]);
        assert!(watch.alert().is_some_and(|alert| alert.contains("60 min 0 s ahead of")), "{watch:?}");
    }

    #[test]
    fn old_blocks_that_are_fetched_and_a_late_one_say_nothing_of_the_clock() {
        let mut watch = ClockWatch::default();
        for n in 0..1_000 {
            assert!(!watch.adopted(at(5 * n), at(7_200 + n)), "{n}: fetched, one a second");
        }
        assert!(!watch.adopted(at(9_000), at(9_001)));
        for n in 0..20 {
            let late = if n % 3 == 2 { 0 } else { 90 };
            assert!(!watch.adopted(at(10_000 + 5 * n), at(10_000 + 5 * n + late)), "{n}");
        }
    }

    #[test]
    fn only_what_was_signed_elsewhere_since_shows_another_machine() {
        let mut watch = TwinWatch::default();
        assert!(!watch.heard(1_000), "nothing was signed yet: it may be of the run before");
        (2_000..2_100).for_each(|sequence| watch.sent(sequence));
        for own in [1_500, 2_000, 2_050, 2_099] {
            assert!(!watch.heard(own), "{own} is ours, from before, or repeated by somebody");
        }
        assert!(watch.heard(2_500));
        assert!(!watch.heard(2_600), "once");
        assert!(watch.is_seen);
    }
}
