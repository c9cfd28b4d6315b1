//! Where things lie: column families, key bytes, the format version.
//!
//! The bytes are frozen by the tests below; a change needs a new [`FORMAT_VERSION`]. Numbers in keys are big-endian, so
//! that RocksDB's byte order is their order. The table is in the book, `adr/0003-storage.md`.

use lucid_types::id::{BlockHash, NodeId};
use lucid_types::time::{Epoch, Height};

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
    /// The report commitment of an epoch.
    Commit,
    /// The score report of an epoch, with its salt.
    Report,
    /// A block built for a (height, round).
    Proposal,
    /// A treasury signer's watermark for a (vault, era): what it signed last.
    Signature,
    /// A signed transaction of the pusher that may still be included.
    Transaction,
    /// Counters that only grow, such as the sequence of attestations.
    Counter,
}

impl OwnKind {
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Report => 2,
            Self::Proposal => 3,
            Self::Signature => 4,
            Self::Transaction => 5,
            Self::Counter => 6,
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
}

impl HistoryKind {
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Payout => 1,
            Self::Score => 2,
            Self::Vault => 3,
            Self::Epoch => 4,
        }
    }
}

/// The version of the layout that this build writes and reads.
pub const FORMAT_VERSION: u32 = 4;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Format version, network id, head.
    Meta,
    /// Height -> canonical block bytes.
    Blocks,
    /// Height -> certificate bytes.
    Certificates,
    /// The state after the head, one key.
    State,
    /// Epoch -> row bytes.
    Rows,
    /// Height, sequence -> entry of the engine's log.
    Wal,
    /// Kind, key -> what this node itself produced.
    Own,
    /// Kind, key -> records for queries.
    History,
    /// Node id -> what is known of a peer.
    Peers,
}

impl Family {
    pub(crate) const ALL: [Self; 9] = [
        Self::Meta,
        Self::Blocks,
        Self::Certificates,
        Self::State,
        Self::Rows,
        Self::Wal,
        Self::Own,
        Self::History,
        Self::Peers,
    ];

    /// The name on disk; also used in error messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Blocks => "blocks",
            Self::Certificates => "certificates",
            Self::State => "state",
            Self::Rows => "rows",
            Self::Wal => "wal",
            Self::Own => "own",
            Self::History => "history",
            Self::Peers => "peers",
        }
    }
}

/// Meta: the layout's version, a big-endian `u32`.
pub(crate) const KEY_FORMAT: &[u8] = b"format";
/// Meta: the network id, 32 bytes.
pub(crate) const KEY_NETWORK: &[u8] = b"network";
/// Meta: the head, height and block hash.
pub(crate) const KEY_HEAD: &[u8] = b"head";
/// State: the only key.
pub(crate) const KEY_STATE: &[u8] = b"current";

/// Key of blocks and certificates.
pub(crate) const fn height_key(height: Height) -> [u8; 8] {
    height.get().to_be_bytes()
}

/// Key of rows.
pub(crate) const fn epoch_key(epoch: Epoch) -> [u8; 8] {
    epoch.get().to_be_bytes()
}

/// The epoch in a key of rows.
pub(crate) fn parse_epoch(key: &[u8]) -> Option<Epoch> {
    Some(Epoch::new(u64::from_be_bytes(key.try_into().ok()?)))
}

/// The height in a key of blocks or certificates.
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

fn tagged(tag: u8, key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(key.len().saturating_add(1));
    tagged.push(tag);
    tagged.extend_from_slice(key);
    tagged
}

/// The node id in a key of peers.
pub(crate) fn parse_peer(key: &[u8]) -> Option<NodeId> {
    Some(NodeId::from_bytes(key.try_into().ok()?))
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
        assert_eq!(FORMAT_VERSION, 4);
        let names: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
        assert_eq!(names, ["meta", "blocks", "certificates", "state", "rows", "wal", "own", "history", "peers"]);
        assert_eq!((KEY_FORMAT, KEY_NETWORK, KEY_HEAD), (&b"format"[..], &b"network"[..], &b"head"[..]));
        assert_eq!(KEY_STATE, b"current");

        let height = Height::new(0x0102_0304_0506_0708);
        assert_eq!(height_key(height), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(wal_key(height, 0x0a0b), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x0a, 0x0b]);

        let own = |kind| own_key(kind, b"k");
        assert_eq!(own(OwnKind::Commit), [1, b'k']);
        assert_eq!(own(OwnKind::Report), [2, b'k']);
        assert_eq!(own(OwnKind::Proposal), [3, b'k']);
        assert_eq!(own(OwnKind::Signature), [4, b'k']);
        assert_eq!(own(OwnKind::Transaction), [5, b'k']);
        assert_eq!(own(OwnKind::Counter), [6, b'k']);
        assert_eq!(history_key(HistoryKind::Payout, b"k"), [1, b'k']);
        assert_eq!(history_key(HistoryKind::Score, b"k"), [2, b'k']);
        assert_eq!(history_key(HistoryKind::Vault, b"k"), [3, b'k']);

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
    }
}
