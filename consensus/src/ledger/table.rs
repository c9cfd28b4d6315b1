//! The tables of the state: what kinds of rows there are, and the bytes of their keys and values.
//!
//! A row's key is its table's tag and the key's fixed-length bytes, numbers big-endian, so the order of bytes is the order of keys;
//! its value is in the codec's bytes. In memory rows are values, decoded once, when they are read from a disk or a peer.

use std::sync::Arc;

use lucid_score::draw::EpochDraw;
use lucid_score::storage::StorageTerm;
use lucid_score::worker_stats::WorkerStats;
use lucid_types::codec::{DecodeError, decode, encode};
use lucid_types::id::{Hash, NodeId, PoolId, PublicKey, ValidatorId};
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::proof::MAX_KEY_BYTES;
use lucid_types::report::ScoreReport;
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::ValidatorSet;

use crate::ledger::duties::{Duty, PoolValidations};
use crate::ledger::entry::{Close, InviteUse, Request};
use crate::ledger::pool::{Account, Member, PoolState};
use crate::ledger::proposals::ProposedChange;
use crate::ledger::registry::{Node, Nonce};
use crate::ledger::state::{Equivocation, Head, PendingEpoch};
use crate::ledger::validators::UsedKey;

/// A kind of rows.
pub trait Table {
    /// The first byte of its rows' keys.
    const TAG: u8;
    /// Its name, for people.
    const NAME: &'static str;
    /// What a row is found by.
    type Key: TableKey;
    /// What a row holds.
    type Value: Clone + Send + Sync + 'static;

    /// The row that holds a value.
    fn row(value: Self::Value) -> Row;

    /// The value of a row; `None` of another table's.
    fn value(row: &Row) -> Option<&Arc<Self::Value>>;

    /// The value of a row, to be changed.
    fn value_mut(row: &mut Row) -> Option<&mut Arc<Self::Value>>;

    /// The bytes of a row's key.
    fn key(key: &Self::Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + Self::Key::BYTES);
        bytes.push(Self::TAG);
        key.write(&mut bytes);
        bytes
    }

    /// The key that these bytes are; `None` if they are another table's.
    fn parse_key(bytes: &[u8]) -> Option<Self::Key> {
        let (tag, key) = bytes.split_first()?;
        (*tag == Self::TAG && key.len() == Self::Key::BYTES).then(|| Self::Key::read(key)).flatten()
    }
}

/// What rows of a table are found by: a fixed number of bytes.
pub trait TableKey: Sized {
    /// How many.
    const BYTES: usize;

    /// Appends the bytes.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads them; `None` if they are too few or too many.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl TableKey for () {
    const BYTES: usize = 0;

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

macro_rules! number_keys {
    ($($number:ty),*) => {$(
        impl TableKey for $number {
            const BYTES: usize = 8;

            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.get().to_be_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Some(Self::new(u64::from_be_bytes(bytes.try_into().ok()?)))
            }
        }
    )*};
}

number_keys!(Epoch, Height);

/// The number of a settlement.
impl TableKey for u64 {
    const BYTES: usize = 8;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

macro_rules! id_keys {
    ($($id:ty),*) => {$(
        impl TableKey for $id {
            const BYTES: usize = 32;

            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

id_keys!(NodeId, PublicKey, PoolId, AccountId, Hash, ValidatorId);

impl<A: TableKey, B: TableKey> TableKey for (A, B) {
    const BYTES: usize = A::BYTES + B::BYTES;

    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(A::BYTES)?;
        Some((A::read(first)?, B::read(second)?))
    }
}

/// Why bytes are no row of the state.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The key is no table's.
    #[error("a key of {length} bytes with tag {tag:?} belongs to no table")]
    Key {
        /// The first byte.
        tag: Option<u8>,
        /// The key's length.
        length: usize,
    },
    /// The value is not one of the table.
    #[error("a row of table {table} is damaged")]
    Value {
        /// The table.
        table: &'static str,
        /// Why it is none.
        #[source]
        source: DecodeError,
    },
}

/// A table, as `lucid db stats` and the documentation list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The first byte of its keys.
    pub tag: u8,
    /// Its name.
    pub name: &'static str,
    /// The length of its keys, the tag included.
    pub key_bytes: usize,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $tag:literal $table:ident: $key:ty => $value:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $table {}

            impl Table for $table {
                const TAG: u8 = $tag;
                const NAME: &'static str = stringify!($table);
                type Key = $key;
                type Value = $value;

                fn row(value: $value) -> Row {
                    Row::$table(Arc::new(value))
                }

                fn value(row: &Row) -> Option<&Arc<$value>> {
                    if let Row::$table(value) = row { Some(value) } else { None }
                }

                fn value_mut(row: &mut Row) -> Option<&mut Arc<$value>> {
                    if let Row::$table(value) = row { Some(value) } else { None }
                }
            }
        )*

        /// The value of a row of any table. Clones share it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Row {
            $(
                #[doc = concat!("Of [`", stringify!($table), "`].")]
                $table(Arc<$value>),
            )*
        }

        impl Row {
            /// The row of these bytes.
            ///
            /// # Errors
            /// They are no row of any table.
            pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
                let unknown = || RowError::Key { tag: key.first().copied(), length: key.len() };
                match key.first() {
                    $(
                        Some(&$tag) => {
                            $table::parse_key(key).ok_or_else(unknown)?;
                            let failed = |source| RowError::Value { table: $table::NAME, source };
                            Ok($table::row(decode::<$value>(value).map_err(failed)?))
                        }
                    )*
                    _ => Err(unknown()),
                }
            }

            /// The value's bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$table(value) => encode::<$value>(value),)*
                }
            }
        }

        // The tree takes no longer ones.
        $(const _: () = assert!(<$key as TableKey>::BYTES < MAX_KEY_BYTES);)*

        /// All tables, by tag.
        pub const TABLES: &[TableInfo] = &[$(TableInfo {
            tag: $tag,
            name: stringify!($table),
            key_bytes: 1 + <$key as TableKey>::BYTES,
        },)*];
    };
}

tables! {
    /// The chain's newest block: one row.
    0 Heads: () => Head;
    /// Workers' statistics.
    1 Workers: NodeId => WorkerStats;
    /// Pools.
    2 Pools: PoolId => PoolState;
    /// What pools owe: accounts that were ever owed anything, or are held.
    3 Accounts: (PoolId, AccountId) => Account;
    /// Members of pools, from joining on; and those who were, while their rows have something in them. Nodes that are banned, too.
    4 Members: (PoolId, NodeId) => Member;
    /// Who measures whom, of the open epoch and of those whose scores are not final yet: of those that are measured.
    5 Draws: Epoch => EpochDraw;
    /// Measured epochs that are closed and whose scores are not final yet.
    6 PendingEpochs: Epoch => PendingEpoch;
    /// Commitments to reports of pending epochs, by the keys of the epoch's draw.
    7 Commitments: (Epoch, ValidatorId) => Hash;
    /// Revealed reports of pending epochs.
    8 Reveals: (Epoch, ValidatorId) => ScoreReport;
    /// Roots of the scores of every epoch that was measured, for ever.
    9 ScoreRoots: Epoch => Hash;
    /// Validators that have signed two different messages for one step, by their accounts.
    10 Equivocations: NodeId => Equivocation;
    /// Registered nodes by their accounts: the first key of each, for ever.
    11 Nodes: NodeId => Node;
    /// What accounts may give next, for ever: of those of which a block holds a command.
    12 Nonces: NodeId => Nonce;
    /// The newest blocks that closed epochs, by the last epoch of each: what stamps are judged by.
    13 Closes: Epoch => Close;
    /// Requests to enter pools. Those whose time is over count for nothing, and are removed when others need their places.
    14 Requests: (PoolId, NodeId) => Request;
    /// Invites in use, by their keys; removed likewise.
    15 Invites: (PoolId, PublicKey) => InviteUse;
    /// Validators, by the height from which they are in force: as far back as blocks may hold evidence of.
    16 Validators: Height => ValidatorSet;
    /// Changes of the validators and of the policy that wait for approval, by their ids.
    17 ProposedChanges: Hash => ProposedChange;
    /// Every key with which validators have ever signed, for ever.
    18 UsedKeys: ValidatorId => UsedKey;
    /// Whose node keys are that are no account's first one: those in force, announced or given up. The last ones stay for ever.
    19 NodeKeys: PublicKey => NodeId;
    /// Who may hold chunks with workers in the terms that begin in a settlement: of those that are under way, and of the next one.
    20 StorageTerms: u64 => StorageTerm;
    /// The network's policy by the epochs from which it is in force, for ever.
    21 Policies: Epoch => Policy;
    /// How validators did their duties in the newest settlement in which each had any.
    22 Duties: NodeId => Duty;
    /// What validators measured of a pool's workers in the settlement under way.
    23 Validations: PoolId => PoolValidations;
}
