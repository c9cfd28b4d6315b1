//! Between the replica's values and the store's bytes.

use std::ops::Bound;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::{CommandKey, is_over};
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::execute::Execution;
use lucid_consensus::ledger::state::{FinalEpoch, Rows, State, StateBuilder, StateError};
use lucid_consensus::ledger::table::PendingEpochs;
use lucid_consensus::replica::{OwnReport, Restore};
use lucid_storage::{BlockCommit, Head, HistoryRecord, OwnKind, OwnRecord, PutNew, StorageError, Store, Wal};
use lucid_types::block::{Block, Header};
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::StateRoot;
use lucid_types::sync::{CertifiedBlock, CertifiedHeader};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::{SET_DELAY, SetChange, ValidatorSets};

use crate::history;

/// What is stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what they should be.
    #[error("read {what} back from the store")]
    Decode {
        /// What was read.
        what: &'static str,
        /// Why it cannot be.
        #[source]
        source: DecodeError,
    },
    /// Something that must be there is not.
    #[error("the store has no {what} of its newest block {height}: {REPAIR}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The block.
        height: Height,
    },
    /// The stored rows are no state.
    #[error("the state on disk, after block {height}, is damaged: {REPAIR}")]
    Rows {
        /// The newest block.
        height: Height,
        /// Why they are none.
        #[source]
        source: StateError,
    },
    /// The stored rows are another state than the one that the newest block leads to.
    #[error(
        "the state on disk is damaged: its root is {found}, and that of block {height}, the newest, is {expected}: {REPAIR}"
    )]
    Root {
        /// The newest block.
        height: Height,
        /// The root of the rows.
        found: StateRoot,
        /// The root in the block's header.
        expected: StateRoot,
    },
    /// Another report of this validator is stored for the epoch.
    #[error("another report for epoch {0} is stored: this node's key is in use twice, or the store was rolled back")]
    OtherReport(Epoch),
}

/// What to do about a damaged state.
const REPAIR: &str = "stop the node and run `lucid db repair`";

fn decoded<T: Wire>(what: &'static str, bytes: &[u8]) -> Result<T, PersistError> {
    decode(bytes).map_err(|source| PersistError::Decode { what, source })
}

/// What a node goes on from.
pub struct Restored {
    /// The newest state, the engine's log, and own reports.
    pub replica: Restore,
    /// The newest block's header and certificate; none before block 1.
    pub block: Option<CertifiedHeader>,
}

/// What the node goes on from. The state's rows are compared with the root in the newest block's header.
///
/// # Errors
/// The store failed or holds other bytes than were written.
pub fn restore(spec: &ChainSpec, store: &Store, wal: &Wal, now: UnixMillis) -> Result<Restored, PersistError> {
    let (state, block) = match store.head() {
        Some(head) => {
            let block = newest(store, &head)?;
            (stored_state(store, &head, &block.header)?, Some(block))
        }
        None => (State::genesis(spec), None),
    };
    let entries = wal.entries(state.height().next())?;
    let log = entries.iter().map(|entry| decoded::<WalEntry>("the engine's log", entry)).collect::<Result<_, _>>()?;
    let mut own = std::collections::BTreeMap::new();
    for record in store.own_all(OwnKind::Report, &[])? {
        let report: OwnReport = decoded("an own report", &record.value)?;
        let epoch = report.commitment.record.epoch;
        if epoch > state.closed() || state.has::<PendingEpochs>(&epoch) {
            own.insert(epoch, report);
        } else {
            store.remove_own(OwnKind::Report, &record.key)?;
        }
    }
    let commands = commands(store, &state)?;
    let rebroadcast_sequence = rebroadcast_sequence(store, now)?;
    let replica = Restore {
        state,
        log,
        own,
        commands,
        is_listening: false,
        silent_through: Height::ZERO,
        rebroadcast_sequence,
        now,
    };
    Ok(Restored { replica, block })
}

/// The newest state in a store; `None` before block 1.
///
/// # Errors
/// As [`restore`].
pub fn newest_state(store: &Store) -> Result<Option<State>, PersistError> {
    let Some(head) = store.head() else { return Ok(None) };
    let block = newest(store, &head)?;
    stored_state(store, &head, &block.header).map(Some)
}

/// The state of the stored rows.
fn stored_state(store: &Store, head: &Head, header: &Header) -> Result<State, PersistError> {
    let height = head.height;
    let damaged = |source| PersistError::Rows { height, source };
    let mut builder = StateBuilder::default();
    for row in store.state_rows() {
        let (key, value) = row?;
        builder.push(&key, &value).map_err(damaged)?;
    }
    let state = builder.finish(head.block_hash).map_err(damaged)?;
    let (found, expected) = (state.root(), header.state_root);
    if found == expected { Ok(state) } else { Err(PersistError::Root { height, found, expected }) }
}

/// Header and certificate of the newest block.
fn newest(store: &Store, head: &Head) -> Result<CertifiedHeader, PersistError> {
    let height = head.height;
    let found = header(store, height)?;
    let found = found.filter(|it| (it.header.height, it.header.hash()) == (height, head.block_hash));
    found.ok_or(PersistError::Missing { what: "header and certificate", height })
}

/// Where this run's rebroadcasts are counted from: the clock's milliseconds, so that a node that lost its store is heard
/// again at once, but beyond all of earlier runs should the clock have been set back since.
fn rebroadcast_sequence(store: &Store, now: UnixMillis) -> Result<u64, StorageError> {
    const KEY: &[u8] = b"rebroadcast";
    /// More than a run repeats itself; the clock is faster in any case.
    const A_RUN: u64 = 1 << 20;
    let last = store.own(OwnKind::Counter, KEY)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let first = last.map_or(0, |last| last.saturating_add(A_RUN)).max(now.get());
    store.put(OwnKind::Counter, KEY, &first.to_be_bytes())?;
    Ok(first)
}

const BOOT: &[u8] = b"boot";

/// How often this validator has started with this database; 0 before its first start.
///
/// # Errors
/// The store failed.
pub fn boots(store: &Store) -> Result<u64, StorageError> {
    Ok(store.own(OwnKind::Counter, BOOT)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Notes a start, durably.
///
/// # Errors
/// The store failed.
pub fn put_boot(store: &Store, boot: u64) -> Result<(), StorageError> {
    store.put(OwnKind::Counter, BOOT, &boot.to_be_bytes())
}

/// Makes an own report durable; refuses a second, different one for an epoch.
///
/// # Errors
/// The store failed, or holds another report for the epoch.
pub fn put_own(store: &Store, own: &OwnReport) -> Result<(), PersistError> {
    let epoch = own.commitment.record.epoch;
    let bytes = encode(own);
    match store.put_new(OwnKind::Report, &epoch.get().to_be_bytes(), &bytes)? {
        PutNew::Inserted => Ok(()),
        PutNew::Existing(existing) if existing == bytes => Ok(()),
        PutNew::Existing(_) => Err(PersistError::OtherReport(epoch)),
    }
}

fn command_key((account, nonce): &CommandKey) -> Vec<u8> {
    [account.as_bytes().as_slice(), &nonce.to_be_bytes()].concat()
}

/// The commands of this node's users that a block may still hold; the others are removed.
fn commands(store: &Store, state: &State) -> Result<Vec<SignedCommand>, PersistError> {
    let (mut kept, mut over) = (Vec::new(), Vec::new());
    for OwnRecord { key, value } in store.own_all(OwnKind::Command, &[])? {
        let command: SignedCommand = decoded("a command", &value)?;
        if is_over(state, &command.record) {
            over.push(key);
        } else {
            kept.push(command);
        }
    }
    if !over.is_empty() {
        store.change_own(OwnKind::Command, &[], &over)?;
    }
    Ok(kept)
}

/// Makes commands of this node's users durable, all with one sync.
///
/// # Errors
/// The store failed.
pub fn put_commands<'a>(
    store: &Store,
    commands: impl IntoIterator<Item = &'a SignedCommand>,
) -> Result<(), StorageError> {
    let record = |command: &SignedCommand| {
        (command_key(&(command.record.account, command.record.nonce)), encode::<SignedCommand>(command))
    };
    let records: Vec<_> = commands.into_iter().map(record).collect();
    if records.is_empty() { Ok(()) } else { store.change_own(OwnKind::Command, &records, &[]) }
}

/// Removes commands that nobody waits for any more.
///
/// # Errors
/// The store failed.
pub fn remove_commands(store: &Store, keys: &[CommandKey]) -> Result<(), StorageError> {
    let keys: Vec<_> = keys.iter().map(command_key).collect();
    if keys.is_empty() { Ok(()) } else { store.change_own(OwnKind::Command, &[], &keys) }
}

/// Stores a decided block and all that follows from it, in one synced batch. The genesis' rows come with the first block.
///
/// # Errors
/// The store failed; nothing of the block is stored then.
pub fn put_block(store: &Store, decided: &CertifiedBlock, applied: Execution) -> Result<(), PersistError> {
    let height = decided.block.header.height;
    let history = history_of(&decided.block, &applied);
    let set_change = changed_set(&applied.state).map(|set| SetChange { block: decided.into(), set: set.clone() });
    store.commit_block(BlockCommit {
        height,
        block_hash: applied.state.block(),
        block: encode(&decided.block),
        certificate: encode(&decided.certificate),
        // The state before block 1 is nowhere but in the genesis.
        state: if height == Height::new(1) { all(&applied.state) } else { applied.delta.0 },
        set_change: set_change.as_ref().map(encode),
        history,
    })?;
    // The own report of an epoch whose scores are final.
    if let Some(FinalEpoch { scores, .. }) = &applied.finalised {
        store.remove_own(OwnKind::Report, &scores.epoch.get().to_be_bytes())?;
    }
    Ok(())
}

/// The history records that follow from a block.
pub(crate) fn history_of(block: &Block, applied: &Execution) -> Vec<HistoryRecord> {
    let (height, time) = (block.header.height, applied.state.time());
    let reports_of = |it: &FinalEpoch| {
        let epoch = it.scores.epoch;
        history::reports::records(time, applied.state.policy(epoch).settlement_of(epoch), it)
    };
    let records = [
        history::ledger::records(height, time, &applied.events),
        history::ledger::command_records(block),
        history::epochs::records(height, applied),
        applied.finalised.iter().map(|it| history::scores::record(time, &it.scores)).collect(),
        applied.finalised.iter().flat_map(reports_of).collect(),
    ];
    records.concat()
}

/// Whether an own record is one that this module writes.
pub(crate) fn is_sound(kind: OwnKind, record: &OwnRecord) -> bool {
    match kind {
        OwnKind::Report => decode::<OwnReport>(&record.value)
            .is_ok_and(|own| record.key == own.commitment.record.epoch.get().to_be_bytes()),
        OwnKind::Counter => record.value.len() == 8,
        OwnKind::Command => decode::<SignedCommand>(&record.value)
            .is_ok_and(|it| record.key == command_key(&(it.record.account, it.record.nonce))),
        OwnKind::Signature | OwnKind::Transaction | OwnKind::Maintenance => false,
    }
}

/// The validators that the newest block of a state changes to, if it does.
pub(crate) fn changed_set(state: &State) -> Option<&ValidatorSet> {
    let (from, set) = state.sets().newest();
    let before = state.sets().at(from.previous())?;
    (from == state.height().plus(SET_DELAY) && before.hash() != set.hash()).then_some(set)
}

/// The changes of the validators by blocks above a height, by their heights, as they are stored.
pub fn set_changes(store: &Store, above: Height) -> impl Iterator<Item = Result<SetChange, PersistError>> {
    store.set_changes(above).map(|entry| set_change(&entry?.1))
}

/// A stored change of the validators.
///
/// # Errors
/// It is another than was written.
pub(crate) fn set_change(bytes: &[u8]) -> Result<SetChange, PersistError> {
    decoded("a change of the validators", bytes)
}

/// The validators of all heights, by what is stored: nothing is verified.
///
/// # Errors
/// The store failed or holds other bytes than were written.
pub fn sets(spec: &ChainSpec, store: &Store) -> Result<ValidatorSets, PersistError> {
    let mut sets = spec.first_sets();
    for change in set_changes(store, Height::ZERO) {
        let SetChange { block, set } = change?;
        sets.push(block.header.height.plus(SET_DELAY), Arc::new(set));
    }
    Ok(sets)
}

/// All rows of a state.
fn all(state: &State) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), Some(value))).collect()
}

/// A final block's header with its certificate, if either the block or its header is stored.
///
/// # Errors
/// The store failed or holds other bytes than were written.
pub fn header(store: &Store, height: Height) -> Result<Option<CertifiedHeader>, PersistError> {
    let header = match store.header_of(height)? {
        Some(header) => Some(decoded("a header", &header)?),
        None => {
            store.block(height)?.map(|block| decoded::<Block>("a block", &block)).transpose()?.map(|block| block.header)
        }
    };
    let (Some(header), Some(certificate)) = (header, store.certificate(height)?) else { return Ok(None) };
    Ok(Some(CertifiedHeader { header, certificate: decoded("a certificate", &certificate)? }))
}

/// A final block with its certificate, if it is stored whole.
///
/// # Errors
/// The store failed or holds other bytes than were written.
pub fn decided(store: &Store, height: Height) -> Result<Option<CertifiedBlock>, PersistError> {
    let (Some(block), Some(certificate)) = (store.block(height)?, store.certificate(height)?) else { return Ok(None) };
    let block = decoded("a block", &block)?;
    Ok(Some(CertifiedBlock { block, certificate: decoded("a certificate", &certificate)? }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::table::{Table, UsedKeys};
    use lucid_types::id::NetworkId;

    use super::*;
    use crate::chain::fixture::{Growing, stage};
    use crate::payout::testing::{SIGNERS, signing_key};

    #[test]
    fn a_node_goes_on_where_it_ended() {
        let mut chain = Growing::new();
        let first = chain.restore().unwrap();
        assert_eq!((first.replica.state.root(), first.block), (chain.state.root(), None));
        for _ in 0..5 {
            let decided = chain.grow();
            let Restored { replica, block } = chain.restore().unwrap();
            assert_eq!((replica.state.root(), replica.state.block()), (chain.state.root(), decided.block.hash()));
            assert!(block.unwrap().verify(chain.spec.id(), chain.spec.first_validators()).is_ok());
        }
        assert_eq!(decided(&chain.store, Height::new(2)).unwrap().unwrap().block.header.height, Height::new(2));
        assert!(decided(&chain.store, Height::new(6)).unwrap().is_none());
    }

    #[test]
    fn a_node_goes_on_from_a_snapshot_without_its_block() {
        let (mut chain, other) = (Growing::new(), Growing::new());
        (0..3).for_each(|_| drop(chain.grow()));
        let CertifiedBlock { block, certificate } = chain.grow();
        stage(&other.store, &chain.snapshot());
        let (height, hash) = (block.header.height, block.hash());
        other.store.finish_restore(height, hash, &encode(&block.header), &encode(&certificate), &[]).unwrap();
        let Restored { replica, block: newest } = other.restore().unwrap();
        assert_eq!(
            (replica.state.root(), newest),
            (chain.state.root(), Some(CertifiedHeader { header: block.header, certificate }))
        );
    }

    #[test]
    fn a_damaged_state_is_found_and_it_is_said_what_to_do() {
        type Damage = fn(&mut Vec<(Vec<u8>, Option<Vec<u8>>)>);
        let told = |damage: Damage| {
            let mut chain = Growing::new();
            chain.grow();
            chain.grow_with(damage);
            chain.restore().err().map(|error| error.to_string())
        };
        assert_eq!(told(|_| {}), None);
        for (damage, words) in [
            ((|rows| drop(rows.remove(1))) as Damage, "its root is "),
            (|rows| rows.push((UsedKeys::key(&signing_key(SIGNERS[0]).id()), None)), "its root is "),
            (|rows| rows.push((vec![0], Some(vec![0; 9]))), "after block 2, is damaged"),
            (|rows| rows.push((vec![99], Some(vec![]))), "after block 2, is damaged"),
            (|rows| rows.push((vec![0], None)), "after block 2, is damaged"),
        ] {
            let told = told(damage).unwrap_or_default();
            assert!(told.contains(words) && told.contains("`lucid db repair`"), "{words}: {told}");
        }
    }

    #[test]
    fn repetitions_count_on_after_a_clock_was_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let starts = [1_000_000_000, 1_000_000_500, 400, 500, 3_000_000_000];
        let sequences = starts.map(|now| rebroadcast_sequence(&store, UnixMillis::new(now)).unwrap());
        assert_eq!(sequences[0], 1_000_000_000);
        assert!(sequences.is_sorted_by(|earlier, later| later - earlier >= 1 << 20), "{sequences:?}");
        assert_eq!(sequences[4], 3_000_000_000, "the clock has caught up");
    }
}
