#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::codec::{decode, encode};
use lucid_types::id::{Hash, PoolId};
use lucid_types::network_group::NetworkGroup;
use proptest::prelude::*;

use super::*;
use crate::aggregate::EchoMedian;
use crate::credits::earned;

const WORKER: NodeId = NodeId::from_bytes([1; 32]);

fn local() -> Policy {
    Policy::local(Duration::from_secs(5), 2, None)
}

/// Windows of several buckets of several epochs, of some of one epoch, of a single bucket, and of the public mesh.
fn shapes() -> impl Strategy<Value = Policy> {
    let windows = [(5_040, 720), (168, 48), (84, 24), (4, 4), (7, 3), (1, 1), (4, 72)];
    prop::sample::select(windows.to_vec()).prop_map(|(credits_window, history_window)| {
        let policy = Policy { credits_window, history_window, ..local() };
        policy.check().unwrap();
        policy
    })
}

fn worker() -> ScoredWorker {
    ScoredWorker {
        node: WORKER,
        pool: PoolId::from_bytes([2; 32]),
        group: NetworkGroup::NONE,
        sharers: 1,
        quota: 0,
        echo_bytes: None,
        seats: Vec::new(),
        storage: Vec::new(),
    }
}

fn medians(reachable_ms: u64) -> Aggregate {
    Aggregate { reachable_ms, success: Ppm::new(900_000), ..Aggregate::default() }
}

/// Adds an epoch in which the worker was reachable so long and earned so many credits.
fn add(stats: &mut WorkerStats, policy: &Policy, epoch: u64, reachable_ms: u64, credits: u64) -> ScoreRow {
    let earned = Earned { relay: Credits::new(credits), storage: Credits::ZERO };
    let it = Measured { worker: &worker(), medians: medians(reachable_ms), earned, sharers: 1 };
    stats.add(policy, Epoch::new(epoch), &it)
}

/// What the rings stand for: every epoch that was measured, with its reachable milliseconds and credits.
type Model = BTreeMap<u64, (u64, u64)>;

/// The sums over the epochs of the buckets that are in the windows.
fn sums_of(model: &Model, policy: &Policy, at: u64) -> WindowSums {
    let first = |window: u64, most: u64| {
        let epochs = if window <= most { 1 } else { window / most };
        (at / epochs + 1).saturating_sub(window / epochs) * epochs
    };
    let credits_window = || model.range(first(policy.credits_window, 84)..=at).map(|(_, row)| row);
    WindowSums {
        credits: Credits::new(credits_window().map(|(_, credits)| credits).sum()),
        reachable_ms: credits_window().map(|(ms, _)| ms).sum(),
        epochs: credits_window().count() as u64,
        session_ms: model.range(first(policy.history_window, 24)..=at).map(|(_, (ms, _))| ms).sum(),
    }
}

/// A row with one bucket of these sums.
fn stats(credits: u32, reachable_ms: u32, epochs: u16) -> WorkerStats {
    let credits = vec![CreditsBucket { credits, reachable_ms, epochs }];
    WorkerStats { measured: Epoch::new(1), credits, ..WorkerStats::default() }
}

#[test]
fn live_scores_of_the_document() {
    let policy = Policy::default();
    let live = |credits, seconds: u32| {
        let stats = stats(credits, seconds * 1_000, 5_040);
        (stats.live(&policy, Epoch::new(1)), stats.is_eligible(&policy, Epoch::new(1)))
    };
    assert_eq!(live(120, 604_800), (120, true));
    assert_eq!(live(200, 302_400), (100, true));
    assert_eq!(live(90, 120_960), (18, true), "exactly the least uptime");
    assert!(!live(500, 120_959).1);
    assert!(!live(0, 604_800).1);
}

#[test]
fn a_young_worker_is_measured_against_the_least_denominator() {
    let policy = Policy::default();
    let young = stats(30, 120_000, 1);
    assert_eq!(young.uptime(&policy, Epoch::new(1)), Ppm::ratio(1, 30));
    assert_eq!(young.live(&policy, Epoch::new(1)), 1);
}

/// Buckets of 2 epochs for credits and of 3 for history.
#[test]
fn rings_by_hand() {
    let policy = Policy { credits_window: 168, history_window: 72, ..local() };
    let mut stats = WorkerStats::default();
    let mut added = |epoch, ms, echoes| {
        add(&mut stats, &policy, epoch, ms, echoes);
        let credits: Vec<_> = stats.credits.iter().map(|it| (it.credits, it.reachable_ms, it.epochs)).collect();
        (credits, stats.history.clone())
    };
    assert_eq!(added(1, 0, 0), (vec![(0, 0, 1)], vec![]), "no reachable time, no bucket of it");
    assert_eq!(added(2, 10, 1), (vec![(1, 10, 1), (0, 0, 1)], vec![10]));
    assert_eq!(added(3, 20, 1), (vec![(2, 30, 2), (0, 0, 1)], vec![20, 10]));
    let gap = vec![(1, 5, 1), (0, 0, 0), (0, 0, 0), (2, 30, 2), (0, 0, 1)];
    assert_eq!(added(9, 5, 1), (gap, vec![5, 0, 20, 10]));
    let (credits, history) = added(71, 0, 0);
    assert_eq!(
        (credits.len(), history),
        (36, [vec![0; 20], vec![5, 0, 20, 10]].concat()),
        "bucket 23 is the last of 24"
    );
    assert_eq!(added(72, 0, 0).1.len(), 24, "bucket 0 is forgotten");
    assert_eq!(added(1_000, 0, 0), (vec![(0, 0, 1)], vec![]), "all is");
}

#[test]
fn a_row_is_read_at_any_later_epoch() {
    let policy = Policy { credits_window: 168, history_window: 72, ..local() };
    let mut stats = WorkerStats::default();
    add(&mut stats, &policy, 5, 5_000, 1);
    let at = |epoch| stats.sums(&policy, Epoch::new(epoch));
    let whole = WindowSums { credits: Credits::new(1), reachable_ms: 5_000, epochs: 1, session_ms: 5_000 };
    assert_eq!((at(5), at(74)), (whole, whole));
    assert_eq!(at(75), WindowSums { session_ms: 0, ..whole }, "24 buckets of 3 after the one of 3 to 5");
    assert_eq!(at(171), WindowSums { session_ms: 0, ..whole });
    assert_eq!(at(172), WindowSums::default(), "84 buckets of 2 after the one of 4 and 5");
    assert_eq!(at(u64::MAX), WindowSums::default());
    assert_eq!(at(0), whole, "none earlier");
    assert!(stats.is_eligible(&policy, Epoch::new(171)) && !stats.is_eligible(&policy, Epoch::new(172)));
}

#[test]
fn an_epoch_that_is_not_later_is_ignored() {
    let policy = local();
    let mut stats = WorkerStats::default();
    let none = add(&mut stats, &policy, 0, 5_000, 1);
    assert_eq!((stats.clone(), none.score), (WorkerStats::default(), Ppm::ZERO), "there is no epoch 0");
    let row = add(&mut stats, &policy, 7, 5_000, 1);
    let before = stats.clone();
    for epoch in [7, 6, 0] {
        let ignored = add(&mut stats, &policy, epoch, 4_000, 3);
        assert_eq!((ignored.credits, ignored.reachable_ms), (Credits::ZERO, 0));
        assert_eq!((ignored.score, ignored.components), (row.score, row.components));
        assert_eq!(stats, before);
    }
}

#[test]
fn the_fullest_rows_fit_their_limits_to_the_byte() {
    let policy = Policy::default();
    let mut stats = WorkerStats::default();
    for epoch in 1..=6_000 {
        add(&mut stats, &policy, epoch, u64::MAX, u64::MAX);
    }
    assert_eq!((stats.credits.len(), stats.history.len()), (Buckets::MAX_CREDITS, Buckets::MAX_HISTORY));
    assert_eq!(encode(&stats).len(), WorkerStats::MAX_BYTES);
    assert_eq!(WorkerStats::MAX_BYTES, 1_000);
    assert_eq!(decode::<WorkerStats>(&encode(&stats)).unwrap(), stats);
    let sums = stats.sums(&policy, Epoch::new(6_000));
    assert_eq!((sums.epochs, sums.reachable_ms), (83 * 60 + 1, (83 * 60 + 1) * 120_000), "6,000 begins a bucket");
    assert_eq!(sums.credits.get(), 84 * u64::from(u32::MAX), "what no policy lets anyone earn saturates");

    let all =
        Aggregate { echo: Some(EchoMedian::default()), chunks: Some(1), group: Some(NetworkGroup::NONE), ..medians(1) };
    let earned = Earned::default();
    let it = Measured { worker: &worker(), medians: all, earned, sharers: 1 };
    let row = stats.add(&policy, Epoch::new(6_001), &it);
    assert_eq!(encode(&row).len(), ScoreRow::MAX_BYTES);
    assert_eq!(decode::<ScoreRow>(&encode(&row)).unwrap(), row);
    let mut more = stats;
    more.history.push(1);
    assert!(decode::<WorkerStats>(&encode(&more)).is_err());
}

/// Held for a quarter of the window, then less by equal steps.
#[test]
fn values_decay_by_hand() {
    let policy = local();
    let at = |age: u64| decayed(&policy, 900, Epoch::new(10), Epoch::new(10 + age));
    assert_eq!([0, 1, 2, 3, 4, 5].map(at), [900, 900, 600, 300, 0, 0]);
    let public = Policy::default();
    let at = |age| decayed(&public, u64::MAX, Epoch::ZERO, Epoch::new(age));
    assert_eq!([180, 450, 720].map(at), [u64::MAX, u64::MAX / 2, 0]);
    assert_eq!(decayed(&policy, 5, Epoch::new(10), Epoch::new(3)), 5, "none earlier");
    let one = Policy { history_window: 1, ..local() };
    assert_eq!([0, 1].map(|age: u64| decayed(&one, 5, Epoch::new(1), Epoch::new(1 + age))), [5, 0]);
}

#[test]
fn what_is_not_measured_decays() {
    let policy = local();
    let storing = ScoredWorker { quota: 2, ..worker() };
    let mut stats = WorkerStats::default();
    let mut add = |worker: &ScoredWorker, epoch, kbit_s: Option<u64>, proved: Option<u16>| {
        let echo = kbit_s.map(|kbit_s| EchoMedian { bytes: 1, kbit_s });
        let chunks = proved.map(|proved| policy.chunks_of_all(proved));
        let medians = Aggregate { echo, chunks, ..medians(5_000) };
        let row =
            stats.add(&policy, Epoch::new(epoch), &Measured { worker, medians, earned: Earned::default(), sharers: 1 });
        (row.components.bandwidth.get(), row.components.utilisation.get())
    };
    assert_eq!(add(&storing, 1, Some(600_000), Some(1)), (600_000, 500_000));
    assert_eq!(add(&storing, 2, None, None), (600_000, 500_000), "a quarter of the window");
    assert_eq!(add(&storing, 3, None, Some(2)), (400_000, 1_000_000));
    assert_eq!(add(&worker(), 5, Some(0), Some(2)), (0, 666_666), "whoever declares no disk proves nothing of it");
    assert_eq!(add(&storing, 6, Some(2_000_000), Some(0)), (1_000_000, 0));
}

/// However little is declared, utilisation is whole only from a least amount on.
#[test]
fn little_disk_is_no_full_utilisation() {
    let policy = Policy::default();
    let utilisation = |quota, proved| {
        let worker = ScoredWorker { quota, ..worker() };
        let medians = Aggregate { chunks: Some(policy.chunks_of_all(proved)), ..medians(1) };
        let it = Measured { worker: &worker, medians, earned: Earned::default(), sharers: 1 };
        WorkerStats::default().add(&policy, Epoch::new(1), &it).components.utilisation.get()
    };
    assert_eq!(
        [utilisation(1, 1), utilisation(49, 49), utilisation(1_560, 780), utilisation(1_560, 1_560)],
        [20_408, 1_000_000, 500_000, 1_000_000]
    );
}

/// A worker at home with 40 Mbit/s that offers 48 GiB, and one with 200 Mbit/s and no disk, come to full marks for credits in a week of
/// echoes one epoch in twelve. A plain home line without disk does not, by sessions alone.
#[test]
fn honest_home_workers_reach_full_marks() {
    let policy = Policy::default();
    let credits = |bytes: u64, disk_gib: u64, seed: u64| {
        let worker = ScoredWorker { quota: policy.storage_quota(disk_gib << 30), ..worker() };
        let mut stats = WorkerStats::default();
        for epoch in 1..=policy.credits_window {
            let hash = Hash::derive("test echo epoch", &[&seed.to_le_bytes(), &epoch.to_le_bytes()]);
            let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let echo = number.is_multiple_of(policy.echo_every).then_some(EchoMedian { bytes, kbit_s: 40_000 });
            let chunks = Some(policy.chunks_of_all(worker.quota));
            let medians = Aggregate { echo, chunks, ..medians(120_000) };
            let earned = earned(&policy, Epoch::new(epoch), &medians);
            stats.add(&policy, Epoch::new(epoch), &Measured { worker: &worker, medians, earned, sharers: 1 });
        }
        // One epoch has begun a bucket more than the window has.
        stats.measured_sums().credits.get()
    };
    let mean = |bytes, disk_gib| (0..40).map(|seed| credits(bytes, disk_gib, seed)).sum::<u64>() / 40;
    let within = |found: u64, expected: u64| found.abs_diff(expected) * 50 < expected;
    let (home, fast, bare) = (mean(1_249_792, 48), mean(6_248_448, 0), mean(624_896, 0));
    assert!(within(home, 10_493) && home >= 10_000, "{home}");
    assert!(within(fast, 10_920) && fast >= 10_000, "{fast}");
    assert!(within(bare, 8_820) && bare < 10_000, "{bare}");
}

#[test]
fn rows_may_not_change_without_a_decision() {
    let policy = Policy { credits_window: 168, history_window: 72, ..local() };
    let mut stats = WorkerStats::default();
    add(&mut stats, &policy, 2, 5_000, 1);
    add(&mut stats, &policy, 7, 2_500, 0);
    let bytes = [
        // Measured last in 7; three buckets of credits: 6 and 7, 4 and 5, 2 and 3.
        "0700000000000000",
        "0300000000000000",
        "00000000c40900000100",
        "00000000000000000000",
        "01000000881300000100",
        // Three of history: 6 to 8, 3 to 5, 0 to 2.
        "0300000000000000",
        "c40900000000000088130000",
        // Throughput and its epoch, utilisation and its epoch, quality.
        "00000000000000000000000000000000",
        "000000000000000000000000",
        "a0bb0d00",
    ]
    .concat();
    let found = hex(&encode(&stats));
    assert_eq!(&found[..bytes.len()], bytes);
    assert_eq!(found.len(), bytes.len() + 16, "trust and score");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    /// The rings sum up the epochs of the windows' buckets, whenever they are read; and equal measurements make equal bytes, read or not.
    #[test]
    fn rings_equal_the_windows(
        policy in shapes(),
        steps in prop::collection::vec((prop_oneof![4 => 1u64..4, 1 => 1u64..200, 1 => 1u64..6_000], 0u64..=5_000, 0u64..3), 1..60),
        later in prop_oneof![0u64..200, 0u64..6_000],
    ) {
        let (mut stats, mut unread) = (WorkerStats::default(), WorkerStats::default());
        let (mut model, mut epoch) = (Model::new(), 0);
        for (gap, reachable_ms, echoes) in steps {
            // Read where nothing was measured.
            for at in [epoch + gap / 2, epoch + gap - 1] {
                prop_assert_eq!(stats.sums(&policy, Epoch::new(at)), sums_of(&model, &policy, at));
            }
            epoch += gap;
            model.insert(epoch, (reachable_ms, echoes));
            let row = add(&mut stats, &policy, epoch, reachable_ms, echoes);
            let expected = sums_of(&model, &policy, epoch);
            prop_assert_eq!(stats.sums(&policy, Epoch::new(epoch)), expected);
            prop_assert_eq!(stats.measured_sums(), expected);
            prop_assert_eq!(row.components.uptime, expected.uptime(&policy));
            prop_assert_eq!(row.components.session_time, Ppm::ratio(expected.session_ms / 1_000, policy.full_session_s));
            prop_assert_eq!(encode(&unread_after(&mut unread, &policy, epoch, reachable_ms, echoes)), encode(&stats));
            let bytes = encode(&stats);
            prop_assert!(bytes.len() <= WorkerStats::MAX_BYTES);
            prop_assert_eq!(decode::<WorkerStats>(&bytes).unwrap(), stats.clone());
        }
        prop_assert_eq!(stats.sums(&policy, Epoch::new(epoch + later)), sums_of(&model, &policy, epoch + later));
        // A stored ring ends with a bucket that is not empty.
        prop_assert!(stats.credits.last().is_some_and(|bucket| bucket.epochs > 0) && stats.history.last() != Some(&0));
    }

    /// What has left the windows leaves no trace: a worker that was measured before them has the rings of one that was not.
    #[test]
    fn what_left_the_windows_leaves_no_trace(policy in shapes(), old in 1u64..100, recent in prop::collection::vec(1u64..90, 1..20)) {
        let (mut long, mut short) = (WorkerStats::default(), WorkerStats::default());
        add(&mut long, &policy, old, 4_000, 1);
        let mut epoch = old + 6_000;
        for gap in recent {
            epoch += gap;
            add(&mut long, &policy, epoch, 3_000, 1);
            add(&mut short, &policy, epoch, 3_000, 1);
        }
        prop_assert_eq!((long.credits, long.history), (short.credits, short.history));
    }
}

/// The same history in a row that is never read in between.
fn unread_after(stats: &mut WorkerStats, policy: &Policy, epoch: u64, reachable_ms: u64, echoes: u64) -> WorkerStats {
    add(stats, policy, epoch, reachable_ms, echoes);
    stats.clone()
}
