//! What coalitions of validators can do to medians under the public policy: `cargo run -p lucid-score --example seats`.
//!
//! Every row is of 2,000 workers in 10 epochs, each with the seats that its epoch's seed draws. Beside it stands the rule before seats: a
//! committee of 21 drawn by power without replacement, weighted by power again in its medians, with a quorum of heads. (That rule also
//! lowered weights until none exceeded half of the others; two that are lowered so are as heavy as each other and all the rest, and
//! outweigh it still.)

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::unwrap_used, reason = "the sets are written here")]

use std::collections::BTreeSet;

use lucid_score::draw::{Candidate, EpochDraw};
use lucid_score::storage::{StorageTerm, Terms};
use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::codec::encode;
use lucid_types::id::{Hash, NodeId, PoolId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::{AssignedWorker, Observation, Reveal, ScoreReport};
use lucid_types::signed::Signature;
use lucid_types::time::Epoch;
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKeys;

const EPOCHS: u32 = 10;
const WORKERS: u32 = 2_000;

/// The first `liars` of the validators act together.
struct Coalition {
    name: &'static str,
    liars: usize,
    powers: Vec<u64>,
}

/// In how many worker-epochs something holds.
#[derive(Default)]
struct Count {
    holds: u64,
    of: u64,
}

impl Count {
    fn add(&mut self, holds: bool) {
        self.holds += u64::from(holds);
        self.of += 1;
    }

    fn percent(&self) -> String {
        let hundredths = (self.holds * 10_000 + self.of / 2) / self.of.max(1);
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

fn node(kind: &'static str, number: u32) -> NodeId {
    NodeId::from_bytes(*Hash::derive(kind, &[&number.to_le_bytes()]).as_bytes())
}

fn validators(powers: &[u64]) -> Vec<Validator> {
    let validator = |(number, power): (u32, &u64)| {
        let node = node("validator", number);
        // Nothing is signed here: the keys are the node's id.
        let keys = ValidatorKeys {
            id: ValidatorId::from_bytes(*node.as_bytes()),
            proof: Signature::from_bytes([0; 64]),
            bls_key: BlsPublicKey::from_bytes([node.as_bytes().as_slice(); 3].concat().try_into().unwrap()),
            bls_proof: BlsSignature::from_bytes([0; 48]),
        };
        Validator { node, power: *power, operator: node, keys }
    };
    (0..).zip(powers).map(validator).collect()
}

fn seed(epoch: u32) -> Hash {
    Hash::derive("seed", &[&epoch.to_le_bytes()])
}

fn draw(policy: &Policy, seed: Hash, set: &ValidatorSet) -> EpochDraw {
    let workers = (0..WORKERS).map(|number| (node("worker", number), NetworkGroup::NONE));
    // Each of an operator of its own, with 48 GiB of disk.
    let pool = PoolId::from_bytes([1; 32]);
    let candidate =
        |node: &NodeId| Candidate { operator: *node, pool, kbit_s: 0, disk_bytes: 48 << 30, takes_traffic: true };
    let term = StorageTerm::new(&seed, 1, set);
    EpochDraw::new(policy, seed, Epoch::new(1), set, &Terms::from_iter([(1, &term)]), workers, candidate)
}

/// How far lies can move a median: in hundredths of a percent of the honest seats that lie between it and the honest median. From the middle on
/// it is theirs.
fn shift(lies: u64, all: u64) -> u64 {
    (5_000 * lies).checked_div(all - lies).map_or(5_000, |shift| shift.min(5_000))
}

/// The rule before: `size` validators drawn by power without replacement; positions in `powers`.
fn committee(powers: &[u64], size: u32, seed: &Hash, worker: &NodeId) -> BTreeSet<usize> {
    let mut drawn = BTreeSet::new();
    for i in 0..size.min(u32::try_from(powers.len()).unwrap()) {
        let rest = || powers.iter().enumerate().filter(|(place, _)| !drawn.contains(place));
        let hash = Hash::derive("committee", &[seed.as_bytes(), worker.as_bytes(), &i.to_le_bytes()]);
        let ticket = u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap());
        let mut ticket = ticket % rest().map(|(_, power)| power).sum::<u64>();
        let winner = rest().find(|(_, power)| {
            let is_here = ticket < **power;
            ticket = ticket.saturating_sub(**power);
            is_here
        });
        let winner = winner.map(|(place, _)| place);
        drawn.extend(winner);
    }
    drawn
}

fn row(policy: &Policy, Coalition { name, liars, powers }: &Coalition) {
    let validators = validators(powers);
    let set = ValidatorSet::new(validators.clone()).unwrap();
    let ids: BTreeSet<_> = validators[..*liars].iter().map(|validator| validator.keys.id).collect();
    let power = powers[..*liars].iter().sum::<u64>();
    let (mut held, mut most, mut shifts, mut shifts_before) = (0u64, 0u64, 0u64, 0u64);
    let [mut decided, mut voided, mut decided_before, mut voided_before] = <[Count; 4]>::default();
    for epoch in 0..EPOCHS {
        let draw = draw(policy, seed(epoch), &set);
        for worker in &draw.scored {
            let is_theirs = |reporter: u16| ids.contains(&draw.reporters[usize::from(reporter)]);
            let theirs = worker.seats.iter().filter(|seats| is_theirs(seats.reporter));
            let theirs: u64 = theirs.map(|seats| u64::from(seats.count)).sum();
            let all = u64::from(policy.seats);
            (held, most) = (held + theirs, most.max(theirs));
            shifts += shift(theirs, all);
            decided.add(2 * theirs > all);
            voided.add(3 * (all - theirs) < 2 * all);
            let committee = committee(powers, policy.seats, &draw.seed, &worker.node);
            let weight: u64 = committee.iter().map(|place| powers[*place]).sum();
            let theirs: Vec<_> = committee.iter().filter(|place| *place < liars).collect();
            let lies = theirs.iter().map(|place| powers[**place]).sum::<u64>();
            shifts_before += shift(lies, weight);
            decided_before.add(2 * lies > weight);
            voided_before.add(3 * (committee.len() - theirs.len()) < 2 * committee.len());
        }
    }
    let share = |part: u64, whole: u64| {
        let tenths = (part * 1_000 + whole / 2) / whole;
        format!("{}.{} %", tenths / 10, tenths % 10)
    };
    println!(
        "| {name} | {} | {} | {most} | {} | {} | {} | {} | {} | {} |",
        share(power, set.total()),
        share(held, decided.of * u64::from(policy.seats)),
        share(shifts, decided.of * 10_000),
        share(shifts_before, decided.of * 10_000),
        decided.percent(),
        decided_before.percent(),
        voided.percent(),
        voided_before.percent(),
    );
}

/// Bytes of all validators' signed reveals of an epoch in which everything was measured, and of the greatest of them: where one worker in
/// twelve is given an echo and nobody moved, and where all are and all did.
fn bytes(policy: &Policy, n_validators: usize, is_worst: bool) -> (usize, usize) {
    let set = ValidatorSet::new(validators(&vec![1; n_validators])).unwrap();
    let draw = draw(policy, seed(0), &set);
    let moved = is_worst.then(|| NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]));
    let echo_kbit_s = Some(LogScale::encode(40_000));
    let seen = Observation { pings_sent: 12, pings_answered: 12, echo_kbit_s, group: moved, ..Observation::default() };
    let assigned = |(place, _): (usize, _)| {
        let has_echo = is_worst || place.is_multiple_of(12);
        (AssignedWorker { has_echo, group: NetworkGroup::NONE }, Some(seen))
    };
    let reveal = |validator: &ValidatorId| {
        let assigned: Vec<_> = draw.assignment(validator).unwrap().enumerate().map(assigned).collect();
        let stored = vec![Some(1_170); draw.storage_assignment(validator).unwrap().count()];
        let report = ScoreReport::new(Epoch::new(1), &assigned, &stored);
        // Signer and signature.
        encode(&Reveal { report, salt: [0; 32] }).len() + 32 + 64
    };
    let all: Vec<_> = draw.reporters.iter().map(reveal).collect();
    (all.iter().sum(), all.into_iter().max().unwrap_or(0))
}

fn main() {
    let policy = Policy::default();
    // `each` in hundredths of a percent; the others share the rest.
    let of_hundred = |name, liars: u8, each| {
        let (liars, rest) = (usize::from(liars), 100 - u64::from(liars));
        let honest = 10_000 - each * (100 - rest);
        let powers = [vec![each * rest; liars], vec![honest; 100 - liars]].concat();
        Coalition { name, liars, powers }
    };
    let equal = |name, liars, n| Coalition { name, liars, powers: vec![1; n] };
    println!(
        "| coalition | power | seats | most at a worker | moves medians by | before | decides them | before | voids by withholding | before |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let coalitions = [
        of_hundred("2 of 16 %, n = 100", 2, 1_600),
        of_hundred("10 of 3.2 %, n = 100", 10, 320),
        equal("32 of 1 %, n = 100", 32, 100),
        equal("20 of 1 %, n = 100", 20, 100),
        equal("10 of 1 %, n = 100", 10, 100),
        equal("7 of 21", 7, 21),
        equal("8 of 21", 8, 21),
    ];
    for coalition in &coalitions {
        row(&policy, coalition);
    }
    println!();
    println!("| validators | reveals of {WORKERS} workers | the greatest | at most | the greatest |");
    println!("|---|---|---|---|---|");
    for n in [21, 100, 400, 1_000] {
        let [(all, greatest), (most, greatest_of_most)] = [false, true].map(|is_worst| bytes(&policy, n, is_worst));
        let [all, greatest, most, greatest_of_most] =
            [all, greatest, most, greatest_of_most].map(|bytes| bytes / 1_000);
        println!("| {n} | {all} kB | {greatest} kB | {most} kB | {greatest_of_most} kB |");
    }
}
