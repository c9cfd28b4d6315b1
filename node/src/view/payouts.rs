//! Payout requests as they are shown: what the ledger owes, what vaults have paid, and what this node's pusher is doing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use lucid_consensus::ledger::pool::Account;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_storage::StorageError;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutId, PoolId};
use lucid_types::payout::{AccountKind, PayoutRequest};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use crate::api::metrics::PayoutFigures;
use crate::api::model::PayoutView;
use crate::history::ledger::{self, RequestRecord};
use crate::history::vault::{self, Payment, Place};
use crate::payout::status::{self, PoolView, Standing};
use crate::payout::vaults::SolidVault;
use crate::view::NodeParts;

/// What one look at the requests is made from.
struct Look {
    state: State,
    vaults: BTreeMap<PoolId, Arc<SolidVault>>,
    threshold: MicroUsdt,
    now: UnixMillis,
    /// Payments that were read so far, newest first.
    payments: BTreeMap<AccountId, Vec<Payment>>,
}

impl Look {
    fn pool(&self, pool: &PoolId) -> Option<PoolView<'_>> {
        Some(PoolView {
            accounts: self.state.pool(pool)?,
            vault: self.vaults.get(pool).map(Arc::as_ref),
            threshold: self.threshold,
            now: self.now,
        })
    }
}

impl NodeParts {
    fn look(&self) -> Look {
        let state = self.head.borrow().state.clone();
        Look {
            threshold: state.policy_in_force().payout_threshold,
            state,
            vaults: self.vaults.all(),
            now: self.clock.now(),
            payments: BTreeMap::new(),
        }
    }

    /// What this node's own accounts have earned since their last requests, then requests, newest settlement first.
    pub(super) fn requests(&self, limit: usize) -> Result<Vec<PayoutView>, StorageError> {
        let mut look = self.look();
        let mut views = self.own_earnings(&look);
        views.truncate(limit);
        for record in ledger::requests(&self.store, limit.saturating_sub(views.len()))? {
            views.extend(self.request_view(&record, &mut look)?);
        }
        Ok(views)
    }

    /// Requests that stand after this one; `None` if there is no such request.
    pub(super) fn requests_after(&self, id: &PayoutId, limit: usize) -> Result<Option<Vec<PayoutView>>, StorageError> {
        let mut look = self.look();
        let Some(records) = ledger::requests_after(&self.store, id, limit)? else { return Ok(None) };
        let mut views = Vec::new();
        for record in records {
            views.extend(self.request_view(&record, &mut look)?);
        }
        Ok(Some(views))
    }

    pub(super) fn request(&self, id: &PayoutId) -> Result<Option<PayoutView>, StorageError> {
        let mut look = self.look();
        match ledger::request(&self.store, id)? {
            Some(record) => self.request_view(&record, &mut look),
            None => Ok(self.own_earnings(&look).into_iter().find(|view| view.payout_id == *id)),
        }
    }

    fn request_view(&self, record: &RequestRecord, look: &mut Look) -> Result<Option<PayoutView>, StorageError> {
        let request = &record.request;
        let Some(pool) = look.pool(&record.pool) else { return Ok(None) };
        let has_root = pool.vault.is_some_and(|vault| vault.has_root_from(record.settlement));
        let (paid_at, posted_at) = if pool.is_paid(request) {
            (self.paid_at(record, look)?, None)
        } else if has_root {
            (None, self.posted_at(record)?)
        } else {
            (None, None)
        };
        let pushed = self.pushed.of(&request.account, record.settlement);
        let Some(pool) = look.pool(&record.pool) else { return Ok(None) };
        let standing = status::of_request(record, pool, paid_at, posted_at, pushed.as_ref());
        Ok(Some(shown(request, record.pool, record.settlement, standing)))
    }

    fn paid_at(&self, record: &RequestRecord, look: &mut Look) -> Result<Option<Place>, StorageError> {
        let account = record.request.account;
        if let Entry::Vacant(entry) = look.payments.entry(account) {
            entry.insert(vault::payments(&self.store, &account)?);
        }
        let payments = look.payments.get(&account).map_or(&[][..], Vec::as_slice);
        Ok(vault::settling(payments, record.request.owed).map(|payment| payment.place))
    }

    fn posted_at(&self, record: &RequestRecord) -> Result<Option<UnixMillis>, StorageError> {
        let Some(root) = ledger::root(&self.store, &record.pool, record.settlement)? else { return Ok(None) };
        let posting = vault::posting(&self.store, &record.pool, record.settlement, &root.root.root)?;
        Ok(posting.map(|posting| posting.place.time))
    }

    /// The accounts of this node: as a member of a pool, as the owner of pools, as a validator, and those that it has had.
    fn own_accounts(&self, state: &State) -> Vec<(PoolId, AccountId)> {
        let (network, me) = (self.spec.id(), &self.me.account);
        let member_of = state.pool_of(me);
        let accounts = state.pools().flat_map(|(pool, row)| {
            let of = |kind, is_now: bool| {
                let id = AccountId::derive(network, &pool, kind, me);
                (is_now || state.account(&pool, &id).is_some()).then_some((pool, id))
            };
            [
                of(AccountKind::Worker, member_of == Some(pool)),
                of(AccountKind::Commission, row.owner == *me),
                // Of a pool whose workers it has measured.
                of(AccountKind::Validator, false),
            ]
        });
        accounts.flatten().collect()
    }

    /// What this node's own accounts have earned and no request has yet: too little to be due, held, or without a root.
    fn own_earnings(&self, look: &Look) -> Vec<PayoutView> {
        let view = |(pool_id, id): (PoolId, AccountId)| {
            let pool = look.pool(&pool_id)?;
            let account = look.state.account(&pool_id, &id)?;
            let (amount, standing) = status::of_earnings(account, pool)?;
            let settlement = pool.accounts.settled;
            let request = PayoutRequest {
                id: PayoutId::derive(&id, settlement),
                account: id,
                kind: account.kind,
                node: account.node,
                to: account.to,
                amount,
                owed: account.owed.saturating_add(account.held),
            };
            Some(shown(&request, pool_id, settlement, standing))
        };
        self.own_accounts(&look.state).into_iter().filter_map(view).collect()
    }

    /// All that this node was ever owed, if it can be owed anything, and all that it has been paid of that, if it is known.
    pub(super) fn own_sums(&self, state: &State) -> (Option<MicroUsdt>, Option<MicroUsdt>) {
        let own = self.own_accounts(state);
        if own.is_empty() {
            return (None, None);
        }
        let owed = |(pool, id): &(PoolId, AccountId)| Some(state.account(pool, id)?.owed);
        let paid =
            |(pool, id): &(PoolId, AccountId)| Some(self.vaults.get(pool)?.snapshot.paid_of(id).unwrap_or_default());
        let owed = MicroUsdt::sum(own.iter().filter_map(owed));
        let paid: Option<Vec<_>> = own.iter().map(paid).collect();
        (owed, paid.and_then(MicroUsdt::sum))
    }

    /// What pools owe and vaults have paid, over all pools.
    pub(super) fn figures(&self, state: &State) -> PayoutFigures {
        let vaults = self.vaults.all();
        let sum = |amounts: Vec<u64>| amounts.into_iter().fold(0, u64::saturating_add);
        let of_vaults = |read: &dyn Fn(&PoolId, &SolidVault) -> u64| {
            let amounts = state.pools().map(|(id, _)| vaults.get(&id).map(|vault| read(&id, vault)));
            amounts.collect::<Option<Vec<_>>>().map(sum)
        };
        let open = |id: &PoolId, vault: &SolidVault| {
            let is_open = |(id, account): &(AccountId, &Account)| {
                account.requested > vault.snapshot.paid_of(id).unwrap_or_default()
            };
            u64::try_from(state.accounts(id).filter(is_open).count()).unwrap_or(u64::MAX)
        };
        let owed = state.pools().map(|(id, _)| state.owed(&id).map_or(u64::MAX, MicroUsdt::get)).collect();
        let alerts = vaults.values().map(|vault| vault.alerts.len()).sum::<usize>() + self.pushed.alerts().len();
        PayoutFigures {
            owed_micro_usdt: sum(owed),
            paid_micro_usdt: of_vaults(&|_, vault| sum(vault.snapshot.paid.values().map(|paid| paid.get()).collect())),
            open: of_vaults(&open),
            vault_funds_micro_usdt: of_vaults(&|_, vault| vault.snapshot.funds.get()),
            gas_sun: self.pushed.gas().map(Sun::get),
            alerts: u64::try_from(alerts).unwrap_or(u64::MAX),
        }
    }
}

fn shown(request: &PayoutRequest, pool: PoolId, settlement: u64, standing: Standing) -> PayoutView {
    PayoutView {
        payout_id: request.id,
        pool,
        settlement,
        worker: request.node,
        kind: request.kind,
        address: request.to,
        amount_micro_usdt: request.amount,
        owed_micro_usdt: request.owed,
        status: standing.status,
        waits_for: standing.waits_for,
        since: standing.since,
        tx_id: standing.tx_id,
        block: standing.block,
        fee_sun: standing.fee,
    }
}
