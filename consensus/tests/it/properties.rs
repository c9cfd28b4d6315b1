//! Any bytes in a damaged store end in an error, never in a panic or another value, and full records fit.

use std::collections::BTreeMap;
use std::ops::Bound;

use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::entry::KEPT_CLOSES;
use lucid_consensus::ledger::pool::{KEPT_CHANGES, PoolState, PoolStatus, VaultChange, VaultTerms};
use lucid_consensus::ledger::state::EpochScores;
use lucid_consensus::ledger::table::{Row, TABLES};
use lucid_consensus::replica::OwnReport;
use lucid_score::leader::Elected;
use lucid_types::block::Block;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use lucid_types::pool::MAX_NAME_BYTES;
use lucid_types::report::{ReportCommitment, Reveal, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator::ValidatorSet;
use lucid_types::vault::{SignerSet, TreasurySigner};
use proptest::prelude::*;

use crate::golden::{epoch_scores, state, wal_entries};

fn is_safe<T: Wire>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&value), bytes);
    }
    Ok(())
}

/// A key and a value, cut anywhere, are no row, or exactly this one.
fn is_safe_row(bytes: &[u8]) -> Result<(), TestCaseError> {
    for table in TABLES {
        if let Some((key, value)) = bytes.split_at_checked(table.key_bytes)
            && let Ok(row) = Row::decode(key, value)
        {
            prop_assert_eq!(row.encode(), value);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        is_safe::<WalEntry>(&bytes)?;
        is_safe::<OwnReport>(&bytes)?;
        is_safe::<EpochScores>(&bytes)?;
        is_safe_row(&bytes)?;
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
        is_safe::<EpochScores>(&spoil(encode(&epoch_scores())))?;
        for (key, value) in state().encoded_from(Bound::Unbounded) {
            is_safe_row(&spoil([key, &value].concat()))?;
        }
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

    let row = epoch_scores().rows[0];
    let scores = EpochScores { rows: vec![row; ScoreReport::MAX_WORKERS], ..epoch_scores() };
    assert_eq!(decode::<EpochScores>(&encode(&scores)).unwrap(), scores);
    const { assert!(OwnReport::MAX_BYTES >= ReportCommitment::MAX_BYTES + Reveal::MAX_BYTES + 2 * 96) };
}

/// The greatest row of a pool: the longest name, as many signers as there may be, changes of its vault under way, and the longest election.
#[test]
fn the_greatest_pool_fits() {
    let sample = state();
    let mut pool = sample.pools().next().unwrap().1.clone();
    pool.name = "n".repeat(MAX_NAME_BYTES);
    let node = |i| NodeId::from_bytes(numbered(i));
    let count = |n: usize| u32::try_from(n).unwrap();
    let signer = |i| TreasurySigner { node: node(i), key_address: pool.vault.address };
    let signers = SignerSet { era: 2, threshold: 9, members: (0..count(SignerSet::MAX)).map(signer).collect() };
    let change = VaultChange { by: signers.clone(), next: VaultTerms::Signers(signers.clone()) };
    pool.changes = (0..count(KEPT_CHANGES)).map(|nonce| (nonce, change.clone())).collect();
    pool.vault.signers = signers;
    let successors = Policy { leader_successors: 100, ..Policy::default() };
    successors.check().unwrap();
    let elected =
        |i| Elected { node: node(i), live: u64::MAX, is_eligible: true, is_cooling: true, last_led: Some(u64::MAX) };
    pool.election.as_mut().unwrap().order = (0..=successors.leader_successors).map(elected).collect();
    assert_eq!(encode(&pool.election).len(), 1 + 8 + 8 + 8 + 8 + 101 * Elected::BYTES);
    pool.joins = (0..count(KEPT_CLOSES)).map(|i| (Epoch::new(i.into()), i)).collect();
    let fits = |pool: &PoolState| {
        let bytes = encode(pool);
        assert_eq!(decode::<PoolState>(&bytes).unwrap(), *pool, "{} bytes", bytes.len());
        bytes.len()
    };
    fits(&pool);
    // One that forms owes nothing, and its vault does not change.
    let approvals = (0..count(ValidatorSet::MAX_MEMBERS)).map(node).collect();
    let status = PoolStatus::Forming { until: UnixMillis::new(u64::MAX), approvals };
    let forming = PoolState { status, changes: BTreeMap::new(), election: None, newest: None, ..pool };
    let bytes = fits(&forming);
    assert!(bytes > PoolState::MAX_BYTES * 4 / 5, "the limit is far from {bytes} bytes");
}
