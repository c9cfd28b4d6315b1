//! Storage in virtual time: workers of every kind, over epochs, terms and restarts.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use lucid_types::id::Hash;
use lucid_types::time::Epoch;

use super::*;
use crate::probe::core::{ConnectFault, Core, Effect, Finished, Input, Kept, Probe};
use crate::probe::schedule::Assignment;

const SEATS: u8 = 2;
const QUOTA: u16 = 5;
/// Chunks of all seats.
const ALL: u32 = 10;

/// What becomes of what is sent to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Honest,
    /// Answers challenges a moment before it is too late.
    Slow,
    /// Answers challenges a moment after.
    Late,
    /// Answers challenges with other bytes.
    Wrong,
    /// Refuses challenges.
    Refusing,
    /// Is too busy for its first requests of every kind, so many.
    Busy(u32),
    /// Takes chunks and throws them away.
    Forgetful,
    /// Says of each chunk that it is not the next one.
    Muddled,
    /// Has no room for a chunk.
    Full,
    /// Takes chunks and says nothing.
    Dropping,
    /// Has not seen the block yet that draws the validator.
    Behind,
    /// Cannot be reached.
    Gone,
    /// Says that it holds more than it does.
    Boasting,
    /// Our own limits let nothing through.
    Crowded,
    /// Answers nothing, until our mesh has too many requests pending.
    Mute,
    /// Has lost its fourth chunk and those after it, which it notices when it is asked.
    Damaged,
}

/// A worker, with the chunks that it holds for each term.
#[derive(Clone, Debug)]
struct Far {
    kind: Kind,
    held: BTreeMap<DepositId, u32>,
    n_asked: u32,
    /// Questions, challenges and deposits.
    n_of_kind: [u32; 3],
}

impl Far {
    fn new(kind: Kind) -> Self {
        Self { kind, held: BTreeMap::new(), n_asked: 0, n_of_kind: [0; 3] }
    }

    /// Which request of its kind it is.
    fn count(&mut self, ask: &Ask) -> u32 {
        let kind = match ask {
            Ask::Held => 0,
            Ask::Challenge(_) => 1,
            Ask::Deposit(_) => 2,
        };
        self.n_of_kind[kind] += 1;
        self.n_of_kind[kind]
    }

    /// How a request ends, and after how many milliseconds; `None` if with its time.
    fn answer(&mut self, deposit: DepositId, ask: &Ask) -> Option<(u64, Result<u32, StorageFault>)> {
        let refused = |refusal| Err(StorageFault::Refused(Some(refusal)));
        self.n_asked += 1;
        let of_kind = self.count(ask);
        let held = self.held.entry(deposit).or_default();
        let outcome = match (self.kind, ask) {
            (Kind::Crowded, _) => Err(StorageFault::Own),
            (Kind::Busy(n), _) if of_kind <= n => Err(StorageFault::Busy),
            (Kind::Mute, _) if self.n_asked > 2 => Err(StorageFault::Unanswered),
            (Kind::Mute, _) => return None,
            (Kind::Behind, Ask::Held | Ask::Deposit(_)) => refused(StorageRefusal::NotDrawn),
            (Kind::Boasting, Ask::Held) => Ok(1_000),
            (_, Ask::Held) => Ok(*held),
            (Kind::Full, Ask::Deposit(_)) => refused(StorageRefusal::Full),
            (Kind::Dropping, Ask::Deposit(_)) => Err(StorageFault::Refused(None)),
            (Kind::Forgetful, Ask::Deposit(index)) => Ok(index + 1),
            (Kind::Forgetful, Ask::Challenge(_)) => refused(StorageRefusal::Unknown),
            (Kind::Muddled, Ask::Deposit(index)) => refused(StorageRefusal::OutOfOrder { next: *index }),
            (_, Ask::Deposit(index)) if *index == *held => {
                *held += 1;
                Ok(*held)
            }
            (_, Ask::Deposit(_)) => refused(StorageRefusal::OutOfOrder { next: *held }),
            (Kind::Wrong, Ask::Challenge(_)) => Err(StorageFault::Wrong),
            (Kind::Refusing, Ask::Challenge(_)) => refused(StorageRefusal::Unknown),
            (Kind::Damaged, Ask::Challenge(_)) if *held == ALL => {
                *held = 3;
                refused(StorageRefusal::Damaged { index: 3 })
            }
            (_, Ask::Challenge(ranges)) => {
                let is_there = ranges.iter().all(|range| range.index < *held);
                if is_there { Ok(0) } else { refused(StorageRefusal::Unknown) }
            }
        };
        let millis = match (self.kind, ask) {
            (Kind::Slow, Ask::Challenge(_)) => 1_900,
            (Kind::Late, Ask::Challenge(_)) => 2_100,
            _ => 40,
        };
        Some((millis, outcome))
    }
}

fn policy() -> Policy {
    Policy { epoch_ms: 24_000, ..Policy::default() }
}

fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn deposit(term: u64) -> DepositId {
    DepositId { term, tag: Hash::from_bytes([9; 32]) }
}

fn at(n: u8, term: u64, is_challenged: bool) -> StoredAt {
    StoredAt { worker: id(n), seats: SEATS, quota: QUOTA, deposit: deposit(term), is_challenged }
}

/// A validator over epochs.
struct World {
    policy: Policy,
    limits: CoreLimits,
    workers: BTreeMap<NodeId, Far>,
    kept: Kept,
    counts: ProbeCounts,
    epoch: u64,
    /// Deposits that left, in their order: worker and place.
    deposits: Vec<(NodeId, u32)>,
    /// The time that each dial had.
    dials: Vec<Duration>,
    most: Gauges,
}

impl World {
    fn new(kinds: &[Kind]) -> Self {
        Self {
            policy: policy(),
            limits: CoreLimits::new(&policy()),
            workers: (0..).map(id).zip(kinds.iter().copied().map(Far::new)).collect(),
            kept: Kept::default(),
            counts: ProbeCounts::default(),
            epoch: 0,
            deposits: Vec::new(),
            dials: Vec::new(),
            most: Gauges::default(),
        }
    }

    /// What is proved in an epoch with these workers.
    fn epoch(&mut self, stored: Vec<StoredAt>) -> Vec<Option<u16>> {
        self.epoch += 1;
        let start = UnixMillis::new(5_000_000 + self.epoch * self.policy.epoch_ms);
        let bounds = Bounds { epoch: Epoch::new(self.epoch), start, end: start.after(self.policy.epoch()) };
        let n = stored.iter().filter(|it| it.is_challenged).count();
        let assignment = Assignment { workers: Vec::new(), policy: Arc::new(self.policy.clone()), stored };
        let seed = [u8::try_from(self.epoch).unwrap(); 32];
        let mut core = Core::begin(self.limits, bounds, assignment, &seed, &self.kept, self.counts);
        let mut events = BinaryHeap::new();
        let mut inputs: Vec<Input> = Vec::new();
        let (mut now, mut next) = (start, Input::Peers(7));
        loop {
            for effect in core.handle(now, next) {
                let (after, input) = self.carry_out(effect);
                events.push(Reverse((now.after(after), inputs.len())));
                inputs.push(input);
            }
            let Gauges { questions, deposits, .. } = core.gauges();
            self.most.questions = self.most.questions.max(questions);
            self.most.deposits = self.most.deposits.max(deposits);
            let event = events.peek().map(|Reverse((at, _))| *at);
            let at = [event, core.next_due()].into_iter().flatten().min().unwrap_or(bounds.end).max(now);
            if at >= bounds.end {
                break;
            }
            now = at;
            next = if event == Some(at) { events.pop().map(|Reverse((_, n))| inputs[n]).unwrap() } else { Input::Tick };
        }
        let Finished { report, kept, counts } = core.finish();
        (self.kept, self.counts) = (kept, counts);
        report.proved(n).unwrap().collect()
    }

    fn carry_out(&mut self, effect: Effect) -> (Duration, Input) {
        let millis = Duration::from_millis;
        match effect {
            Effect::Connect { worker, timeout } => {
                self.dials.push(timeout);
                (timeout, Input::Connected { worker, outcome: Err(ConnectFault::Unreachable) })
            }
            Effect::Storage { worker, deposit, ask, timeout } => {
                let term = deposit.term;
                let far = self.workers.get_mut(&worker).unwrap();
                if far.kind == Kind::Gone {
                    return (millis(1), Input::NotConnected { worker, probe: Probe::Storage { term } });
                }
                if let Ask::Deposit(index) = ask {
                    self.deposits.push((worker, index));
                }
                let (after, outcome) = match far.answer(deposit, &ask) {
                    Some((after, outcome)) if millis(after) < timeout => (millis(after), outcome),
                    _ => (timeout, Err(StorageFault::Late)),
                };
                (after, Input::StorageEnded { worker, term, outcome })
            }
            Effect::Ping { .. } | Effect::Echo { .. } => (Duration::MAX, Input::Tick),
        }
    }
}

/// What is proved in each of so many epochs of a term, after one in which chunks are deposited.
fn proved(kind: Kind, epochs: usize) -> Vec<Option<u16>> {
    let mut world = World::new(&[kind]);
    assert_eq!(world.epoch(vec![at(0, 7, false)]), []);
    (0..epochs).map(|_| world.epoch(vec![at(0, 7, true)])[0]).collect()
}

#[test]
fn an_honest_worker_proves_all_from_the_first_epoch_on() {
    assert_eq!(proved(Kind::Honest, 3), [Some(QUOTA); 3]);
    assert_eq!(proved(Kind::Slow, 3), [Some(QUOTA); 3]);
}

#[test]
fn of_a_worker_that_fails_nothing_is_proved() {
    for kind in [
        Kind::Late,
        Kind::Wrong,
        Kind::Refusing,
        Kind::Full,
        Kind::Dropping,
        Kind::Gone,
        Kind::Boasting,
        Kind::Mute,
        Kind::Behind,
        Kind::Forgetful,
        Kind::Muddled,
        Kind::Busy(u32::MAX),
    ] {
        assert_eq!(proved(kind, 2), [Some(0), Some(0)], "{kind:?}");
    }
}

#[test]
fn what_is_not_the_workers_doing_is_no_failure() {
    assert_eq!(proved(Kind::Crowded, 2), [None, None]);
    // Nothing was offered: there were no slots, and no budget.
    for (deposits, storage_epoch_bytes) in [(0, 256 << 20), (4, 0)] {
        let mut world = World::new(&[Kind::Honest]);
        world.limits.deposits = deposits;
        world.policy.storage_epoch_bytes = storage_epoch_bytes;
        assert_eq!(world.epoch(vec![at(0, 7, true)]), [None]);
        assert_eq!(world.counts.challenges(StorageOutcome::NotSent), 1);
    }
    // And no slot for a question.
    let mut world = World::new(&[Kind::Honest]);
    world.epoch(vec![at(0, 7, false)]);
    world.limits.questions = 0;
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [None]);
}

/// A worker whose dial waited for a slot of our own until it would have less time than others has not failed.
#[test]
fn nobody_is_dialled_for_a_challenge_that_has_no_time_left() {
    let mut world = World::new(&[Kind::Gone; 20]);
    // A dial takes 5 s: the one slot is free again a second before the end.
    world.policy.epoch_ms = 31_000;
    world.limits.dials = 1;
    let proved = world.epoch((0..20).map(|n| at(n, 7, true)).collect());
    assert_eq!(world.dials, [Duration::from_secs(5); 6]);
    let failed = proved.iter().filter(|it| **it == Some(0)).count();
    assert!((1..=6).contains(&failed) && proved.iter().all(|it| it.unwrap_or(0) == 0), "{proved:?}");
}

/// It may not have seen the block yet that draws its validator, but only once.
#[test]
fn whoever_was_not_drawn_a_moment_ago_may_not_know_it_yet() {
    let mut world = World::new(&[Kind::Behind]);
    let proved: Vec<_> = (0..3).map(|_| world.epoch(vec![at(0, 7, true)])[0]).collect();
    assert_eq!(proved, [None, Some(0), Some(0)]);
    let mut world = World::new(&[Kind::Behind]);
    world.epoch(vec![at(0, 7, false)]);
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(0)], "a settlement was time to see it");
}

/// It is asked again, in the same epoch, and has failed only if it is busy to the end.
#[test]
fn a_worker_that_is_busy_is_asked_again() {
    for n in [1, 2] {
        assert_eq!(proved(Kind::Busy(n), 2), [Some(QUOTA); 2], "{n}");
    }
    let mut world = World::new(&[Kind::Busy(u32::MAX)]);
    for n in 1..=3 {
        let before = world.workers[&id(0)].n_asked;
        let proved = world.epoch(vec![at(0, 7, true)]);
        assert_eq!(proved, [Some(0)], "{n}");
        assert!(world.workers[&id(0)].n_asked - before <= 2 * (BUSY_RETRIES + 1), "no more than a few times");
    }
    assert_eq!(world.counts.challenges(StorageOutcome::Refused), 3);
}

/// Whoever throws away what it takes gets an eighth of it once more in its term, and proves nothing.
#[test]
fn what_is_thrown_away_is_not_deposited_for_ever() {
    let n_deposits = |again_part| {
        let mut world = World::new(&[Kind::Forgetful]);
        world.limits.again_part = again_part;
        world.epoch(vec![at(0, 7, false)]);
        for _ in 0..5 {
            assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(0)]);
        }
        world.deposits.len()
    };
    assert_eq!(n_deposits(8), 12, "ten, and two");
    assert_eq!(n_deposits(1), 20, "negative control: each twice");
}

/// What a worker had no room for before its term is not deposited in it.
#[test]
fn room_has_to_be_there_before_the_term() {
    let in_term = |kind, again_part| {
        let mut world = World::new(&[kind]);
        world.limits.again_part = again_part;
        world.epoch(vec![at(0, 7, false)]);
        world.workers.get_mut(&id(0)).unwrap().kind = Kind::Honest;
        let proved: Vec<_> = (0..4).map(|_| world.epoch(vec![at(0, 7, true)])[0]).collect();
        proved[3]
    };
    for kind in [Kind::Full, Kind::Dropping, Kind::Gone, Kind::Mute, Kind::Muddled, Kind::Busy(u32::MAX)] {
        assert_eq!(in_term(kind, 8), Some(1), "two of ten chunks, for two seats: {kind:?}");
        assert_eq!(in_term(kind, 1), Some(QUOTA), "negative control: {kind:?}");
    }
    assert_eq!(in_term(Kind::Crowded, 8), Some(QUOTA), "it was not offered any");
    assert_eq!(in_term(Kind::Behind, 8), Some(QUOTA), "it may not have known yet");
    // A validator that was restarted does not know of it any more.
    let mut world = World::new(&[Kind::Full]);
    world.epoch(vec![at(0, 7, false)]);
    world.workers.get_mut(&id(0)).unwrap().kind = Kind::Honest;
    world.kept = Kept::default();
    world.epoch(vec![at(0, 7, true)]);
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(QUOTA)]);
}

/// Nor is it of one that refuses everything and takes a chunk when the validator has no time or bytes for more. Who could not be reached for less
/// than half of the epochs may have the rest in its term.
#[test]
fn a_chunk_at_the_end_is_not_room_for_all() {
    let in_term = |n_refused, n_taken| {
        let mut world = World::new(&[Kind::Full]);
        (0..n_refused).for_each(|_| drop(world.epoch(vec![at(0, 7, false)])));
        world.workers.get_mut(&id(0)).unwrap().kind = Kind::Honest;
        world.policy.storage_epoch_bytes = Policy::CHUNK_BYTES;
        (0..n_taken).for_each(|_| drop(world.epoch(vec![at(0, 7, false)])));
        assert_eq!(world.workers[&id(0)].held[&deposit(7)], n_taken);
        world.policy.storage_epoch_bytes = policy().storage_epoch_bytes;
        (0..3).map(|_| world.epoch(vec![at(0, 7, true)])[0]).last().unwrap()
    };
    assert_eq!(in_term(3, 1), Some(1), "three of ten chunks, for two seats");
    assert_eq!(in_term(3, 3), Some(2), "five of ten");
    assert_eq!(in_term(3, 4), Some(QUOTA), "most of the time it had room");
}

/// One refusal does not put a worker behind all others for the term.
#[test]
fn one_failure_starves_nobody() {
    let mut world = World::new(&[Kind::Honest; 21]);
    // So few slots that somebody always waits for one.
    world.limits.deposits = 2;
    world.workers.get_mut(&id(0)).unwrap().kind = Kind::Full;
    world.policy.storage_epoch_bytes = 50 * Policy::CHUNK_BYTES;
    let stored = || (0..21).map(|n| at(n, 7, false)).collect::<Vec<_>>();
    world.epoch(stored());
    world.workers.get_mut(&id(0)).unwrap().kind = Kind::Honest;
    world.epoch(stored());
    assert!(world.workers[&id(0)].held[&deposit(7)] > 0);
    assert!((1..21).any(|n| world.workers[&id(n)].held[&deposit(7)] < ALL), "others wanted the bytes, too");
}

/// However many workers refuse what they are offered, they take a quarter of the bytes.
#[test]
fn whoever_refuses_takes_a_part_of_the_bytes() {
    let mut world = World::new(&[Kind::Full; 60]);
    world.policy.storage_epoch_bytes = 40 * Policy::CHUNK_BYTES;
    let stored = || (0..60).map(|n| at(n, 7, false)).collect::<Vec<_>>();
    (0..2).for_each(|_| drop(world.epoch(stored())));
    let before = world.deposits.len();
    assert_eq!(before, 40 + 20 + 10, "each once, and a quarter of the second epoch's bytes");
    world.epoch(stored());
    assert_eq!(world.deposits.len() - before, 10);
}

/// Chunks for two terms come one after the other.
#[test]
fn a_worker_has_one_deposit_at_a_time() {
    let mut world = World::new(&[Kind::Honest]);
    let stored = || vec![at(0, 7, false), at(0, 8, false)];
    // An epoch in which it is only asked what it holds, so that both can begin at once.
    world.limits.deposits = 0;
    world.epoch(stored());
    world.limits.deposits = 4;
    world.epoch(stored());
    assert_eq!((world.deposits.len(), world.most.deposits), (20, 1));
}

/// After damage it proves nothing once, and what is left and deposited anew from then on: no more than an eighth of all.
#[test]
fn damage_is_deposited_anew() {
    let mut world = World::new(&[Kind::Damaged]);
    world.epoch(vec![at(0, 7, false)]);
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(0)]);
    world.workers.get_mut(&id(0)).unwrap().kind = Kind::Honest;
    assert!(world.epoch(vec![at(0, 7, true)])[0] >= Some(1), "three chunks were left");
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(2)], "and two came again");
}

/// A validator that was restarted, or whose database is another, asks what it has deposited.
#[test]
fn a_validator_that_has_forgotten_all_proves_on() {
    let mut world = World::new(&[Kind::Honest]);
    world.epoch(vec![at(0, 7, false)]);
    let n = world.deposits.len();
    world.kept = Kept::default();
    assert_eq!(world.epoch(vec![at(0, 7, true)]), [Some(QUOTA)]);
    assert_eq!(world.deposits.len(), n, "nothing is sent twice");
    // With another secret its chunks are others: nothing is known of them, and nothing is there.
    let other = DepositId { tag: Hash::from_bytes([8; 32]), ..deposit(7) };
    let stored = || vec![StoredAt { deposit: other, ..at(0, 7, true) }];
    let first = world.epoch(stored());
    assert_ne!(first, [Some(0)], "no failure");
    assert_eq!(world.epoch(stored()), [Some(QUOTA)]);
}

/// Also of a worker that is not drawn for an epoch it is remembered that it has no room.
#[test]
fn an_epoch_without_a_worker_forgets_nothing_of_it() {
    let mut world = World::new(&[Kind::Full, Kind::Honest]);
    world.epoch(vec![at(0, 7, false), at(1, 7, false)]);
    world.epoch(vec![at(1, 7, true)]);
    world.limits.deposits = 0;
    let n_asked = world.workers[&id(0)].n_asked;
    assert_eq!(world.epoch(vec![at(0, 7, true), at(1, 7, true)]), [Some(0), Some(QUOTA)]);
    assert_eq!(world.workers[&id(0)].n_asked, n_asked, "what it holds is known");
}

/// What is proved of one worker in epochs around the settlement in which its next term begins. Three epochs are a settlement.
fn around_a_change(has_lead: bool) -> Vec<Option<u16>> {
    let mut world = World::new(&[Kind::Honest]);
    // Half of what is to be deposited.
    world.policy.storage_epoch_bytes = u64::from(ALL / 2) * Policy::CHUNK_BYTES;
    (0..2).for_each(|_| drop(world.epoch(vec![at(0, 7, false)])));
    let lead = |term| if has_lead { vec![at(0, term, false)] } else { vec![] };
    let mut all = Vec::new();
    for epoch in 0..6 {
        let stored = if epoch < 3 { [vec![at(0, 7, true)], lead(8)].concat() } else { vec![at(0, 8, true)] };
        all.extend(world.epoch(stored));
    }
    all
}

#[test]
fn a_term_ends_without_a_dip() {
    assert_eq!(around_a_change(true), [Some(QUOTA); 6]);
    // Negative control: if nothing is deposited ahead, the first epoch of the term cannot prove all.
    let proved = around_a_change(false);
    assert_eq!((proved[2], proved[5]), (Some(QUOTA), Some(QUOTA)));
    assert!(proved[3] <= Some(QUOTA / 2), "{proved:?}");
}

#[test]
fn deposits_keep_their_bounds_and_turns() {
    let n = 20;
    let mut world = World::new(&[Kind::Honest; 20]);
    world.policy.storage_epoch_bytes = 50 * Policy::CHUNK_BYTES;
    let stored = || (0..n).map(|n| at(n, 7, false)).collect::<Vec<_>>();
    // An epoch in which it is only asked what they hold.
    world.limits.deposits = 0;
    world.epoch(stored());
    world.limits.deposits = 4;
    world.epoch(stored());
    assert_eq!((world.deposits.len(), world.most.deposits), (50, 4));
    let of = |world: &World, n| world.workers[&id(n)].held[&deposit(7)];
    let held: Vec<_> = (0..n).map(|n| of(&world, n)).collect();
    assert!(held.iter().all(|held| (2..=3).contains(held)), "all have their turn: {held:?}");
    for _ in 0..3 {
        world.epoch(stored());
    }
    assert!((0..n).all(|n| of(&world, n) == ALL));
    assert_eq!(world.deposits.len(), usize::from(n) * 10, "each chunk once");
    assert_eq!(world.counts.deposits(StorageOutcome::Done), 200);
}

/// Those that take no chunks have no turn before those that do.
#[test]
fn whoever_takes_no_chunks_keeps_nobody_waiting() {
    let mut kinds = [Kind::Dropping; 12];
    kinds[11] = Kind::Honest;
    let mut world = World::new(&kinds);
    let stored = || (0..12).map(|n| at(n, 7, true)).collect::<Vec<_>>();
    world.epoch(stored());
    let proved = world.epoch(stored());
    assert_eq!((proved[11], proved[0]), (Some(QUOTA), Some(0)));
}
