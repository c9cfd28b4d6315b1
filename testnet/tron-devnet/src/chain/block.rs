//! Blocks: gathering transactions, sealing with root, id and signature as java-tron computes them.

use lucid_tron_types::block::{block_id, sha256, transaction_root};
use lucid_tron_types::proto;
use prost::Message;
use revm::primitives::B256;

use super::params::MAX_BLOCK_BYTES;
use super::receipt::TransactionInfo;
use crate::address;
use crate::evm::BlockContext;
use crate::wallet::Wallet;

/// The block version that headers carry: that of java-tron 4.8.0.
const VERSION: i32 = 32;

/// A block with what became of its transactions.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBlock {
    /// Number, then bytes 8..32 of the raw header's SHA-256.
    pub id: B256,
    /// Header with the witness's signature.
    pub header: proto::BlockHeader,
    /// With results, as the transaction root covers them.
    pub transactions: Vec<proto::Transaction>,
    /// One for each transaction.
    pub infos: Vec<TransactionInfo>,
}

impl StoredBlock {
    pub(crate) fn genesis(id: B256, raw: proto::BlockHeaderRaw) -> Self {
        let header = proto::BlockHeader { raw_data: Some(raw), witness_signature: Vec::new() };
        Self { id, header, transactions: Vec::new(), infos: Vec::new() }
    }

    /// Height.
    pub fn number(&self) -> u64 {
        self.raw().map_or(0, |raw| u64::try_from(raw.number).unwrap_or(0))
    }

    /// Milliseconds since the epoch.
    pub fn time(&self) -> u64 {
        self.raw().map_or(0, |raw| u64::try_from(raw.timestamp).unwrap_or(0))
    }

    fn raw(&self) -> Option<&proto::BlockHeaderRaw> {
        self.header.raw_data.as_ref()
    }

    /// As on the wire.
    pub fn to_proto(&self) -> proto::Block {
        proto::Block { transactions: self.transactions.clone(), block_header: Some(self.header.clone()) }
    }
}

/// A block in the making.
#[derive(Debug)]
pub(crate) struct Builder {
    raw: proto::BlockHeaderRaw,
    transactions: Vec<proto::Transaction>,
    infos: Vec<TransactionInfo>,
    bytes: usize,
}

impl Builder {
    pub(crate) fn new(context: BlockContext, parent: B256) -> Self {
        let raw = proto::BlockHeaderRaw {
            timestamp: i64::try_from(context.time).unwrap_or(i64::MAX),
            parent_hash: parent.to_vec(),
            number: i64::try_from(context.number).unwrap_or(i64::MAX),
            witness_address: address::to_wire(context.producer).to_vec(),
            version: VERSION,
            ..proto::BlockHeaderRaw::default()
        };
        let header = proto::BlockHeader { raw_data: Some(raw.clone()), witness_signature: Vec::new() };
        let bytes = proto::Block { transactions: Vec::new(), block_header: Some(header) }.encoded_len();
        Self { raw, transactions: Vec::new(), infos: Vec::new(), bytes }
    }

    /// Whether the block would not get too big.
    pub(crate) fn has_room_for(&self, transaction: &proto::Transaction) -> bool {
        self.bytes.saturating_add(bytes_in_block(transaction)) <= MAX_BLOCK_BYTES
    }

    /// Adds a transaction, which holds its result.
    pub(crate) fn push(&mut self, transaction: proto::Transaction, info: TransactionInfo) {
        self.bytes = self.bytes.saturating_add(bytes_in_block(&transaction));
        self.transactions.push(transaction);
        self.infos.push(info);
    }

    pub(crate) fn seal(self, witness: &Wallet) -> StoredBlock {
        let raw = proto::BlockHeaderRaw { tx_trie_root: transaction_root(&self.transactions).to_vec(), ..self.raw };
        let id = block_id(&raw);
        let signature = witness.sign_hash(&sha256(&raw.encode_to_vec())).map(|s| s.to_vec()).unwrap_or_default();
        StoredBlock {
            id: id.into(),
            header: proto::BlockHeader { raw_data: Some(raw), witness_signature: signature },
            transactions: self.transactions,
            infos: self.infos,
        }
    }
}

/// Bytes that a transaction takes in a block.
fn bytes_in_block(transaction: &proto::Transaction) -> usize {
    let bytes = transaction.encoded_len();
    prost::length_delimiter_len(bytes).saturating_add(bytes).saturating_add(1)
}
