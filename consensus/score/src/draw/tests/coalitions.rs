//! What validators that act together can come to hold of a worker's seats, and what they can do with it.

use super::*;
use crate::aggregate::{PING_TIMEOUT_US, Probe, Seen, Stored, aggregate, success};
use crate::report::check_observation;

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// The powers of 4 to 100 validators: all alike, of any power, or few strong ones among many.
    fn powers(&mut self) -> Vec<u64> {
        let (n, shape) = (4 + self.below(97), self.below(3));
        let power = |i: u64| match shape {
            0 => 10,
            1 => 1 + self.below(100),
            _ => 1 + 1_000 / (i + 1) + self.below(3),
        };
        (0..n).map(power).collect()
    }

    /// Validators of as much power as they can have together below this part of all, taken in a random order.
    fn coalition(&mut self, powers: &[u64], (part, of): (u64, u64)) -> BTreeSet<ValidatorId> {
        let total: u64 = powers.iter().sum();
        let mut left: Vec<_> = (0u16..).zip(powers).collect();
        let (mut held, mut members) = (0, BTreeSet::new());
        while !left.is_empty() {
            let at = usize::try_from(self.below(u64::try_from(left.len()).unwrap())).unwrap();
            let (number, power) = left.swap_remove(at);
            if of * (held + power) < part * total {
                held += power;
                members.insert(id_of(&node(number)));
            }
        }
        members
    }
}

/// Seats of these validators.
fn held_by(draw: &EpochDraw, seats: &[Seats], members: &BTreeSet<ValidatorId>) -> u32 {
    let of_them = seats.iter().filter(|it| members.contains(&draw.reporters[usize::from(it.reporter)]));
    of_them.map(|it| u32::from(it.count)).sum()
}

/// `3^21` times the probability that of 21 independent seats, each with one chance in three, at least so many are theirs.
fn tail(least: u32) -> u128 {
    let choose = |k: u128| (0..k).fold(1u128, |product, i| product * (21 - i) / (i + 1));
    (least..=21).map(|i| choose(i.into()) * (1 << (21 - i))).sum()
}

/// Of so many committees, those in which a coalition has the median, and those that it can void by its silence.
fn committees(part: (u64, u64)) -> (u128, u128, u128) {
    let policy = Policy { storage_max_bytes: 1 << 30, ..Policy::default() };
    let mut numbers = Numbers(7);
    let (mut all, mut owned, mut voided) = (0, 0, 0);
    for vector in 0..200 {
        let powers = numbers.powers();
        let (validators, coalition) = (set(&powers), numbers.coalition(&powers, part));
        for number in 0..5 {
            let workers = (0..200).map(|i| Worker { disk_bytes: 1 << 30, ..worker(i) });
            let draw = draw(&policy, 5 * vector + number, &validators, workers);
            for seats in draw.scored.iter().flat_map(|it| [&it.seats, &it.storage]).filter(|it| !it.is_empty()) {
                let held = held_by(&draw, seats, &coalition);
                all += 1;
                owned += u128::from(held >= 11);
                voided += u128::from(held >= 8);
            }
        }
    }
    (all, owned, voided)
}

/// Guarantee: validators of less than a third of the power own a committee, and can void one, as rarely as if every seat were drawn by
/// itself, or more rarely, over networks of many kinds.
#[test]
fn bad_committees_stay_below_the_figure() {
    let figures = [11, 8].map(|least| tail(least) * 1_000_000 / 3u128.pow(21));
    assert_eq!(figures, [55_722, 399_238], "5.57 % and 39.9 %");
    let (all, owned, voided) = committees((1, 3));
    assert!(all > 350_000, "{all}");
    assert!(owned * 3u128.pow(21) <= all * tail(11), "{owned} of {all} are owned");
    assert!(voided * 3u128.pow(21) <= all * tail(8), "{voided} of {all} can be voided");
    let (all, owned, voided) = committees((1, 2));
    let exceeds = owned * 3u128.pow(21) > all * tail(11) && voided * 3u128.pow(21) > all * tail(8);
    assert!(exceeds, "a bound that half of the power does not break shows nothing: {owned}, {voided} of {all}");
}

/// What a property about minorities would find if it looked at majorities: whoever holds more than half of a worker's seats takes every median
/// out of the range of what the others measured.
#[test]
fn a_majority_of_seats_leaves_the_honest_range() {
    let policy = Policy { storage_max_bytes: 1 << 30, echo_every: 1, ..Policy::default() };
    let honest = Observation {
        pings_sent: 12,
        pings_answered: 6,
        rtt_us: LogScale::encode(50_000),
        echo_kbit_s: Some(LogScale::encode(40_000)),
        group: Some(NetworkGroup::NONE),
    };
    let echo_kbit_s = Some(LogScale::encode(1 << 30));
    let lie = Observation { pings_answered: 12, rtt_us: LogScale::encode(1_000), echo_kbit_s, ..honest };
    assert!([honest, lie].iter().all(|it| check_observation(&policy, it).is_ok()));
    let mut numbers = Numbers(11);
    let mut seen_of = [0u32; 2];
    for number in 0..300 {
        let powers = numbers.powers();
        let liars = numbers.coalition(&powers, (11, 20));
        let workers = (0..10).map(|i| Worker { disk_bytes: 1 << 30, ..worker(i) });
        let draw = draw(&policy, number, &set(&powers), workers);
        for it in draw.scored.iter().filter(|it| !it.seats.is_empty()) {
            let tells = |seats: &Seats| liars.contains(&draw.reporters[usize::from(seats.reporter)]);
            let probe = |seats: &Seats| Probe { seats: seats.count, seen: if tells(seats) { lie } else { honest } };
            let stored = |seats: &Seats| Stored { seats: seats.count, chunks: if tells(seats) { 24 } else { 3 } };
            let seen =
                Seen { probes: it.seats.iter().map(probe).collect(), stored: it.storage.iter().map(stored).collect() };
            let Some(found) = aggregate(&policy, it, &seen) else { continue };
            let is_majority = |seats: &[Seats]| 2 * held_by(&draw, seats, &liars) > policy.seats;
            let owns = is_majority(&it.seats);
            seen_of[usize::from(owns)] += 1;
            let expected = if owns { lie } else { honest };
            assert_eq!(found.reachable_ms, policy.epoch_ms * u64::from(expected.pings_answered) / 12);
            assert_eq!(found.rtt_us, expected.rtt_us.value());
            assert_eq!(found.success, success(&expected));
            assert_eq!(found.echo.map(|echo| echo.kbit_s), expected.echo_kbit_s.map(LogScale::value));
            let owns_chunks = is_majority(&it.storage);
            let honest = policy.chunks_of_all(3);
            assert!(found.chunks.is_none_or(|chunks| if owns_chunks { chunks > honest } else { chunks == honest }));
        }
    }
    assert!(seen_of.iter().all(|times| *times > 300), "both were seen often: {seen_of:?}");
}

prop_compose! {
    /// What passes for an observation.
    fn observation()(
        sent in 1u8..=12,
        answered in 0u8..=12,
        rtt in 1u64..=PING_TIMEOUT_US,
        kbit_s in 0u64..1 << 31,
        there in any::<bool>(),
    ) -> Observation {
        let answered = answered.min(sent);
        Observation {
            pings_sent: sent,
            pings_answered: answered,
            rtt_us: LogScale::encode(if answered > 0 { rtt } else { 0 }),
            echo_kbit_s: Some(LogScale::encode(kbit_s)),
            group: (answered > 0).then(|| NetworkGroup::from_bytes([0, 0, 9, 9, 9, u8::from(there)])),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Guarantee: whatever validators say that hold less than half of a worker's seats, each median is one that honest validators bound:
    /// between the least and the greatest that they measured.
    #[test]
    fn invariant_medians_stay_honest(
        powers in prop::collection::vec(1u64..1_000, 4..=100),
        liars in prop::collection::btree_set(0u16..100, 0..60),
        said in prop::collection::vec((observation(), 0u16..24), 100),
        number: u32,
    ) {
        let policy = Policy { storage_max_bytes: 1 << 30, echo_every: 1, ..Policy::default() };
        let liars: BTreeSet<_> = liars.into_iter().map(|it| id_of(&node(it))).collect();
        let workers = (0..10).map(|i| Worker { disk_bytes: 1 << 30, ..worker(i) });
        let draw = draw(&policy, number, &set(&powers), workers);
        for it in draw.scored.iter().filter(|it| !it.seats.is_empty()) {
            let minority = |seats: &[Seats]| 2 * held_by(&draw, seats, &liars) < policy.seats;
            let is_honest = |seats: &&Seats| !liars.contains(&draw.reporters[usize::from(seats.reporter)]);
            let of = |seats: &Seats| said[usize::from(seats.reporter) % said.len()];
            let probe = |seats: &Seats| Probe { seats: seats.count, seen: of(seats).0 };
            let stored = |seats: &Seats| Stored { seats: seats.count, chunks: of(seats).1 };
            let seen =
                Seen { probes: it.seats.iter().map(probe).collect(), stored: it.storage.iter().map(stored).collect() };
            prop_assert!(seen.probes.iter().all(|probe| check_observation(&policy, &probe.seen).is_ok()));
            let honest: Vec<_> = it.seats.iter().filter(is_honest).map(|seats| of(seats).0).collect();
            let Some(found) = aggregate(&policy, it, &seen).filter(|_| minority(&it.seats)) else { continue };
            let within = |found: u64, field: &dyn Fn(&Observation) -> u64| {
                let values: Vec<_> = honest.iter().map(field).collect();
                values.iter().min() <= Some(&found) && Some(&found) <= values.iter().max()
            };
            let reachable = |o: &Observation| policy.epoch_ms * u64::from(o.pings_answered) / u64::from(o.pings_sent);
            let rtt = |o: &Observation| if o.pings_answered > 0 { o.rtt_us.value() } else { PING_TIMEOUT_US };
            prop_assert!(within(found.reachable_ms, &reachable) && within(found.rtt_us, &rtt));
            prop_assert!(within(found.success.get().into(), &|o| success(o).get().into()));
            let kbit_s = |o: &Observation| o.echo_kbit_s.map_or(0, LogScale::value);
            prop_assert!(within(found.echo.unwrap().kbit_s, &kbit_s));
            if minority(&it.storage) && let Some(chunks) = found.chunks {
                let most = it.storage.iter().filter(is_honest).map(|seats| of(seats).1).max();
                prop_assert!(most.is_some_and(|most| chunks <= policy.chunks_of_all(most)));
            }
        }
    }
}
