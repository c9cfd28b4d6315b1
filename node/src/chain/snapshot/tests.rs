//! What is given to others: which states, how long, and how much of them at a time.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use lucid_consensus::ledger::state::StateBuilder;
use lucid_consensus::ledger::table::{Draws, Workers};
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::seats::Seats;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::sync::SyncResponse;
use lucid_types::time::Epoch;

use super::*;
use crate::chain::fixture::{Network, ROW_BYTES, state, worker};

fn heights(snapshots: &Snapshots) -> Vec<u64> {
    snapshots.offered().iter().map(|block| block.header.height.get()).collect()
}

/// Fetches a whole state; its pages.
fn pages(snapshots: &Snapshots, snapshot: &Snapshot) -> Vec<SnapshotRows> {
    let height = snapshot.state.height();
    let (mut builder, mut pages) = (StateBuilder::default(), Vec::<SnapshotRows>::new());
    while pages.last().is_none_or(|page| !page.right.is_empty()) {
        let after = builder.last_key().map(<[u8]>::to_vec).unwrap_or_default();
        let page = snapshots.rows(height, &after).unwrap();
        page.rows.iter().for_each(|row| builder.push(&row.key, &row.value).unwrap());
        assert_eq!(builder.root_with(&page.right), Some(snapshot.block.header.state_root), "page {}", pages.len());
        pages.push(page);
    }
    assert_eq!(builder.finish(snapshot.block.header.hash()).unwrap(), snapshot.state);
    pages
}

#[test]
fn the_first_state_and_the_newest_two_at_common_heights_are_kept() {
    let network = Network::new();
    let snapshots = Snapshots::new(20, None);
    assert!(snapshots.offered().is_empty());
    let all: Vec<_> = (0..=105).map(|height| network.snapshot(height, 0)).collect();
    let note = |height: usize| snapshots.note(&all[height].block, &all[height].state);
    (1..20).for_each(note);
    assert_eq!(heights(&snapshots), [0; 0]);
    (20..60).for_each(note);
    assert_eq!(heights(&snapshots), [40, 20]);
    note(60);
    assert_eq!(heights(&snapshots), [60, 40]);
    assert!(snapshots.rows(Height::new(20), &[]).is_none(), "it is not kept any more");
    assert!(snapshots.rows(Height::new(61), &[]).is_none());

    // A node that has started in between gives what it has until it has passed two common heights.
    let snapshots = Snapshots::new(20, Some(all[53].clone()));
    let note = |height: usize| snapshots.note(&all[height].block, &all[height].state);
    assert_eq!(heights(&snapshots), [53]);
    (54..80).for_each(note);
    assert_eq!(heights(&snapshots), [60, 53]);
    note(80);
    assert_eq!(heights(&snapshots), [80, 60]);
    // One that has taken over another state has no blocks from before it.
    snapshots.begin_anew(all[93].clone());
    assert_eq!(heights(&snapshots), [93]);
    assert!(snapshots.rows(Height::new(80), &[]).is_none());
    note(100);
    assert_eq!(heights(&snapshots), [100, 93]);
    assert!(snapshots.offered().len() <= SyncResponse::MAX_SNAPSHOTS);
    for block in snapshots.offered() {
        assert!(block.verify(network.spec().id(), network.spec().first_validators()).is_ok());
    }
}

#[test]
fn readers_see_a_state_that_does_not_change_whatever_the_chain_does() {
    let network = Network::new();
    let snapshots = Snapshots::new(10, None);
    let snapshot = network.snapshot(10, 3_000);
    snapshots.note(&snapshot.block, &snapshot.state);
    let before = pages(&snapshots, &snapshot);
    assert!(before.len() > 2, "{}", before.len());
    // The newest state goes on from the same rows, which it shares.
    let mut newest = snapshot.state.clone();
    for height in 11..20 {
        newest = newest.changed(|rows| {
            rows.head.height = Height::new(height);
            (0..3_000)
                .step_by(7)
                .for_each(|number| rows.get_mut::<Workers>(&worker(number)).unwrap().kbit_s.0 += height);
            rows.remove::<Workers>(&worker(7 * height + 1));
        });
        let block = Arc::new(network.header(&newest));
        snapshots.note(&block, &newest);
    }
    assert_ne!(newest.root(), snapshot.state.root());
    assert_eq!(pages(&snapshots, &snapshot), before);
}

#[test]
fn pages_are_full_and_never_too_long() {
    let network = Network::new();
    // A draw of every length, and the greatest: by turns a page has room for it after others, or not.
    let draw = |bytes: usize| {
        let empty = ScoredWorker {
            node: NodeId::from_bytes([1; 32]),
            pool: PoolId::from_bytes([2; 32]),
            group: NetworkGroup::NONE,
            sharers: 1,
            quota: 0,
            echo_bytes: None,
            seats: Vec::new(),
            storage: Vec::new(),
        };
        let mut draw = EpochDraw { seed: Hash::from_bytes([2; 32]), reporters: Vec::new(), scored: vec![empty; 2] };
        let fixed = encode(&draw).len();
        draw.scored[1].seats = vec![Seats { reporter: 3, count: 1 }; (bytes - fixed) / 3];
        draw
    };
    let greatest = draw(EpochDraw::MAX_BYTES);
    assert!(encode(&greatest).len() > EpochDraw::MAX_BYTES - 3);
    let state = state(network.spec(), 40, 2_000).changed(|rows| {
        for (epoch, part) in
            (10_u64..).zip([1, 700_000, 700_000, 250_000, 1_000, 768 << 10, 768 << 10, 600_000, 768 << 10])
        {
            rows.put::<Draws>(&Epoch::new(epoch), draw(part.max(300)));
        }
    });
    let snapshot = network.certify(&state);
    let snapshots = Snapshots::new(20, Some(snapshot.clone()));
    let pages = pages(&snapshots, &snapshot);
    let n_rows: usize = pages.iter().map(|page| page.rows.len()).sum();
    assert_eq!(n_rows, state.len());
    let (last, others) = pages.split_last().unwrap();
    assert!(others.len() > 5);
    for (page, next) in others.iter().zip(&pages[1..]) {
        assert!(page.rows_len() >= SnapshotRows::LEAST_BYTES, "{} bytes of rows", page.rows_len());
        assert!(page.rows_len() + next.rows[0].encoded_len() > ROWS_BYTES, "there was room for one more");
    }
    for page in &pages {
        let bytes: usize = page.rows.iter().map(|row| encode_len(&row.key, &row.value)).sum();
        assert_eq!(page.rows_len(), bytes);
        let answer = encode(&SyncResponse::SnapshotRows(Some(page.clone())));
        assert!(answer.len() <= SyncResponse::PAGE_BYTES, "{} bytes", answer.len());
        assert!(decode::<SyncResponse>(&answer).is_ok());
    }
    assert!(last.right.is_empty());
    // Of rows of one length it is the number that fits.
    let alike = &others[0].rows[1..];
    assert!(alike.iter().skip(1).take(900).all(|row| row.encoded_len() == ROW_BYTES));
}

fn encode_len(key: &[u8], value: &[u8]) -> usize {
    8 + key.len() + 8 + value.len()
}

#[test]
fn any_bytes_may_be_asked_after() {
    let network = Network::new();
    let snapshot = network.snapshot(20, 500);
    let snapshots = Snapshots::new(20, Some(snapshot.clone()));
    let last = snapshot.state.encoded_from(Bound::Unbounded).last().unwrap().0.to_vec();
    for after in [vec![0], vec![1; 33], vec![1, 0xff], vec![0xfe; 1_000], vec![0xff; 128 << 10], last] {
        let page = snapshots.rows(Height::new(20), &after).unwrap();
        assert!(page.rows.iter().all(|row| row.key > after));
        let expected = snapshot.state.encoded_from(Bound::Unbounded).filter(|(key, _)| *key > after.as_slice()).count();
        assert_eq!(page.rows.len(), expected);
    }
}
