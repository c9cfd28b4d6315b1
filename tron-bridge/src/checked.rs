//! A block whose id and transaction root were recomputed from its content.
//!
//! [`CheckedBlock`] can only be made by the check, so whoever takes one need not trust who served it: its transactions
//! are exactly those its id commits to. It says nothing about whether the network finalised the block; that rests on
//! the node's solidified view.

use lucid_types::id::{SolidBlockId, TxId};
use lucid_types::payout::SolidBlock;
use lucid_types::time::UnixMillis;

use lucid_tron_types::block;
use lucid_tron_types::proto::{BlockHeaderRaw, ContractResult, Transaction};

/// Why a block is not what it claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The header does not hash to the id.
    #[error("the header of block {number} hashes to {computed}, not to its id {claimed}")]
    Id {
        /// Number in the header.
        number: i64,
        /// Id in the answer.
        claimed: SolidBlockId,
        /// Id of the header.
        computed: SolidBlockId,
    },
    /// The transactions do not hash to the header's root.
    #[error("the {n_transactions} transactions of block {number} do not hash to the root in its header")]
    Root {
        /// Number in the header.
        number: i64,
        /// How many there are.
        n_transactions: usize,
    },
    /// A field has an impossible value.
    #[error("the header of block {number} has an impossible {field}")]
    Field {
        /// Number in the header.
        number: i64,
        /// Which one.
        field: &'static str,
    },
}

/// A block whose id and transaction root were recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlock {
    solid: SolidBlock,
    parent: SolidBlockId,
    transactions: Vec<(TxId, i32)>,
}

impl CheckedBlock {
    /// Recomputes the id and the root.
    ///
    /// # Errors
    /// One of them differs, or a field is impossible.
    pub fn check(
        claimed: SolidBlockId,
        header: &BlockHeaderRaw,
        transactions: &[Transaction],
    ) -> Result<Self, BlockError> {
        let number = header.number;
        let field = |field| BlockError::Field { number, field };
        let computed = SolidBlockId::from_bytes(block::block_id(header));
        if computed != claimed {
            return Err(BlockError::Id { number, claimed, computed });
        }
        // A block without transactions has 32 zero bytes; the first blocks of some networks leave the field out.
        let root = block::transaction_root(transactions);
        if header.tx_trie_root != root && !(transactions.is_empty() && header.tx_trie_root.is_empty()) {
            return Err(BlockError::Root { number, n_transactions: transactions.len() });
        }
        let parent = header.parent_hash.as_slice().try_into().map_err(|_| field("parent"))?;
        let solid = SolidBlock {
            number: u64::try_from(number).map_err(|_| field("number"))?,
            id: computed,
            time: UnixMillis::new(u64::try_from(header.timestamp).map_err(|_| field("time"))?),
        };
        let transactions = transactions.iter().map(id_and_result).collect();
        Ok(Self { solid, parent: SolidBlockId::from_bytes(parent), transactions })
    }

    /// Number, id and time.
    pub const fn solid(&self) -> SolidBlock {
        self.solid
    }

    /// Id of the block before it.
    pub const fn parent(&self) -> SolidBlockId {
        self.parent
    }

    /// How many transactions it has.
    pub const fn n_transactions(&self) -> usize {
        self.transactions.len()
    }

    /// Whether it includes the transaction, and with which contract result (`None` inside for a result of a later
    /// protocol).
    pub fn result_of(&self, id: &TxId) -> Option<Option<ContractResult>> {
        let (_, result) = self.transactions.iter().find(|(other, _)| other == id)?;
        Some(ContractResult::try_from(*result).ok())
    }
}

fn id_and_result(transaction: &Transaction) -> (TxId, i32) {
    let id = TxId::from_bytes(block::transaction_id(&transaction.raw_data));
    (id, transaction.ret.first().map_or(0, |r| r.contract_ret))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use lucid_tron_types::proto::TransactionResult;

    fn block() -> (SolidBlockId, BlockHeaderRaw, Vec<Transaction>) {
        let ret =
            vec![TransactionResult { contract_ret: ContractResult::Revert.into(), ..TransactionResult::default() }];
        let transactions = vec![
            Transaction { raw_data: vec![1], signature: vec![vec![2; 65]], ret },
            Transaction { raw_data: vec![2], signature: vec![], ret: vec![] },
        ];
        let header = BlockHeaderRaw {
            timestamp: 5,
            tx_trie_root: block::transaction_root(&transactions).to_vec(),
            parent_hash: vec![9; 32],
            number: 4,
            ..BlockHeaderRaw::default()
        };
        (SolidBlockId::from_bytes(block::block_id(&header)), header, transactions)
    }

    #[test]
    fn a_right_block_passes_and_tells_its_transactions() {
        let (id, header, transactions) = block();
        let checked = CheckedBlock::check(id, &header, &transactions).unwrap();
        assert_eq!(checked.solid(), SolidBlock { number: 4, id, time: UnixMillis::new(5) });
        assert_eq!(checked.parent(), SolidBlockId::from_bytes([9; 32]));
        let first = TxId::from_bytes(block::transaction_id(&[1]));
        assert_eq!(checked.result_of(&first), Some(Some(ContractResult::Revert)));
        assert_eq!(checked.result_of(&TxId::from_bytes([0; 32])), None);
    }

    #[test]
    fn a_left_out_changed_or_added_transaction_is_found() {
        let (id, header, transactions) = block();
        assert!(matches!(CheckedBlock::check(id, &header, &transactions[1..]), Err(BlockError::Root { .. })));
        assert!(matches!(CheckedBlock::check(id, &header, &[]), Err(BlockError::Root { .. })));
        let mut lied = transactions.clone();
        lied[0].ret[0].contract_ret = ContractResult::Success.into();
        assert!(matches!(CheckedBlock::check(id, &header, &lied), Err(BlockError::Root { .. })));
        let mut more = transactions;
        more.push(more[0].clone());
        assert!(matches!(CheckedBlock::check(id, &header, &more), Err(BlockError::Root { .. })));
    }

    #[test]
    fn a_changed_header_is_found() {
        let (id, mut header, transactions) = block();
        header.timestamp += 1;
        assert!(matches!(CheckedBlock::check(id, &header, &transactions), Err(BlockError::Id { .. })));
        header.timestamp = -1;
        let id = SolidBlockId::from_bytes(block::block_id(&header));
        let field = CheckedBlock::check(id, &header, &transactions);
        assert_eq!(field, Err(BlockError::Field { number: 4, field: "time" }));
    }
}
