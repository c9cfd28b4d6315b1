//! The validator's side of validations out of turn: it pings one worker now, for whoever asks, and signs what it found.
//!
//! The pings are like all others, so that a worker cannot tell them apart, and count in its quota for this validator: that is twice the policy's
//! number, and the prober sends that number. What is found is in no report. Everybody may ask, so what is asked for is bounded: a worker once an
//! epoch, for one asker once a minute, and one worker a second in all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use lucid_p2p::Mesh;
use lucid_types::codec::decode;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{Observation, ProbeRequest};
use lucid_types::time::Epoch;
use lucid_types::validation::{ValidationReply, ValidationRequest, ValidationResult};
use tokio::time::{Instant, sleep};

use super::core::ConnectFault;
use super::counts::PingOutcome;
use super::limits::PING_TIMEOUT;
use super::ping;
use super::prober::{KeyOf, connect};
use super::tally::Tally;
use crate::clock::Clock;

/// Pings of a validation, and between two of them.
const PINGS: u32 = 4;
const BETWEEN: Duration = Duration::from_millis(500);
/// For a connection to the worker, if there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two validations for one asker, and between any two.
const PER_ASKER: Duration = Duration::from_secs(60);
const PER_WORKER: Duration = Duration::from_secs(1);

/// The longest that a validation takes.
pub(crate) const LONGEST: Duration =
    CONNECT_TIMEOUT.saturating_add(BETWEEN.saturating_mul(3)).saturating_add(PING_TIMEOUT);

/// Whether a node is a worker that validators measure. Called for every request; must not block.
pub type IsWorker = Arc<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// Whether this node is a validator now. Called for every request; must not block.
pub type IsOneself = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a validator validates with.
pub struct ValidationParts {
    /// The mesh.
    pub mesh: Mesh,
    /// This validator.
    pub me: NodeId,
    /// Signs what is found.
    pub key: NodeKey,
    /// Bounds of epochs.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// Under which keys workers are reached.
    pub key_of: KeyOf,
    /// Who can be asked about.
    pub is_worker: IsWorker,
    /// Whether anybody is answered.
    pub is_validator: IsOneself,
}

/// Validates.
pub struct Validations {
    parts: ValidationParts,
    network: NetworkId,
    quota: Mutex<Quota>,
}

impl Validations {
    /// With whom nothing has been validated yet.
    pub fn new(parts: ValidationParts) -> Self {
        let network = parts.genesis.network_id();
        Self { parts, network, quota: Mutex::default() }
    }

    /// Answers `/validate/1`; `None` if that is no request, or this node no validator.
    pub async fn answer(&self, peer: PublicKey, bytes: &[u8]) -> Option<ValidationReply> {
        let ValidationRequest { worker } = decode(bytes).ok()?;
        if (self.parts.is_validator)() { Some(self.validate(peer, worker).await) } else { None }
    }

    /// Pings a worker for somebody, unless that has been done lately.
    async fn validate(&self, asker: PublicKey, worker: NodeId) -> ValidationReply {
        let parts = &self.parts;
        let Some(key) = (parts.key_of)(&worker).filter(|_| (parts.is_worker)(&worker)) else {
            return ValidationReply::Unknown;
        };
        // Nobody measures himself.
        if worker == parts.me {
            return ValidationReply::NotSent;
        }
        let now = parts.clock.now();
        let epoch = parts.genesis.epoch_at(now);
        let left = now.until(parts.genesis.epoch_end(epoch));
        let taken = {
            let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
            quota.take(Instant::now(), (epoch, left), asker, worker)
        };
        if let Err(wait) = taken {
            return ValidationReply::Later { millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) };
        }
        if connect(&parts.mesh, worker, Some(key), CONNECT_TIMEOUT).await == Err(ConnectFault::Own) {
            return ValidationReply::NotSent;
        }
        let found = self.ping(worker, key, epoch).await;
        let Some(Observation { pings_sent, pings_answered, rtt_us, group, .. }) = found.observation(&worker) else {
            return ValidationReply::NotSent;
        };
        let time = parts.clock.now();
        let result = ValidationResult { validator: parts.me, worker, time, pings_sent, pings_answered, rtt_us, group };
        ValidationReply::Done(parts.key.sign_validation(&self.network, result).into_inner())
    }

    async fn ping(&self, worker: NodeId, key: PublicKey, epoch: Epoch) -> Tally {
        let (mesh, network, me) = (&self.parts.mesh, self.network, self.parts.me);
        let one = move |place: u32| async move {
            sleep(BETWEEN.saturating_mul(place)).await;
            let mut nonce = [0; 32];
            if let Err(error) = getrandom::fill(&mut nonce) {
                tracing::error!(%error, "no random bytes: a ping is not sent");
                return (PingOutcome::NotSent, Duration::ZERO);
            }
            let sent = ping::send(mesh, network, (me, key), ProbeRequest { epoch, nonce }, PING_TIMEOUT).await;
            // Without a connection it cannot be reached.
            sent.unwrap_or((PingOutcome::Unreachable, Duration::ZERO))
        };
        let ended = join_all((0..PINGS).map(one)).await;
        // A peer whose packets come through others has no place of its own.
        let place = mesh.remote(&key).flatten().map_or(NetworkGroup::NONE, NetworkGroup::of);
        let mut tally = Tally::new([worker]);
        for (outcome, rtt) in ended {
            match outcome {
                PingOutcome::Answered => tally.ping_answered(&worker, rtt, Some(place)),
                PingOutcome::NotSent => {}
                PingOutcome::Late | PingOutcome::Unreachable | PingOutcome::Refused | PingOutcome::Wrong => {
                    tally.ping_failed(&worker);
                }
            }
        }
        tally
    }
}

/// Whom something has been validated for lately, and of whom.
#[derive(Debug, Default)]
struct Quota {
    epoch: Epoch,
    /// In that epoch: no more than it has seconds.
    workers: BTreeSet<NodeId>,
    /// In the last minute: no more than it has seconds.
    askers: BTreeMap<PublicKey, Instant>,
    last: Option<Instant>,
}

impl Quota {
    /// Takes a validation in an epoch that lasts so long yet, or says how long to wait for it.
    fn take(
        &mut self,
        now: Instant,
        (epoch, left): (Epoch, Duration),
        asker: PublicKey,
        worker: NodeId,
    ) -> Result<(), Duration> {
        let wait = |since: Instant, pause: Duration| pause.saturating_sub(now.saturating_duration_since(since));
        self.askers.retain(|_, since| wait(*since, PER_ASKER) > Duration::ZERO);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.workers.clear();
        }
        let waits = [
            self.workers.contains(&worker).then_some(left),
            self.askers.get(&asker).map(|since| wait(*since, PER_ASKER)),
            self.last.map(|since| wait(since, PER_WORKER)),
        ];
        let longest = waits.into_iter().flatten().max().unwrap_or_default();
        if longest > Duration::ZERO {
            return Err(longest);
        }
        self.workers.insert(worker);
        self.askers.insert(asker, now);
        self.last = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_validated_than_the_quota_has() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        let (one, two, three) = (1, 2, 3);
        let mut take = |millis, epoch, asker, worker| {
            let (asker, worker) = (PublicKey::from_bytes([asker; 32]), NodeId::from_bytes([worker; 32]));
            let taken = quota.take(
                start + Duration::from_millis(millis),
                (Epoch::new(epoch), Duration::from_secs(90)),
                asker,
                worker,
            );
            taken.map_err(|wait| wait.as_millis())
        };
        assert_eq!(take(0, 7, one, 10), Ok(()));
        assert_eq!(take(400, 7, two, 11), Err(600), "another one a second later");
        assert_eq!(take(1_000, 7, two, 10), Err(90_000), "a worker once an epoch");
        assert_eq!(take(1_000, 7, two, 11), Ok(()));
        assert_eq!(take(2_000, 7, one, 12), Err(58_000), "an asker once a minute");
        assert_eq!(take(2_000, 8, three, 10), Ok(()), "in the next epoch");
        assert_eq!(take(60_000, 8, one, 12), Ok(()));
        assert_eq!(take(60_500, 8, two, 12), Err(90_000));
        assert_eq!(take(200_000, 9, one, 12), Ok(()));
        assert_eq!((quota.workers.len(), quota.askers.len()), (1, 1), "nothing else is remembered");
    }

    #[test]
    fn a_flood_of_askers_is_remembered_for_a_minute() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        let mut taken = 0_u32;
        for n in 0..10_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            let now = start + Duration::from_millis(20 * u64::from(n));
            let epoch = (Epoch::new(1), Duration::from_secs(600));
            let is_taken = quota.take(now, epoch, PublicKey::from_bytes(bytes), NodeId::from_bytes(bytes)).is_ok();
            taken += u32::from(is_taken);
        }
        // 200 seconds.
        assert_eq!(taken, 200);
        assert!(quota.askers.len() <= 60 && quota.workers.len() <= 200);
    }
}
