//! What this node knows of the pools' vaults, shared between the reader, who finds it out, and those who show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::id::PoolId;
use lucid_types::time::UnixMillis;

/// A vault in the solidified view, as all provider groups that answer confirm it.
#[derive(Clone, Debug)]
pub struct SolidVault {
    /// Its state.
    pub snapshot: VaultSnapshot,
    /// When this node read it, by its own clock.
    pub time: UnixMillis,
    /// The settlement of its root, if that is the ledger's own root.
    pub root_of: Option<u64>,
    /// What a person should look at.
    pub alerts: Vec<String>,
}

impl SolidVault {
    /// Whether the vault has the ledger's root of this settlement or of a later one.
    pub fn has_root_from(&self, settlement: u64) -> bool {
        self.root_of.is_some_and(|of| of >= settlement)
    }
}

/// The vaults by pool.
#[derive(Debug, Default)]
pub struct Vaults(Mutex<BTreeMap<PoolId, Arc<SolidVault>>>);

impl Vaults {
    /// The vault of a pool; `None` as long as nothing was read of it.
    pub fn get(&self, pool: &PoolId) -> Option<Arc<SolidVault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned()
    }

    /// All vaults of which anything was read.
    pub fn all(&self) -> BTreeMap<PoolId, Arc<SolidVault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, pool: PoolId, vault: SolidVault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pool, Arc::new(vault));
    }
}
