//! Blocks and their headers.

use prost::Message;

use super::Transaction;

/// A block.
#[derive(Clone, PartialEq, Message)]
pub struct Block {
    /// In the block's order.
    #[prost(message, repeated, tag = "1")]
    pub transactions: Vec<Transaction>,
    /// Header.
    #[prost(message, optional, tag = "2")]
    pub block_header: Option<BlockHeader>,
}

/// A block's header with its producer's signature.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BlockHeader {
    /// What is hashed and signed.
    #[prost(message, optional, tag = "1")]
    pub raw_data: Option<BlockHeaderRaw>,
    /// 65 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub witness_signature: Vec<u8>,
}

/// `BlockHeader.raw`: what the block id covers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BlockHeaderRaw {
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    /// Root of the tree over the transactions; 32 zero bytes without any.
    #[prost(bytes = "vec", tag = "2")]
    pub tx_trie_root: Vec<u8>,
    /// Id of the parent.
    #[prost(bytes = "vec", tag = "3")]
    pub parent_hash: Vec<u8>,
    /// Height.
    #[prost(int64, tag = "7")]
    pub number: i64,
    /// Not used by the network.
    #[prost(int64, tag = "8")]
    pub witness_id: i64,
    /// The producer; 21 bytes.
    #[prost(bytes = "vec", tag = "9")]
    pub witness_address: Vec<u8>,
    /// Version of the block's rules.
    #[prost(int32, tag = "10")]
    pub version: i32,
    /// Empty unless the network keeps an account tree.
    #[prost(bytes = "vec", tag = "11")]
    pub account_state_root: Vec<u8>,
}
