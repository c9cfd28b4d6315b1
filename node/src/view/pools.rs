//! Pools as they are shown: what the ledger has, what their vaults have, and payout roots with their leaves.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Account, Hold, Member, PoolState, PoolStatus, Standing};
use lucid_consensus::ledger::registry::Membership;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::ledger::table::Workers;
use lucid_score::worker_stats::WorkerStats;
use lucid_storage::StorageError;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::vault::Vault;

use crate::api::ViewError;
use crate::api::model::{
    BatchView, ChangeView, HoldView, LedgerVaultView, LedgerView, MemberCounts, MemberList, MemberState, MemberView,
    NextTermsView, PoolHealthView, PoolList, PoolSummary, PoolView, VaultView,
};
use crate::history::{ledger, vault};
use crate::payout::checks;
use crate::payout::vaults::SolidVault;
use crate::view::leader::leader_view;
use crate::view::{NodeParts, unread};

fn hold(account: &Account) -> Option<HoldView> {
    let from = match account.hold {
        Hold::No => return None,
        Hold::Since(settlement) => Some(settlement),
        Hold::Ends => None,
    };
    Some(HoldView { node: account.node, from })
}

fn vault_view(vault: &Vault) -> LedgerVaultView {
    LedgerVaultView {
        address: vault.address,
        nonce: vault.nonce,
        limits: vault.limits.into(),
        signers: vault.signers.clone(),
    }
}

/// All pools of a state, and which of them this node is a member of.
pub(crate) fn list(state: &State, node: Option<&NodeId>) -> PoolList {
    let summary = |(pool, row): (PoolId, &PoolState)| PoolSummary {
        pool,
        name: row.name.clone(),
        owner: row.owner,
        status: (&row.status).into(),
        join: row.join,
        members: row.members,
        max_members: row.max_members,
        vault: vault_view(&row.vault),
    };
    PoolList { own: node.and_then(|node| state.pool_of(node)), pools: state.pools().map(summary).collect() }
}

/// How a node with a row among a pool's members stands in the open epoch.
fn member_state(state: &State, pool: &PoolId, node: &NodeId, member: &Member) -> MemberState {
    let open = state.closed().next();
    let row = state.node(node).filter(|row| row.pool_from(open) == Some(*pool));
    match (member.standing, row.and_then(|row| row.membership)) {
        (Standing::Banned, _) => MemberState::Banned,
        (Standing::Inactive(_), _) => MemberState::Inactive,
        (Standing::Good, None) => MemberState::Left,
        (Standing::Good, Some(Membership { until: Some(_), .. })) => MemberState::Leaving,
        (Standing::Good, Some(Membership { from, .. })) if from > open => MemberState::Pending,
        (Standing::Good, Some(_)) if member.unreached > 0 => MemberState::Degraded,
        (Standing::Good, Some(_)) => MemberState::Active,
    }
}

/// The members of a pool by their state.
pub(super) fn counts(state: &State, id: &PoolId) -> MemberCounts {
    let mut counts = MemberCounts::default();
    for (node, member) in state.members(id) {
        let count = match member_state(state, id, &node, member) {
            MemberState::Pending => &mut counts.pending,
            MemberState::Active => &mut counts.active,
            MemberState::Degraded => &mut counts.degraded,
            MemberState::Inactive => &mut counts.inactive,
            MemberState::Leaving => &mut counts.leaving,
            MemberState::Banned => &mut counts.banned,
            MemberState::Left => continue,
        };
        *count += 1;
    }
    counts.held = state.accounts(id).filter(|(_, account)| account.hold != Hold::No).fold(0, |n, _| n + 1);
    counts
}

/// The members of all pools by their state.
pub(super) fn all_counts(state: &State) -> MemberCounts {
    let add = |sum: MemberCounts, of: MemberCounts| MemberCounts {
        pending: sum.pending.saturating_add(of.pending),
        active: sum.active.saturating_add(of.active),
        degraded: sum.degraded.saturating_add(of.degraded),
        inactive: sum.inactive.saturating_add(of.inactive),
        leaving: sum.leaving.saturating_add(of.leaving),
        banned: sum.banned.saturating_add(of.banned),
        held: sum.held.saturating_add(of.held),
    };
    state.pools().map(|(id, _)| counts(state, &id)).fold(MemberCounts::default(), add)
}

/// The members of a pool, paid as the root of this settlement pays them.
pub(crate) fn members(spec: &ChainSpec, state: &State, pool: &PoolId, settlement: u64) -> MemberList {
    let open = state.closed().next();
    let view = |(node, member): (NodeId, &Member)| {
        let row = state.node(&node);
        let membership = row.filter(|row| row.pool_from(open) == Some(*pool)).and_then(|row| row.membership);
        let account = AccountId::derive(spec.id(), pool, AccountKind::Worker, &node);
        MemberView {
            node,
            from: membership.map(|it| it.from),
            until: membership.and_then(|it| it.until),
            payout_address: row.map(|row| row.payout_address_in(settlement)),
            gas_address: row.and_then(|row| row.gas_address),
            state: member_state(state, pool, &node, member),
            is_held: state.account(pool, &account).is_some_and(|account| account.hold != Hold::No),
            unreached: member.unreached,
        }
    };
    MemberList { members: state.members(pool).map(view).collect() }
}

/// How a pool does; `vault` is what this node reads of its vault, `last_paid` what it has read of payments.
fn health(
    state: &State,
    id: &PoolId,
    pool: &PoolState,
    vault: Option<&SolidVault>,
    last_paid: Option<BatchView>,
) -> PoolHealthView {
    let (mut scores, mut n_scores) = (0_u64, 0_u64);
    for (node, member) in state.members(id) {
        let works = matches!(member_state(state, id, &node, member), MemberState::Active | MemberState::Degraded);
        let stats = state.get::<Workers>(&node).filter(|stats| works && **stats != WorkerStats::default());
        if let Some(stats) = stats {
            (scores, n_scores) = (scores + u64::from(stats.score.get()), n_scores + 1);
        }
    }
    let mean = scores.checked_div(n_scores).and_then(|mean| u32::try_from(mean).ok()).map(Ppm::new);
    let budget = pool.terms_in(pool.settled.saturating_add(1)).budget;
    let covered = vault.and_then(|vault| {
        let left = vault.snapshot.funds.saturating_sub(checks::unpaid(state, id, &vault.snapshot));
        let is_closed = vault.snapshot.is_closed(vault.as_of.time.get() / 1_000);
        left.get().checked_div(budget.get()).filter(|_| !is_closed)
    });
    PoolHealthView {
        is_degraded: matches!(pool.status, PoolStatus::Active { .. })
            && pool.members < state.policy_in_force().min_pool_members,
        members: counts(state, id),
        mean_score_ppm: mean,
        covered_settlements: covered,
        last_paid,
    }
}

impl NodeParts {
    /// The transactions by which a pool's vault has paid, as this node has read them, the newest first.
    pub(super) fn batches_of(&self, pool: &PoolId, limit: usize) -> Result<Vec<BatchView>, ViewError> {
        let batches = vault::batches(&self.store, pool, limit);
        let batches = batches.map_err(|e| unread("the payments of pool", pool.short(), e))?;
        Ok(batches.iter().map(BatchView::from).collect())
    }

    pub(super) fn pool_view(&self, id: &PoolId) -> Result<Option<PoolView>, ViewError> {
        let state = self.head.borrow().state.clone();
        let Some(pool) = state.pool(id) else { return Ok(None) };
        let read = self.vaults.get(id).filter(|read| read.address == pool.vault.address);
        // What the vault shows to everybody, and what this node's pusher cannot get on with.
        let mut alerts = read.as_ref().map(|read| read.alerts.clone()).unwrap_or_default();
        if state.pushes_for(&self.me.account) == Some(*id) {
            alerts.extend(self.pushed.alerts());
        }
        let now_s = self.clock.now().get() / 1_000;
        let election =
            pool.election.as_ref().and_then(|election| leader_view(*id, election.settlement, &election.order));
        let (vault, terms) = (&pool.vault, pool.terms_in(pool.settled));
        // No node's state holds sums that do not fit.
        let sum = |sum: Option<MicroUsdt>| sum.unwrap_or(MicroUsdt::new(u64::MAX));
        Ok(Some(PoolView {
            pool: *id,
            name: pool.name.clone(),
            owner: pool.owner,
            height: state.height(),
            budget_micro_usdt: terms.budget,
            split: terms.split,
            commission_ppm: terms.commission,
            commission_address: terms.commission_address,
            next_terms: pool
                .next_terms
                .filter(|(from, _)| *from > pool.settled)
                .map(|(from, terms)| NextTermsView { from, terms }),
            status: (&pool.status).into(),
            join: pool.join,
            max_members: pool.max_members,
            requests: state.requests(id).count(),
            members: state.members(id).filter(|(node, _)| state.pool_of(node) == Some(*id)).count(),
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
            vault: vault_view(vault),
            former_vaults: pool.former_vaults.clone(),
            newest: pool.newest.map(Into::into),
            election,
            changes: pool.changes.iter().map(|(nonce, change)| ChangeView::new(*nonce, change)).collect(),
            contract: read.as_ref().map(|read| VaultView::new(vault.address, &read.snapshot, now_s)),
            read_at: read.as_ref().map(|read| read.time),
            health: health(&state, id, pool, read.as_deref(), self.batches_of(id, 1)?.pop()),
            alerts,
        }))
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
        Ok(issued
            .root()
            .zip(leaves)
            .map(|(root, (leaves, requested))| LedgerView::new(&root, &leaves, &requested, offset, limit)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;

    use lucid_consensus::ledger::table::{Accounts, Members, Nodes, Pools};
    use lucid_tron_bridge::transaction::Reference;
    use lucid_types::id::SolidBlockId;
    use lucid_types::time::{Epoch, UnixMillis};

    use super::*;
    use crate::payout::testing::{self, OWNER, WORKERS, address, node};
    use crate::payout::vaults::Succession;

    #[test]
    fn pools_and_members_are_those_of_the_state() {
        let spec = testing::network();
        let (state, pool) = (testing::first(&spec), testing::pool_id(&spec));
        let [first, second] = WORKERS.map(node);
        let PoolList { own, pools } = list(&state, Some(&first));
        assert_eq!(
            (own, pools.len(), pools[0].owner, pools[0].vault.address),
            (Some(pool), 1, node(OWNER), address(202))
        );
        assert_eq!(list(&state, Some(&second)).own, None);
        let told = |state: &State| {
            members(&spec, state, &pool, 0).members.iter().map(|it| (it.node, it.from, it.until)).collect::<Vec<_>>()
        };
        assert_eq!(told(&state), [(first, Some(Epoch::new(1)), None)]);

        // The second joins, and the first leaves with the epoch that is open.
        let joined = Membership { pool, from: Epoch::new(7), until: None };
        let state = state.changed(|rows| {
            rows.head.closed = Epoch::new(4);
            rows.put::<Members>(&(pool, second), Default::default());
            rows.get_mut::<Nodes>(&second).unwrap().membership = Some(joined);
            let row = rows.get_mut::<Nodes>(&first).unwrap();
            row.payout_address = address(99);
            row.membership.as_mut().unwrap().until = Some(Epoch::new(6));
            rows.get_mut::<Pools>(&pool).unwrap().owner = second;
        });
        let mut expected = [(first, Some(Epoch::new(1)), Some(Epoch::new(6))), (second, Some(Epoch::new(7)), None)];
        expected.sort_unstable();
        assert_eq!(told(&state), expected);
        let of_first =
            |state: &State| *members(&spec, state, &pool, 0).members.iter().find(|it| it.node == first).unwrap();
        assert_eq!(of_first(&state).payout_address, Some(address(99)));
        assert_eq!(list(&state, Some(&second)), PoolList { own: Some(pool), ..list(&state, None) });
        assert_eq!(list(&state, None).pools[0].owner, second);

        // It has left, and then it is gone; its row in the pool has something in it still.
        let left = state.changed(|rows| rows.head.closed = Epoch::new(5));
        assert_eq!((of_first(&left).from, of_first(&left).payout_address), (None, Some(address(99))));
        let gone = left.changed(|rows| rows.remove::<Nodes>(&first));
        assert_eq!((of_first(&gone).from, of_first(&gone).payout_address), (None, None));
        assert_eq!(list(&left, Some(&first)).own, None);
    }

    #[test]
    fn health_counts_members_scores_and_settlements_that_are_covered() {
        let spec = testing::network();
        let pool = testing::pool_id(&spec);
        let [first, second] = WORKERS.map(node);
        let root = testing::root(&spec, 3, 100);
        let (budget, paid) = (testing::first(&spec).pool(&pool).unwrap().terms.budget.get(), 60);
        let solid = |funds: u64| SolidVault {
            address: root.vault,
            succession: Succession::Sound,
            snapshot: Arc::new(lucid_tron_bridge::vault::VaultSnapshot {
                funds: MicroUsdt::new(funds),
                ..testing::snapshot(&spec, &root, paid)
            }),
            as_of: Reference { number: 5, id: SolidBlockId::from_bytes([5; 32]), time: UnixMillis::new(10_000) },
            time: UnixMillis::new(1),
            root_of: None,
            alerts: Vec::new(),
        };
        let state = testing::state(&spec, root);
        let of =
            |state: &State, vault: Option<&SolidVault>| health(state, &pool, state.pool(&pool).unwrap(), vault, None);
        let alone = MemberCounts { active: 1, ..MemberCounts::default() };
        let found = of(&state, None);
        assert_eq!((found.is_degraded, found.members, found.mean_score_ppm), (false, alone, None));
        // 40 are due still: they come first.
        for (funds, covered) in [(0, 0), (2 * budget + 39, 1), (2 * budget + 40, 2)] {
            assert_eq!(of(&state, Some(&solid(funds))).covered_settlements, Some(covered), "{funds}");
        }
        let mut closed = solid(2 * budget + 40);
        Arc::make_mut(&mut closed.snapshot).close_from = 10;
        assert_eq!(of(&state, Some(&closed)).covered_settlements, None);

        // The second enters, held and measured; then the first leaves, banned, and nobody is left that stays.
        let state = state.changed(|rows| {
            rows.head.closed = Epoch::new(4);
            rows.put::<Members>(&(pool, second), Default::default());
            rows.get_mut::<Nodes>(&second).unwrap().membership =
                Some(Membership { pool, from: Epoch::new(7), until: None });
            for (node, score) in [(first, 400_001), (second, 900_000)] {
                let mut stats = WorkerStats::default();
                stats.score = Ppm::new(score);
                rows.put::<Workers>(&node, stats);
            }
            rows.get_mut::<Accounts>(&(pool, testing::account_id(&spec))).unwrap().hold = Hold::Since(9);
        });
        let found = of(&state, None);
        assert_eq!(found.members, MemberCounts { active: 1, pending: 1, held: 1, ..MemberCounts::default() });
        assert_eq!(found.mean_score_ppm, Some(Ppm::new(400_001)), "of those who work");
        let later = state.changed(|rows| rows.head.closed = Epoch::new(6));
        assert_eq!(of(&later, None).mean_score_ppm, Some(Ppm::new(650_000)));
        // Validators do not reach the first, and then for long.
        let degraded = later.changed(|rows| rows.get_mut::<Members>(&(pool, first)).unwrap().unreached = 1);
        let found = of(&degraded, None);
        let expected = MemberCounts { active: 1, degraded: 1, held: 1, ..MemberCounts::default() };
        assert_eq!((found.members, found.mean_score_ppm), (expected, Some(Ppm::new(650_000))));
        let inactive = degraded.changed(|rows| {
            rows.get_mut::<Nodes>(&first).unwrap().membership.as_mut().unwrap().until = Some(Epoch::new(7));
            rows.get_mut::<Members>(&(pool, first)).unwrap().standing = Standing::Inactive(Epoch::new(7));
        });
        let found = of(&inactive, None);
        let expected = MemberCounts { active: 1, inactive: 1, held: 1, ..MemberCounts::default() };
        assert_eq!((found.members, found.mean_score_ppm), (expected, Some(Ppm::new(900_000))));
        let shown = members(&spec, &inactive, &pool, 0).members;
        let of_first = shown.iter().find(|it| it.node == first).unwrap();
        assert_eq!((of_first.state, of_first.is_held, of_first.until), (MemberState::Inactive, true, None));
        let left = later.changed(|rows| {
            rows.get_mut::<Nodes>(&first).unwrap().membership.as_mut().unwrap().until = Some(Epoch::new(8));
            rows.get_mut::<Members>(&(pool, first)).unwrap().standing = Standing::Banned;
            rows.get_mut::<Nodes>(&second).unwrap().membership = None;
            rows.get_mut::<Pools>(&pool).unwrap().members = 0;
        });
        let found = of(&left, None);
        let expected = MemberCounts { banned: 1, held: 1, ..MemberCounts::default() };
        assert_eq!((found.is_degraded, found.members, found.mean_score_ppm), (true, expected, None));
    }
}
