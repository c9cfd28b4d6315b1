//! Validators measure workers across a made-up network; some of them only say that they did.

use lucid_types::log_scale::LogScale;

use super::*;

const HONEST: u8 = 20;
const WORKERS: u8 = 30;
const EPOCHS: u64 = 12;

/// Numbers that look random and are not: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn node(kind: u8, number: u8) -> NodeId {
    let mut bytes = [kind; 32];
    bytes[1] = number;
    NodeId::from_bytes(bytes)
}

/// A worker as an honest validator sees it: its distance, and some noise on it; now and then a ping is lost.
fn measured(random: &mut Random, distance: u64) -> Observation {
    let lost = u8::from(random.next(50) == 0);
    let rtt = 2_000 + 800 * distance + random.next(1 + 40 * distance);
    let speed = 40_000 - random.next(4_000);
    Observation {
        pings_sent: 12,
        pings_answered: 12 - lost,
        rtt_us: LogScale::encode(rtt),
        echo_kbit_s: (random.next(12) == 0).then(|| LogScale::encode(speed)),
        group: None,
    }
}

fn of(validator: NodeId, worker: u8, seen: Observation) -> Measurement {
    Measurement { worker: node(2, worker), validator, seats: 1, seen }
}

/// All measurements of honest validators, by epoch.
fn honest(seed: u64) -> Vec<Vec<Measurement>> {
    let mut random = Random(seed);
    let mut epoch = || {
        let mut all = Vec::new();
        for worker in 0..WORKERS {
            for validator in 0..HONEST {
                let distance = 1 + (u64::from(worker) * 7 + u64::from(validator) * 13) % 90;
                all.push(of(node(1, validator), worker, measured(&mut random, distance)));
            }
        }
        all
    };
    (0..EPOCHS).map(|_| epoch()).collect()
}

fn findings(epochs: &[Vec<Measurement>]) -> Findings {
    let mut agreement = Agreement::default();
    for (epoch, all) in (1..).zip(epochs) {
        agreement.add(Epoch::new(epoch), all.iter().copied());
    }
    agreement.findings()
}

#[test]
fn honest_validators_are_nobodys_copies() {
    for seed in 0..40 {
        let found = findings(&honest(seed));
        assert_eq!(found.pairs.len(), usize::from(HONEST) * usize::from(HONEST - 1) / 2);
        assert_eq!((found.copying, found.outliers), (vec![], vec![]), "seed {seed}");
    }
}

#[test]
fn copying_stands_out() {
    let mut epochs = honest(7);
    let of_one = |all: &[Measurement], validator: u8| -> Vec<_> {
        all.iter().filter(|it| it.validator == node(1, validator)).copied().collect()
    };
    let friend = node(1, 100);
    let stale = node(1, 101);
    let mut last = Vec::new();
    for all in &mut epochs {
        // A friend is told before the commitment is due; another repeats what was published.
        let copied: Vec<_> = of_one(all, 3).into_iter().map(|it| Measurement { validator: friend, ..it }).collect();
        let before = std::mem::replace(&mut last, of_one(all, 5)).into_iter();
        let repeated: Vec<_> = before.map(|it| Measurement { validator: stale, ..it }).collect();
        all.extend(copied);
        all.extend(repeated);
    }
    let found = findings(&epochs);
    let who: Vec<_> = found.copying.iter().map(|it| (it.validator, it.of, it.lag)).collect();
    assert_eq!(who, [(friend, node(1, 3), 0), (stale, node(1, 5), 1)]);
    assert!(found.copying.iter().all(|it| it.part == Ppm::ONE), "{:?}", found.copying);
    assert_eq!(found.outliers, []);
}

/// Half copied, half measured: the mark is beyond half.
#[test]
fn a_half_is_not_enough() {
    let copied = |every: usize| {
        let mut epochs = honest(7);
        for all in &mut epochs {
            let of_one: Vec<_> = all.iter().filter(|it| it.validator == node(1, 3)).copied().collect();
            for (place, it) in of_one.into_iter().enumerate() {
                let other = Observation { rtt_us: LogScale::encode(77_777), ..it.seen };
                let seen = if place % 5 < every { it.seen } else { other };
                all.push(Measurement { validator: node(1, 100), seen, ..it });
            }
        }
        findings(&epochs).copying.len()
    };
    assert_eq!((copied(2), copied(3)), (0, 1));
}

#[test]
fn who_is_beside_the_medians_is_told() {
    let mut epochs = honest(11);
    for it in epochs.iter_mut().flatten().filter(|it| it.validator == node(1, 4)) {
        it.seen.pings_answered = 9;
    }
    let found = findings(&epochs);
    let who: Vec<_> = found.outliers.iter().map(|it| it.validator).collect();
    assert_eq!((who, found.copying), (vec![node(1, 4)], vec![]));
    assert!(found.outliers.iter().all(|it| it.distance > it.limit));
}

/// An epoch that is not there tells nothing of the one after it.
#[test]
fn only_the_epoch_before_is_repeated() {
    let epoch = honest(3).remove(0);
    let mut agreement = Agreement::default();
    agreement.add(Epoch::new(1), epoch.iter().copied());
    agreement.add(Epoch::new(3), epoch.iter().copied());
    assert!(agreement.findings().pairs.iter().all(|pair| pair.a_repeats_b == Ppm::ZERO));
    assert_eq!(findings(&[]), Findings::default());
}
