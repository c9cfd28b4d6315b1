//! Two machines with one validator's key would contradict each other. Each tells peers which running instance it is, and asks them
//! which others they have heard of. A mesh does not connect a node to another of the same id, but both to the same peers.
//!
//! An instance with a lower boot number is the same home's before its last start, or a copy of it that will stop; one with an equal or
//! higher number stops this one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_consensus::admission::View;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::state::Rows as _;
use lucid_consensus::replica::{Failure, Input};
use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_types::codec::{decode, encode};
use lucid_types::id::{PublicKey, ValidatorId};
use lucid_types::signed::Signed;
use lucid_types::sync::{Presence, SyncRequest, SyncResponse};
use lucid_types::time::UnixMillis;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKey;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::report::RandomError;
use crate::clock::Clock;

/// How often peers are asked; more often while nothing is signed yet.
const PERIOD: Duration = Duration::from_secs(1);
const LISTENING_PERIOD: Duration = Duration::from_millis(100);
/// For how long they are asked so often, and how often it is said that none has answered.
const HASTE: Duration = Duration::from_secs(10);
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// Peers asked at a time.
const PEERS: usize = 8;
/// Questions that wait for an answer: silent peers must not keep others from being asked.
const OPEN: usize = 64;
/// An instance that has said nothing for so long, by its clock and by ours, has ended.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Instances kept of a validator: the newest, and one beside it.
const OF_ONE: usize = 2;

/// Which instances of validators this node has heard of.
pub struct Presences {
    spec: Arc<ChainSpec>,
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<ValidatorId, Vec<Signed<Presence>>>>,
}

impl Presences {
    /// Nothing has been heard.
    pub fn new(spec: Arc<ChainSpec>, clock: Arc<dyn Clock>) -> Self {
        Self { spec, clock, known: Mutex::default() }
    }

    /// Notes an instance, if it speaks now; the rival that it should know of, if there is one. `None` if it is not one of these validators.
    pub fn hear(&self, validators: &ValidatorSet, presence: Signed<Presence>) -> Option<Option<Signed<Presence>>> {
        let now = self.clock.now();
        let validator = presence.signer;
        validators.get(&validator)?;
        presence.check(self.spec.id()).ok()?;
        let me = presence.record;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| validators.get(key).is_some());
        let of_one = known.entry(validator).or_default();
        of_one.retain(|it| is_recent(now, &it.record));
        let is_older = |it: &Signed<Presence>| it.record.instance == me.instance && it.record.time <= me.time;
        let is_newest = !of_one.iter().any(|it| it.record.instance == me.instance && !is_older(it));
        // One whose clock is wrong hears of others, and nobody of it.
        if is_recent(now, &me) && is_newest {
            of_one.retain(|it| !is_older(it));
            of_one.push(presence);
        }
        of_one.sort_by_key(|it| Reverse(it.record));
        of_one.truncate(OF_ONE);
        Some(of_one.iter().find(|other| is_rival(&me, &other.record)).cloned())
    }
}

fn is_recent(now: UnixMillis, presence: &Presence) -> bool {
    (now.before(FORGOTTEN)..=now.after(FORGOTTEN)).contains(&presence.time)
}

/// Whether another instance means that this one must stop.
fn is_rival(me: &Presence, other: &Presence) -> bool {
    other.instance != me.instance && other.boot >= me.boot
}

/// What the lookout works with.
pub struct LookoutParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The mesh.
    pub mesh: Mesh,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The validator's keys.
    pub keys: watch::Receiver<Arc<Keyring>>,
    /// How often the validator has started.
    pub boot: u64,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// Told when nothing was heard for long enough, and before of heights that are decided.
    pub driver: mpsc::Sender<Box<Input>>,
    /// Told when there is another instance: the driver stops.
    pub halt: watch::Sender<Option<Failure>>,
}

/// Asks peers for other instances of this validator. [`Self::run`] it.
pub struct Lookout {
    parts: LookoutParts,
    instance: [u8; 16],
}

impl Lookout {
    /// A lookout of a new instance.
    ///
    /// # Errors
    /// The operating system's random source failed.
    pub fn new(parts: LookoutParts) -> Result<Self, RandomError> {
        let mut instance = [0; 16];
        getrandom::fill(&mut instance).map_err(RandomError)?;
        Ok(Self { parts, instance })
    }

    /// Looks out whenever this node is a validator, until `stop`, or until there is another instance.
    pub async fn run(self, stop: CancellationToken) {
        let (mut head, mut keys) = (self.parts.head.clone(), self.parts.keys.clone());
        loop {
            let (state, ring) = (head.borrow_and_update().state.clone(), Arc::clone(&keys.borrow_and_update()));
            if ring.of(state.next_validators()).is_some() {
                if self.look_out(&stop).await == Ended::ForGood {
                    return;
                }
                continue;
            }
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => changed,
                changed = keys.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// The key with which this validator signs at the next height, and its power; `None` if it is none, or does not have the key.
    fn signer(&self) -> Option<(ValidatorKey, u64)> {
        let state = self.parts.head.borrow().state.clone();
        let set = state.next_validators();
        let key = self.parts.keys.borrow().of(set)?.clone();
        let power = set.power(&key.id());
        Some((key, power))
    }

    /// Asks while this node is a validator. The driver hears that it may sign when peers have answered for
    /// [`doppelganger_ms`](lucid_types::policy::Policy::doppelganger_ms) without knowing of another instance. A validator that decides
    /// alone needs no peer.
    async fn look_out(&self, stop: &CancellationToken) -> Ended {
        let parts = &self.parts;
        let listening = Duration::from_millis(parts.spec.fixed().doppelganger_ms);
        let decides_alone = self.signer().is_some_and(|(_, power)| {
            let state = parts.head.borrow().state.clone();
            state.next_validators().is_quorum(power)
        });
        let mut listened_at = decides_alone.then(|| Instant::now() + listening);
        let mut may_sign = false;
        let mut answers = JoinSet::<Result<Vec<u8>, RequestError>>::new();
        let started = Instant::now();
        let (mut next, mut warned_at) = (started, started);
        loop {
            let wakeup = listened_at.filter(|_| !may_sign).map_or(next, |at| at.min(next));
            tokio::select! {
                () = stop.cancelled() => return Ended::ForGood,
                () = tokio::time::sleep_until(wakeup) => {}
                Some(answer) = answers.join_next() => {
                    let Ok(Ok(answer)) = answer else { continue };
                    match self.heard(&answer) {
                        Some(Heard::Nobody) => drop(listened_at.get_or_insert_with(|| Instant::now() + listening)),
                        Some(Heard::Other(other)) => {
                            let failure = Failure::OtherInstance { own: parts.boot, other: other.boot };
                            parts.halt.send_replace(Some(failure));
                            return Ended::ForGood;
                        }
                        Some(Heard::Decided(input)) => drop(parts.driver.send(input).await),
                        None => {}
                    }
                }
            }
            let Some((key, _)) = self.signer() else { return Ended::NoValidator };
            let now = Instant::now();
            let has_listened = !may_sign && listened_at.is_some_and(|at| at <= now);
            may_sign |= has_listened;
            // Again and again: one that was no validator for a moment listens anew, and this may not have noticed.
            if has_listened || (may_sign && next <= now) {
                let _ended = parts.driver.send(Box::new(Input::Listened)).await;
            }
            if next <= now {
                let is_hasty = !may_sign && started.elapsed() < HASTE;
                next = now + if is_hasty { LISTENING_PERIOD } else { PERIOD };
                if !may_sign && warned_at.elapsed() >= WARNING_INTERVAL {
                    warned_at = now;
                    let listens_s = started.elapsed().as_secs();
                    tracing::warn!(
                        listens_s,
                        "no peer has answered yet whether it knows of another machine with this key: nothing is signed"
                    );
                }
                let mut questions = vec![self.question(&key)];
                // What is decided it must not sign, and it may be far behind.
                questions.extend((!may_sign).then(|| encode(&SyncRequest::Head)));
                let room = OPEN.saturating_sub(answers.len()) / questions.len();
                for peer in self.some_peers().into_iter().take(room) {
                    for question in &questions {
                        let (mesh, question) = (parts.mesh.clone(), question.clone());
                        answers.spawn(async move { mesh.request(peer, Protocol::Sync, question).await });
                    }
                }
            }
        }
    }

    fn presence(&self) -> Presence {
        Presence { boot: self.parts.boot, instance: self.instance, time: self.parts.clock.now() }
    }

    fn question(&self, key: &ValidatorKey) -> Vec<u8> {
        let presence = key.sign_presence(self.parts.spec.id(), self.presence()).into_inner();
        encode(&SyncRequest::Presence(presence))
    }

    /// Some of the connected peers, at random.
    fn some_peers(&self) -> Vec<PublicKey> {
        let drawn = self.parts.mesh.peers().into_iter().map(|peer| (getrandom::u32().unwrap_or(0), peer.key));
        let mut drawn: Vec<_> = drawn.collect();
        drawn.sort_unstable();
        drawn.into_iter().take(PEERS).map(|(_, peer)| peer).collect()
    }

    /// What a peer says; `None` if it says nothing.
    fn heard(&self, answer: &[u8]) -> Option<Heard> {
        let spec = &self.parts.spec;
        match decode(answer).ok()? {
            SyncResponse::Presence(None) => Some(Heard::Nobody),
            SyncResponse::Presence(Some(other)) => {
                let me = self.presence();
                let is_mine =
                    self.parts.keys.borrow().get(&other.signer).is_some() && is_recent(me.time, &other.record);
                let is_proof = is_mine && is_rival(&me, &other.record) && other.check(spec.id()).is_ok();
                Some(if is_proof { Heard::Other(other.record) } else { Heard::Nobody })
            }
            SyncResponse::Head { newest: Some(certificate), .. } => {
                let state = self.parts.head.borrow().state.clone();
                let certificate = View { spec, state: &state }.certificate(state.sets(), certificate).ok()?;
                Some(Heard::Decided(Box::new(Input::Certificate(certificate))))
            }
            _ => None,
        }
    }
}

/// Why a lookout has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// There is nothing more to look out for.
    ForGood,
    /// This node is no validator any more.
    NoValidator,
}

/// What a peer answers.
enum Heard {
    /// It knows of no other instance.
    Nobody,
    /// It knows of one that stops this one.
    Other(Presence),
    /// It knows of a height that is decided.
    Decided(Box<Input>),
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use lucid_types::validator::Validator;

    use crate::payout::testing;

    const NOW: UnixMillis = UnixMillis::new(10_000_000);

    struct Still;

    impl Clock for Still {
        fn now(&self) -> UnixMillis {
            NOW
        }
    }

    fn table() -> Presences {
        Presences::new(testing::network(), Arc::new(Still))
    }

    fn validator() -> ValidatorKey {
        let spec = testing::network();
        let mut keys = (0..=u8::MAX).map(testing::signing_key);
        keys.find(|key| spec.first_validators().get(&key.id()).is_some()).unwrap()
    }

    fn presence_at(key: &ValidatorKey, boot: u64, instance: u8, time: UnixMillis) -> Signed<Presence> {
        let presence = Presence { boot, instance: [instance; 16], time };
        key.sign_presence(testing::network().id(), presence).into_inner()
    }

    fn presence(key: &ValidatorKey, boot: u64, instance: u8) -> Signed<Presence> {
        presence_at(key, boot, instance, NOW)
    }

    #[test]
    fn of_two_instances_the_older_and_equals_hear_of_the_other() {
        let (table, key) = (table(), validator());
        let hear =
            |boot, instance| table.hear(testing::network().first_validators(), presence(&key, boot, instance)).unwrap();
        assert_eq!(hear(3, 1), None);
        assert_eq!(hear(3, 1), None, "itself");
        assert_eq!(hear(2, 2), Some(presence(&key, 3, 1)), "the older hears of the newer");
        assert_eq!(hear(3, 1), None, "and the newer not of the older");
        assert_eq!(hear(3, 3), Some(presence(&key, 3, 1)));
        assert_eq!(hear(3, 1), Some(presence(&key, 3, 3)), "equals hear of each other");
        assert_eq!(hear(4, 4), None);
        assert!(hear(3, 3).is_some());
    }

    #[test]
    fn only_what_validators_have_signed_and_just_now_is_noted() {
        let (table, key) = (table(), validator());
        assert_eq!(
            table.hear(testing::network().first_validators(), presence(&ValidatorKey::from_seed(&[99; 32]), 1, 1)),
            None,
            "a stranger's"
        );
        let mut forged = presence(&key, 1, 1);
        forged.record.boot = 9;
        assert_eq!(table.hear(testing::network().first_validators(), forged), None);
        let off = FORGOTTEN + Duration::from_millis(1);
        for time in [NOW.before(off), NOW.after(off)] {
            assert_eq!(
                table.hear(testing::network().first_validators(), presence_at(&key, 9, 9, time)),
                Some(None),
                "sent again by others"
            );
        }
        assert_eq!(table.hear(testing::network().first_validators(), presence(&key, 1, 1)), Some(None));
    }

    #[test]
    fn of_whom_is_no_validator_any_more_nothing_is_kept() {
        let (table, key, other) = (table(), validator(), ValidatorKey::from_seed(&[99; 32]));
        assert_eq!(table.hear(testing::network().first_validators(), presence(&key, 1, 1)), Some(None));
        let others =
            ValidatorSet::new(vec![Validator { keys: other.keys(&testing::node(1)), ..testing::validator(1) }])
                .unwrap();
        assert_eq!(table.hear(&others, presence(&key, 1, 2)), None);
        assert_eq!(table.hear(&others, presence(&other, 1, 1)), Some(None));
        assert_eq!(table.known.lock().unwrap().keys().copied().collect::<Vec<_>>(), [other.id()]);
    }

    #[test]
    fn what_is_kept_of_a_validator_is_bounded() {
        let (table, key) = (table(), validator());
        for instance in 0..100 {
            table.hear(testing::network().first_validators(), presence(&key, 1, instance));
        }
        assert_eq!(table.known.lock().unwrap().values().map(Vec::len).collect::<Vec<_>>(), [OF_ONE]);
    }
}
