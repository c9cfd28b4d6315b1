//! Pools as they are shown: what the ledger has, what their vaults have, and payout roots with their leaves.

use lucid_consensus::ledger::pool::{Account, Hold};
use lucid_storage::StorageError;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PoolId;

use crate::api::model::{ChangeView, HoldView, LeaderView, LedgerVaultView, LedgerView, PoolView, VaultView};
use crate::history::ledger;
use crate::view::NodeParts;

fn hold(account: &Account) -> Option<HoldView> {
    let from = match account.hold {
        Hold::No => return None,
        Hold::Since(settlement) => Some(settlement),
        Hold::Ends => None,
    };
    Some(HoldView { node: account.node, from })
}

impl NodeParts {
    pub(super) fn pool_view(&self, id: &PoolId) -> Option<PoolView> {
        let state = self.head.borrow().state.clone();
        let (declared, pool) = (self.spec.pool(id)?, state.pool(id)?);
        let read = self.vaults.get(id);
        // What the vault shows to everybody, and what this node's pusher cannot get on with.
        let mut alerts = read.as_ref().map(|read| read.alerts.clone()).unwrap_or_default();
        if self.spec.pool_of(&self.node_id) == Some(id) {
            alerts.extend(self.pushed.alerts());
        }
        let now_s = self.clock.now().get() / 1_000;
        let election = pool.election.as_ref().and_then(|election| {
            let (leader, successors) = election.order.split_first()?;
            let settlement = election.settlement;
            Some(LeaderView { pool: *id, settlement, leader: *leader, successors: successors.to_vec() })
        });
        let vault = &pool.vault;
        // No node's state holds sums that do not fit.
        let sum = |sum: Option<MicroUsdt>| sum.unwrap_or(MicroUsdt::new(u64::MAX));
        Some(PoolView {
            pool: *id,
            name: declared.name.clone(),
            owner: declared.owner,
            height: state.height(),
            members: declared.members.len(),
            accounts: state.accounts(id).count(),
            settled: pool.settled,
            suspended_from: pool.suspended_from,
            commands: pool.commands,
            budgets_micro_usdt: pool.budgets,
            owed_micro_usdt: sum(state.owed(id)),
            held_micro_usdt: sum(state.held(id)),
            holds: state.accounts(id).filter_map(|(_, account)| hold(account)).collect(),
            fees_micro_usdt: pool.fees,
            carried_micro_usdt: pool.carried,
            losses_micro_usdt: pool.losses,
            vault: LedgerVaultView {
                address: vault.address,
                nonce: vault.nonce,
                limits: vault.limits.into(),
                signers: vault.signers.clone(),
            },
            newest: pool.newest.map(Into::into),
            election,
            changes: pool.changes.iter().map(|(nonce, change)| ChangeView::new(*nonce, change)).collect(),
            contract: read.as_ref().map(|read| VaultView::new(vault.address, &read.snapshot, now_s)),
            read_at: read.as_ref().map(|read| read.time),
            alerts,
        })
    }

    pub(super) fn ledger_view(
        &self,
        id: &PoolId,
        settlement: Option<u64>,
        offset: usize,
        limit: usize,
    ) -> Result<Option<LedgerView>, StorageError> {
        let state = self.head.borrow().state.clone();
        let Some(pool) = state.pool(id) else { return Ok(None) };
        let Some(settlement) = settlement.or(pool.newest.map(|root| root.settlement)) else { return Ok(None) };
        let issued = ledger::issued(&self.spec, &self.store, (id, pool), settlement)?;
        let leaves = ledger::leaves(&self.store, id, settlement)?;
        Ok(issued.root().zip(leaves).map(|(root, leaves)| LedgerView::new(&root, &leaves, offset, limit)))
    }
}
