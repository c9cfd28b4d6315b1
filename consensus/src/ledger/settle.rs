//! Settlements: shares become rewards, rewards become payouts, and a leader is elected to carry them.

use std::collections::BTreeMap;

use lucid_score::leader::{Candidate, order};
use lucid_score::reward::{commission, split};
use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::{GenesisPool, SplitRule};
use lucid_types::id::{Hash, NodeId, PayoutAddress, PayoutId, PoolId};
use lucid_types::time::EpochNumber;

use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Event;
use crate::ledger::state::{Election, EpochRows, Payout, State};
use crate::network::Network;

/// Adds an epoch's rows to the shares of the pools' settlement under way.
pub(crate) fn add_shares(network: &Network, state: &mut State, rows: &EpochRows) -> Result<(), InvalidBlock> {
    for row in &rows.rows {
        let Some(pool_id) = network.pool_of(&row.worker) else { continue };
        let (Some(pool), Some(accounts)) = (network.pool(pool_id), state.pools.get_mut(pool_id)) else { continue };
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

/// The settlement that ends with `epoch`, unless the policy has stopped them.
fn settlement_ending_with(network: &Network, state: &State, epoch: EpochNumber) -> Option<u64> {
    let policy = network.policy();
    let stopped = policy.last_settlement != 0 && state.height.get() > policy.last_settlement;
    (epoch.get().is_multiple_of(policy.settle_every) && !stopped).then_some(epoch.get() / policy.settle_every)
}

/// Computes the settlement whose last epoch has become final, if one has.
pub(crate) fn settle(
    network: &Network,
    state: &mut State,
    epoch: EpochNumber,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let Some(settlement) = settlement_ending_with(network, state, epoch) else { return Ok(()) };
    for (id, pool) in network.pools() {
        reward(state, id, pool)?;
        elect(network, state, id, pool, settlement, events);
        schedule(network, state, id, pool, settlement, events)?;
    }
    Ok(())
}

/// Splits the budget into balances, or carries it.
fn reward(state: &mut State, id: &PoolId, pool: &GenesisPool) -> Result<(), InvalidBlock> {
    let Some(accounts) = state.pools.get_mut(id) else { return Ok(()) };
    let add = |sum: &mut MicroUsdt, amount: MicroUsdt| {
        sum.checked_add(amount).map(|new| *sum = new).ok_or(InvalidBlock::Overflow)
    };
    add(&mut accounts.budgets, pool.budget)?;
    let shares: Vec<_> = std::mem::take(&mut accounts.shares).into_iter().collect();
    if shares.iter().all(|(_, share)| *share == 0) {
        return add(&mut accounts.carried, pool.budget);
    }
    let owner_part = commission(pool.budget, pool.commission);
    let pot = pool.budget.checked_sub(owner_part).ok_or(InvalidBlock::Overflow)?;
    let amounts = split(pot, &shares);
    let members = shares.iter().map(|(node, _)| *node).zip(amounts);
    for (node, amount) in members.chain([(pool.owner, owner_part)]).filter(|(_, amount)| *amount > MicroUsdt::ZERO) {
        add(accounts.balances.entry(node).or_default(), amount)?;
    }
    Ok(())
}

/// Elects the leader of a settlement and its successors.
fn elect(
    network: &Network,
    state: &mut State,
    id: &PoolId,
    pool: &GenesisPool,
    settlement: u64,
    events: &mut Vec<Event>,
) {
    let policy = network.policy();
    // The beacon of the next epoch was fixed by the block before this one: its proposer could not choose it.
    let beacon = state.beacons.get(&state.height.next()).copied();
    let beacon = beacon.unwrap_or(Hash::from_bytes(*network.id().as_bytes()));
    let Some(accounts) = state.pools.get_mut(id) else { return };
    let candidate = |node: &NodeId| {
        let standing = state.standings.get(node)?;
        network.worker(node).filter(|worker| worker.can_lead)?;
        Some(Candidate {
            node: *node,
            eligible: standing.is_eligible(policy),
            last_led: accounts.last_led.get(node).copied(),
            live: standing.live(policy),
        })
    };
    let candidates: Vec<_> = pool.members.iter().filter_map(candidate).collect();
    let mut order = order(&candidates, settlement, policy.leader_cooldown, &beacon);
    order.truncate(usize::try_from(policy.leader_successors).unwrap_or(usize::MAX).saturating_add(1));
    if let Some(leader) = order.first() {
        accounts.last_led.insert(*leader, settlement);
    }
    let (payouts, newest) = (&state.payouts, settlement);
    let carries = |settlement: u64| payouts.values().any(|p| p.pool == *id && p.settlement == settlement);
    accounts.elections.retain(|settlement, _| carries(*settlement));
    accounts.elections.insert(newest, Election { height: state.height, order: order.clone() });
    events.push(Event::Elected { pool: *id, settlement, order });
}

/// Payouts of one recipient that may wait, be under way or be held: what it earns beyond them stays in its balance, so
/// that a treasury without funds or a recipient that cannot be paid does not let the state grow for ever.
pub const MAX_UNENDED: usize = 3;

/// Turns balances that reach the threshold into payouts.
fn schedule(
    network: &Network,
    state: &mut State,
    id: &PoolId,
    pool: &GenesisPool,
    settlement: u64,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let threshold = network.policy().payout_threshold;
    let Some(accounts) = state.pools.get_mut(id) else { return Ok(()) };
    let mut unended = BTreeMap::<NodeId, usize>::new();
    for payout in state.payouts.values().filter(|payout| payout.pool == *id) {
        *unended.entry(payout.worker).or_default() += 1;
    }
    let is_due = |(node, sum): &(&NodeId, &MicroUsdt)| {
        **sum >= threshold && unended.get(*node).is_none_or(|count| *count < MAX_UNENDED)
    };
    let due: Vec<_> = accounts.balances.iter().filter(is_due).map(|(node, sum)| (*node, *sum)).collect();
    for (node, amount) in due {
        let Some(to) = address_of(network, pool, &node) else { continue };
        accounts.balances.remove(&node);
        let payout = Payout { pool: *id, settlement, worker: node, to, amount, attempts: 0, failures: 0, open: None };
        let payout_id = PayoutId::derive(network.id(), id, settlement, &node);
        state.payouts.insert(payout_id, payout.clone());
        events.push(Event::Scheduled { id: payout_id, payout });
    }
    Ok(())
}

fn address_of(network: &Network, pool: &GenesisPool, node: &NodeId) -> Option<PayoutAddress> {
    if *node == pool.owner {
        return Some(pool.commission_address);
    }
    network.worker(node).map(|worker| worker.payout_address)
}
