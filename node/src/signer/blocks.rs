//! Which block the node has to show its signer. Every block that holds a change of a vault is recorded with the block itself.

use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::block::Block;
use lucid_types::codec::{DecodeError, decode};
use lucid_types::id::PoolId;
use lucid_types::payout::{CosignRequest, PoolChange};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::Height;

use crate::history::ledger;

// Key spaces within `HistoryKind::Payout`, beside those of `history::ledger`.
const CHANGES: u8 = 16;
const ERAS: u8 = 17;

/// The block could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what was written.
    #[error("read block {height} back from the store")]
    Decode {
        /// The block.
        height: Height,
        /// Why it cannot be one.
        #[source]
        source: DecodeError,
    },
}

fn key(space: u8, pool: &PoolId, number: u32) -> Vec<u8> {
    [&[space], pool.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// The records that make the changes in a block findable.
pub fn records(block: &Block) -> Vec<HistoryRecord> {
    let height = block.header.height.get().to_be_bytes().to_vec();
    let record = |key| HistoryRecord { kind: HistoryKind::Payout, key, value: height.clone() };
    let of_command = |pool: &PoolId, change: &PoolChange| match change {
        PoolChange::Signers { nonce, next } => {
            vec![record(key(CHANGES, pool, *nonce)), record(key(ERAS, pool, next.era))]
        }
        PoolChange::Limits { nonce, .. } => vec![record(key(CHANGES, pool, *nonce))],
        _ => Vec::new(),
    };
    block.commands.iter().flat_map(|command| of_command(&command.record.pool, &command.record.change)).collect()
}

/// The height of the block that holds the record of a request, as it was issued last.
///
/// # Errors
/// The store could not be read.
pub fn of_request(store: &Store, request: &CosignRequest) -> Result<Option<Height>, StorageError> {
    match request {
        CosignRequest::Root { pool, settlement } => {
            Ok(ledger::root(store, pool, *settlement)?.map(|record| record.height))
        }
        CosignRequest::Signers { pool, nonce } | CosignRequest::Limits { pool, nonce } => {
            height(store, &key(CHANGES, pool, *nonce))
        }
    }
}

/// The block that holds the change to the signers of `era`.
///
/// # Errors
/// The store could not be read.
pub fn of_era(store: &Store, pool: &PoolId, era: u32) -> Result<Option<CertifiedBlock>, BlocksError> {
    height(store, &key(ERAS, pool, era))?.map_or(Ok(None), |height| decided(store, height))
}

fn height(store: &Store, key: &[u8]) -> Result<Option<Height>, StorageError> {
    let height = store.history_record(HistoryKind::Payout, key)?;
    Ok(height.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Height::new(u64::from_be_bytes(bytes))))
}

/// A final block with its certificate.
///
/// # Errors
/// The store could not be read.
pub fn decided(store: &Store, height: Height) -> Result<Option<CertifiedBlock>, BlocksError> {
    let (Some(block), Some(certificate)) = (store.block(height)?, store.certificate(height)?) else { return Ok(None) };
    let failed = |source| BlocksError::Decode { height, source };
    Ok(Some(CertifiedBlock {
        block: decode(&block).map_err(failed)?,
        certificate: decode(&certificate).map_err(failed)?,
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::event::Event;

    use super::*;
    use crate::signer::fixture::{Chain, command, limits, signers, store_with};

    #[test]
    fn each_record_is_found_in_the_block_that_issued_it_last() {
        let chain = Chain::new();
        let pool = chain.pool;
        let change = |nonce, era| command(pool, PoolChange::Signers { nonce, next: signers(era, 2) });
        let limit = command(pool, PoolChange::Limits { era: 2, nonce: 1, next: limits(5) });
        let blocks = [
            chain.certified(1, vec![chain.root(1, 10)], vec![change(0, 2), limit]),
            chain.certified(2, vec![chain.root(1, 20)], vec![command(pool, PoolChange::Suspend(true))]),
            chain.certified(3, vec![], vec![change(2, 3)]),
        ];
        let (_folder, store) = store_with(&chain, &blocks);
        for block in &blocks {
            let events: Vec<_> = block.block.header.payout_roots.iter().map(|root| Event::Reissued(*root)).collect();
            store
                .write_history(&ledger::records(block.block.header.height, block.block.header.time, &events), &[])
                .unwrap();
        }
        let found = |request| of_request(&store, &request).unwrap().map(Height::get);
        assert_eq!(found(CosignRequest::Root { pool, settlement: 1 }), Some(2));
        assert_eq!(found(CosignRequest::Root { pool, settlement: 2 }), None);
        assert_eq!(found(CosignRequest::Signers { pool, nonce: 0 }), Some(1));
        assert_eq!(found(CosignRequest::Limits { pool, nonce: 1 }), Some(1));
        assert_eq!(found(CosignRequest::Signers { pool, nonce: 2 }), Some(3));
        assert_eq!(found(CosignRequest::Limits { pool, nonce: 3 }), None);
        assert_eq!(of_era(&store, &pool, 3).unwrap(), Some(blocks[2].clone()));
        assert_eq!(of_era(&store, &pool, 4).unwrap(), None);
        assert_eq!(decided(&store, Height::new(2)).unwrap(), Some(blocks[1].clone()));
        assert_eq!(decided(&store, Height::new(4)).unwrap(), None);
    }
}
