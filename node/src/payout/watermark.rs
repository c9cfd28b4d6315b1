//! A treasury signer's durable memory on the node's store: one record for each pool, replaced with every new signature.

use lucid_storage::{OwnKind, OwnRecord, StorageError, Store};
use lucid_tron_bridge::signer::{Stored, Watermark, WatermarkStore};
use lucid_types::codec::{DecodeError, decode, encode};
use lucid_types::id::PoolId;

/// The watermark cannot be used: nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what was written.
    #[error("read the signer's watermark back from the store")]
    Decode(#[from] DecodeError),
    /// Another pool's record is of the same vault, which pays whatever its signers sign.
    #[error(
        "the key has signed for this vault as that of another pool: it signs for no second pool's vault of the same address"
    )]
    OtherPool,
}

/// The watermark of one pool.
#[derive(Clone)]
pub struct StoredWatermark {
    store: Store,
    pool: PoolId,
}

impl StoredWatermark {
    /// The watermark of `pool`.
    pub const fn new(store: Store, pool: PoolId) -> Self {
        Self { store, pool }
    }
}

/// Whether an own record is a signer's watermark of a pool.
pub(crate) fn is_sound(OwnRecord { key, value }: &OwnRecord) -> bool {
    key.len() == 32 && decode::<Watermark>(value).is_ok()
}

impl WatermarkStore for StoredWatermark {
    type Error = WatermarkError;

    fn load(&mut self) -> Result<Stored, WatermarkError> {
        let bytes = self.store.own(OwnKind::Signature, self.pool.as_bytes())?;
        let watermark = bytes.map(|bytes| decode(&bytes)).transpose()?;
        Ok(Stored::Watermark(watermark.unwrap_or_default()))
    }

    fn record(&mut self, watermark: &Watermark) -> Result<(), WatermarkError> {
        for other in self.store.own_all(OwnKind::Signature, &[])? {
            let is_others = other.key != self.pool.as_bytes();
            if is_others && decode::<Watermark>(&other.value)?.shares_a_vault_with(watermark) {
                return Err(WatermarkError::OtherPool);
            }
        }
        Ok(self.store.put(OwnKind::Signature, self.pool.as_bytes(), &encode(watermark))?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_tron_bridge::signer::SignedChange;
    use lucid_types::id::{Hash, NetworkId, PayoutAddress};

    use super::*;

    #[test]
    fn a_vault_is_signed_for_as_one_pools_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let of = |pool| StoredWatermark::new(store.clone(), PoolId::from_bytes([pool; 32]));
        let record = |vault| {
            let vault = PayoutAddress::from_hash20([vault; 20]);
            let change = SignedChange { vault, nonce: 0, digest: Hash::from_bytes([1; 32]) };
            Watermark { sequence: 1, changes: vec![change], root: None }
        };
        of(1).record(&record(7)).unwrap();
        assert!(matches!(of(2).record(&record(7)), Err(WatermarkError::OtherPool)));
        assert_eq!(of(2).load().unwrap(), Stored::Watermark(Watermark::default()));
        of(2).record(&record(8)).unwrap();
        of(1).record(&record(7)).unwrap();
    }

    #[test]
    fn each_pool_has_its_own_watermark_which_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let of = |store: &Store, pool| StoredWatermark::new(store.clone(), PoolId::from_bytes([pool; 32]));
        let written = Watermark { sequence: 7, ..Watermark::default() };
        {
            let store = open();
            assert_eq!(of(&store, 1).load().unwrap(), Stored::Watermark(Watermark::default()));
            of(&store, 1).record(&written).unwrap();
        }
        let store = open();
        assert_eq!(of(&store, 1).load().unwrap(), Stored::Watermark(written));
        assert_eq!(of(&store, 2).load().unwrap(), Stored::Watermark(Watermark::default()));
        store.put(OwnKind::Signature, &[1; 32], b"other bytes").unwrap();
        assert!(matches!(of(&store, 1).load(), Err(WatermarkError::Decode(_))), "a damaged one is no fresh one");
    }
}
