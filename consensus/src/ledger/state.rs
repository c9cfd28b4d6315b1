//! What the network knows after a block.
//!
//! A [`State`] never changes: it is a tree of rows that a clone shares, so whoever has one reads it in peace while the chain goes on.
//! A block is executed on an [`Overlay`], which holds the rows that it changes and becomes the next state and its [`Delta`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use lucid_score::draw::{Candidate, EpochDraw};
use lucid_score::storage::Terms;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::amount::MicroUsdt;
use lucid_types::attestation::Capacity;
use lucid_types::codec::{Wire, encode};
use lucid_types::command::MaintenanceScope;
use lucid_types::id::{BlockHash, Hash, NodeId, PoolId, StateRoot, ValidatorId};
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::proof::{KeyProof, ProofStep, value_hash};
use lucid_types::report::ScoreReport;
use lucid_types::time::{Epoch, Height, UnixMillis, Windows};
use lucid_types::validator::{Proposers, Validator, ValidatorSet};
use lucid_types::validator_sets::{SET_DELAY, ValidatorSets};
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::entry::Close;
use crate::ledger::fork::{WORTH_A_THREAD, fork};
use crate::ledger::measuring::fix_storage_terms;
use crate::ledger::policies::PolicySchedule;
use crate::ledger::pool::{Account, PoolState};
use crate::ledger::registry::Node;
use crate::ledger::table::{
    Accounts, Closes, Commitments, Draws, Heads, Nodes, PendingEpochs, Policies, Pools, Reveals, Row, RowError,
    StorageTerms, Table, TableKey, UsedKeys, Validators, Workers,
};
use crate::ledger::tree::{Builder, Change, Tree};
use crate::ledger::validators::UsedKey;

/// The newest block, as the state knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its height; 0 before block 1.
    pub height: Height,
    /// Its time; the genesis time at height 0.
    pub time: UnixMillis,
    /// Its random beacon.
    pub beacon: Hash,
    /// That of the block before, which draws the next block's proposers.
    pub previous_beacon: Hash,
    /// The newest epoch that a block has closed; 0 before the first.
    pub closed: Epoch,
    /// The newest epoch with scores.
    pub scored: Epoch,
}

impl Wire for Head {
    const MAX_BYTES: usize = 96;
}

/// What the chain holds against a validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// The height that it equivocated at.
    pub height: Height,
    /// The block with the evidence.
    pub proved_in: Height,
    /// The epoch in which it was removed for that, and with what power; 0 if it was no validator any more.
    pub removed: Option<(Epoch, u64)>,
}

impl Wire for Equivocation {
    const MAX_BYTES: usize = 33;
}

/// A closed epoch whose scores are not final yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEpoch {
    /// The block that closed it.
    pub closed_in: Height,
}

impl Wire for PendingEpoch {
    const MAX_BYTES: usize = 8;
}

impl PendingEpoch {
    /// The blocks in which its commitments and reveals may stand.
    pub const fn windows(&self, spec: &ChainSpec) -> Windows {
        Windows::new(self.closed_in, spec.fixed().report_window)
    }
}

/// The scores of one final epoch, by worker. Immutable; history keeps them, the state their root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochScores {
    /// The epoch.
    pub epoch: Epoch,
    /// One row for each worker that was measured, by its id.
    pub rows: Vec<ScoreRow>,
}

impl Wire for EpochScores {
    const MAX_BYTES: usize = 4 << 20;
}

impl EpochScores {
    /// The rows in a tree by their worker's id. Of rows that are not in order, the first that are.
    fn tree(&self) -> Tree<()> {
        let mut builder = Builder::default();
        for row in &self.rows {
            if builder.push(row.worker.as_bytes(), (), value_hash(&encode(row))).is_err() {
                break;
            }
        }
        builder.finish()
    }

    /// The root of the rows.
    pub fn root(&self) -> Hash {
        self.tree().root()
    }

    /// Proves a worker's row against [`Self::root`], or that it has none.
    pub fn prove(&self, worker: &NodeId) -> KeyProof {
        self.tree().prove(worker.as_bytes())
    }
}

/// An epoch that a block made final: what the block computed, and what from. The state forgets all but the root of the scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalEpoch {
    /// The scores.
    pub scores: EpochScores,
    /// Who measured whom.
    pub draw: EpochDraw,
    /// The reports of those that committed to one, by key; `None` where it was not revealed in time.
    pub reports: Vec<(ValidatorId, Option<ScoreReport>)>,
    /// The stats before it of the workers with a row whose last one is of an earlier settlement than the epoch's: from them and the rows
    /// the settlement's other stats follow. By worker.
    pub before: Vec<(NodeId, Arc<WorkerStats>)>,
}

/// Rows that can be read: a state, or a block's changes on top of one.
pub trait Rows {
    /// The newest block.
    fn head(&self) -> &Head;

    /// The validators of the block before a change, which changes none that are in force.
    fn sets(&self) -> &ValidatorSets;

    /// The policies of the block before a change, which changes none that is in force.
    fn policies(&self) -> &PolicySchedule;

    /// The policy of an epoch.
    fn policy(&self, epoch: Epoch) -> &Arc<Policy> {
        self.policies().at(epoch)
    }

    /// The policy of the open epoch, the one after the newest closed one: for what has no epoch of its own.
    fn policy_in_force(&self) -> &Arc<Policy> {
        self.policy(self.head().closed.next())
    }

    /// The row of these key bytes.
    fn row(&self, key: &[u8]) -> Option<&Row>;

    /// The rows whose keys begin with these bytes, by their keys.
    fn prefixed<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Row)> + use<'a, Self>;

    /// The value of a key.
    fn get<T: Table>(&self, key: &T::Key) -> Option<&T::Value> {
        self.shared::<T>(key).map(|value| &**value)
    }

    /// The same, to be kept without a copy.
    fn shared<T: Table>(&self, key: &T::Key) -> Option<&Arc<T::Value>> {
        T::value(self.row(&T::key(key))?)
    }

    /// Whether there is a row of this key.
    fn has<T: Table>(&self, key: &T::Key) -> bool {
        self.row(&T::key(key)).is_some()
    }

    /// All rows of a table by their keys.
    fn all<T: Table>(&self) -> impl Iterator<Item = (T::Key, &T::Value)> {
        self.all_of::<T, ()>(&())
    }

    /// The rows of a table whose keys begin with this part, by their keys.
    fn all_of<'a, T: Table, P: TableKey>(
        &'a self,
        part: &P,
    ) -> impl Iterator<Item = (T::Key, &'a T::Value)> + use<'a, Self, T, P> {
        let mut prefix = vec![T::TAG];
        part.write(&mut prefix);
        self.prefixed(&prefix).filter_map(|(key, row)| Some((T::parse_key(key)?, &**T::value(row)?)))
    }

    /// Who may hold chunks with workers, by the settlements in which the terms begin.
    fn storage_terms(&self) -> Terms<'_> {
        self.all::<StorageTerms>().collect()
    }

    /// The epoch up to which scores are final, or will never be given.
    fn final_through(&self) -> Epoch {
        self.all::<PendingEpochs>().next().map_or(self.head().closed, |(first, _)| first.previous())
    }
}

/// The replicated state.
#[derive(Clone)]
pub struct State {
    /// Hash of the newest block; the network id at height 0. No row: the block itself carries the root.
    block: BlockHash,
    head: Head,
    rows: Tree<Row>,
    /// The rows of [`Validators`].
    sets: Arc<ValidatorSets>,
    /// The rows of [`Policies`].
    policies: Arc<PolicySchedule>,
}

/// The rows that a block changes: key bytes and the new value's bytes, none if the row is removed. In the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// Why rows are no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A row is none.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The rows are not in the order of their keys.
    #[error("the rows of the state are out of order")]
    Order,
    /// The row of the newest block is missing.
    #[error("the state has no row of its newest block")]
    NoHead,
    /// The row of the validators in force is missing.
    #[error("the state has no row of the validators of its next block")]
    NoValidators,
    /// The row of the policy in force is missing.
    #[error("the state has no row of the policy of its open epoch")]
    NoPolicy,
}

impl Rows for State {
    fn head(&self) -> &Head {
        &self.head
    }

    fn sets(&self) -> &ValidatorSets {
        &self.sets
    }

    fn policies(&self) -> &PolicySchedule {
        &self.policies
    }

    fn row(&self, key: &[u8]) -> Option<&Row> {
        self.rows.get(key)
    }

    fn prefixed<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Row)> + use<'a> {
        self.rows.prefix(prefix)
    }
}

impl State {
    /// The state before block 1: validators, and nobody else.
    pub fn genesis(spec: &ChainSpec) -> Self {
        let beacon = Hash::derive("lucid first beacon 1", &[spec.id().as_bytes()]);
        let head = Head {
            height: Height::ZERO,
            time: spec.genesis().genesis_time,
            beacon,
            previous_beacon: beacon,
            closed: Epoch::ZERO,
            scored: Epoch::ZERO,
        };
        let sets = Arc::new(spec.first_sets());
        let policy = &spec.genesis().policy;
        let policies = Arc::new(PolicySchedule::first(policy.clone()));
        let empty = Self { block: BlockHash::from(*spec.id()), head, rows: Tree::default(), sets, policies };
        let mut overlay = Overlay::new(&empty);
        overlay.put::<Validators>(&Height::ZERO, ValidatorSet::clone(spec.first_validators()));
        for Validator { node, keys, .. } in spec.first_validators().members() {
            overlay.put::<UsedKeys>(&keys.id, UsedKey::of(*node));
        }
        overlay.put::<Closes>(&Epoch::ZERO, Close { beacon, joins: 0 });
        let first = Epoch::new(1);
        overlay.put::<Policies>(&first, policy.clone());
        fix_storage_terms(spec, &mut overlay, first);
        let draw = draw(&overlay, first);
        overlay.put::<Draws>(&first, draw);
        overlay.finish(empty.block).0
    }

    /// The state of these rows, in the order of their keys, after the block of this hash. Whether they are the block's is for the
    /// caller to see: its header has the [`Self::root`].
    ///
    /// # Errors
    /// They are no state.
    pub fn from_rows<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        block: BlockHash,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, StateError> {
        let mut builder = StateBuilder::default();
        rows.into_iter().try_for_each(|(key, value)| builder.push(key.as_ref(), value.as_ref()))?;
        builder.finish(block)
    }

    /// This state as it is after some changes that no block makes: for tests and tools.
    #[must_use]
    pub fn changed(&self, change: impl FnOnce(&mut Overlay<'_>)) -> Self {
        let mut overlay = Overlay::new(self);
        change(&mut overlay);
        overlay.finish(self.block).0
    }

    /// The same state after a block of this hash.
    #[must_use]
    pub fn after(self, block: BlockHash) -> Self {
        Self { block, ..self }
    }

    /// Hash of the newest block; the network id at height 0.
    pub const fn block(&self) -> BlockHash {
        self.block
    }

    /// Height of the newest block.
    pub const fn height(&self) -> Height {
        self.head.height
    }

    /// Time of the newest block; the genesis time at height 0.
    pub const fn time(&self) -> UnixMillis {
        self.head.time
    }

    /// The newest epoch that a block has closed; 0 before the first.
    pub const fn closed(&self) -> Epoch {
        self.head.closed
    }

    /// The root over all rows.
    pub fn root(&self) -> StateRoot {
        StateRoot::from_bytes(*self.rows.root().as_bytes())
    }

    /// Proves the value of a key against the root, or that it has none.
    pub fn prove<T: Table>(&self, key: &T::Key) -> KeyProof {
        self.rows.prove(&T::key(key))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none. No state of a chain is empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows with key and value bytes from a key on, in the order of their keys.
    pub fn encoded_from(&self, from: Bound<&[u8]>) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
        self.rows.range(from).map(|(key, row)| (key, row.encode()))
    }

    /// What proves that the rows up to this key are the first ones of the state; `None` if there is no such row.
    pub fn right_of(&self, key: &[u8]) -> Option<Vec<ProofStep>> {
        self.rows.right_of(key)
    }

    /// A pool.
    pub fn pool(&self, id: &PoolId) -> Option<&PoolState> {
        self.get::<Pools>(id)
    }

    /// All pools by their ids.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &PoolState)> {
        self.all::<Pools>()
    }

    /// What a pool owes, by account.
    pub fn accounts(&self, pool: &PoolId) -> impl Iterator<Item = (AccountId, &Account)> {
        self.all_of::<Accounts, _>(pool).map(|((_, id), account)| (id, account))
    }

    /// What a pool owes to one account.
    pub fn account(&self, pool: &PoolId, id: &AccountId) -> Option<&Account> {
        self.get::<Accounts>(&(*pool, *id))
    }

    /// Sum of all owed totals of a pool; `None` if it does not fit.
    pub fn owed(&self, pool: &PoolId) -> Option<MicroUsdt> {
        MicroUsdt::sum(self.accounts(pool).map(|(_, account)| account.owed))
    }

    /// Sum of all that a pool holds; `None` if it does not fit.
    pub fn held(&self, pool: &PoolId) -> Option<MicroUsdt> {
        MicroUsdt::sum(self.accounts(pool).map(|(_, account)| account.held))
    }

    /// Whether every pool's accounts add up to the micro-USDT (invariant 4).
    pub fn accounts_balance(&self) -> bool {
        self.pools().all(|(id, pool)| {
            let parts = [self.owed(&id), self.held(&id), Some(pool.fees), Some(pool.carried)];
            let sum = parts.into_iter().try_fold(MicroUsdt::ZERO, |sum, part| sum.checked_add(part?));
            sum == Some(pool.budgets)
        })
    }

    /// Who measures whom in the epoch after the newest closed one. None if it is not measured: the block that closed the epoch before
    /// came more than half an epoch late, so that nobody could know the seed early enough.
    pub fn open(&self) -> Option<&EpochDraw> {
        self.get::<Draws>(&self.closed().next())
    }

    /// Measured epochs that are closed and whose scores are not final yet.
    pub fn pending(&self) -> impl Iterator<Item = (Epoch, &PendingEpoch)> {
        self.all::<PendingEpochs>()
    }

    /// The keys of the validators that have committed to a report of a pending epoch.
    pub fn committed(&self, epoch: Epoch) -> impl Iterator<Item = (ValidatorId, &Hash)> {
        self.all_of::<Commitments, _>(&epoch).map(|((_, validator), hash)| (validator, hash))
    }

    /// Whether the validator with this key has committed to a report of a pending epoch.
    pub fn has_committed(&self, epoch: Epoch, validator: &ValidatorId) -> bool {
        self.has::<Commitments>(&(epoch, *validator))
    }

    /// Whether the validator with this key has revealed its report of a pending epoch.
    pub fn has_revealed(&self, epoch: Epoch, validator: &ValidatorId) -> bool {
        self.has::<Reveals>(&(epoch, *validator))
    }

    /// The validators of a height. `None` of heights beyond the next but one, which no block has fixed yet, and of those for which no
    /// evidence is taken any more.
    pub fn validators(&self, height: Height) -> Option<&ValidatorSet> {
        let is_fixed = height <= self.height().plus(SET_DELAY);
        self.sets.at(height).filter(|_| is_fixed).map(|set| &**set)
    }

    /// The validators of the next height.
    pub fn next_validators(&self) -> &ValidatorSet {
        self.sets.at(self.height().next()).unwrap_or_else(|| self.sets.oldest().1)
    }

    /// Who proposes in the rounds of the next height.
    pub fn next_proposers(&self) -> Proposers<'_> {
        self.next_validators().proposers(self.head.previous_beacon, self.height().next())
    }

    /// The same of the next height or the one after; `None` of others, which no beacon has drawn yet.
    pub fn proposers(&self, height: Height) -> Option<Proposers<'_>> {
        match height.get().checked_sub(self.height().get()) {
            Some(1) => Some(self.next_proposers()),
            Some(2) => Some(self.validators(height)?.proposers(self.head.beacon, height)),
            _ => None,
        }
    }

    /// The least time of the next block.
    pub fn next_time(&self, spec: &ChainSpec) -> UnixMillis {
        let policy = spec.fixed();
        let has_window = self.pending().next().is_some();
        let interval = if has_window { policy.window_block_min_ms } else { policy.block_min_ms };
        self.time().after(Duration::from_millis(interval))
    }
}

/// Same rows, same newest block.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.block == other.block && self.root() == other.root()
    }
}

impl Eq for State {}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { block, head, rows, .. } = self;
        f.debug_struct("State").field("block", block).field("head", head).field("rows", &rows.len()).finish()
    }
}

/// Builds a state from rows in the order of their keys.
#[derive(Clone, Default)]
pub struct StateBuilder {
    head: Option<Head>,
    rows: Builder<Row>,
}

impl StateBuilder {
    /// Adds the next row.
    ///
    /// # Errors
    /// It is none, or not the next.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let row = Row::decode(key, value)?;
        if let Some(head) = Heads::value(&row) {
            self.head = Some(**head);
        }
        self.rows.push(key, row, value_hash(value)).map_err(|_| StateError::Order)
    }

    /// The key of the row that was added last.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.rows.last_key()
    }

    /// The root of the whole state if the rows so far are its first ones, and these are the steps to the right of the last;
    /// `None` if they cannot be.
    pub fn root_with(&self, right: &[ProofStep]) -> Option<StateRoot> {
        self.rows.root_with(right).map(|root| StateRoot::from_bytes(*root.as_bytes()))
    }

    /// The state after the block of this hash.
    ///
    /// # Errors
    /// The row of the newest block is missing, or that of the validators or the policy in force.
    pub fn finish(self, block: BlockHash) -> Result<State, StateError> {
        let head = self.head.ok_or(StateError::NoHead)?;
        let rows = self.rows.finish();
        let sets = sets(&rows).filter(|sets| sets.oldest().0 <= head.height.next()).ok_or(StateError::NoValidators)?;
        let policies = PolicySchedule::of(&rows).filter(|all| all.first_epoch() <= head.closed.next());
        let policies = policies.ok_or(StateError::NoPolicy)?;
        Ok(State { block, head, rows, sets: Arc::new(sets), policies: Arc::new(policies) })
    }
}

impl std::fmt::Debug for StateBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateBuilder").field("last_key", &self.last_key()).finish_non_exhaustive()
    }
}

/// The rows that a block changes, on top of the state before it.
#[derive(Clone, Debug)]
pub struct Overlay<'a> {
    base: &'a State,
    /// The newest block; its row is written by [`Self::finish`].
    pub head: Head,
    changed: BTreeMap<Vec<u8>, Option<Row>>,
}

impl<'b> Rows for Overlay<'b> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn sets(&self) -> &ValidatorSets {
        &self.base.sets
    }

    fn policies(&self) -> &PolicySchedule {
        &self.base.policies
    }

    fn row(&self, key: &[u8]) -> Option<&Row> {
        self.changed.get(key).map_or_else(|| self.base.row(key), Option::as_ref)
    }

    fn prefixed<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Row)> + use<'a, 'b> {
        let mut base = self.base.rows.prefix(prefix).peekable();
        let prefix = prefix.to_vec();
        let changed = self.changed.range::<[u8], _>((Bound::Included(prefix.as_slice()), Bound::Unbounded));
        let mut changed = changed.take_while(move |(key, _)| key.starts_with(&prefix)).peekable();
        std::iter::from_fn(move || {
            loop {
                let is_base_next = match (base.peek(), changed.peek()) {
                    (Some((unchanged, _)), Some((key, _))) => *unchanged < key.as_slice(),
                    (_, next) => next.is_none(),
                };
                if is_base_next {
                    return base.next();
                }
                let (key, row) = changed.next()?;
                base.next_if(|(unchanged, _)| *unchanged == key.as_slice());
                if let Some(row) = row {
                    return Some((key.as_slice(), row));
                }
            }
        })
    }
}

impl<'a> Overlay<'a> {
    /// Nothing is changed yet.
    pub const fn new(base: &'a State) -> Self {
        Self { base, head: base.head, changed: BTreeMap::new() }
    }

    /// Writes a row, over the one that is there.
    pub fn put<T: Table>(&mut self, key: &T::Key, value: T::Value) {
        self.changed.insert(T::key(key), Some(T::row(value)));
    }

    /// Removes a row, if it is there.
    pub fn remove<T: Table>(&mut self, key: &T::Key) {
        self.changed.insert(T::key(key), None);
    }

    /// The value of a key, to be changed; `None` if there is none.
    pub fn get_mut<T: Table>(&mut self, key: &T::Key) -> Option<&mut T::Value> {
        let row = match self.changed.entry(T::key(key)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let row = self.base.row(entry.key())?.clone();
                entry.insert(Some(row))
            }
        };
        T::value_mut(row.as_mut()?).map(Arc::make_mut)
    }

    /// The state with these changes, after the block of this hash, and the changes in bytes.
    pub fn finish(mut self, block: BlockHash) -> (State, Delta) {
        let head = self.head;
        self.put::<Heads>(&(), head);
        // A row that was written and removed within the block was never there.
        let is_change = |(key, row): &(Vec<u8>, Option<Row>)| row.is_some() || self.base.row(key).is_some();
        let changed: Vec<_> = self.changed.into_iter().filter(is_change).collect();
        let (values, changes) = encoded(changed);
        let rows = self.base.rows.apply(&changes);
        let has_other = |tag: u8| changes.iter().any(|change| change.key.first() == Some(&tag));
        let sets = has_other(Validators::TAG).then(|| sets(&rows)).flatten();
        let sets = sets.map_or_else(|| Arc::clone(&self.base.sets), Arc::new);
        let policies = has_other(Policies::TAG).then(|| PolicySchedule::of(&rows)).flatten();
        let policies = policies.map_or_else(|| Arc::clone(&self.base.policies), Arc::new);
        let delta = changes.into_iter().zip(values).map(|(change, value)| (change.key, value)).collect();
        (State { block, head, rows, sets, policies }, Delta(delta))
    }
}

/// A row that was written, or removed, with its key.
type Written = (Vec<u8>, Option<Row>);

/// The values of rows in bytes, and the changes that write or remove these rows.
fn encoded(rows: Vec<Written>) -> (Vec<Option<Vec<u8>>>, Vec<Change<Row>>) {
    let encode = |rows: &[Written]| -> Vec<_> {
        let value = |(_, row): &Written| row.as_ref().map(Row::encode).map(|value| (value_hash(&value), value));
        rows.iter().map(value).collect()
    };
    let (left, right) = rows.split_at(rows.len() / 2);
    let values = if left.len() < WORTH_A_THREAD {
        encode(&rows)
    } else {
        let (mut values, others) = fork(|| encode(left), || encode(right));
        values.extend(others);
        values
    };
    let (hashes, values): (Vec<_>, Vec<_>) = values.into_iter().map(Option::unzip).unzip();
    let change = |((key, row), hash): (Written, Option<Hash>)| Change { key, value: row.zip(hash) };
    (values, rows.into_iter().zip(hashes).map(change).collect())
}

/// The validators in the rows of a state; `None` if there are none.
fn sets(rows: &Tree<Row>) -> Option<ValidatorSets> {
    let mut rows = rows
        .prefix(&[Validators::TAG])
        .filter_map(|(key, row)| Some((Validators::parse_key(key)?, Arc::clone(Validators::value(row)?))));
    let (from, set) = rows.next()?;
    let mut sets = ValidatorSets::new(from, set);
    rows.for_each(|(from, set)| sets.push(from, set));
    Some(sets)
}

/// The seed of an epoch: BLAKE3 of the beacon of the block that closes the epoch before, and the epoch's number.
fn seed(beacon: &Hash, epoch: Epoch) -> Hash {
    Hash::derive("lucid epoch seed 1", &[beacon.as_bytes(), &epoch.get().to_le_bytes()])
}

/// Draws from its seed who measures whom in an epoch, among the validators at the block that closes the epoch before, the newest one, and
/// the members of pools that count in the epoch, as their pools do, but for those in maintenance.
pub fn draw(rows: &impl Rows, epoch: Epoch) -> EpochDraw {
    let policy = rows.policy(epoch);
    let pools = rows.all::<Pools>().filter(|(_, pool)| pool.status.counts_in(epoch));
    let pools: BTreeSet<_> = pools.map(|(id, _)| id).collect();
    let is_away = |node: &Node| node.maintenance_in(epoch) == Some(MaintenanceScope::All);
    let pool_of = |node: &Node| node.pool_in(epoch).filter(|pool| pools.contains(pool) && !is_away(node));
    let members = rows.all::<Nodes>().filter(|(_, node)| pool_of(node).is_some()).map(|(id, node)| (id, node.group));
    let candidate = |worker: &NodeId| {
        let node = rows.get::<Nodes>(worker);
        let Capacity { disk_bytes, bandwidth_kbit_s, .. } = node.map(|node| node.capacity).unwrap_or_default();
        let measured = rows.get::<Workers>(worker).map_or(0, |stats| stats.kbit_s(policy, epoch));
        Candidate {
            operator: node.map_or(*worker, |node| node.operator),
            pool: node.and_then(pool_of).unwrap_or(PoolId::from_bytes([0; 32])),
            // Whoever declares none is sent what it was measured to take.
            kbit_s: if bandwidth_kbit_s > 0 { measured.min(bandwidth_kbit_s) } else { measured },
            disk_bytes,
            takes_traffic: node.and_then(|node| node.maintenance_in(epoch)).is_none(),
        }
    };
    let Head { height, beacon, .. } = rows.head();
    let set = rows.sets().at(*height).unwrap_or_else(|| rows.sets().oldest().1);
    EpochDraw::new(policy, seed(beacon, epoch), epoch, set, &rows.storage_terms(), members, candidate)
}
