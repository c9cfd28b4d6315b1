//! Attempts and checked blocks for this crate's tests.

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{AttemptId, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId};
use lucid_types::payout::{PayoutAttempt, SolidBlock};
use lucid_types::time::UnixMillis;

use crate::checked::CheckedBlock;
use lucid_tron_types::block;
use lucid_tron_types::proto::{BlockHeaderRaw, ContractResult, Transaction, TransactionResult};

/// Time of block 0 of the test chain; one block every 1,000 ms.
pub(crate) const START: u64 = 1_790_000_000_000;

/// A chain of checked blocks from number 0; `transactions(n)` are those of block n, raw data and result.
pub(crate) fn chain(n: u64, transactions: impl Fn(u64) -> Vec<(Vec<u8>, ContractResult)>) -> Vec<CheckedBlock> {
    let mut parent = [0; 32];
    (0..n)
        .map(|number| {
            let transactions: Vec<_> = transactions(number)
                .into_iter()
                .map(|(raw_data, result)| Transaction {
                    raw_data,
                    signature: vec![vec![1; 65]],
                    ret: vec![TransactionResult { contract_ret: result.into(), ..TransactionResult::default() }],
                })
                .collect();
            let header = BlockHeaderRaw {
                timestamp: i64::try_from(START + number * 1_000).unwrap_or_default(),
                tx_trie_root: block::transaction_root(&transactions).to_vec(),
                parent_hash: parent.to_vec(),
                number: i64::try_from(number).unwrap_or_default(),
                ..BlockHeaderRaw::default()
            };
            parent = block::block_id(&header);
            CheckedBlock::check(SolidBlockId::from_bytes(parent), &header, &transactions)
        })
        .collect::<Result<_, _>>()
        .unwrap_or_default()
}

/// Attempt number `attempt` of payout `payout`, with the reference block and 60 s to expire.
pub(crate) fn attempt(payout: u8, attempt: u32, reference: SolidBlock) -> PayoutAttempt {
    let mut id = [payout; 32];
    id[..4].copy_from_slice(&attempt.to_be_bytes());
    PayoutAttempt {
        payout: PayoutId::from_bytes([payout; 32]),
        attempt,
        id: AttemptId::from_bytes(id),
        pool: PoolId::from_bytes([2; 32]),
        settlement: 3,
        worker: NodeId::from_bytes([payout; 32]),
        to: PayoutAddress::from_hash20([payout; 20]),
        amount: MicroUsdt::new(1_500_000),
        treasury: PayoutAddress::from_hash20([0xee; 20]),
        token: PayoutAddress::from_hash20([0xdd; 20]),
        permission_id: 2,
        reference,
        expiration: UnixMillis::new(reference.time.get() + 60_000),
        fee_limit: Sun::new(15_000_000),
    }
}

/// A reference block without a chain around it.
pub(crate) fn reference() -> SolidBlock {
    SolidBlock { number: 100, id: SolidBlockId::from_bytes([0xcd; 32]), time: UnixMillis::new(START) }
}
