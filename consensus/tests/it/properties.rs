//! Any bytes in a damaged store end in an error, never in a panic or another value, and full records fit.

use std::collections::BTreeMap;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::state::{EpochRows, KEPT_CHANGES, PoolState, State, VaultChange, VaultTerms};
use lucid_consensus::replica::OwnReport;
use lucid_score::seats::{ScoredWorker, Seats};
use lucid_types::block::Block;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::genesis::{Genesis, SignerSet, TreasurySigner};
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::report::{ReportCommitment, Reveal};
use lucid_types::time::Epoch;
use lucid_types::validator::ValidatorSet;
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
    let WalEntry::Block(sample) = wal_entries()[6].1.clone() else { unreachable!("the seventh sample is a block") };
    let mut block = Block { commitments: vec![], reveals: vec![], ..sample.clone() };
    let commitment = sample.commitments[0].clone();
    let count = (Block::MAX_BYTES - encode(&block).len()) / encode(&commitment).len();
    block.commitments = vec![commitment; count];
    assert!(encode(&block).len() <= Block::MAX_BYTES);
    let entry = WalEntry::Block(block).encode();
    assert!(entry.len() > Block::MAX_BYTES - 256 && entry.len() <= WalEntry::MAX_BYTES);
    assert!(WalEntry::decode(&entry).is_ok());

    for pools in [Genesis::MAX_POOLS, Genesis::MAX_WORKERS.div_ceil(Genesis::MAX_MEMBERS)] {
        let state = fullest(pools);
        assert_eq!(decode::<State>(&encode(&state)).unwrap(), state);
        let length = encode(&state).len();
        assert!(length < State::MAX_BYTES / 10 * 9, "a tenth of the room is for what is to come: {length} bytes");
    }
    let row = epoch_rows().rows[0];
    let rows = EpochRows { rows: vec![row; Genesis::MAX_WORKERS], ..epoch_rows() };
    assert_eq!(decode::<EpochRows>(&encode(&rows)).unwrap(), rows);
    const { assert!(OwnReport::MAX_BYTES >= ReportCommitment::MAX_BYTES + Reveal::MAX_BYTES + 2 * 96) };
}

/// As many workers as there may be, in this many pools, every one of them owed, measured and once a leader; and every
/// pool with as many signers as there may be and changes of its vault under way.
fn fullest(pools: usize) -> State {
    let mut state = state();
    let standing = *state.worker_stats.values().next().unwrap();
    let pool = state.pools.values().next().unwrap().clone();
    let account = pool.accounts.values().next().unwrap().clone();
    let node = |i| NodeId::from_bytes(numbered(i));
    let count = |n: usize| u32::try_from(n).unwrap();
    let workers = || 0..count(Genesis::MAX_WORKERS);
    state.worker_stats = workers().map(|i| (node(i), standing)).collect();
    // Windows of one block leave room for the most workers.
    let policy = Policy { max_scored: count(Genesis::MAX_WORKERS), seats: 21, report_window: 1, ..Policy::default() };
    policy.check().unwrap();
    let pending = state.pending.values_mut().next().unwrap();
    let seats: Vec<_> = (0..21).map(|reporter| Seats { reporter, count: 1 }).collect();
    let scored = ScoredWorker { seats, ..pending.draw.scored[0].clone() };
    pending.draw.scored = workers().map(|i| ScoredWorker { node: node(i), ..scored.clone() }).collect();
    pending.draw.reporters = (0..count(ValidatorSet::MAX_MEMBERS)).map(node).collect();
    (pending.commitments, pending.revealed) =
        pending.draw.reporters.iter().map(|it| ((*it, Hash::from_bytes([1; 32])), *it)).unzip();
    let pending = pending.clone();
    let draws = encode(&pending.draw.scored).len();
    assert!(u64::try_from(3 * draws).unwrap() <= Policy::MAX_DRAW_BYTES, "{draws} bytes");
    state.pending.insert(Epoch::new(1), pending.clone());
    state.open = Some(pending.draw);

    let signer = |i| TreasurySigner { node: node(i), key_address: account.to };
    let signers = SignerSet { era: 2, threshold: 9, members: (0..count(SignerSet::MAX)).map(signer).collect() };
    let change = VaultChange { by: signers.clone(), next: VaultTerms::Signers(signers.clone()) };
    let changes: BTreeMap<_, _> = (0..count(KEPT_CHANGES)).map(|nonce| (nonce, change.clone())).collect();
    let successors = Policy { leader_successors: 100, ..Policy::default() };
    successors.check().unwrap();
    for i in 0..count(pools) {
        let mut pool = PoolState { changes: changes.clone(), ..pool.clone() };
        pool.vault.signers = signers.clone();
        let members: Vec<_> = workers().filter(|worker| worker % count(pools) == i).collect();
        // One more account: the owner's commission.
        pool.accounts = members
            .iter()
            .chain([&u32::MAX])
            .map(|member| (AccountId::from_bytes(numbered(*member)), account.clone()))
            .collect();
        pool.shares = members.iter().map(|member| (node(*member), u128::MAX)).collect();
        pool.last_led = members.iter().map(|member| (node(*member), u64::MAX)).collect();
        if let Some(election) = &mut pool.election {
            let elected = usize::try_from(successors.leader_successors).unwrap() + 1;
            election.order = members.iter().take(elected).map(|member| node(*member)).collect();
        }
        state.pools.insert(PoolId::from_bytes(numbered(i)), pool);
    }
    state
}
