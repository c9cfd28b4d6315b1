//! Blocks: gathering transactions, sealing with root, id and signature as java-tron computes them.

use lucid_tron_bridge::block::{block_id, sha256, transaction_root};
use lucid_tron_bridge::proto::{self, ContractResult};
use prost::Message;
use revm::primitives::B256;

use super::receipt::TransactionInfo;
use crate::address;
use crate::evm::BlockContext;
use crate::wallet::Wallet;

/// The block version that headers carry.
const VERSION: i32 = 31;

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
#[derive(Debug, Default)]
pub(crate) struct Builder {
    transactions: Vec<proto::Transaction>,
    infos: Vec<TransactionInfo>,
    bytes: usize,
}

impl Builder {
    pub(crate) fn push(&mut self, transaction: &proto::Transaction, info: TransactionInfo) {
        let result = proto::TransactionResult {
            fee: i64::try_from(info.system_fee).unwrap_or(i64::MAX),
            ret: 0,
            contract_ret: info.receipt.result.unwrap_or(ContractResult::Success).into(),
        };
        let transaction = proto::Transaction { ret: vec![result], ..transaction.clone() };
        self.bytes = self.bytes.saturating_add(transaction.encoded_len());
        self.transactions.push(transaction);
        self.infos.push(info);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn seal(self, context: BlockContext, parent: B256, witness: &Wallet) -> StoredBlock {
        let raw = proto::BlockHeaderRaw {
            timestamp: i64::try_from(context.time).unwrap_or(i64::MAX),
            tx_trie_root: transaction_root(&self.transactions).to_vec(),
            parent_hash: parent.to_vec(),
            number: i64::try_from(context.number).unwrap_or(i64::MAX),
            witness_address: address::to_wire(witness.address()).to_vec(),
            version: VERSION,
            ..proto::BlockHeaderRaw::default()
        };
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
