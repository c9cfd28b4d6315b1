#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod coalitions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::codec::{decode, encode};
use lucid_types::report::{Observation, Reveal, ScoreReport};
use lucid_types::signed::Signature;
use lucid_types::time::Epoch;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKeys;
use proptest::prelude::*;

use super::*;
use crate::storage::{StorageTerm, committee};

fn node(number: u16) -> NodeId {
    NodeId::from_bytes(*Hash::derive("test node", &[&number.to_le_bytes()]).as_bytes())
}

fn seed(number: u32) -> Hash {
    Hash::derive("test seed", &[&number.to_le_bytes()])
}

/// A worker and what the draw asks about it.
#[derive(Clone, Copy)]
struct Worker {
    node: NodeId,
    operator: NodeId,
    pool: PoolId,
    group: NetworkGroup,
    kbit_s: u64,
    disk_bytes: u64,
    takes_traffic: bool,
}

/// Worker `number` of an operator of its own.
fn worker(number: u16) -> Worker {
    let node = node(10_000 + number);
    Worker {
        node,
        operator: node,
        pool: PoolId::from_bytes([1; 32]),
        group: NetworkGroup::NONE,
        kbit_s: 0,
        disk_bytes: 0,
        takes_traffic: true,
    }
}

fn draw(policy: &Policy, number: u32, set: &ValidatorSet, workers: impl IntoIterator<Item = Worker>) -> EpochDraw {
    let workers: Vec<_> = workers.into_iter().collect();
    let by_id: BTreeMap<_, _> = workers.iter().map(|worker| (worker.node, *worker)).collect();
    let candidate = |node: &NodeId| {
        let Worker { operator, pool, kbit_s, disk_bytes, takes_traffic, .. } = by_id[node];
        Candidate { operator, pool, kbit_s, disk_bytes, takes_traffic }
    };
    let ids = workers.iter().map(|worker| (worker.node, worker.group));
    let term = StorageTerm::new(&seed(number), 1, set);
    EpochDraw::new(policy, seed(number), Epoch::new(1), set, &Terms::from_iter([(1, &term)]), ids, candidate)
}

fn validator(number: u16, power: u64) -> Validator {
    Validator { node: node(number), power, operator: node(number), keys: keys_of(node(number)) }
}

/// Nothing is signed here: the keys are the node's id.
fn keys_of(node: NodeId) -> ValidatorKeys {
    ValidatorKeys {
        id: id_of(&node),
        proof: Signature::from_bytes([0; 64]),
        bls_key: BlsPublicKey::from_bytes([node.as_bytes().as_slice(); 3].concat().try_into().unwrap()),
        bls_proof: BlsSignature::from_bytes([0; 48]),
    }
}

fn id_of(node: &NodeId) -> ValidatorId {
    ValidatorId::from_bytes(*node.as_bytes())
}

/// Validators 0, 1, ... with these powers, each of an operator of its own.
fn set(powers: &[u64]) -> ValidatorSet {
    let validators = (0..).zip(powers).map(|(number, power)| validator(number, *power));
    ValidatorSet::new(validators.collect()).unwrap()
}

fn local(seats: u32) -> Policy {
    Policy { seats, ..Policy::local(Duration::from_secs(5), 2, None) }
}

/// The seats of one worker by validator.
fn seats(policy: &Policy, number: u32, set: &ValidatorSet, worker: Worker) -> BTreeMap<ValidatorId, u8> {
    let draw = draw(policy, number, set, [worker]);
    draw.scored[0].seats.iter().map(|held| (draw.reporters[usize::from(held.reporter)], held.count)).collect()
}

/// A draw computed by the rules of the specification alone, in another language. It may not change without another context.
#[test]
fn draws_are_as_specified() {
    let id = |byte| NodeId::from_bytes([byte; 32]);
    let validator =
        |byte: u8| Validator { node: id(byte), power: u64::from(byte), operator: id(byte), keys: keys_of(id(byte)) };
    let set = ValidatorSet::new((1..=6).map(validator).collect()).unwrap();
    let policy = Policy { max_scored: 6, echo_every: 2, echo_epoch_bytes: 3 << 20, ..local(7) };
    let candidate = |worker: &NodeId| Candidate {
        // Worker 0x23 is run by validator 3's operator, and 6 is a validator itself.
        operator: if *worker == id(0x23) { id(3) } else { *worker },
        pool: PoolId::from_bytes([1; 32]),
        kbit_s: 30_000 * u64::from(worker.as_bytes()[0] % 16),
        disk_bytes: 1 << 30,
        takes_traffic: true,
    };
    // One of two epochs is one of echo: this one is for the pool and for the group of 0x21, and not for that of 0x22.
    let group = |byte| match byte {
        0x21 => NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]),
        0x22 => NetworkGroup::from_bytes([0x2a, 0, 0, 1, 0, 2]),
        _ => NetworkGroup::NONE,
    };
    let workers = [0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 6].map(|byte| (id(byte), group(byte)));
    let term = StorageTerm::new(&Hash::from_bytes([9; 32]), 1, &set);
    let terms = Terms::from_iter([(1, &term)]);
    let draw = EpochDraw::new(&policy, Hash::from_bytes([8; 32]), Epoch::new(1), &set, &terms, workers, candidate);
    let row = |worker: &ScoredWorker| {
        let held = |seats: &[Seats]| seats.iter().map(|seats| (seats.reporter, seats.count)).collect::<Vec<_>>();
        let echo = worker.echo_bytes.map(LogScale::value);
        (worker.node.as_bytes()[0], echo, held(&worker.seats), held(&worker.storage))
    };
    let rows: Vec<_> = draw.scored.iter().map(row).collect();
    let (mib, less) = (Some(1 << 20), Some(937_472));
    let expected = [
        (0x06, mib, vec![(1, 1), (2, 1), (3, 2), (4, 3)], vec![(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)]),
        (0x21, less, vec![(1, 1), (2, 1), (3, 2), (4, 1), (5, 2)], vec![(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]),
        (0x22, None, vec![(0, 1), (2, 1), (3, 2), (4, 1), (5, 2)], vec![(0, 1), (2, 1), (3, 1), (4, 2), (5, 2)]),
        (0x23, None, vec![(3, 2), (4, 2), (5, 3)], vec![(1, 1), (3, 2), (4, 2), (5, 2)]),
        (0x24, mib, vec![(0, 1), (2, 1), (3, 1), (4, 2), (5, 2)], vec![(1, 1), (2, 1), (3, 2), (4, 1), (5, 2)]),
        (0x25, None, vec![(2, 1), (3, 2), (4, 2), (5, 2)], vec![(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn only_drawn_workers_are_asked_about() {
    let policy = Policy { max_scored: 30, ..local(4) };
    let mut asked = Vec::new();
    let candidate = |worker: &NodeId| {
        asked.push(*worker);
        Candidate {
            operator: *worker,
            pool: PoolId::from_bytes([1; 32]),
            kbit_s: 0,
            disk_bytes: 0,
            takes_traffic: true,
        }
    };
    let workers = (0..1_000).map(|number| (worker(number).node, NetworkGroup::NONE));
    let (set, terms) = (set(&[1; 4]), Terms::default());
    let draw = EpochDraw::new(&policy, seed(0), Epoch::new(1), &set, &terms, workers, candidate);
    assert!(asked.len() == 30 && draw.scored.iter().map(|worker| worker.node).eq(asked));
}

#[test]
fn equal_validators_hold_equal_seats() {
    for number in 0..50 {
        let four = seats(&local(4), number, &set(&[1; 4]), worker(0));
        assert!(four.len() == 4 && four.values().all(|count| *count == 1));
        let twenty_one = seats(&local(21), number, &set(&[5; 4]), worker(0));
        assert!(twenty_one.len() == 4 && twenty_one.values().all(|count| (5..=6).contains(count)));
    }
}

#[test]
fn nobody_measures_workers_of_its_own_operator() {
    let policy = local(4);
    let mut own = worker(0);
    own.operator = node(2);
    let held = seats(&policy, 0, &set(&[1; 4]), own);
    assert_eq!(held.values().sum::<u8>(), 4, "all seats are given to the others");
    assert!(held.len() == 3 && !held.contains_key(&id_of(&node(2))));
    let itself = Worker { node: node(1), operator: node(50), ..worker(0) };
    assert!(!seats(&policy, 0, &set(&[1; 4]), itself).contains_key(&id_of(&node(1))));
    let alone = Worker { operator: node(0), ..worker(0) };
    assert!(seats(&policy, 0, &set(&[1]), alone).is_empty());
}

/// On a public network the eligible must be of four operators and hold more than half of all power.
#[test]
fn too_few_or_too_weak_validators_measure_nothing() {
    let public = Policy::default();
    let is_measured = |policy: &Policy, set: &ValidatorSet, worker| !seats(policy, 0, set, worker).is_empty();
    assert!(is_measured(&public, &set(&[1; 4]), worker(0)));
    assert!(!is_measured(&public, &set(&[1; 3]), worker(0)));
    assert!(is_measured(&local(4), &set(&[1; 3]), worker(0)));
    // Two of five have one operator.
    let mut five: Vec<_> = (0..5).map(|number| validator(number, 1)).collect();
    five[4].operator = five[3].operator;
    let four_operators = ValidatorSet::new(five.clone()).unwrap();
    assert!(is_measured(&public, &four_operators, worker(0)));
    five[2].operator = five[3].operator;
    assert!(!is_measured(&public, &ValidatorSet::new(five).unwrap(), worker(0)));
    // The owner of half the power leaves not more than half.
    let of_zero = Worker { operator: node(0), ..worker(0) };
    assert!(!is_measured(&public, &set(&[4, 1, 1, 1, 1]), of_zero));
    assert!(is_measured(&public, &set(&[4, 1, 1, 1, 2]), of_zero));
    assert!(is_measured(&local(4), &set(&[4, 1, 1, 1, 1]), of_zero));
}

#[test]
fn seats_follow_power_over_many_epochs() {
    // Shares below one seat: 21 * power / 5050 for powers 1 to 100.
    let powers: Vec<u64> = (1..=100).collect();
    let (policy, set) = (Policy::default(), set(&powers));
    let mut held = BTreeMap::<ValidatorId, u32>::new();
    let epochs = 4_000;
    for number in 0..epochs {
        for (validator, count) in seats(&policy, number, &set, worker(0)) {
            *held.entry(validator).or_default() += u32::from(count);
        }
    }
    for validator in set.members() {
        // The seat is a coin of probability share / 5050: five standard deviations, squared.
        let (found, share) =
            (i64::from(held.get(&validator.keys.id).copied().unwrap_or(0)), 21 * validator.power.cast_signed());
        let off = found * 5_050 - i64::from(epochs) * share;
        assert!(off * off < 25 * i64::from(epochs) * share * (5_050 - share), "power {}: {found}", validator.power);
    }
}

#[test]
fn at_most_so_many_workers_are_scored_and_each_as_often() {
    let policy = Policy { max_scored: 20, ..local(4) };
    let mut drawn = BTreeMap::<NodeId, u32>::new();
    for number in 0..1_000 {
        let draw = draw(&policy, number, &set(&[1; 4]), (0..50).map(worker));
        assert!(draw.scored.len() == 20 && draw.scored.is_sorted_by(|a, b| a.node < b.node));
        for worker in draw.scored {
            *drawn.entry(worker.node).or_default() += 1;
        }
    }
    // 400 expected; five standard deviations are 77.
    assert!(drawn.len() == 50 && drawn.values().all(|times| (323..=477).contains(times)), "{drawn:?}");
    let few = draw(&policy, 0, &set(&[1; 4]), (0..20).map(worker));
    assert_eq!(few.scored.len(), 20);
}

#[test]
fn echo_epochs_are_drawn_for_pools_and_by_the_seed() {
    let policy = Policy::default();
    let pool = |byte| PoolId::from_bytes([byte; 32]);
    let candidates: Vec<_> = (0..40).map(|i| Worker { pool: pool(u8::from(i % 2 == 0)), ..worker(i) }).collect();
    let mut of_pools = [Vec::new(), Vec::new()];
    for number in 0..12_000 {
        let draw = |workers: &[Worker]| draw(&policy, number, &set(&[1]), workers.iter().copied());
        if number < 100 {
            let all = draw(&candidates).scored;
            let has_echo = |worker: &Worker| all.iter().any(|it| it.node == worker.node && it.echo_bytes.is_some());
            for pool in [&candidates[0], &candidates[1]] {
                let members = candidates.iter().filter(|worker| worker.pool == pool.pool);
                assert!(members.map(has_echo).all(|echo| echo == has_echo(pool)), "members share their epochs");
            }
        }
        for (i, epochs) in of_pools.iter_mut().enumerate() {
            epochs.extend(draw(&candidates[i..=i]).scored[0].echo_bytes.map(|_| number));
        }
    }
    // 1,000 of 12,000 expected, standard deviation 30; of both pools at once, 83.
    assert!(of_pools.iter().all(|epochs| (850..1_150).contains(&epochs.len())));
    let both = of_pools[0].iter().filter(|epoch| of_pools[1].contains(epoch)).count();
    assert!((40..130).contains(&both), "{both} epochs of both pools");
    let rests: BTreeSet<_> = of_pools[0].iter().map(|epoch| epoch % 12).collect();
    assert_eq!(rests.len(), 12, "no place in the twelve is preferred");
    let local = local(4);
    assert!((0..100).all(|number| draw(&local, number, &set(&[1]), [worker(0)]).scored[0].echo_bytes.is_some()));
}

/// Where a group is agreed on, its workers have their echoes together, of whatever pools they are.
#[test]
fn workers_in_one_group_share_their_echo_epochs() {
    let policy = Policy::default();
    let at = |last| NetworkGroup::from_bytes([0, 0, 9, 9, 9, last]);
    let pool = |byte| PoolId::from_bytes([byte; 32]);
    let workers = [(1, at(1)), (2, at(1)), (1, at(2)), (1, NetworkGroup::NONE), (2, NetworkGroup::NONE)];
    let workers: Vec<_> =
        (0..).zip(workers).map(|(i, (byte, group))| Worker { pool: pool(byte), group, ..worker(i) }).collect();
    let mut times = [0u32; 5];
    let mut alone = [0u32; 5];
    for number in 0..2_000 {
        let draw = draw(&policy, number, &set(&[1; 4]), workers.iter().copied());
        let has_echo = |worker: &Worker| {
            let place = draw.scored.binary_search_by_key(&worker.node, |it| it.node).unwrap();
            draw.scored[place].echo_bytes.is_some()
        };
        let echoes: Vec<_> = workers.iter().map(has_echo).collect();
        assert_eq!(echoes[0], echoes[1], "one group, two pools");
        for (i, echo) in echoes.iter().enumerate() {
            times[i] += u32::from(*echo);
            alone[i] += u32::from(*echo && echoes.iter().filter(|it| **it).count() == 1);
        }
    }
    // 167 expected of each, standard deviation 12; of the last three hardly any with another.
    assert!(times.iter().all(|times| (110..230).contains(times)), "{times:?}");
    assert!(alone[2..].iter().all(|times| *times > 90), "{alone:?}");
}

/// All members that were agreed to be in a group are counted, drawn or not.
#[test]
fn those_who_share_a_group_are_counted() {
    let public = Policy { max_scored: 8, ..Policy::default() };
    let at = |last| NetworkGroup::from_bytes([0, 0, 9, 9, 9, last]);
    let group = |i: u16| match i {
        0..10 => at(1),
        10..13 => at(2),
        13 => at(3),
        _ => NetworkGroup::NONE,
    };
    let workers: Vec<_> = (0..20).map(|i| Worker { group: group(i), ..worker(i) }).collect();
    let drawn = |policy: &Policy| draw(policy, 3, &set(&[1; 4]), workers.iter().copied()).scored;
    let expected = |group| [(at(1), 10), (at(2), 3)].into_iter().find(|(it, _)| *it == group).map_or(1, |(_, n)| n);
    assert!(drawn(&public).iter().all(|worker| worker.sharers == expected(worker.group)));
    let all = drawn(&Policy { max_scored: 20, ..public });
    assert_eq!(all.iter().map(|worker| u32::from(worker.sharers)).sum::<u32>(), 10 * 10 + 3 * 3 + 7);
    assert!(drawn(&Policy { one_per_network: false, ..public }).iter().all(|worker| worker.sharers == 1));
}

/// A worker that takes no traffic is pinged as ever: it has its seats and a place, and neither echo nor storage.
#[test]
fn a_worker_that_takes_no_traffic_is_only_pinged() {
    let policy = Policy { echo_every: 1, storage_max_bytes: 1 << 30, ..local(4) };
    let of = |takes_traffic| {
        let workers = (0..20).map(|i| Worker { disk_bytes: 1 << 30, takes_traffic, ..worker(i) });
        draw(&policy, 5, &set(&[1; 4]), workers).scored
    };
    let (all, pinged) = (of(true), of(false));
    assert!(all.iter().all(|it| it.echo_bytes.is_some() && it.quota > 0 && !it.storage.is_empty()));
    assert!(pinged.iter().all(|it| it.echo_bytes.is_none() && it.quota == 0 && it.storage.is_empty()));
    assert!(all.iter().map(|it| &it.seats).eq(pinged.iter().map(|it| &it.seats)));
}

/// Holders that are no validators any more leave their seats vacant; who offers no disk has no committee.
#[test]
fn storage_seats_are_those_of_the_term() {
    let policy = Policy { storage_term: 1, storage_max_bytes: 1 << 30, ..local(21) };
    let before = set(&[1; 5]);
    let term = StorageTerm::new(&seed(1), 1, &before);
    let now = set(&[1; 4]);
    let workers: Vec<_> =
        (0..50).map(|i| Worker { disk_bytes: if i < 40 { 1 << 30 } else { 0 }, ..worker(i) }).collect();
    let by_id: BTreeMap<_, _> = workers.iter().map(|worker| (worker.node, *worker)).collect();
    let candidate = |node: &NodeId| {
        let Worker { operator, pool, kbit_s, disk_bytes, takes_traffic, .. } = by_id[node];
        Candidate { operator, pool, kbit_s, disk_bytes, takes_traffic }
    };
    let terms = Terms::from_iter([(1, &term)]);
    let ids = workers.iter().map(|worker| (worker.node, worker.group));
    let draw = EpochDraw::new(&policy, seed(9), Epoch::new(1), &now, &terms, ids, candidate);
    let mut vacant = 0;
    for scored in &draw.scored {
        let held: Vec<_> =
            scored.storage.iter().map(|it| (draw.reporters[usize::from(it.reporter)], it.count)).collect();
        assert!(held.is_sorted());
        let expected =
            if scored.quota > 0 { committee(&policy, &terms, &scored.node, &scored.node, 1) } else { vec![] };
        let mut expected: Vec<_> = expected
            .into_iter()
            .filter(|(node, _)| now.of(node).is_some())
            .map(|(node, count)| (id_of(&node), count))
            .collect();
        expected.sort_unstable();
        assert_eq!(held, expected);
        assert_eq!(scored.quota > 0, by_id[&scored.node].disk_bytes > 0);
        vacant += 21 - held.iter().map(|(_, count)| u32::from(*count)).sum::<u32>();
        for (validator, count) in held {
            let mut assigned = draw.storage_assignment(&validator).unwrap();
            assert!(assigned.any(|it| it == (scored, count)));
        }
    }
    // Of the 40 with a committee a fifth, where each validator holds 4 or 5 of 21 seats.
    assert!((10 * 21 + 40 * 4..=10 * 21 + 40 * 5).contains(&vacant), "{vacant}");
}

/// About 250 ms of the last agreed throughput, from 256 KiB to 16 MiB.
#[test]
fn an_echo_is_as_long_as_the_worker_is_fast() {
    let policy = Policy { echo_every: 1, ..Policy::default() };
    let bytes = |kbit_s| {
        let draw = draw(&policy, 0, &set(&[1]), [Worker { kbit_s, ..worker(0) }]);
        draw.scored[0].echo_bytes.unwrap().value()
    };
    assert_eq!(bytes(0), 256 << 10);
    assert_eq!(bytes(8_388), 256 << 10);
    let at_100_mbit_s = 3_125_000;
    assert!((at_100_mbit_s - at_100_mbit_s / 2_048..=at_100_mbit_s).contains(&bytes(100_000)));
    assert_eq!(bytes(536_871), 16 << 20);
    assert_eq!(bytes(u64::MAX), 16 << 20);
}

/// Bytes of echoes that each validator sends in the epoch.
fn echo_loads(draw: &EpochDraw) -> Vec<u64> {
    let load = |validator: &ValidatorId| {
        let assigned = draw.assignment(validator).unwrap();
        assigned.filter_map(|(worker, _)| worker.echo_bytes).map(LogScale::value).sum()
    };
    draw.reporters.iter().map(load).collect()
}

/// Where the members of a large pool are too many for the validators' bytes, some are given echoes by everyone, others by nobody.
#[test]
fn in_a_large_pool_as_many_have_echoes_as_the_validators_can_send() {
    let policy = Policy { echo_every: 1, ..Policy::default() };
    let members = || (0..1_000).map(|number| Worker { kbit_s: 100_000, ..worker(number) });
    let (mut served, epochs) = (BTreeMap::<NodeId, u32>::new(), 20);
    for number in 0..epochs {
        let draw = draw(&policy, number, &set(&[1; 21]), members());
        let echoed: Vec<_> = draw.scored.iter().filter(|worker| worker.echo_bytes.is_some()).collect();
        let bytes = echoed[0].echo_bytes.unwrap().value();
        assert_eq!(echoed.len() as u64, policy.echo_epoch_bytes / bytes, "all that the bound allows");
        assert!(echoed.iter().all(|worker| worker.seats.len() == 21), "each by all its validators");
        assert!(
            echo_loads(&draw)
                .iter()
                .all(|load| (policy.echo_epoch_bytes - bytes..=policy.echo_epoch_bytes).contains(load))
        );
        for worker in echoed {
            *served.entry(worker.node).or_default() += 1;
        }
    }
    // A third of the members in each epoch, others in another: the chance to be left out of all 20 is 2 in 10,000.
    assert!(served.len() > 980, "{} of 1,000 were given echoes", served.len());
}

/// Whoever runs several validators with ids near each other holds no other seats than with any ids.
#[test]
fn ids_near_each_other_hold_no_seats_together() {
    let near = |last: u8| {
        let mut bytes = [7; 32];
        bytes[31] = last;
        let keys = keys_of(NodeId::from_bytes(bytes));
        Validator { node: NodeId::from_bytes(bytes), operator: node(0), keys, ..validator(0, 1) }
    };
    let others = (10..70).map(|number| validator(number, 1));
    let set = ValidatorSet::new((0..30).map(near).chain(others).collect()).unwrap();
    let (mut counts, epochs) = (BTreeMap::<u8, u32>::new(), 2_000);
    for number in 0..epochs {
        let held = seats(&Policy::default(), number, &set, worker(0));
        let together = held.iter().filter(|(id, _)| id.as_bytes()[..31] == [7; 31]).map(|(_, count)| count).sum();
        *counts.entry(together).or_default() += 1;
    }
    // A third of the validators in a row would hold exactly 7 of the 21 seats each time; in the order that the seed draws, from nearly
    // none to nearly all of them by a bell of mean 7 and deviation below sqrt(21 * 1/3 * 2/3) = 2.2.
    let held: u32 = counts.iter().map(|(held, times)| u32::from(*held) * times).sum();
    assert!(held.abs_diff(7 * epochs) < epochs / 4, "{held} in {epochs} epochs");
    assert!(counts.len() > 5 && counts.values().all(|times| *times < epochs / 2), "{counts:?}");
}

#[test]
fn assignments_are_the_seats_seen_from_the_other_side() {
    let policy = Policy { echo_every: 1, ..Policy::default() };
    let draw = draw(&policy, 3, &set(&[3; 40]), (0..200).map(worker));
    let mut total = 0;
    for (i, validator) in draw.reporters.iter().enumerate() {
        let assigned: Vec<_> = draw.assignment(validator).unwrap().collect();
        assert!(assigned.is_sorted_by(|a, b| a.0.node < b.0.node));
        for scored in &draw.scored {
            let is_held = assigned.iter().any(|(worker, _)| worker.node == scored.node);
            assert_eq!(draw.echo_of(validator, &scored.node), scored.echo_bytes.filter(|_| is_held));
        }
        for (worker, count) in assigned {
            assert!(worker.seats.contains(&Seats { reporter: u16::try_from(i).unwrap(), count }));
            total += u32::from(count);
        }
    }
    assert_eq!(total, 200 * 21, "every seat is in one assignment");
    assert!(draw.assignment(&id_of(&node(999))).is_none());
    assert!(
        draw.echo_of(&id_of(&node(999)), &worker(0).node).is_none()
            && draw.echo_of(&id_of(&node(0)), &node(999)).is_none()
    );
}

/// 2,000 workers of 21 seats and 21 storage seats, all with echoes, stay under 600 KB an epoch, however many validators share them. If
/// half of them were seen elsewhere than before as well, which is all that a report may tell, they stay under 640 KB.
#[test]
fn an_epochs_reports_stay_under_600_kb() {
    let policy = Policy { echo_every: 1, echo_epoch_bytes: 1 << 40, ..Policy::default() };
    let full = Observation {
        pings_sent: 12,
        pings_answered: 12,
        echo_kbit_s: Some(LogScale::ZERO),
        group: Some(NetworkGroup::NONE),
        ..Observation::default()
    };
    let moved = Observation { group: Some(NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9])), ..full };
    for validators in [21, 100, 400] {
        let members = (0..2_000).map(|number| Worker { disk_bytes: 1 << 40, ..worker(number) });
        let draw = draw(&policy, 5, &set(&vec![1; validators]), members);
        let reveal = |validator: &ValidatorId, seen| {
            let assigned = draw.assignment(validator).unwrap().map(|(it, _)| (it.assigned(), Some(seen)));
            let stored = vec![Some(1_560); draw.storage_assignment(validator).unwrap().count()];
            let report = ScoreReport::new(Epoch::new(1), &assigned.collect::<Vec<_>>(), &stored);
            // Signer and signature take 96 bytes more.
            encode(&Reveal { report, salt: [0; 32] }).len() + 96
        };
        let [usual, most] = [full, moved].map(|seen| draw.reporters.iter().map(|it| reveal(it, seen)).sum::<usize>());
        assert!(usual < 600_000 && most < 640_000, "{usual} and {most} bytes from {validators} validators");
        assert!(usual > 2_000 * 21 * (4 + 3 + 2), "all seats reported");
    }
}

/// The fullest draw of each number of seats that the policy allows is read again.
#[test]
fn the_greatest_draws_of_the_policy_fit() {
    let fullest = |scored: u32, seats: u16| {
        let held: Vec<_> = (0..seats).map(|reporter| Seats { reporter, count: u8::MAX }).collect();
        let node = NodeId::from_bytes([0xff; 32]);
        let (pool, echo_bytes) = (PoolId::from_bytes([0xff; 32]), Some(LogScale::encode(u64::MAX)));
        let worker = ScoredWorker {
            node,
            pool,
            group: NetworkGroup::from_bytes([0xff; 6]),
            sharers: u16::MAX,
            quota: u16::MAX,
            echo_bytes,
            seats: held.clone(),
            storage: held,
        };
        let (n_reporters, n_scored) = (ValidatorSet::MAX_MEMBERS, usize::try_from(scored).unwrap());
        EpochDraw { seed: seed(0), reporters: vec![id_of(&node); n_reporters], scored: vec![worker; n_scored] }
    };
    let mut left = EpochDraw::MAX_BYTES;
    for n_seats in [1, 4, 7, 21, 22, 64, 100] {
        let policy = |max_scored| {
            let seats = u32::from(n_seats);
            Policy { max_scored, seats, min_reporters: 1, report_window: 1, ..Policy::default() }
        };
        let most = (1..=10_000).rev().find(|max_scored| policy(*max_scored).check().is_ok()).unwrap();
        let bytes = encode(&fullest(most, n_seats));
        assert!(decode::<EpochDraw>(&bytes).is_ok(), "{most} workers of {n_seats} seats: {} bytes", bytes.len());
        left = left.min(EpochDraw::MAX_BYTES - bytes.len());
        if most < 10_000 {
            assert!(
                encode(&fullest(most + 1, n_seats)).len() > EpochDraw::MAX_BYTES,
                "{most} is the most of {n_seats}"
            );
        }
    }
    assert!(left < 300, "{left} bytes are left of the limit");
    let public = Policy::default();
    assert!(encode(&fullest(public.max_scored, 21)).len() < EpochDraw::MAX_BYTES * 2 / 3);
}

proptest! {
    /// Each validator holds its share of the seats, rounded down or up, whatever the powers and the seed.
    #[test]
    fn everyone_holds_its_share_rounded_down_or_up(
        powers in prop::collection::vec(prop_oneof![1u64..10, 1u64..1 << 50], 1..40),
        n_seats in 1u32..=100,
        number: u32,
    ) {
        let set = set(&powers);
        let held = seats(&local(n_seats), number, &set, worker(0));
        prop_assert_eq!(held.values().map(|count| u32::from(*count)).sum::<u32>(), n_seats);
        for validator in set.members() {
            let count = u128::from(held.get(&validator.keys.id).copied().unwrap_or(0));
            let share = u128::from(n_seats) * u128::from(validator.power);
            let total = u128::from(set.total());
            prop_assert!(count == share / total || count == share.div_ceil(total), "{count} of {share} / {total}");
        }
    }

    /// No validator's echoes exceed the bytes of an epoch, and nobody is left out for whom all had room.
    #[test]
    fn echoes_stay_within_the_bytes_of_an_epoch(
        powers in prop::collection::vec(1u64..100, 4..30),
        speeds in prop::collection::vec(0u64..600_000, 1..60),
        echoes in 1u64..20,
        number: u32,
    ) {
        let policy = Policy { echo_every: 1, echo_epoch_bytes: echoes * (16 << 20), seats: 5, ..Policy::default() };
        let workers = (0..).zip(&speeds).map(|(number, kbit_s)| Worker { kbit_s: *kbit_s, ..worker(number) });
        let draw = draw(&policy, number, &set(&powers), workers);
        let loads = echo_loads(&draw);
        prop_assert!(loads.iter().all(|load| *load <= policy.echo_epoch_bytes));
        for worker in draw.scored.iter().filter(|worker| worker.echo_bytes.is_none()) {
            let fullest = worker.seats.iter().map(|seats| loads[usize::from(seats.reporter)]).max().unwrap();
            prop_assert!(fullest + policy.echo_max_bytes > policy.echo_epoch_bytes);
        }
    }

    /// What is kept on the way are the smallest tickets of all.
    #[test]
    fn those_with_the_smallest_tickets_are_scored(n_workers in 0u16..200, max_scored in 0u32..60, number: u32) {
        let policy = Policy { max_scored, ..local(4) };
        let key = key(&seed(number));
        let ticket = |(worker, _): &(NodeId, NetworkGroup)| {
            let hash = blake3::keyed_hash(key.as_bytes(), worker.as_bytes());
            hash.as_bytes()[..16].to_vec()
        };
        let mut all: Vec<_> = (0..n_workers).map(|number| (worker(number).node, NetworkGroup::NONE)).collect();
        let chosen = choose(&policy, &seed(number), all.clone());
        all.sort_by_cached_key(ticket);
        all.truncate(usize::try_from(max_scored).unwrap());
        all.sort_unstable();
        prop_assert_eq!(chosen, all);
    }

    #[test]
    fn the_order_of_what_goes_in_does_not_matter(
        powers in prop::collection::vec(1u64..100, 4..12),
        n_workers in 1u16..30,
        number: u32,
        rotation: u16,
    ) {
        let policy = Policy { max_scored: 10, echo_every: 1, echo_epoch_bytes: 16 << 20, ..Policy::default() };
        let mut validators: Vec<_> = (0..).zip(&powers).map(|(number, power)| validator(number, *power)).collect();
        let mut workers: Vec<_> = (0..n_workers).map(worker).collect();
        let one = draw(&policy, number, &ValidatorSet::new(validators.clone()).unwrap(), workers.clone());
        validators.reverse();
        workers.rotate_left(usize::from(rotation % n_workers));
        let other = draw(&policy, number, &ValidatorSet::new(validators).unwrap(), workers);
        prop_assert_eq!(one, other);
    }
}
