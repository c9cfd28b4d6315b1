//! Settlements: shares become rewards, rewards add to owed totals, a leader is elected, and a payout root is made.

use std::collections::BTreeMap;
use std::sync::Arc;

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
use crate::ledger::pool::{Account, Election, Hold, Member, PoolState};
use crate::ledger::state::{EpochScores, Overlay, Rows};
use crate::ledger::table::{Accounts, Members, Pools, Workers};

/// The most settlements that a member's earnings are held: then they are owed whatever the owner says.
pub const MAX_HOLD: u64 = 7;

/// Adds an epoch's scores to the shares of the pools' settlement under way.
pub(crate) fn add_shares(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    scores: &EpochScores,
) -> Result<(), InvalidBlock> {
    for row in &scores.rows {
        let Some((id, pool)) = spec.pool_of(&row.worker).and_then(|id| Some((id, spec.pool(id)?))) else { continue };
        let credits = u128::from(row.credits.get());
        let share = match pool.split {
            SplitRule::CreditsTimesScore => credits * u128::from(row.score.get()),
            SplitRule::Credits | SplitRule::Equal => credits,
        };
        let key = (*id, row.worker);
        let mut member = overlay.get::<Members>(&key).copied().unwrap_or_default();
        let sum = member.share.unwrap_or(0).checked_add(share).ok_or(InvalidBlock::Overflow)?;
        member.share = Some(if pool.split == SplitRule::Equal { u128::from(sum > 0) } else { sum });
        overlay.put::<Members>(&key, member);
    }
    Ok(())
}

/// Computes the settlements all of whose epochs are final now. Of several at once, only the first can have measured epochs: the
/// others were over before anybody knew their seeds. `beacon` is that before the block: its proposer could not choose it.
pub(crate) fn settle(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    beacon: &Hash,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let policy = spec.policy();
    let last = overlay.final_through().get() / policy.settle_every;
    let last = policy.last_settlement.map_or(last, |end| last.min(end));
    for (id, pool) in spec.pools() {
        let Some(state) = overlay.get::<Pools>(id).filter(|state| state.settled < last) else { continue };
        let mut settling = Settling::begin(spec, (id, pool), state.clone(), overlay);
        settling.reward()?;
        if settling.is_measured {
            events.push(settling.elect(overlay, beacon));
        }
        events.extend(settling.make_root(overlay.head.time)?.map(|made| Event::Settled(Box::new(made))));
        carry(&mut settling.state, pool, last)?;
        settling.finish(overlay);
    }
    Ok(())
}

/// Carries the budgets of settlements without a measured epoch, up to `last`.
fn carry(state: &mut PoolState, pool: &GenesisPool, last: u64) -> Result<(), InvalidBlock> {
    let n = last.saturating_sub(state.settled);
    let budgets = MicroUsdt::new(pool.budget.get().saturating_mul(n));
    let budgets = budgets.min(MAX_PROMISED.saturating_sub(state.budgets));
    add(&mut state.budgets, budgets)?;
    add(&mut state.carried, budgets)?;
    state.settled = last;
    Ok(())
}

fn add(sum: &mut MicroUsdt, amount: MicroUsdt) -> Result<(), InvalidBlock> {
    *sum = sum.checked_add(amount).ok_or(InvalidBlock::Overflow)?;
    Ok(())
}

/// A settlement of one pool under way: its rows, taken out of their tables until [`Self::finish`].
struct Settling<'a> {
    spec: &'a ChainSpec,
    id: &'a PoolId,
    pool: &'a GenesisPool,
    settlement: u64,
    /// Whether any member was measured in it.
    is_measured: bool,
    state: PoolState,
    accounts: BTreeMap<AccountId, Account>,
    members: BTreeMap<NodeId, Member>,
}

impl<'a> Settling<'a> {
    /// Begins the settlement after the pool's newest.
    fn begin(
        spec: &'a ChainSpec,
        (id, pool): (&'a PoolId, &'a GenesisPool),
        mut state: PoolState,
        overlay: &Overlay<'_>,
    ) -> Self {
        let settlement = state.settled.saturating_add(1);
        state.settled = settlement;
        let accounts =
            overlay.all_of::<Accounts, _>(id).into_iter().map(|((_, id), row)| (id, Arc::unwrap_or_clone(row)));
        let members = overlay.all_of::<Members, _>(id).into_iter().map(|((_, node), row)| (node, *row));
        let (accounts, members) = (accounts.collect(), members.collect::<BTreeMap<_, _>>());
        let is_measured = members.values().any(|member: &Member| member.share.is_some());
        Self { spec, id, pool, settlement, is_measured, state, accounts, members }
    }

    /// Writes the rows that have changed.
    fn finish(self, overlay: &mut Overlay<'_>) {
        let Self { id, state, accounts, members, .. } = self;
        overlay.put::<Pools>(id, state);
        for (account, row) in accounts {
            let key = (*id, account);
            if overlay.get::<Accounts>(&key) != Some(&row) {
                overlay.put::<Accounts>(&key, row);
            }
        }
        for (node, member) in members {
            let key = (*id, node);
            if member == Member::default() {
                overlay.remove::<Members>(&key);
            } else if overlay.get::<Members>(&key) != Some(&member) {
                overlay.put::<Members>(&key, member);
            }
        }
    }

    /// Sum of all owed totals.
    fn owed(&self) -> Result<MicroUsdt, InvalidBlock> {
        MicroUsdt::sum(self.accounts.values().map(|account| account.owed)).ok_or(InvalidBlock::Overflow)
    }

    /// Shares the budget and what was carried out among owner and members, or carries it.
    ///
    /// `fee = min(pot, due * push fee)`, where the accounts are due whose owed total crosses a multiple of the threshold when
    /// the pot is split without a fee; `commission = floor((pot - fee) * rate)`; the rest goes to the members by their shares.
    fn reward(&mut self) -> Result<(), InvalidBlock> {
        let Self { spec, id, pool, settlement, state, accounts, members, .. } = self;
        if let Some((_, fee)) = state.next_push_fee.take_if(|(from, _)| *from <= *settlement) {
            state.push_fee = fee;
        }
        let before: BTreeMap<AccountId, MicroUsdt> = accounts.iter().map(|(id, account)| (*id, account.owed)).collect();
        release(state, accounts, *settlement)?;
        let budget = pool.budget.min(MAX_PROMISED.saturating_sub(state.budgets));
        add(&mut state.budgets, budget)?;
        let pot = state.carried.checked_add(budget).ok_or(InvalidBlock::Overflow)?;
        let shares = members.iter_mut().filter_map(|(node, member)| Some((*node, member.share.take()?)));
        let shares: Vec<_> = shares.collect();
        if shares.iter().all(|(_, share)| *share == 0) {
            state.carried = spec.rules().carried(pot, MicroUsdt::ZERO).ok_or(InvalidBlock::Overflow)?;
            return Ok(());
        }
        state.carried = MicroUsdt::ZERO;
        let parts_of = |pot: MicroUsdt| -> Result<BTreeMap<(AccountKind, NodeId), MicroUsdt>, InvalidBlock> {
            let owner_part = commission(pot, pool.commission);
            let rest = pot.checked_sub(owner_part).ok_or(InvalidBlock::Overflow)?;
            let members = shares.iter().map(|(node, _)| (AccountKind::Worker, *node)).zip(split(rest, &shares));
            let all = members.chain([((AccountKind::Commission, pool.owner), owner_part)]);
            Ok(all.filter(|(_, amount)| *amount > MicroUsdt::ZERO).collect())
        };
        let account_id = |(kind, node): &(AccountKind, NodeId)| AccountId::derive(spec.id(), id, *kind, node);

        let threshold = spec.policy().payout_threshold;
        let without_fee: BTreeMap<_, _> =
            parts_of(pot)?.into_iter().map(|(key, part)| (account_id(&key), part)).collect();
        let mut due: u64 = 0;
        for id in accounts.keys().chain(without_fee.keys().filter(|id| !accounts.contains_key(*id))) {
            let account = accounts.get(id);
            let is_held = account.is_some_and(|account| account.hold.is_in_force(*settlement));
            let part = without_fee.get(id).copied().filter(|_| !is_held).unwrap_or_default();
            let owed = account.map_or(MicroUsdt::ZERO, |account| account.owed);
            let after = owed.checked_add(part).ok_or(InvalidBlock::Overflow)?;
            due += u64::from(is_due(after, before.get(id).copied().unwrap_or_default(), threshold));
        }
        let fee = due.checked_mul(state.push_fee.get()).map_or(pot, |fee| pot.min(MicroUsdt::new(fee)));
        add(&mut state.fees, fee)?;
        let pot = pot.checked_sub(fee).ok_or(InvalidBlock::Overflow)?;
        let mut shared = MicroUsdt::ZERO;
        for ((kind, node), part) in parts_of(pot)? {
            let to = match kind {
                AccountKind::Commission => Some(pool.commission_address),
                AccountKind::Worker => spec.worker(&node).map(|worker| worker.payout_address),
            };
            let Some(to) = to else { continue };
            let account = accounts.entry(account_id(&(kind, node))).or_insert(Account::new(kind, node, to));
            let sum = if account.hold.is_in_force(*settlement) { &mut account.held } else { &mut account.owed };
            add(sum, part)?;
            add(&mut shared, part)?;
        }
        // Weights too small beside the others to give anything to leave something over.
        state.carried = spec.rules().carried(pot, shared).ok_or(InvalidBlock::Overflow)?;
        Ok(())
    }

    /// Elects the leader and its successors.
    fn elect(&mut self, overlay: &Overlay<'_>, beacon: &Hash) -> Event {
        let Self { spec, id, pool, settlement, .. } = *self;
        let (policy, scored) = (spec.policy(), overlay.head.scored);
        let candidate = |node: &NodeId| {
            let stats = overlay.get::<Workers>(node)?;
            spec.worker(node)?.gas_address?;
            Some(Candidate {
                node: *node,
                eligible: stats.is_eligible(policy, scored),
                last_led: self.members.get(node).and_then(|member| member.last_led),
                live: stats.live(policy, scored),
            })
        };
        let candidates: Vec<_> = pool.members.iter().filter_map(candidate).collect();
        let mut order = order(&candidates, settlement, policy.leader_cooldown, beacon);
        order.truncate(usize::try_from(policy.leader_successors).unwrap_or(usize::MAX).saturating_add(1));
        if let Some(leader) = order.first() {
            self.members.entry(*leader).or_default().last_led = Some(settlement);
        }
        let (height, time) = (overlay.head.height, overlay.head.time);
        self.state.election = Some(Election { settlement, height, time, order: order.clone() });
        Event::Elected { pool: *id, settlement, order }
    }

    /// Makes the root if any owed total has grown since the newest one, unless the pool is suspended.
    fn make_root(&mut self, time: UnixMillis) -> Result<Option<Settled>, InvalidBlock> {
        let owed = self.owed()?;
        let Self { spec, id, settlement, state, accounts, .. } = self;
        if state.is_suspended(*settlement) || owed == state.rooted {
            return Ok(None);
        }
        let threshold = spec.policy().payout_threshold;
        let mut requests = Vec::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (id, account) in accounts {
            let leaf = OwedAccount { id: *id, to: account.to, owed: account.owed };
            if is_due(account.owed, account.requested, threshold) {
                requests.push(PayoutRequest {
                    id: PayoutId::derive(id, *settlement),
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
        let leader = state.election.as_ref().filter(|election| election.settlement == *settlement);
        let leader = leader.and_then(|election| spec.worker(election.order.first()?)?.gas_address);
        let turn = spec.policy().leader_timeout_ms.saturating_add(time.get()).div_ceil(1_000);
        let root = SettlementRoot {
            pool: **id,
            settlement: *settlement,
            vault: state.vault.address,
            era: state.vault.signers.era,
            root: tree.root(),
            total: spec.rules().root_total(owed, state.fees, state.losses).ok_or(InvalidBlock::Overflow)?,
            fees: state.fees,
            promised: sum(&[state.budgets, state.losses])?,
            leader,
            until: leader.map_or(0, |_| turn),
        };
        state.rooted = owed;
        state.newest = Some(root);
        Ok(Some(Settled { root, leaves, requests }))
    }
}

/// Whether a total that went from `before` to `after` has crossed a multiple of the threshold; without one, whether it grew.
pub fn is_due(after: MicroUsdt, before: MicroUsdt, threshold: MicroUsdt) -> bool {
    let times = |total: MicroUsdt| total.get().checked_div(threshold.get()).unwrap_or(total.get());
    times(after) > times(before)
}

/// Corrections become owed, and so does what was held when its hold is over.
fn release(
    pool: &mut PoolState,
    accounts: &mut BTreeMap<AccountId, Account>,
    settlement: u64,
) -> Result<(), InvalidBlock> {
    for account in accounts.values_mut() {
        let correction = std::mem::take(&mut account.correction);
        add(&mut account.owed, correction)?;
        add(&mut pool.budgets, correction)?;
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

impl Account {
    /// An account that was never owed anything.
    pub(crate) const fn new(kind: AccountKind, node: NodeId, to: lucid_types::id::PayoutAddress) -> Self {
        let none = MicroUsdt::ZERO;
        Self { kind, node, to, owed: none, requested: none, held: none, hold: Hold::No, correction: none }
    }
}
