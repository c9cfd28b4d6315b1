//! Payout attempts: when one opens, and how the validators' votes end it.
//!
//! This is the only place where a block looks at the payment network, and it uses only what commits reported. No
//! score, share or election reads any of it.

use std::collections::BTreeMap;

use lucid_score::median::weighted_median;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::block::Block;
use lucid_types::commit::Commit;
use lucid_types::genesis::GenesisPool;
use lucid_types::id::{AttemptId, PayoutId, PoolId};
use lucid_types::payout::{PayoutAttempt, SolidBlock, TreasuryView, Verdict};
use lucid_types::time::UnixMillis;
use lucid_types::validator::ValidatorSet;

use crate::ledger::check::{InvalidBlock, commits_of_epoch};
use crate::ledger::execute::Event;
use crate::ledger::state::{OpenAttempt, Payout, State};
use crate::network::Network;

/// What one more signature and the bandwidth of a transfer may cost beside the energy: 2 TRX.
const SPARE_FEE: Sun = Sun::new(2_000_000);

/// Notes the block's receipt votes and ends the attempts on which more than two thirds of the power agree.
pub(crate) fn count_receipts(
    network: &Network,
    state: &mut State,
    block: &Block,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let set = network.validators(block.height);
    for commit in &block.commits {
        for vote in &commit.record.receipts {
            let open = state.payouts.get_mut(&vote.payout).and_then(|payout| payout.open.as_mut());
            if let Some(open) = open.filter(|open| open.attempt.attempt == vote.attempt) {
                open.votes.entry(commit.signer).or_insert(vote.verdict);
            }
        }
    }
    let decided: Vec<_> = state.payouts.iter().filter_map(|(id, payout)| Some((*id, decision(set, payout)?))).collect();
    for (id, verdict) in decided {
        end_attempt(state, id, verdict, events)?;
    }
    Ok(())
}

/// The verdict on which more than two thirds of the power agree.
fn decision(set: &ValidatorSet, payout: &Payout) -> Option<Verdict> {
    let mut tally = BTreeMap::<Verdict, u64>::new();
    for (validator, verdict) in &payout.open.as_ref()?.votes {
        *tally.entry(*verdict).or_default() += set.power(validator);
    }
    tally.into_iter().find(|(_, power)| set.is_quorum(*power)).map(|(verdict, _)| verdict)
}

fn end_attempt(state: &mut State, id: PayoutId, verdict: Verdict, events: &mut Vec<Event>) -> Result<(), InvalidBlock> {
    let Some(payout) = state.payouts.get_mut(&id) else { return Ok(()) };
    let Some(open) = payout.open.take() else { return Ok(()) };
    // After `max_failures` failures the payout is held for a person: no further attempt opens.
    payout.failures = payout.failures.saturating_add(u32::from(matches!(verdict, Verdict::Failed { .. })));
    let payout_ended = matches!(verdict, Verdict::Paid { .. } | Verdict::PaidUnexpected { .. });
    if payout_ended {
        let (pool, amount) = (payout.pool, payout.amount);
        state.payouts.remove(&id);
        if let Some(accounts) = state.pools.get_mut(&pool) {
            accounts.paid = accounts.paid.checked_add(amount).ok_or(InvalidBlock::Overflow)?;
            accounts.paused |= matches!(verdict, Verdict::PaidUnexpected { .. });
        }
    }
    events.push(Event::AttemptEnded { attempt: open.attempt, verdict, payout_ended });
    Ok(())
}

/// Attempts that are open at a time, of all pools: what one commit can vote on, and whose votes fit the state.
pub fn max_open(validators: usize) -> usize {
    const VOTES: usize = 50_000;
    Commit::MAX_RECEIPTS.min(VOTES / validators.max(1))
}

/// Opens an attempt for every payout that has none, in the order of the payouts' ids, as far as the treasury covers, until
/// [`max_open`] are open. Every block begins with another pool.
pub(crate) fn open_attempts(
    network: &Network,
    state: &mut State,
    block: &Block,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let Some(reference) = reference(network, block) else { return Ok(()) };
    let pools: Vec<_> = network.pools().collect();
    let first = usize::try_from(block.height.get()).unwrap_or(0).checked_rem(pools.len()).unwrap_or(0);
    for (id, pool) in pools.iter().cycle().skip(first).take(pools.len()).copied() {
        if state.pools.get(id).is_none_or(|accounts| accounts.paused) {
            continue;
        }
        let Some(view) = treasury(network, block, id) else { continue };
        open_for_pool(network, state, block, (id, pool), &view, reference, events)?;
    }
    Ok(())
}

/// The highest solidified block that commits of more than a third of the power report identically, if it is young
/// enough.
fn reference(network: &Network, block: &Block) -> Option<SolidBlock> {
    let set = network.validators(block.height);
    let mut support = BTreeMap::<SolidBlock, u64>::new();
    for commit in commits_of_epoch(block) {
        for solid in &commit.record.solid {
            *support.entry(*solid).or_default() += set.power(&commit.signer);
        }
    }
    let (reference, _) = support.into_iter().rev().find(|(_, power)| set.is_third(*power))?;
    let age = block.time.checked_sub(reference.time)?;
    (age <= UnixMillis::new(network.policy().reference_max_age_ms)).then_some(reference)
}

/// A treasury as the commits see it.
struct Treasury {
    usdt: MicroUsdt,
    trx: Sun,
    energy_price: Sun,
}

/// Lower medians for what is there, the upper median for what it costs. `None` unless more than two thirds of the
/// power report the treasury with clean flags and the declared permission.
fn treasury(network: &Network, block: &Block, pool: &PoolId) -> Option<Treasury> {
    let set = network.validators(block.height);
    let views: Vec<(&TreasuryView, u64)> = commits_of_epoch(block)
        .flat_map(|commit| commit.record.treasuries.iter().map(|view| (view, set.power(&commit.signer))))
        .filter(|(view, _)| view.pool == *pool)
        .collect();
    let good = |view: &TreasuryView| view.flags.is_clean() && view.permission_matches;
    if !set.is_quorum(views.iter().filter(|(view, _)| good(view)).map(|(_, power)| power).sum()) {
        return None;
    }
    let median = |field: &dyn Fn(&TreasuryView) -> u64| {
        let mut values: Vec<_> = views.iter().map(|(view, power)| (field(view), *power)).collect();
        weighted_median(&mut values)
    };
    // The upper median of x is the complement of the lower median of the complements.
    let price = median(&|view| u64::MAX - view.energy_price.get())?;
    Some(Treasury {
        usdt: MicroUsdt::new(median(&|view| view.usdt.get())?),
        trx: Sun::new(median(&|view| view.trx.get())?),
        energy_price: Sun::new(u64::MAX - price),
    })
}

/// `min(cap, ceil(transfer energy * 1.1 * energy price))`, whoever the recipient is.
fn fee_limit(network: &Network, energy_price: Sun) -> Sun {
    let policy = network.policy();
    let exact = u128::from(policy.transfer_energy) * 11 * u128::from(energy_price.get());
    let limit = u64::try_from(exact.div_ceil(10)).unwrap_or(u64::MAX);
    Sun::new(limit).min(policy.fee_limit_cap)
}

fn open_for_pool(
    network: &Network,
    state: &mut State,
    block: &Block,
    (pool_id, pool): (&PoolId, &GenesisPool),
    treasury: &Treasury,
    reference: SolidBlock,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let limit = fee_limit(network, treasury.energy_price);
    let open = || state.payouts.values().filter(|p| p.pool == *pool_id).filter_map(|p| p.open.as_ref());
    let mut usdt = MicroUsdt::sum(open().map(|o| o.attempt.amount)).ok_or(InvalidBlock::Overflow)?;
    let fee_of = |limit: Sun| limit.checked_add(SPARE_FEE).ok_or(InvalidBlock::Overflow);
    let mut trx = Sun::ZERO;
    for attempt in open() {
        trx = trx.checked_add(fee_of(attempt.attempt.fee_limit)?).ok_or(InvalidBlock::Overflow)?;
    }
    let most = max_open(network.validators(block.height).members().len());
    let room = most.saturating_sub(state.payouts.values().filter(|payout| payout.open.is_some()).count());
    let waiting = |p: &Payout| p.pool == *pool_id && p.is_waiting(network.policy());
    for (id, payout) in state.payouts.iter_mut().filter(|(_, payout)| waiting(payout)).take(room) {
        let usdt_then = usdt.checked_add(payout.amount).ok_or(InvalidBlock::Overflow)?;
        let trx_then = trx.checked_add(fee_of(limit)?).ok_or(InvalidBlock::Overflow)?;
        if usdt_then > treasury.usdt || trx_then > treasury.trx {
            break;
        }
        (usdt, trx) = (usdt_then, trx_then);
        payout.attempts = payout.attempts.checked_add(1).ok_or(InvalidBlock::Overflow)?;
        let attempt = attempt(network, *id, payout, pool, reference, limit);
        events.push(Event::AttemptOpened(attempt.clone()));
        payout.open = Some(OpenAttempt { attempt, height: block.height, time: block.time, votes: BTreeMap::new() });
    }
    Ok(())
}

fn attempt(
    network: &Network,
    payout_id: PayoutId,
    payout: &Payout,
    pool: &GenesisPool,
    reference: SolidBlock,
    fee_limit: Sun,
) -> PayoutAttempt {
    let Payout { pool: pool_id, settlement, worker, attempts, .. } = *payout;
    let expiry = network.policy().payout_expiry_ms;
    PayoutAttempt {
        payout: payout_id,
        attempt: attempts,
        id: AttemptId::derive(network.id(), &pool_id, settlement, &worker, attempts),
        pool: pool_id,
        settlement,
        worker,
        to: payout.to,
        amount: payout.amount,
        treasury: pool.treasury.address,
        token: network.genesis().tron.usdt,
        permission_id: pool.treasury.permission_id,
        reference,
        expiration: UnixMillis::new(reference.time.get().saturating_add(expiry)),
        fee_limit,
    }
}
