//! What this node knows of the pools' vaults, shared between the reader, who finds it out, and those who show it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lucid_tron_bridge::pusher::Receipt;
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::id::{PayoutAddress, PoolId, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;
use tokio::sync::watch;

use crate::payout::pace::BlockPace;

/// Receipts that are kept: those of the transactions that this node may still ask about are among the newest.
const MAX_RECEIPTS: usize = 4_096;

/// A vault in the solidified view, as all provider groups that answer confirm it.
#[derive(Clone, Debug)]
pub struct SolidVault {
    /// Where it stands.
    pub address: PayoutAddress,
    /// Whether it takes over from the pool's vaults before it.
    pub succession: Succession,
    /// Its state.
    pub snapshot: Arc<VaultSnapshot>,
    /// The newest block up to which that is its state.
    pub as_of: Reference,
    /// When this node saw that, by its own clock.
    pub time: UnixMillis,
    /// The settlement of its root, if that is the ledger's own root.
    pub root_of: Option<u64>,
    /// What a person should look at.
    pub alerts: Vec<String>,
}

/// Whether a vault takes over from those that it follows by the ledger. If it does not, it could pay once more what they have paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It is the pool's first; or each names the one before it as its predecessor, has the code of a vault, and those before it are
    /// closed for good.
    Sound,
    /// Why it does not, and what to do.
    Broken(String),
}

impl SolidVault {
    /// Whether the vault has the ledger's root of this settlement or of a later one.
    pub fn has_root_from(&self, settlement: u64) -> bool {
        self.root_of.is_some_and(|of| of >= settlement)
    }

    /// Whether it tells what each of these accounts has had.
    pub fn knows(&self, accounts: &[AccountId]) -> bool {
        accounts.iter().all(|account| self.snapshot.paid.contains_key(account))
    }
}

/// The vaults by pool, and the receipts of what was done to them.
#[derive(Debug)]
pub struct Vaults {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    vaults: BTreeMap<PoolId, Arc<SolidVault>>,
    /// When solidified blocks come.
    pace: Option<BlockPace>,
    receipts: BTreeMap<TxId, Receipt>,
    /// In the order in which they came.
    order: VecDeque<TxId>,
}

impl Default for Vaults {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Vaults {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vault of a pool; `None` as long as nothing was read of it.
    pub fn get(&self, pool: &PoolId) -> Option<Arc<SolidVault>> {
        self.lock().vaults.get(pool).cloned()
    }

    /// All vaults of which anything was read.
    pub fn all(&self) -> BTreeMap<PoolId, Arc<SolidVault>> {
        self.lock().vaults.clone()
    }

    /// Changes with every vault that is set.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The receipt of a transaction of which a vault told something in a solidified block.
    pub fn receipt(&self, id: &TxId) -> Option<Receipt> {
        self.lock().receipts.get(id).cloned()
    }

    /// When blocks come, as the solidified ones have shown.
    pub(super) fn pace(&self) -> Option<BlockPace> {
        self.lock().pace
    }

    pub(super) fn set_pace(&self, pace: BlockPace) {
        self.lock().pace = Some(pace);
    }

    pub(super) fn set(&self, pool: PoolId, vault: SolidVault) {
        self.lock().vaults.insert(pool, Arc::new(vault));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Forgets a pool's vault: another has followed it.
    pub(super) fn forget(&self, pool: &PoolId) {
        self.lock().vaults.remove(pool);
    }

    pub(super) fn add_receipts(&self, receipts: impl IntoIterator<Item = (TxId, Receipt)>) {
        let mut inner = self.lock();
        for (id, receipt) in receipts {
            if inner.receipts.insert(id, receipt).is_none() {
                inner.order.push_back(id);
            }
        }
        while inner.order.len() > MAX_RECEIPTS {
            let oldest = inner.order.pop_front();
            oldest.map(|id| inner.receipts.remove(&id));
        }
    }
}
