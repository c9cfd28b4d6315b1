//! Settlements: shares become rewards, rewards add to owed totals, a leader is elected, and a payout root is made.

use std::collections::BTreeMap;

use lucid_score::leader::{Candidate, order};
use lucid_score::reward::{commission, split};
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::{GenesisPool, SplitRule};
use lucid_types::id::{Hash, NodeId, PayoutId, PoolId};
use lucid_types::payout::{AccountKind, PayoutRequest, SettlementRoot};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use lucid_types::time::UnixMillis;

use crate::chain_spec::ChainSpec;
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::MAX_PROMISED;
use crate::ledger::event::{Event, Settled};
use crate::ledger::state::{Account, Election, EpochRows, Hold, PoolState, State};

/// The most settlements that a member's earnings are held: then they are owed whatever the owner says.
pub const MAX_HOLD: u64 = 7;

/// Adds an epoch's rows to the shares of the pools' settlement under way.
pub(crate) fn add_shares(spec: &ChainSpec, state: &mut State, rows: &EpochRows) -> Result<(), InvalidBlock> {
    for row in &rows.rows {
        let Some(pool_id) = spec.pool_of(&row.worker) else { continue };
        let (Some(pool), Some(accounts)) = (spec.pool(pool_id), state.pools.get_mut(pool_id)) else { continue };
        let credits = u128::from(row.credits.get());
        let share = match pool.split {
            SplitRule::CreditsTimesScore => credits * u128::from(row.score.get()),
            SplitRule::Credits | SplitRule::Equal => credits,
        };
        let sum = accounts.shares.entry(row.worker).or_default();
        *sum = sum.checked_add(share).ok_or(InvalidBlock::Overflow)?;
        if pool.split == SplitRule::Equal {
            *sum = u128::from(*sum > 0);
        }
    }
    Ok(())
}

/// Computes the settlements all of whose epochs are final now. Of several at once, only the first can have measured epochs: the
/// others were over before anybody knew their seeds. `beacon` is that before the block: its proposer could not choose it.
pub(crate) fn settle(
    spec: &ChainSpec,
    state: &mut State,
    beacon: &Hash,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let policy = spec.policy();
    let last = state.final_through().get() / policy.settle_every;
    let last = policy.last_settlement.map_or(last, |end| last.min(end));
    for (id, pool) in spec.pools() {
        let Some(accounts) = state.pools.get_mut(id) else { continue };
        if accounts.settled >= last {
            continue;
        }
        let settlement = accounts.settled.saturating_add(1);
        let is_measured = !accounts.shares.is_empty();
        accounts.settled = settlement;
        reward(spec, accounts, (id, pool), settlement)?;
        if is_measured {
            elect(spec, state, (id, pool), settlement, beacon, events);
        }
        let time = state.time;
        let Some(accounts) = state.pools.get_mut(id) else { continue };
        events.extend(make_root(spec, accounts, id, settlement, time)?.map(|made| Event::Settled(Box::new(made))));
        carry(accounts, pool, last)?;
    }
    Ok(())
}

/// Carries the budgets of settlements without a measured epoch, up to `last`.
fn carry(accounts: &mut PoolState, pool: &GenesisPool, last: u64) -> Result<(), InvalidBlock> {
    let n = last.saturating_sub(accounts.settled);
    let budgets = MicroUsdt::new(pool.budget.get().saturating_mul(n));
    let budgets = budgets.min(MAX_PROMISED.saturating_sub(accounts.budgets));
    add(&mut accounts.budgets, budgets)?;
    add(&mut accounts.carried, budgets)?;
    accounts.settled = last;
    Ok(())
}

fn add(sum: &mut MicroUsdt, amount: MicroUsdt) -> Result<(), InvalidBlock> {
    *sum = sum.checked_add(amount).ok_or(InvalidBlock::Overflow)?;
    Ok(())
}

/// Shares the budget and what was carried out among owner and members, or carries it.
///
/// `fee = min(pot, due * push fee)`, where the accounts are due whose owed total crosses a multiple of the threshold when
/// the pot is split without a fee; `commission = floor((pot - fee) * rate)`; the rest goes to the members by their shares.
fn reward(
    spec: &ChainSpec,
    accounts: &mut PoolState,
    (id, pool): (&PoolId, &GenesisPool),
    settlement: u64,
) -> Result<(), InvalidBlock> {
    if let Some((_, fee)) = accounts.next_push_fee.take_if(|(from, _)| *from <= settlement) {
        accounts.push_fee = fee;
    }
    let before: BTreeMap<AccountId, MicroUsdt> =
        accounts.accounts.iter().map(|(id, account)| (*id, account.owed)).collect();
    release(accounts, settlement)?;
    let budget = pool.budget.min(MAX_PROMISED.saturating_sub(accounts.budgets));
    add(&mut accounts.budgets, budget)?;
    let pot = accounts.carried.checked_add(budget).ok_or(InvalidBlock::Overflow)?;
    let shares: Vec<_> = std::mem::take(&mut accounts.shares).into_iter().collect();
    if shares.iter().all(|(_, share)| *share == 0) {
        accounts.carried = spec.rules().carried(pot, MicroUsdt::ZERO).ok_or(InvalidBlock::Overflow)?;
        return Ok(());
    }
    accounts.carried = MicroUsdt::ZERO;
    let parts_of = |pot: MicroUsdt| -> Result<BTreeMap<(AccountKind, NodeId), MicroUsdt>, InvalidBlock> {
        let owner_part = commission(pot, pool.commission);
        let rest = pot.checked_sub(owner_part).ok_or(InvalidBlock::Overflow)?;
        let members = shares.iter().map(|(node, _)| (AccountKind::Worker, *node)).zip(split(rest, &shares));
        let all = members.chain([((AccountKind::Commission, pool.owner), owner_part)]);
        Ok(all.filter(|(_, amount)| *amount > MicroUsdt::ZERO).collect())
    };
    let account_id = |(kind, node): &(AccountKind, NodeId)| AccountId::derive(spec.id(), id, *kind, node);

    let threshold = spec.policy().payout_threshold;
    let without_fee: BTreeMap<_, _> = parts_of(pot)?.into_iter().map(|(key, part)| (account_id(&key), part)).collect();
    let mut due: u64 = 0;
    for id in accounts.accounts.keys().chain(without_fee.keys().filter(|id| !accounts.accounts.contains_key(*id))) {
        let account = accounts.accounts.get(id);
        let is_held = account.is_some_and(|account| account.hold.is_in_force(settlement));
        let part = without_fee.get(id).copied().filter(|_| !is_held).unwrap_or_default();
        let owed = account.map_or(MicroUsdt::ZERO, |account| account.owed);
        let after = owed.checked_add(part).ok_or(InvalidBlock::Overflow)?;
        due += u64::from(is_due(after, before.get(id).copied().unwrap_or_default(), threshold));
    }
    let fee = due.checked_mul(accounts.push_fee.get()).map_or(pot, |fee| pot.min(MicroUsdt::new(fee)));
    add(&mut accounts.fees, fee)?;
    let pot = pot.checked_sub(fee).ok_or(InvalidBlock::Overflow)?;
    let mut shared = MicroUsdt::ZERO;
    for ((kind, node), part) in parts_of(pot)? {
        let to = match kind {
            AccountKind::Commission => Some(pool.commission_address),
            AccountKind::Worker => spec.worker(&node).map(|worker| worker.payout_address),
        };
        let Some(to) = to else { continue };
        let account = accounts.accounts.entry(account_id(&(kind, node))).or_insert(Account::new(kind, node, to));
        let sum = if account.hold.is_in_force(settlement) { &mut account.held } else { &mut account.owed };
        add(sum, part)?;
        add(&mut shared, part)?;
    }
    // Weights too small beside the others to give anything to leave something over.
    accounts.carried = spec.rules().carried(pot, shared).ok_or(InvalidBlock::Overflow)?;
    Ok(())
}

/// Whether a total that went from `before` to `after` has crossed a multiple of the threshold; without one, whether it grew.
pub fn is_due(after: MicroUsdt, before: MicroUsdt, threshold: MicroUsdt) -> bool {
    let times = |total: MicroUsdt| total.get().checked_div(threshold.get()).unwrap_or(total.get());
    times(after) > times(before)
}

/// Corrections become owed, and so does what was held when its hold is over.
fn release(accounts: &mut PoolState, settlement: u64) -> Result<(), InvalidBlock> {
    for account in accounts.accounts.values_mut() {
        let correction = std::mem::take(&mut account.correction);
        add(&mut account.owed, correction)?;
        add(&mut accounts.budgets, correction)?;
        let is_over = match account.hold {
            Hold::No => false,
            Hold::Since(since) => settlement.saturating_sub(since) >= MAX_HOLD,
            Hold::Ends => true,
        };
        if is_over {
            account.hold = Hold::No;
            let held = std::mem::take(&mut account.held);
            add(&mut account.owed, held)?;
        }
    }
    Ok(())
}

/// Elects the leader of a settlement and its successors.
fn elect(
    spec: &ChainSpec,
    state: &mut State,
    (id, pool): (&PoolId, &GenesisPool),
    settlement: u64,
    beacon: &Hash,
    events: &mut Vec<Event>,
) {
    let policy = spec.policy();
    let Some(accounts) = state.pools.get_mut(id) else { return };
    let candidate = |node: &NodeId| {
        let stats = state.worker_stats.get(node)?;
        spec.worker(node)?.gas_address?;
        Some(Candidate {
            node: *node,
            eligible: stats.is_eligible(policy),
            last_led: accounts.last_led.get(node).copied(),
            live: stats.live(policy),
        })
    };
    let candidates: Vec<_> = pool.members.iter().filter_map(candidate).collect();
    let mut order = order(&candidates, settlement, policy.leader_cooldown, beacon);
    order.truncate(usize::try_from(policy.leader_successors).unwrap_or(usize::MAX).saturating_add(1));
    if let Some(leader) = order.first() {
        accounts.last_led.insert(*leader, settlement);
    }
    accounts.election = Some(Election { settlement, height: state.height, time: state.time, order: order.clone() });
    events.push(Event::Elected { pool: *id, settlement, order });
}

/// Makes the settlement's root if any owed total has grown since the newest one, unless the pool is suspended.
fn make_root(
    spec: &ChainSpec,
    accounts: &mut PoolState,
    id: &PoolId,
    settlement: u64,
    time: UnixMillis,
) -> Result<Option<Settled>, InvalidBlock> {
    let owed = accounts.owed().ok_or(InvalidBlock::Overflow)?;
    if accounts.is_suspended(settlement) || owed == accounts.rooted {
        return Ok(None);
    }
    let threshold = spec.policy().payout_threshold;
    let mut requests = Vec::new();
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (id, account) in &mut accounts.accounts {
        let leaf = OwedAccount { id: *id, to: account.to, owed: account.owed };
        if is_due(account.owed, account.requested, threshold) {
            requests.push(PayoutRequest {
                id: PayoutId::derive(id, settlement),
                account: *id,
                kind: account.kind,
                node: account.node,
                to: account.to,
                amount: account.owed.saturating_sub(account.requested),
                owed: account.owed,
            });
            account.requested = account.owed;
            first.push(leaf);
        } else if account.owed > MicroUsdt::ZERO {
            rest.push(leaf);
        }
    }
    let leaves = [first, rest].concat();
    let tree = PayoutTree::new(&leaves).map_err(|_| InvalidBlock::Overflow)?;
    let sum = |parts: &[MicroUsdt]| MicroUsdt::sum(parts.iter().copied()).ok_or(InvalidBlock::Overflow);
    let leader = accounts.election.as_ref().filter(|election| election.settlement == settlement);
    let leader = leader.and_then(|election| spec.worker(election.order.first()?)?.gas_address);
    let turn = spec.policy().leader_timeout_ms.saturating_add(time.get()).div_ceil(1_000);
    let root = SettlementRoot {
        pool: *id,
        settlement,
        vault: accounts.vault.address,
        era: accounts.vault.signers.era,
        root: tree.root(),
        total: spec.rules().root_total(owed, accounts.fees, accounts.losses).ok_or(InvalidBlock::Overflow)?,
        fees: accounts.fees,
        promised: sum(&[accounts.budgets, accounts.losses])?,
        leader,
        until: leader.map_or(0, |_| turn),
    };
    accounts.rooted = owed;
    accounts.newest = Some(root);
    Ok(Some(Settled { root, leaves, requests }))
}

impl Account {
    /// An account that was never owed anything.
    pub(crate) const fn new(kind: AccountKind, node: NodeId, to: lucid_types::id::PayoutAddress) -> Self {
        let none = MicroUsdt::ZERO;
        Self { kind, node, to, owed: none, requested: none, held: none, hold: Hold::No, correction: none }
    }
}
