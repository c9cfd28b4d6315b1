//! The validator's side of validations out of turn: it pings one worker now, for whoever asks, and signs what it found.
//!
//! The pings are like all others, so that a worker cannot tell them apart; the quota that it gives a validator has room for them. What is found is
//! in no report. Everybody may ask, so what is asked for is bounded: a worker is pinged once an epoch, and whoever asks again has the same result;
//! for one asker one is pinged a minute, and in all one a second, beside those that the validator itself asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use lucid_p2p::Mesh;
use lucid_types::codec::decode;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{Observation, ProbeRequest};
use lucid_types::signed::Signed;
use lucid_types::time::Epoch;
use lucid_types::validation::{ValidationReply, ValidationRequest, ValidationResult};
use tokio::time::{Instant, sleep};

use super::core::ConnectFault;
use super::counts::PingOutcome;
use super::limits::{PING_TIMEOUT, VALIDATION_PINGS};
use super::ping;
use super::prober::{KeyOf, connect};
use super::tally::Tally;
use crate::clock::Clock;

/// Between two pings of a validation.
const BETWEEN_PINGS: Duration = Duration::from_millis(500);
/// For a connection to the worker, if there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two validations for one asker, and between any two.
const PER_ASKER: Duration = Duration::from_secs(60);
const BETWEEN_VALIDATIONS: Duration = Duration::from_secs(1);

/// From the first ping of a validation to its last one: it takes no less.
pub(crate) const SHORTEST: Duration = BETWEEN_PINGS.saturating_mul(VALIDATION_PINGS - 1);
/// The longest that a validation takes.
pub(crate) const LONGEST: Duration = CONNECT_TIMEOUT.saturating_add(SHORTEST).saturating_add(PING_TIMEOUT);

/// Whether a node is a worker that validators measure. Called for every request; must not block.
pub type IsWorker = Arc<dyn Fn(&NodeId) -> bool + Send + Sync>;

/// Whether this node is a validator now. Called for every request; must not block.
pub type IsValidatorNow = Arc<dyn Fn() -> bool + Send + Sync>;

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
    /// Which of them are run by the operator of this validator, which measures none of them.
    pub is_own_worker: IsWorker,
    /// Whether anybody is answered.
    pub is_validator: IsValidatorNow,
}

/// Validates.
pub struct Validations {
    parts: ValidationParts,
    network: NetworkId,
    quota: Mutex<Quota>,
}

impl Validations {
    /// One that has validated nothing yet.
    pub fn new(parts: ValidationParts) -> Self {
        let network = parts.genesis.network_id();
        Self { parts, network, quota: Mutex::default() }
    }

    /// Answers `/validate/1`; `None` if that is no request, or this node no validator.
    pub async fn answer(&self, peer: PublicKey, bytes: &[u8]) -> Option<ValidationReply> {
        let ValidationRequest { worker } = decode(bytes).ok()?;
        if (self.parts.is_validator)() { Some(self.validate(peer, worker).await) } else { None }
    }

    /// Pings a worker for somebody, unless that has been done in this epoch: then that is the answer.
    async fn validate(&self, asker: PublicKey, worker: NodeId) -> ValidationReply {
        let parts = &self.parts;
        let Some(key) = (parts.key_of)(&worker).filter(|_| (parts.is_worker)(&worker)) else {
            return ValidationReply::Unknown;
        };
        if worker == parts.me || (parts.is_own_worker)(&worker) || !self.has_peers() {
            return ValidationReply::NotSent;
        }
        let epoch = parts.genesis.epoch_at(parts.clock.now());
        let asker = if asker == parts.key.public_key() { Asker::Oneself } else { Asker::Peer(asker) };
        let admission = self.quota().take(Instant::now(), epoch, asker, worker);
        match admission {
            Admission::Granted => {}
            Admission::Found(signed) => return ValidationReply::Done(signed),
            Admission::Wait(wait) => {
                return ValidationReply::Later { millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1) };
            }
        }
        // Given back as it is dropped, too: whoever asks may go away.
        let mut taken = Taken { quota: &self.quota, epoch, asker, worker, found: None };
        if connect(&parts.mesh, worker, Some(key), CONNECT_TIMEOUT).await == Err(ConnectFault::Own) {
            return ValidationReply::NotSent;
        }
        let found = self.ping(worker, key, epoch).await;
        let Some(Observation { pings_sent, pings_answered, rtt_us, group, .. }) = found.observation(&worker) else {
            return ValidationReply::NotSent;
        };
        // A validator that is alone knows nothing of others.
        if !self.has_peers() {
            return ValidationReply::NotSent;
        }
        let time = parts.clock.now();
        let result = ValidationResult { validator: parts.me, worker, time, pings_sent, pings_answered, rtt_us, group };
        let signed = parts.key.sign_validation(&self.network, result).into_inner();
        taken.found = Some(signed.clone());
        ValidationReply::Done(signed)
    }

    fn has_peers(&self) -> bool {
        !self.parts.mesh.peers().is_empty()
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        lock(&self.quota)
    }

    async fn ping(&self, worker: NodeId, key: PublicKey, epoch: Epoch) -> Tally {
        let (mesh, network, me) = (&self.parts.mesh, self.network, self.parts.me);
        let one = move |place: u32| async move {
            sleep(BETWEEN_PINGS.saturating_mul(place)).await;
            let mut nonce = [0; 32];
            if let Err(error) = getrandom::fill(&mut nonce) {
                tracing::error!(%error, "no random bytes: a ping is not sent");
                return (PingOutcome::NotSent, Duration::ZERO);
            }
            let sent = ping::send(mesh, network, (me, key), ProbeRequest { epoch, nonce }, PING_TIMEOUT).await;
            // Without a connection it cannot be reached.
            sent.unwrap_or((PingOutcome::Unreachable, Duration::ZERO))
        };
        let ended = join_all((0..VALIDATION_PINGS).map(one)).await;
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

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    /// This validator, for its operator.
    Oneself,
    Peer(PublicKey),
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Admission {
    /// The worker is to be pinged.
    Granted,
    /// It has been found out in this epoch.
    Found(Signed<ValidationResult>),
    /// Not before so long.
    Wait(Duration),
}

/// Whom something has been validated for lately, and of whom.
#[derive(Debug, Default)]
struct Quota {
    epoch: Epoch,
    /// In that epoch, no more than it has seconds: what was found, `None` as long as the worker is being pinged.
    workers: BTreeMap<NodeId, Option<Signed<ValidationResult>>>,
    /// In the last minute: no more than it has seconds.
    askers: BTreeMap<Asker, Instant>,
    /// The last validation for anybody else.
    last: Option<Instant>,
}

impl Quota {
    /// Takes a validation in an epoch, unless it was found out or has to wait.
    fn take(&mut self, now: Instant, epoch: Epoch, asker: Asker, worker: NodeId) -> Admission {
        let wait = |since: Instant, pause: Duration| pause.saturating_sub(now.saturating_duration_since(since));
        self.askers.retain(|_, since| wait(*since, PER_ASKER) > Duration::ZERO);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.workers.clear();
        }
        let found = self.workers.get(&worker);
        if let Some(Some(signed)) = found {
            return Admission::Found(signed.clone());
        }
        let waits = [
            found.map(|_| LONGEST),
            self.askers.get(&asker).map(|since| wait(*since, PER_ASKER)),
            self.last.filter(|_| asker != Asker::Oneself).map(|since| wait(since, BETWEEN_VALIDATIONS)),
        ];
        let longest = waits.into_iter().flatten().max().unwrap_or_default();
        if longest > Duration::ZERO {
            return Admission::Wait(longest);
        }
        self.workers.insert(worker, None);
        self.askers.insert(asker, now);
        if asker != Asker::Oneself {
            self.last = Some(now);
        }
        Admission::Granted
    }

    /// Ends a validation of an epoch. One that has found nothing is given back to its asker, and the worker to everybody.
    fn end(&mut self, epoch: Epoch, asker: Asker, worker: NodeId, found: Option<Signed<ValidationResult>>) {
        if found.is_none() {
            self.askers.remove(&asker);
        }
        if self.epoch == epoch {
            match found {
                Some(signed) => self.workers.insert(worker, Some(signed)),
                None => self.workers.remove(&worker),
            };
        }
    }
}

/// A validation that is under way.
struct Taken<'a> {
    quota: &'a Mutex<Quota>,
    epoch: Epoch,
    asker: Asker,
    worker: NodeId,
    found: Option<Signed<ValidationResult>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(self.quota).end(self.epoch, self.asker, self.worker, self.found.take());
    }
}

fn lock(quota: &Mutex<Quota>) -> MutexGuard<'_, Quota> {
    quota.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lucid_types::log_scale::LogScale;
    use lucid_types::time::UnixMillis;

    use super::*;

    fn peer(byte: u8) -> Asker {
        Asker::Peer(PublicKey::from_bytes([byte; 32]))
    }

    fn worker(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn found(byte: u8) -> Signed<ValidationResult> {
        let key = NodeKey::from_seed(&[1; 32]);
        let result = ValidationResult {
            validator: key.account(),
            worker: worker(byte),
            time: UnixMillis::new(1),
            pings_sent: 4,
            pings_answered: 0,
            rtt_us: LogScale::ZERO,
            group: None,
        };
        key.sign_validation(&NetworkId::from_bytes([9; 32]), result).into_inner()
    }

    #[test]
    fn no_more_is_validated_than_the_quota_has() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        let (one, two, three) = (peer(1), peer(2), peer(3));
        let wait = |millis| Admission::Wait(Duration::from_millis(millis));
        let mut take = |millis, epoch, asker, byte| {
            let taken = quota.take(start + Duration::from_millis(millis), Epoch::new(epoch), asker, worker(byte));
            // It is found at once, but of the worker 13.
            if taken == Admission::Granted && byte != 13 {
                quota.end(Epoch::new(epoch), asker, worker(byte), Some(found(byte)));
            }
            taken
        };
        assert_eq!(take(0, 7, one, 10), Admission::Granted);
        assert_eq!(take(400, 7, two, 11), wait(600), "another one a second later");
        assert_eq!(take(400, 7, Asker::Oneself, 12), Admission::Granted, "the validator itself waits for nobody");
        for asker in [one, two, Asker::Oneself] {
            assert_eq!(take(500, 7, asker, 10), Admission::Found(found(10)), "a worker once an epoch");
        }
        assert_eq!(take(1_000, 7, two, 11), Admission::Granted);
        assert_eq!(take(2_000, 7, one, 13), wait(58_000), "an asker once a minute");
        assert_eq!(take(2_400, 7, Asker::Oneself, 13), wait(58_000));
        assert_eq!(take(2_000, 8, three, 10), Admission::Granted, "in the next epoch");
        assert_eq!(take(60_000, 8, one, 13), Admission::Granted);
        assert_eq!(take(61_000, 8, two, 13), wait(7_500), "it is being pinged");
        assert_eq!(take(200_000, 9, one, 12), Admission::Granted);
        assert_eq!((quota.workers.len(), quota.askers.len()), (1, 1), "nothing else is remembered");
    }

    #[test]
    fn what_was_not_sent_is_given_back() {
        let (mut quota, start, epoch) = (Quota::default(), Instant::now(), Epoch::new(7));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(quota.take(start, epoch, peer(1), worker(10)), Admission::Granted);
        quota.end(epoch, peer(1), worker(10), None);
        assert_eq!(quota.take(after(1), epoch, peer(1), worker(10)), Admission::Granted);
        // It ends in the next epoch, in which the worker is pinged anew.
        let next = epoch.next();
        assert_eq!(quota.take(after(2), next, peer(2), worker(10)), Admission::Granted);
        quota.end(epoch, peer(1), worker(10), Some(found(10)));
        assert_eq!(quota.workers.get(&worker(10)), Some(&None));
        // Whoever asks may go away.
        let quota = Mutex::new(quota);
        drop(Taken { quota: &quota, epoch: next, asker: peer(2), worker: worker(10), found: None });
        assert_eq!(lock(&quota).workers.len(), 0);
    }

    #[test]
    fn a_flood_of_askers_is_remembered_for_a_minute() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        let mut taken = 0_u32;
        for n in 0..10_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            let now = start + Duration::from_millis(20 * u64::from(n));
            let (asker, worker) = (Asker::Peer(PublicKey::from_bytes(bytes)), NodeId::from_bytes(bytes));
            taken += u32::from(quota.take(now, Epoch::new(1), asker, worker) == Admission::Granted);
        }
        // 200 seconds.
        assert_eq!(taken, 200);
        assert!(quota.askers.len() <= 60 && quota.workers.len() <= 200);
    }
}
