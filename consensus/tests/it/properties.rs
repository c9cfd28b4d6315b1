//! Any bytes in a damaged store end in an error, never in a panic or another value, and full records fit.

use std::collections::BTreeMap;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::payouts::max_open;
use lucid_consensus::ledger::settle::MAX_UNENDED;
use lucid_consensus::ledger::state::{EpochRows, OpenAttempt, Payout, PoolState, State};
use lucid_consensus::replica::OwnReport;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::block::Block;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::commit::Commit;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NodeId, PayoutId, PoolId, TxId};
use lucid_types::payout::{ReceiptVote, Verdict};
use lucid_types::report::Reveal;
use proptest::prelude::*;

use crate::golden::{epoch_rows, state, wal_entries};

fn is_safe<T: Wire>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&value), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        is_safe::<WalEntry>(&bytes)?;
        is_safe::<OwnReport>(&bytes)?;
        is_safe::<EpochRows>(&bytes)?;
        is_safe::<State>(&bytes)?;
    }

    #[test]
    fn bytes_gone_wrong_never_panic(
        at in any::<prop::sample::Index>(),
        which in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 1..24),
    ) {
        let spoil = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + noise.len()).min(bytes.len()), noise.clone());
            bytes
        };
        let entries = wal_entries();
        is_safe::<WalEntry>(&spoil(entries[which.index(entries.len())].1.encode()))?;
        is_safe::<EpochRows>(&spoil(encode(&epoch_rows())))?;
        is_safe::<State>(&spoil(encode(&state())))?;
    }
}

fn numbered(i: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&i.to_be_bytes());
    bytes
}

/// The greatest block that may be decided can be logged before it is, and the greatest state be stored.
#[test]
fn full_records_fit() {
    let WalEntry::Body(sample) = wal_entries()[6].1.clone() else { unreachable!("the seventh sample is a body") };
    let mut commit = sample.commits[0].clone();
    let vote = |i| ReceiptVote { payout: PayoutId::from_bytes(numbered(i)), attempt: 1, verdict: Verdict::Dead };
    commit.record.receipts = (0..u32::try_from(Commit::MAX_RECEIPTS).unwrap()).map(vote).collect();
    let count = Block::MAX_BYTES / encode(&commit).len() - 1;
    let block = Block { commits: vec![commit; count], reveals: vec![], ..sample };
    let entry = WalEntry::Body(block).encode();
    assert!(entry.len() > Block::MAX_BYTES - (128 << 10) && entry.len() <= WalEntry::MAX_BYTES);
    assert!(WalEntry::decode(&entry).is_ok());

    let state = fullest();
    assert_eq!(decode::<State>(&encode(&state)).unwrap(), state);
    let row = epoch_rows().rows[0];
    let rows = EpochRows { rows: vec![row; Genesis::MAX_WORKERS], ..epoch_rows() };
    assert_eq!(decode::<EpochRows>(&encode(&rows)).unwrap(), rows);
    const { assert!(OwnReport::MAX_BYTES >= Commit::MAX_BYTES + Reveal::MAX_BYTES + 2 * 96) };
}

/// As many workers as there may be, in as many pools, with as much owed to all of them as may wait, and as many attempts
/// open and voted on as there may be.
fn fullest() -> State {
    let mut state = state();
    let standing = *state.standings.values().next().unwrap();
    let pool = state.pools.values().next().unwrap().clone();
    let payout = state.payouts.values().find(|payout| payout.open.is_some()).unwrap().clone();
    let node = |i| NodeId::from_bytes(numbered(i));
    let count = |n: usize| u32::try_from(n).unwrap();
    let workers = || 0..count(Genesis::MAX_WORKERS);
    state.standings = workers().map(|i| (node(i), standing)).collect();

    let verdict = Verdict::Paid { tx_id: TxId::from_bytes([0x47; 32]), block: u64::MAX, fee: Sun::new(u64::MAX) };
    let votes: BTreeMap<_, _> = (0..50).map(|i| (node(i), verdict)).collect();
    let open = payout.open.clone().map(|open| OpenAttempt { votes, ..open });
    let open_of = |i| if i < count(max_open(50)) { open.clone() } else { None };
    let owed = 0..count(MAX_UNENDED * Genesis::MAX_WORKERS);
    state.payouts =
        owed.map(|i| (PayoutId::from_bytes(numbered(i)), Payout { open: open_of(i), ..payout.clone() })).collect();

    let election = pool.elections.values().next().unwrap().clone();
    for i in 0..count(Genesis::MAX_POOLS) {
        let elections = (0..=3).map(|settlement| (settlement, election.clone())).collect();
        let mut pool = PoolState { elections, ..pool.clone() };
        let members = workers().filter(|worker| worker % count(Genesis::MAX_POOLS) == i).map(node);
        for member in members {
            pool.balances.insert(member, MicroUsdt::new(u64::MAX));
            pool.shares.insert(member, u128::MAX);
            pool.last_led.insert(member, u64::MAX);
        }
        state.pools.insert(PoolId::from_bytes(numbered(i)), pool);
    }
    state
}
