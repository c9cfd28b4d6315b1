//! Where things lie: column families, key bytes, the format version.
//!
//! The bytes are frozen by the tests below; a change needs a new [`FORMAT_VERSION`]. Numbers in keys are big-endian, so
//! that RocksDB's byte order is their order. The table is in the book, `adr/0003-storage.md`.

use lucid_types::id::{BlockHash, PublicKey};
use lucid_types::proof::MAX_KEY_BYTES;
use lucid_types::time::{Height, UnixMillis};

/// The last committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub block_hash: BlockHash,
}

/// A kind of own record; each has a key space of its own. Tags are frozen, kinds are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// The score report of an epoch, with its salt.
    Report,
    /// A treasury signer's watermark for a pool: what it signed last.
    Signature,
    /// A signed transaction of the pusher that may still be included.
    Transaction,
    /// Counters that only grow, such as the sequence of attestations.
    Counter,
    /// A command that this node has taken over from a user and no block holds yet.
    Command,
    /// Announced maintenance that a command of the node's own has taken away, and that is to be announced again.
    Maintenance,
}

impl OwnKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Report, Self::Signature, Self::Transaction, Self::Counter, Self::Command, Self::Maintenance];

    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Report => 1,
            Self::Signature => 2,
            Self::Transaction => 3,
            Self::Counter => 4,
            Self::Command => 5,
            Self::Maintenance => 6,
        }
    }
}

/// A kind of history record; each has a key space of its own. Tags are frozen, kinds are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryKind {
    /// What blocks say of payouts: requests, leaves, roots, elections.
    Payout,
    /// The scores of epochs.
    Score,
    /// What the payment network says of vaults: payments, postings, and how far it was read.
    Vault,
    /// When epochs were closed, and their scores final.
    Epoch,
    /// What workers say of their machines: signed attestations of all registered ones.
    Metric,
    /// What validators measured of workers: who was to measure whom, and the reports.
    Report,
    /// How this node's own machine went: figures over spans of a minute to an hour.
    Resource,
    /// What validators found when this node asked them to ping a worker.
    Validation,
}

impl HistoryKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Payout,
        Self::Score,
        Self::Vault,
        Self::Epoch,
        Self::Metric,
        Self::Report,
        Self::Resource,
        Self::Validation,
    ];

    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Payout => 1,
            Self::Score => 2,
            Self::Vault => 3,
            Self::Epoch => 4,
            Self::Metric => 5,
            Self::Report => 6,
            Self::Resource => 7,
            Self::Validation => 8,
        }
    }
}

/// The version of the layout that this build writes and reads.
pub const FORMAT_VERSION: u32 = 11;

/// The most bytes that a key of the state has.
pub const MAX_STATE_KEY_BYTES: usize = MAX_KEY_BYTES;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Format version, network id, head, and which state is current.
    Meta,
    /// Height -> canonical block bytes.
    Blocks,
    /// Height -> header bytes of blocks that are not stored whole any more.
    Headers,
    /// Height -> certificate bytes.
    Certificates,
    /// Height -> a block's change of the validators: who is in force after it, and what proves it.
    SetChanges,
    /// State key -> value: the state after the head, or one that is being restored.
    StateA,
    /// The same; [`KEY_STATE`] says which of the two is which.
    StateB,
    /// Height, sequence -> entry of the engine's log.
    Wal,
    /// Kind, key -> what this node itself produced.
    Own,
    /// Kind, key -> expiry, then a record for queries.
    History,
    /// Expiry, kind, key -> nothing: the records of [`Self::History`] that expire, in the order in which they do.
    Expiry,
    /// Node id -> what is known of a peer.
    Peers,
}

impl Family {
    pub(crate) const ALL: [Self; 12] = [
        Self::Meta,
        Self::Blocks,
        Self::Headers,
        Self::Certificates,
        Self::SetChanges,
        Self::StateA,
        Self::StateB,
        Self::Wal,
        Self::Own,
        Self::History,
        Self::Expiry,
        Self::Peers,
    ];

    /// The name on disk; also used in error messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Blocks => "blocks",
            Self::Headers => "headers",
            Self::Certificates => "certificates",
            Self::SetChanges => "set-changes",
            Self::StateA => "state-a",
            Self::StateB => "state-b",
            Self::Wal => "wal",
            Self::Own => "own",
            Self::History => "history",
            Self::Expiry => "expiry",
            Self::Peers => "peers",
        }
    }
}

/// One of the two families that can hold the state after the head; the other takes a state that is being restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) const fn family(self) -> Family {
        match self {
            Self::A => Family::StateA,
            Self::B => Family::StateB,
        }
    }

    /// Value of [`KEY_STATE`].
    pub(crate) const fn value(self) -> &'static [u8] {
        match self {
            Self::A => b"a",
            Self::B => b"b",
        }
    }

    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|slot| slot.value() == value)
    }
}

/// Meta: the layout's version, a big-endian `u32`.
pub(crate) const KEY_FORMAT: &[u8] = b"format";
/// Meta: the network id, 32 bytes.
pub(crate) const KEY_NETWORK: &[u8] = b"network";
/// Meta: the head, height and block hash.
pub(crate) const KEY_HEAD: &[u8] = b"head";
/// Meta: the height from which on all blocks up to the head are stored.
pub(crate) const KEY_BASE: &[u8] = b"base";
/// Meta: which of the state's families is current.
pub(crate) const KEY_STATE: &[u8] = b"state";
/// Meta: how far the restore of a snapshot came, while there is one. Its bytes are the caller's.
pub(crate) const KEY_RESTORE: &[u8] = b"restore";

/// Greater than any key of the state: the excluded end of a range of all of them.
pub(crate) const STATE_END: [u8; MAX_STATE_KEY_BYTES + 1] = [0xff; MAX_STATE_KEY_BYTES + 1];

/// Key of blocks, headers, certificates and changes of the validators.
pub(crate) const fn height_key(height: Height) -> [u8; 8] {
    height.get().to_be_bytes()
}

/// The height in a key of blocks, headers, certificates or changes of the validators.
pub(crate) fn parse_height(key: &[u8]) -> Option<Height> {
    Some(Height::new(u64::from_be_bytes(key.try_into().ok()?)))
}

/// Key of the engine's log.
pub(crate) fn wal_key(height: Height, sequence: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&height.get().to_be_bytes());
    key[8..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// Height and sequence in a key of the engine's log.
pub(crate) fn parse_wal(key: &[u8]) -> Option<(Height, u64)> {
    let (height, sequence) = key.split_at_checked(8)?;
    Some((parse_height(height)?, u64::from_be_bytes(sequence.try_into().ok()?)))
}

/// Key of a record of this node's own.
pub(crate) fn own_key(kind: OwnKind, key: &[u8]) -> Vec<u8> {
    tagged(kind.tag(), key)
}

/// Key of a history record.
pub(crate) fn history_key(kind: HistoryKind, key: &[u8]) -> Vec<u8> {
    tagged(kind.tag(), key)
}

/// What stands for no expiry, in a stored record.
const NEVER: u64 = u64::MAX;

/// Value of a history record: when it expires, then its bytes.
pub(crate) fn history_value(expires: Option<UnixMillis>, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len().saturating_add(8));
    stored.extend_from_slice(&expires.map_or(NEVER, UnixMillis::get).to_be_bytes());
    stored.extend_from_slice(value);
    stored
}

/// Expiry and bytes in the value of a history record.
pub(crate) fn parse_history(stored: &[u8]) -> Option<(Option<UnixMillis>, &[u8])> {
    let (expires, value) = stored.split_at_checked(8)?;
    let expires = u64::from_be_bytes(expires.try_into().ok()?);
    Some(((expires != NEVER).then_some(UnixMillis::new(expires)), value))
}

/// Key of the index of expiries, for the history record under `history_key`.
pub(crate) fn expiry_key(expires: UnixMillis, history_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(history_key.len().saturating_add(8));
    key.extend_from_slice(&expires.get().to_be_bytes());
    key.extend_from_slice(history_key);
    key
}

/// The expiry in a key of the index, and the key of the history record.
pub(crate) fn parse_expiry(key: &[u8]) -> Option<(UnixMillis, &[u8])> {
    let (expires, history_key) = key.split_at_checked(8)?;
    Some((UnixMillis::new(u64::from_be_bytes(expires.try_into().ok()?)), history_key))
}

fn tagged(tag: u8, key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(key.len().saturating_add(1));
    tagged.push(tag);
    tagged.extend_from_slice(key);
    tagged
}

/// The node id in a key of peers.
pub(crate) fn parse_peer(key: &[u8]) -> Option<PublicKey> {
    Some(PublicKey::from_bytes(key.try_into().ok()?))
}

/// Value of [`KEY_HEAD`].
pub(crate) fn head_value(head: Head) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&head.height.get().to_be_bytes());
    value[8..].copy_from_slice(head.block_hash.as_bytes());
    value
}

/// The head in the value of [`KEY_HEAD`].
pub(crate) fn parse_head(value: &[u8]) -> Option<Head> {
    let (height, hash) = value.split_at_checked(8)?;
    Some(Head { height: parse_height(height)?, block_hash: BlockHash::from_bytes(hash.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_key_bytes() {
        assert_eq!((FORMAT_VERSION, MAX_STATE_KEY_BYTES), (11, 72));
        let names = "meta blocks headers certificates set-changes state-a state-b wal own history expiry peers";
        assert_eq!(Family::ALL.map(Family::name).join(" "), names);
        let keys = [KEY_FORMAT, KEY_NETWORK, KEY_HEAD, KEY_BASE, KEY_STATE, KEY_RESTORE];
        assert_eq!(keys.concat(), b"formatnetworkheadbasestaterestore");
        for (slot, value, family) in [(Slot::A, b"a", Family::StateA), (Slot::B, b"b", Family::StateB)] {
            assert_eq!((slot.value(), slot.family(), slot.other().other()), (&value[..], family, slot));
            assert_eq!(Slot::parse(value), Some(slot));
        }

        let height = Height::new(0x0102_0304_0506_0708);
        assert_eq!(height_key(height), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(wal_key(height, 0x0a0b), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x0a, 0x0b]);

        let own = |kind| own_key(kind, b"k");
        assert_eq!(OwnKind::ALL.map(own), [[1, b'k'], [2, b'k'], [3, b'k'], [4, b'k'], [5, b'k'], [6, b'k']]);
        use HistoryKind::{Epoch, Metric, Payout, Report, Resource, Score, Validation, Vault};
        let history = [Payout, Score, Vault, Epoch, Metric, Report, Resource, Validation];
        assert_eq!(history, HistoryKind::ALL);
        let history = history.map(|kind| history_key(kind, b"k"));
        assert_eq!(history, [1, 2, 3, 4, 5, 6, 7, 8].map(|tag| [tag, b'k']));

        let expires = UnixMillis::new(0x0102);
        let stored = [0, 0, 0, 0, 0, 0, 1, 2, b'v'];
        assert_eq!(history_value(Some(expires), b"v"), stored);
        assert_eq!(parse_history(&stored), Some((Some(expires), &b"v"[..])));
        assert_eq!(history_value(None, b"v"), [255, 255, 255, 255, 255, 255, 255, 255, b'v']);
        assert_eq!(parse_history(&[255; 8]), Some((None, &[][..])));
        assert_eq!(expiry_key(expires, &history[1]), [0, 0, 0, 0, 0, 0, 1, 2, 2, b'k']);
        assert_eq!(parse_expiry(&[0, 0, 0, 0, 0, 0, 1, 2, 2, b'k']), Some((expires, &history[1][..])));

        let mut head = vec![0, 0, 0, 0, 0, 0, 1, 0];
        head.extend_from_slice(&[0xee; 32]);
        let parsed = Head { height: Height::new(256), block_hash: BlockHash::from_bytes([0xee; 32]) };
        assert_eq!(head_value(parsed).to_vec(), head);
        assert_eq!(parse_head(&head), Some(parsed));
    }

    #[test]
    fn keys_sort_as_numbers() {
        let key = |height, sequence| wal_key(Height::new(height), sequence);
        assert!(key(1, u64::MAX) < key(2, 0));
        assert!(key(255, 0) < key(256, 0));
        assert!(key(1, 255) < key(1, 256));
    }

    #[test]
    fn keys_of_a_wrong_length_are_refused() {
        assert_eq!(parse_height(&[0; 7]), None);
        assert_eq!(parse_height(&[0; 9]), None);
        assert_eq!(parse_wal(&[0; 4]), None);
        assert_eq!(parse_wal(&[0; 15]), None);
        assert_eq!(parse_head(&[0; 39]), None);
        assert_eq!(parse_head(&[0; 41]), None);
        assert_eq!(parse_peer(&[0; 31]), None);
        assert_eq!(parse_history(&[0; 7]), None);
        assert_eq!(parse_expiry(&[0; 7]), None);
        assert_eq!(Slot::parse(b"c"), None);
        assert_eq!(Slot::parse(b""), None);
    }
}
