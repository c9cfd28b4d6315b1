//! The courier in a small world: durable stores, real treasury signers' keys, and a chain that includes what it is sent.
//! Crashes are placed before and after every effect.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::{LazyLock, Mutex};

use lucid_types::genesis::TreasurySigner;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::TreasurySignature;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::client::Answer;
use crate::key::TreasuryKey;
use crate::signature::recover;
use crate::testing::{self, START};
use crate::transfer::{UnsignedTransfer, transfer};
use lucid_tron_types::proto::Transaction;

const TIMING: Timing = Timing {
    leader_timeout: Duration::from_millis(5_000),
    sign_retry: Duration::from_millis(1_000),
    persist_retry: Duration::from_millis(1_000),
    look_every: Duration::from_millis(1_000),
    resend_every: Duration::from_millis(2_000),
};

fn at(ms: u64) -> UnixMillis {
    UnixMillis::new(START + ms)
}

fn key_of(n: u8) -> TreasuryKey {
    TreasuryKey::from_secret(&[n; 32]).unwrap()
}

fn treasury(n: u8, k: u32) -> Treasury {
    static ADDRESSES: LazyLock<Vec<PayoutAddress>> = LazyLock::new(|| (1..=5).map(|n| key_of(n).address()).collect());
    let signers = (1..=n)
        .zip(ADDRESSES.iter())
        .map(|(n, address)| TreasurySigner { node: NodeId::from_bytes([n; 32]), key_address: *address })
        .collect();
    Treasury { address: PayoutAddress::from_hash20([0xee; 20]), permission_id: 2, threshold: k, signers }
}

/// Everything outside the couriers, all of it surviving their crashes.
struct World {
    now: u64,
    treasury: Treasury,
    attempt: PayoutAttempt,
    transfer: UnsignedTransfer,
    /// Stored transaction of each node.
    stored: BTreeMap<u32, Vec<u8>>,
    /// Every transaction that was ever sent, by id.
    sent: BTreeSet<TxId>,
    /// When the chain includes what it was sent.
    included_at: Option<u64>,
    n_sent: u32,
    /// What the providers answer to a broadcast; `Accepted` when empty.
    answers: VecDeque<Option<BroadcastOutcome>>,
    /// Broadcasts that the chain silently drops.
    drops: u32,
    reports: Vec<PayoutStatus>,
    /// How many of the next effects come to nothing.
    lost: usize,
}

impl World {
    fn new(n: u8, k: u32) -> Self {
        let attempt = testing::attempt(7, 1, testing::reference());
        let transfer = transfer(&attempt).unwrap();
        Self {
            now: 0,
            treasury: treasury(n, k),
            attempt,
            transfer,
            stored: BTreeMap::new(),
            sent: BTreeSet::new(),
            included_at: None,
            n_sent: 0,
            answers: VecDeque::new(),
            drops: 0,
            reports: Vec::new(),
            lost: 0,
        }
    }

    fn key(&self) -> AttemptKey {
        (self.attempt.payout, self.attempt.attempt)
    }

    fn is_included(&self) -> bool {
        self.included_at.is_some_and(|at| self.now >= at)
    }

    fn assignment(&self, rank: u32) -> Input {
        Input::Opened(Box::new(Assignment {
            attempt: self.attempt.clone(),
            treasury: self.treasury.clone(),
            rank,
            opened: at(0),
            stored: self.stored.get(&rank).cloned(),
        }))
    }

    /// Signatures are deterministic, so making each once changes nothing.
    fn sign(&self, signer: NodeId) -> TreasurySignature {
        static MADE: Mutex<BTreeMap<(NodeId, TxId), TreasurySignature>> = Mutex::new(BTreeMap::new());
        let make = || key_of(signer.as_bytes()[0]).sign_transfer(&self.transfer).unwrap();
        *MADE.lock().unwrap().entry((signer, self.transfer.tx_id())).or_insert_with(make)
    }

    /// Executes an effect of the node of `rank`, checking what must always hold, and returns its answer.
    fn execute(&mut self, rank: u32, effect: Effect) -> Option<Input> {
        match effect {
            Effect::RequestSignature { key, signer } => {
                Some(Input::Signature { key, signer, reply: Some(CosignReply::Signed(self.sign(signer))) })
            }
            Effect::Persist { key, transaction } => {
                self.stored.insert(rank, transaction);
                Some(Input::Persisted(key))
            }
            Effect::Broadcast { key, transaction } => {
                assert_eq!(self.stored.get(&rank), Some(&transaction), "only what is durable is sent");
                assert!(at(self.now) < self.attempt.expiration, "nothing is sent after the expiration");
                let parsed = Transaction::decode(transaction.as_slice()).unwrap();
                assert_eq!(parsed.raw_data, self.transfer.raw_data());
                let signers: BTreeSet<_> = parsed
                    .signature
                    .iter()
                    .map(|s| recover(&TreasurySignature::from_bytes(s[..].try_into().unwrap()), &self.transfer.tx_id()))
                    .map(Result::unwrap)
                    .collect();
                assert_eq!(signers.len(), usize::try_from(self.treasury.threshold).unwrap());
                assert!(signers.iter().all(|a| self.treasury.signers.iter().any(|s| s.key_address == *a)));
                self.n_sent += 1;
                self.sent.insert(self.transfer.tx_id());
                let outcome = self.answers.pop_front().unwrap_or(Some(BroadcastOutcome::Accepted));
                if outcome == Some(BroadcastOutcome::Accepted) {
                    if self.drops > 0 {
                        self.drops -= 1;
                    } else {
                        self.included_at.get_or_insert(self.now + 1_500);
                    }
                }
                Some(Input::Sent { key, outcome })
            }
            Effect::Look { key, tx_id } => {
                assert_eq!(tx_id, self.transfer.tx_id());
                Some(Input::Looked { key, is_included: Some(self.is_included()) })
            }
            Effect::Forget(_) => {
                self.stored.remove(&rank);
                None
            }
            Effect::Report { status, .. } => {
                self.reports.push(status);
                None
            }
        }
    }
}

/// Where a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    BeforeEffect(usize),
    AfterEffect(usize),
}

/// A node: a courier, its effects yet to be executed, and its planned crashes.
struct Node {
    rank: u32,
    courier: Courier,
    queue: VecDeque<Effect>,
    n_effects: usize,
    crashes: Vec<Crash>,
    /// Whether it starts again after a crash.
    restarts: bool,
    is_up: bool,
}

impl Node {
    fn start(world: &World, rank: u32, crashes: Vec<Crash>, restarts: bool) -> Self {
        let mut node = Self {
            rank,
            courier: Courier::new(TIMING),
            queue: VecDeque::new(),
            n_effects: 0,
            crashes,
            restarts,
            is_up: true,
        };
        node.feed(world, world.assignment(rank));
        node
    }

    fn feed(&mut self, world: &World, input: Input) {
        self.queue.extend(self.courier.handle(at(world.now), input).unwrap());
    }

    /// Runs until nothing is left to do at this moment.
    fn settle(&mut self, world: &mut World) {
        while let Some(effect) = self.queue.pop_front().filter(|_| self.is_up) {
            let index = self.n_effects;
            self.n_effects += 1;
            if world.lost > 0 {
                world.lost -= 1;
                continue;
            }
            if self.crashes.contains(&Crash::BeforeEffect(index)) {
                self.crash(world);
                continue;
            }
            let answer = world.execute(self.rank, effect);
            if self.crashes.contains(&Crash::AfterEffect(index)) {
                self.crash(world);
                continue;
            }
            if let Some(input) = answer {
                self.feed(world, input);
            }
        }
    }

    fn crash(&mut self, world: &World) {
        self.queue.clear();
        self.courier = Courier::new(TIMING);
        self.is_up = self.restarts;
        if self.is_up {
            self.feed(world, world.assignment(self.rank));
        }
    }
}

/// Lets time pass from wake to wake until the chain includes the transaction or `until` is reached.
fn run(world: &mut World, nodes: &mut [Node], until: u64) {
    for node in nodes.iter_mut() {
        node.settle(world);
    }
    while !world.is_included() && world.now < until {
        let wakes = nodes.iter().filter(|n| n.is_up).filter_map(|n| n.courier.next_wake());
        let next = wakes.min().map_or(until, |at| at.get() - START);
        world.now = next.clamp(world.now + 1, until);
        for node in nodes.iter_mut().filter(|n| n.is_up) {
            node.feed(world, Input::Tick);
            node.settle(world);
        }
    }
}

#[test]
fn a_leader_signs_persists_sends_and_sees_it_confirmed() {
    let mut world = World::new(1, 1);
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 30_000);
    assert_eq!(world.n_sent, 1);
    world.now += 2_000;
    nodes[0].feed(&world, Input::Tick);
    nodes[0].settle(&mut world);
    use PayoutStatus::{Broadcast, Confirming, Scheduled, Signing};
    assert_eq!(world.reports, [Scheduled, Signing, Broadcast, Confirming]);
    assert_eq!(world.stored.len(), 1);
    let key = world.key();
    nodes[0].feed(&world, Input::Closed(key));
    nodes[0].settle(&mut world);
    assert!(world.stored.is_empty(), "what is over is forgotten");
    assert_eq!(nodes[0].courier.next_wake(), None);
}

/// Number of effects of a run without a crash.
fn n_effects(n: u8, k: u32) -> usize {
    let mut world = World::new(n, k);
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 30_000);
    nodes[0].n_effects
}

fn all_crashes(n: usize) -> impl Iterator<Item = Crash> + Clone {
    (0..n).flat_map(|i| [Crash::BeforeEffect(i), Crash::AfterEffect(i)])
}

#[test]
fn invariant_a_crash_anywhere_neither_loses_nor_doubles() {
    for (n, k) in [(1, 1), (3, 2), (5, 3)] {
        let effects = n_effects(n, k);
        assert!(effects >= 6, "{effects}");
        for first in all_crashes(effects) {
            // A second crash anywhere in the run that follows the first; with many signers every third place.
            for second in all_crashes(effects * 2).step_by(if n > 1 { 3 } else { 1 }) {
                let mut world = World::new(n, k);
                let mut nodes = [Node::start(&world, 0, vec![first, second], true)];
                run(&mut world, &mut nodes, 30_000);
                assert!(world.is_included(), "{n} {k} {first:?} {second:?}");
                assert_eq!(world.sent, BTreeSet::from([world.transfer.tx_id()]));
            }
        }
    }
}

#[test]
fn invariant_a_successor_finishes_what_a_dead_leader_began() {
    for crash in all_crashes(n_effects(3, 2)) {
        let mut world = World::new(3, 2);
        let mut nodes = [Node::start(&world, 0, vec![crash], false), Node::start(&world, 1, vec![], false)];
        run(&mut world, &mut nodes, 30_000);
        assert!(world.is_included(), "{crash:?}");
        assert_eq!(world.sent.len(), 1);
    }
}

#[test]
fn a_successor_waits_its_turn_and_stays_quiet_when_the_leader_sent() {
    let mut world = World::new(1, 1);
    let mut nodes = [Node::start(&world, 0, vec![], false), Node::start(&world, 2, vec![], false)];
    run(&mut world, &mut nodes, 30_000);
    for _ in 0..40 {
        world.now += 1_000;
        for node in &mut nodes {
            node.feed(&world, Input::Tick);
            node.settle(&mut world);
        }
    }
    assert_eq!(world.n_sent, 1);
    let key = world.key();
    assert_eq!(nodes[1].courier.status(&key), Some((PayoutStatus::Confirming, "")));

    // Without a leader the second successor begins after two time-outs, not before.
    let mut world = World::new(1, 1);
    let mut nodes = [Node::start(&world, 2, vec![], false)];
    run(&mut world, &mut nodes, 9_999);
    assert_eq!((world.n_sent, nodes[0].n_effects), (0, 1), "only the report that it is scheduled");
    run(&mut world, &mut nodes, 30_000);
    assert!(world.is_included() && world.now >= 10_000);
}

#[test]
fn the_same_bytes_are_sent_again_until_a_block_has_them() {
    let mut world = World::new(1, 1);
    world.drops = 3;
    let busy = Answer { code: "SERVER_BUSY".into(), message: String::new() };
    world.answers = [None, Some(BroadcastOutcome::Retry(busy)), Some(BroadcastOutcome::Duplicate)].into();
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 50_000);
    assert!(world.is_included());
    assert_eq!(world.n_sent, 3 + 3 + 1);
    assert_eq!(world.sent.len(), 1);
}

#[test]
fn a_lost_effect_of_any_kind_is_repeated() {
    for n_before in 0..n_effects(3, 2) {
        for n_lost in 1..4 {
            let mut world = World::new(3, 2);
            let mut node = Node::start(&world, 0, vec![], false);
            for _ in 0..n_before {
                let Some(effect) = node.queue.pop_front() else { break };
                if let Some(input) = world.execute(0, effect) {
                    node.feed(&world, input);
                }
            }
            world.lost = n_lost;
            run(&mut world, &mut [node], 40_000);
            assert!(world.is_included(), "{n_lost} effects lost after {n_before}");
            assert_eq!(world.sent.len(), 1);
        }
    }
}

#[test]
fn a_fork_that_drops_the_transaction_makes_it_be_sent_again() {
    let mut world = World::new(1, 1);
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 30_000);
    let key = world.key();
    world.now += 10_000;
    nodes[0].feed(&world, Input::Tick);
    nodes[0].settle(&mut world);
    assert_eq!(world.n_sent, 1, "nothing is sent in vain");
    world.included_at = None;
    world.now += 5_000;
    nodes[0].feed(&world, Input::Tick);
    nodes[0].settle(&mut world);
    assert_eq!(world.n_sent, 2);
    assert_eq!(nodes[0].courier.status(&key).unwrap().0, PayoutStatus::Broadcast);
}

#[test]
fn nothing_is_sent_after_the_expiration() {
    let mut world = World::new(1, 1);
    world.drops = u32::MAX;
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 200_000);
    assert!(world.n_sent >= 20, "{}", world.n_sent);
    let key = world.key();
    assert_eq!(nodes[0].courier.status(&key).unwrap().0, PayoutStatus::Expired);
    // The chain may have taken it at the last moment all the same: that is shown.
    nodes[0].feed(&world, Input::Looked { key, is_included: Some(true) });
    assert_eq!(nodes[0].courier.status(&key).unwrap().0, PayoutStatus::Confirming);
}

#[test]
fn a_signature_error_of_the_chain_stops_and_is_shown() {
    let mut world = World::new(1, 1);
    let bug = Answer { code: "SIGERROR".into(), message: "not contained of permission".into() };
    world.answers = [Some(BroadcastOutcome::Bug(bug))].into();
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 50_000);
    assert_eq!(world.n_sent, 1);
    let (status, detail) = nodes[0].courier.status(&world.key()).unwrap();
    assert_eq!(status, PayoutStatus::Held);
    assert!(detail.contains("SIGERROR not contained of permission"), "{detail}");
}

#[test]
fn wrong_missing_and_refused_signatures_are_asked_for_again() {
    let world = World::new(3, 2);
    let key = world.key();
    let mut courier = Courier::new(TIMING);
    let asked = |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::RequestSignature { .. })).count();
    assert_eq!(asked(&courier.handle(at(0), world.assignment(0)).unwrap()), 3);
    let signer = |n: u8| NodeId::from_bytes([n; 32]);
    let mut answer = |now: u64, n: u8, reply: Option<CosignReply>| {
        let effects = courier.handle(at(now), Input::Signature { key, signer: signer(n), reply }).unwrap();
        (effects, courier.status(&key).unwrap().1.to_owned())
    };
    // Signer 1 sends signer 2's signature; an outsider sends its own.
    let (effects, detail) = answer(1, 1, Some(CosignReply::Signed(world.sign(signer(2)))));
    assert!(effects.is_empty() && detail.contains("not its own"), "{effects:?} {detail}");
    let (effects, _) = answer(1, 9, Some(CosignReply::Signed(world.sign(signer(9)))));
    assert!(effects.is_empty());
    let (_, detail) = answer(2, 2, Some(CosignReply::Refused("the day cap\n is 5".into())));
    assert!(detail.contains("refuses: the day cap is 5"), "{detail}");
    let (_, detail) = answer(3, 3, None);
    assert!(detail.contains("unreachable"), "{detail}");
    assert_eq!(courier.next_wake(), Some(at(1_000)));
    assert_eq!(asked(&courier.handle(at(1_000), Input::Tick).unwrap()), 3);
    let mut answer = |now: u64, n: u8| {
        let reply = Some(CosignReply::Signed(world.sign(signer(n))));
        courier.handle(at(now), Input::Signature { key, signer: signer(n), reply }).unwrap()
    };
    assert_eq!(answer(1_001, 3), []);
    // The same signer twice is still one signature.
    assert_eq!(answer(1_002, 3), []);
    assert!(matches!(answer(1_003, 1)[..], [Effect::Persist { .. }]));
}

#[test]
fn a_stored_transaction_of_something_else_is_not_sent() {
    let mut world = World::new(1, 1);
    let other = transfer(&testing::attempt(8, 1, testing::reference())).unwrap();
    let foreign = other.with_signatures(&[key_of(1).sign_transfer(&other).unwrap()]);
    let unsigned = world.transfer.with_signatures(&[]);
    let stranger = world.transfer.with_signatures(&[key_of(9).sign_transfer(&world.transfer).unwrap()]);
    for stored in [foreign, unsigned, stranger, vec![0xff; 9]] {
        world.stored.insert(0, stored);
        let effects = Courier::new(TIMING).handle(at(0), world.assignment(0)).unwrap();
        assert!(effects.iter().any(|e| matches!(e, Effect::RequestSignature { .. })), "{effects:?}");
        assert!(!effects.iter().any(|e| matches!(e, Effect::Broadcast { .. })), "{effects:?}");
    }
}

#[test]
fn inputs_about_unknown_or_known_attempts_change_nothing() {
    let mut world = World::new(1, 1);
    let key = world.key();
    let mut courier = Courier::new(TIMING);
    for input in [Input::Persisted(key), Input::Closed(key), Input::Sent { key, outcome: None }, Input::Tick] {
        assert_eq!(courier.handle(at(0), input).unwrap(), []);
    }
    let mut nodes = [Node::start(&world, 0, vec![], false)];
    run(&mut world, &mut nodes, 30_000);
    assert_eq!(nodes[0].courier.handle(at(world.now), world.assignment(0)).unwrap(), [], "opened twice");
}

proptest! {
    /// Any mix of lost effects, failing providers, unreachable signers and crashes: never anything but the one
    /// transaction, and once the world heals before the expiration it gets into a block.
    #[test]
    fn invariant_chaos_then_healing_pays_once(
        chaos in prop::collection::vec((0_u8..7, 1_u64..2_500), 1..25),
        ranks in prop::collection::vec(0_u32..3, 1..3),
    ) {
        let mut world = World::new(3, 2);
        let mut nodes: Vec<_> = ranks.iter().collect::<BTreeSet<_>>().into_iter()
            .map(|rank| Node::start(&world, *rank, vec![], true)).collect();
        for (trouble, wait) in chaos {
            for node in &mut nodes {
                match trouble {
                    0 => { node.queue.pop_front(); }
                    1 => node.crash(&world),
                    2 => { node.queue.retain(|e| !matches!(e, Effect::RequestSignature { .. })); }
                    3 => world.answers.push_back(None),
                    4 => world.drops += 1,
                    5 => world.lost += 2,
                    _ => world.included_at = None,
                }
                node.settle(&mut world);
            }
            world.now = (world.now + wait).min(30_000);
            for node in &mut nodes {
                node.feed(&world, Input::Tick);
            }
        }
        world.drops = 0;
        world.lost = 0;
        world.answers.clear();
        run(&mut world, &mut nodes, 58_000);
        prop_assert!(world.is_included());
        prop_assert_eq!(world.sent.len(), 1);
    }
}
