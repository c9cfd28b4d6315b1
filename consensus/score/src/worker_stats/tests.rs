#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::codec::{decode, encode};
use proptest::prelude::*;

use super::*;

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

fn medians(reachable_ms: u64, echoes: u64) -> Aggregate {
    Aggregate { reachable_ms, echoes, success: Some(Ppm::new(900_000)), ..Aggregate::default() }
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
    let mut add = |epoch, ms, echoes| {
        stats.add(&policy, Epoch::new(epoch), WORKER, medians(ms, echoes));
        let credits: Vec<_> = stats.credits.iter().map(|it| (it.credits, it.reachable_ms, it.epochs)).collect();
        (credits, stats.history.clone())
    };
    assert_eq!(add(1, 0, 0), (vec![(0, 0, 1)], vec![]), "no reachable time, no bucket of it");
    assert_eq!(add(2, 10, 1), (vec![(1, 10, 1), (0, 0, 1)], vec![10]));
    assert_eq!(add(3, 20, 1), (vec![(2, 30, 2), (0, 0, 1)], vec![20, 10]));
    let gap = vec![(1, 5, 1), (0, 0, 0), (0, 0, 0), (2, 30, 2), (0, 0, 1)];
    assert_eq!(add(9, 5, 1), (gap, vec![5, 0, 20, 10]));
    let (credits, history) = add(71, 0, 0);
    assert_eq!(
        (credits.len(), history),
        (36, [vec![0; 20], vec![5, 0, 20, 10]].concat()),
        "bucket 23 is the last of 24"
    );
    assert_eq!(add(72, 0, 0).1.len(), 24, "bucket 0 is forgotten");
    assert_eq!(add(1_000, 0, 0), (vec![(0, 0, 1)], vec![]), "all is");
}

#[test]
fn a_row_is_read_at_any_later_epoch() {
    let policy = Policy { credits_window: 168, history_window: 72, ..local() };
    let mut stats = WorkerStats::default();
    stats.add(&policy, Epoch::new(5), WORKER, medians(5_000, 1));
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
    let none = stats.add(&policy, Epoch::ZERO, WORKER, medians(5_000, 1));
    assert_eq!((stats.clone(), none.score), (WorkerStats::default(), Ppm::ZERO), "there is no epoch 0");
    let row = stats.add(&policy, Epoch::new(7), WORKER, medians(5_000, 1));
    let before = stats.clone();
    for epoch in [7, 6, 0] {
        let ignored = stats.add(&policy, Epoch::new(epoch), WORKER, medians(4_000, 3));
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
        stats.add(&policy, Epoch::new(epoch), WORKER, medians(u64::MAX, u64::MAX));
    }
    assert_eq!((stats.credits.len(), stats.history.len()), (Buckets::MAX_CREDITS, Buckets::MAX_HISTORY));
    assert_eq!(encode(&stats).len(), WorkerStats::MAX_BYTES);
    assert_eq!(WorkerStats::MAX_BYTES, 980);
    assert_eq!(decode::<WorkerStats>(&encode(&stats)).unwrap(), stats);
    let sums = stats.sums(&policy, Epoch::new(6_000));
    assert_eq!((sums.epochs, sums.reachable_ms), (83 * 60 + 1, (83 * 60 + 1) * 120_000), "6,000 begins a bucket");
    assert_eq!(sums.credits.get(), 84 * u64::from(u32::MAX), "what no policy lets anyone earn saturates");

    let all = Aggregate { rtt_us: Some(1), echo_kbit_s: Some(1), ..medians(1, 1) };
    let row = stats.add(&policy, Epoch::new(6_001), WORKER, all);
    assert_eq!(encode(&row).len(), ScoreRow::MAX_BYTES);
    assert_eq!(decode::<ScoreRow>(&encode(&row)).unwrap(), row);
    let mut more = stats;
    more.history.push(1);
    assert!(decode::<WorkerStats>(&encode(&more)).is_err());
}

#[test]
fn rows_may_not_change_without_a_decision() {
    let policy = Policy { credits_window: 168, history_window: 72, ..local() };
    let mut stats = WorkerStats::default();
    stats.add(&policy, Epoch::new(2), WORKER, medians(5_000, 1));
    stats.add(&policy, Epoch::new(7), WORKER, medians(2_500, 0));
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
        // Throughput, quality.
        "0000000000000000a0bb0d00",
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
            let row = stats.add(&policy, Epoch::new(epoch), WORKER, medians(reachable_ms, echoes));
            let expected = sums_of(&model, &policy, epoch);
            prop_assert_eq!(stats.sums(&policy, Epoch::new(epoch)), expected);
            prop_assert_eq!(stats.measured_sums(), expected);
            prop_assert_eq!(row.components.uptime, expected.uptime(&policy));
            prop_assert_eq!(row.components.session_time, Ppm::ratio(expected.session_ms / 1_000, 36_000));
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
        long.add(&policy, Epoch::new(old), WORKER, medians(4_000, 1));
        let mut epoch = old + 6_000;
        for gap in recent {
            epoch += gap;
            long.add(&policy, Epoch::new(epoch), WORKER, medians(3_000, 1));
            short.add(&policy, Epoch::new(epoch), WORKER, medians(3_000, 1));
        }
        prop_assert_eq!((long.credits, long.history), (short.credits, short.history));
    }
}

/// The same history in a row that is never read in between.
fn unread_after(stats: &mut WorkerStats, policy: &Policy, epoch: u64, reachable_ms: u64, echoes: u64) -> WorkerStats {
    stats.add(policy, Epoch::new(epoch), WORKER, medians(reachable_ms, echoes));
    stats.clone()
}
