//! Random histories: settlements, posts, pushes, claims, races, pauses, rotations, thefts, withdrawals and successors in any
//! order, against a model that is a page long.
//!
//! Every payment is the one that the model expects. After every step, for every account, the sum of what was paid is what
//! `paidOf` says, not more than is owed, and what the recipient holds; and no token is lost. In the end everybody is paid
//! everything.

use std::collections::BTreeMap;

use lucid_tron_devnet::Address;
use proptest::prelude::*;

use super::abi::{Event, Word};
use super::code::Code;
use super::tokens::{Mode, misbehave};
use super::tree::{Item, Root};
use super::world::{Deployment, Outcome, PERIOD, Setup, Token, Who, World, id};

const WORKERS: usize = 6;
const THIEF: usize = 99;
/// Sets of signers, of whom two must sign.
const SIGNERS: [[usize; 3]; 4] = [[0, 1, 2], [3, 4, 5], [0, 3, 6], [1, 4, 7]];

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// The ledger makes the next settlement, in which everybody has earned so much.
    Settle([u16; WORKERS]),
    /// Somebody posts a settlement's root: the newest, or one so far before it.
    Post(usize),
    /// Somebody pushes a range.
    Push {
        by: usize,
        start: usize,
        n: usize,
    },
    /// A worker claims.
    Claim(usize),
    Fund(u16),
    Travel(u64),
    /// The owner (3) or a signer.
    Pause(usize),
    Unpause(usize),
    Rotate(usize),
    Limits {
        cap: u16,
        push_fee: u8,
    },
    AskWithdrawal(u16),
    Withdraw,
    Close,
    /// A successor is deployed, if the vault is closed.
    Succeed,
    /// The token refuses a worker, or nobody.
    Refuse(usize),
    /// Two stolen keys sign a root that owes everything to a thief, who takes what there is.
    Steal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<[u16; WORKERS]>().prop_map(Step::Settle),
        6 => Just(Step::Post(0)),
        2 => (1..3usize).prop_map(Step::Post),
        10 => (0..3usize, 0..WORKERS, 1..=WORKERS).prop_map(|(by, start, n)| Step::Push { by, start, n }),
        6 => (0..WORKERS).prop_map(Step::Claim),
        2 => any::<u16>().prop_map(Step::Fund),
        3 => (0..3 * PERIOD).prop_map(Step::Travel),
        1 => (0..4usize).prop_map(Step::Pause),
        3 => (0..4usize).prop_map(Step::Unpause),
        2 => (0..SIGNERS.len()).prop_map(Step::Rotate),
        1 => any::<(u16, u8)>().prop_map(|(cap, push_fee)| Step::Limits { cap, push_fee }),
        1 => any::<u16>().prop_map(Step::AskWithdrawal),
        2 => Just(Step::Withdraw),
        1 => Just(Step::Close),
        2 => Just(Step::Succeed),
        1 => (0..=WORKERS).prop_map(Step::Refuse),
        1 => Just(Step::Steal),
    ]
}

/// A root and its leaves.
#[derive(Clone, Debug)]
struct Settlement {
    root: Root,
    items: Vec<Item>,
}

/// The world, and what should be so in it.
#[derive(Debug)]
struct Model {
    world: World,
    owed: [u64; WORKERS],
    /// Cumulative allowance for push fees.
    fees: u64,
    settlements: Vec<Settlement>,
    in_force: Option<Settlement>,
    paid: BTreeMap<Word, u64>,
    fees_paid: u64,
    /// What each address should hold.
    held: BTreeMap<Address, u64>,
    /// What the vault should hold.
    funds: u64,
    /// Spent in a period, and that period's number.
    spent: (u64, u64),
    cap: u64,
    push_fee: u64,
    refused: Option<Address>,
}

impl Model {
    fn new() -> Self {
        let setup = Setup {
            token: Token::Hostile,
            cap: 100_000,
            push_fee: 5,
            funds: 100_000,
            workers: u32::try_from(WORKERS).unwrap(),
            ..Setup::default()
        };
        Self {
            world: World::with(&Code::genuine(), setup),
            owed: [0; WORKERS],
            fees: 0,
            settlements: Vec::new(),
            in_force: None,
            paid: BTreeMap::new(),
            fees_paid: 0,
            held: BTreeMap::new(),
            funds: setup.funds,
            spent: (0, 0),
            cap: setup.cap,
            push_fee: setup.push_fee,
            refused: None,
        }
    }

    fn paid_to(&self, id: &Word) -> u64 {
        self.paid.get(id).copied().unwrap_or(0)
    }

    fn paid_in_all(&self) -> u64 {
        self.paid.values().sum()
    }

    /// The newest settlement number that the vault knows.
    fn posted(&self) -> u64 {
        self.in_force.as_ref().map_or(0, |settlement| settlement.root.settlement)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Settle(earned) => self.settle(earned),
            Step::Post(back) => {
                if let Some(settlement) = self.settlements.iter().rev().nth(back).cloned() {
                    self.post(settlement);
                }
            }
            Step::Push { by, start, n } => {
                self.push([Who::Leader, Who::Stranger, Who::Signer(10)][by], start, n);
            }
            Step::Claim(worker) => self.claim(worker),
            Step::Fund(amount) => self.fund(u64::from(amount)),
            Step::Travel(seconds) => self.world.travel(seconds),
            Step::Pause(who) => drop(self.act(officer(&self.world, who), "pause()")),
            Step::Unpause(who) => drop(self.act(officer(&self.world, who), "unpause()")),
            Step::Rotate(set) => self.rotate(set),
            Step::Limits { cap, push_fee } => self.set_limits(u64::from(cap), u64::from(push_fee)),
            Step::AskWithdrawal(amount) => {
                let _ = self.world.ask_withdrawal(self.world.at(Who::Owner), u64::from(amount));
            }
            Step::Withdraw => drop(self.act(Who::Owner, "withdraw()")),
            Step::Close => drop(self.act(Who::Owner, "close()")),
            Step::Succeed => self.succeed(),
            Step::Refuse(worker) => self.refuse(worker),
            Step::Steal => self.steal(),
        }
    }

    fn act(&mut self, who: Who, signature: &str) -> Outcome {
        let outcome = self.world.act(who, signature, &[]);
        self.note(&outcome);
        outcome
    }

    /// What the events say happened to the tokens.
    fn note(&mut self, outcome: &Outcome) {
        let window = self.world.now() / PERIOD;
        for event in outcome.iter().flatten() {
            let (to, amount, counts) = match event {
                Event::Paid { id, to, amount, .. } => {
                    *self.paid.entry(*id).or_default() += amount;
                    (to, amount, true)
                }
                Event::FeePaid { to, amount } => {
                    self.fees_paid += amount;
                    (to, amount, true)
                }
                Event::Withdrawn { to, amount } => (to, amount, false),
                _ => continue,
            };
            *self.held.entry(*to).or_default() += amount;
            self.funds -= amount;
            if counts {
                self.spent = (self.spent_in(window) + amount, window);
            }
        }
    }

    fn spent_in(&self, window: u64) -> u64 {
        if self.spent.1 == window { self.spent.0 } else { 0 }
    }

    fn settle(&mut self, earned: [u16; WORKERS]) {
        for (owed, earned) in self.owed.iter_mut().zip(earned) {
            *owed += u64::from(earned);
        }
        self.fees += self.push_fee * 4;
        let number = u64::try_from(self.settlements.len()).unwrap() + 1;
        let items = self.world.items(&self.owed);
        let root = self.world.root_of(number, items.clone());
        // What thieves took is booked at once, fees beyond the allowance too.
        let total = root.total + self.paid_to(&id(THIEF)) + self.fees.max(self.fees_paid);
        let root = Root { total, fees: self.fees, ..root };
        self.settlements.push(Settlement { root, items });
    }

    fn post(&mut self, settlement: Settlement) {
        let is_same = self.in_force.as_ref().is_some_and(|now| now.root == settlement.root);
        let expected = if self.world.is_closed() {
            Some("IsClosed".to_owned())
        } else if settlement.root.settlement <= self.posted() && !is_same {
            Some(format!("Stale({})", self.posted()))
        } else {
            None
        };
        let outcome = self.world.post_root(&settlement.root);
        assert_eq!(outcome.err(), expected);
        if expected.is_none() {
            self.in_force = Some(settlement);
        }
    }

    /// Puts the items of the root in force, or of any other, before the world.
    fn show(&mut self) -> u64 {
        let shown = self.in_force.as_ref().or(self.settlements.last()).cloned();
        let Some(Settlement { root, items }) = shown else {
            let items = self.world.items(&self.owed);
            return self.world.root_of(1, items).settlement;
        };
        self.world.root_of(root.settlement, items).settlement
    }

    fn push(&mut self, by: Who, start: usize, n: usize) {
        let settlement = self.show();
        let start = start.min(self.world.items.len() - 1);
        let n = n.min(self.world.items.len() - start);
        let expected = self.expected(by, start..start + n);
        let outcome = self.world.push(by, settlement, start, n);
        assert_eq!(outcome, expected);
        self.note(&outcome);
    }

    fn claim(&mut self, worker: usize) {
        let settlement = self.show();
        // Under a thief's root there is nothing to claim.
        if worker < self.world.items.len() && self.world.items.len() == WORKERS {
            let expected = self.expected(Who::Worker(worker), worker..worker + 1);
            let outcome = self.world.claim(settlement, worker);
            assert_eq!(outcome, expected);
            self.note(&outcome);
        }
    }

    /// What a push of these items does: the rule of the vault once more.
    fn expected(&self, by: Who, which: std::ops::Range<usize>) -> Outcome {
        if self.world.is_closed() {
            return Err("IsClosed".into());
        }
        if self.world.is_paused() {
            return Err("IsPaused".into());
        }
        let Some(Settlement { root, items }) = &self.in_force else { return Err("Stale(0)".into()) };
        let items = &items[which];
        if items.iter().all(|item| item.owed <= self.paid_to(&item.id)) {
            return Err("NothingPaid(0)".into());
        }
        let window = self.world.now() / PERIOD;
        let bounds = [
            (root.total.saturating_sub(self.paid_in_all() + self.fees_paid), 2),
            (self.cap.saturating_sub(self.spent_in(window)), 3),
            (self.funds, 4),
        ];
        let (mut left, short) = bounds.into_iter().min_by_key(|(bound, _)| *bound).unwrap();
        let (mut events, mut n_paid, mut last) = (Vec::new(), 0, 0);
        for item in items {
            let due = item.owed.saturating_sub(self.paid_to(&item.id));
            let amount = due.min(left);
            if due == 0 {
                continue;
            }
            if amount > 0 && self.refused != Some(item.to) {
                left -= amount;
                n_paid += 1;
                events.push(Event::Paid { id: item.id, to: item.to, amount, owed: item.owed });
            } else {
                last = if amount == 0 { short } else { 5 };
                events.push(Event::Skipped { id: item.id, reason: last });
            }
        }
        if n_paid == 0 {
            return Err(format!("NothingPaid({last})"));
        }
        let room = left.min(root.fees.saturating_sub(self.fees_paid));
        let fee = self.push_fee * room.checked_div(self.push_fee).unwrap_or(0).min(n_paid);
        if fee > 0 {
            events.push(Event::FeePaid { to: self.world.at(by), amount: fee });
        }
        Ok(events)
    }

    fn fund(&mut self, amount: u64) {
        self.world.fund(amount);
        self.funds += amount;
    }

    fn rotate(&mut self, set: usize) {
        self.world.rotate(&SIGNERS[set], 2).unwrap();
        self.in_force = None;
    }

    fn set_limits(&mut self, cap: u64, push_fee: u64) {
        let data = self.world.limits(cap, push_fee, &self.world.quorum());
        self.world.call(Who::Owner, self.world.vault, data).unwrap();
        (self.cap, self.push_fee) = (cap, push_fee);
    }

    fn succeed(&mut self) {
        if !self.world.is_closed() {
            return;
        }
        let (cap, push_fee, previous) = (self.cap, self.push_fee, self.world.vault);
        let deployment = Deployment { cap, push_fee, previous, ..self.world.deployment() };
        self.world.vault = self.world.deploy(&deployment).unwrap();
        (self.in_force, self.funds, self.spent) = (None, 0, (0, 0));
    }

    fn refuse(&mut self, worker: usize) {
        let victim = (worker < WORKERS).then_some(Who::Worker(worker));
        let mode = if victim.is_some() { Mode::Refuse } else { Mode::Plain };
        misbehave(&mut self.world, mode, victim, 0);
        self.refused = victim.map(|who| self.world.at(who));
    }

    fn steal(&mut self) {
        let items = vec![Item { id: id(THIEF), to: self.world.at(Who::Stranger), owed: u64::MAX }];
        let root = self.world.root_of(self.posted() + 1_000, items.clone());
        let root = Root { total: u64::MAX, fees: u64::MAX, ..root };
        self.post(Settlement { root, items });
        self.push(Who::Stranger, 0, 1);
    }

    fn check(&self) {
        let world = &self.world;
        assert_eq!(world.balance(world.vault), self.funds);
        for (i, owed) in self.owed.iter().enumerate() {
            let paid = self.paid_to(&id(i));
            assert_eq!(world.paid_of(i), paid);
            assert!(paid <= *owed, "worker {i}: {paid} of {owed}");
        }
        assert_eq!(world.paid_of(THIEF), self.paid_to(&id(THIEF)));
        for (address, held) in &self.held {
            assert_eq!(world.balance(*address), *held);
        }
        assert_eq!(world.sums()[..2], [self.paid_in_all(), self.fees_paid]);
    }

    /// Whatever has happened: with honest signers, an owner who ends pauses, and funds, everybody is paid.
    fn end_well(&mut self) {
        self.refuse(WORKERS);
        self.succeed();
        let _ = self.act(Who::Owner, "unpause()");
        self.rotate(1);
        self.set_limits(u64::MAX, self.push_fee);
        self.fund(100_000_000);
        self.settle([1; WORKERS]);
        let newest = self.settlements.last().cloned().unwrap();
        self.post(newest);
        self.push(Who::Leader, 0, WORKERS);
        self.check();
        for (i, owed) in self.owed.iter().enumerate() {
            assert_eq!(self.paid_to(&id(i)), *owed, "worker {i}");
        }
    }
}

fn officer(world: &World, who: usize) -> Who {
    world.signers.get(who).map_or(Who::Owner, |signer| Who::Signer(*signer))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_pays_everybody_once(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
            model.check();
        }
        model.end_well();
    }
}
