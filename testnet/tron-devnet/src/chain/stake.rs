//! Staking TRX and taking it back ("Stake 2.0"): java-tron's `FreezeBalanceV2Actuator`, `UnfreezeBalanceV2Actuator`,
//! `WithdrawExpireUnfreezeActuator` and `CancelAllUnfreezeV2Actuator`.
//!
//! Staked TRX leaves the balance at once and comes back in three steps: unstaking ends its yield, takes 14 days, and is
//! withdrawn by the next unstaking or on demand. There are no votes here that unstaking could take away.

use lucid_tron_types::proto;

use super::account::{Account, Unstaking};
use super::execute::Place;
use super::refusal::Refusal;
use super::resource::{Resource, TRX};
use super::state::State;
use super::system::{Effects, existing};

/// Stakes that an account can be unstaking at once.
pub(crate) const MAX_UNSTAKING: usize = 32;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Sun by resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restaked {
    /// Staked for bandwidth again.
    pub bandwidth: u64,
    /// Staked for energy again.
    pub energy: u64,
}

/// Changes what an account has staked for `resource`, and the network's weight with it.
fn restake(state: &mut State, account: &mut Account, resource: Resource, change: impl FnOnce(&mut u64)) {
    let stake = account.stake_mut(resource);
    let before = stake.weight();
    change(&mut stake.own);
    let others = state.total(resource.weight()).saturating_sub(before);
    state.set_total(resource.weight(), others.saturating_add(stake.weight()));
}

pub(super) fn freeze(state: &mut State, message: &proto::FreezeBalanceV2Contract) -> Result<Effects, Refusal> {
    let (owner, mut account) = existing(state, &message.owner_address, "not exists")?;
    let amount = u64::try_from(message.frozen_balance).unwrap_or(0);
    if amount == 0 {
        return Err(Refusal::invalid("frozenBalance must be positive"));
    }
    if amount < TRX {
        return Err(Refusal::invalid("frozenBalance must be greater than or equal to 1 TRX"));
    }
    account.balance = account
        .balance
        .checked_sub(amount)
        .ok_or_else(|| Refusal::invalid("frozenBalance must be less than or equal to accountBalance"))?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"))?;
    restake(state, &mut account, resource, |own| *own = own.saturating_add(amount));
    state.set_account(owner, Some(account));
    Ok(Effects::default())
}

pub(super) fn unfreeze(
    state: &mut State,
    place: Place<'_>,
    message: &proto::UnfreezeBalanceV2Contract,
) -> Result<Effects, Refusal> {
    let (owner, mut account) = existing(state, &message.owner_address, "does not exist")?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]"))?;
    let own = account.stake(resource).own;
    if own == 0 {
        return Err(Refusal::invalid(match resource {
            Resource::Bandwidth => "no frozenBalance(BANDWIDTH)",
            Resource::Energy => "no frozenBalance(Energy)",
        }));
    }
    let amount = u64::try_from(message.unfreeze_balance).ok().filter(|amount| (1..=own).contains(amount));
    let amount = amount.ok_or_else(|| {
        Refusal::invalid(format_args!("Invalid unfreeze_balance, [{}] is error", message.unfreeze_balance))
    })?;
    if account.unstaking.iter().filter(|u| u.free_at > place.head_time).count() >= MAX_UNSTAKING {
        return Err(Refusal::invalid("Invalid unfreeze operation, unfreezing times is over limit"));
    }
    let withdrawn = withdraw_ended(&mut account, place.head_time)?;
    let delay = place.params.unfreeze_delay_days.saturating_mul(DAY_MS);
    account.unstaking.push(Unstaking { resource, amount, free_at: place.head_time.saturating_add(delay) });
    restake(state, &mut account, resource, |own| *own = own.saturating_sub(amount));
    state.set_account(owner, Some(account));
    Ok(Effects { withdrawn, ..Effects::default() })
}

pub(super) fn withdraw(
    state: &mut State,
    place: Place<'_>,
    message: &proto::WithdrawExpireUnfreezeContract,
) -> Result<Effects, Refusal> {
    let (owner, mut account) = existing(state, &message.owner_address, "not exists")?;
    if account.withdrawable(place.head_time) == 0 {
        return Err(Refusal::invalid("no unFreeze balance to withdraw "));
    }
    let withdrawn = withdraw_ended(&mut account, place.head_time)?;
    state.set_account(owner, Some(account));
    Ok(Effects { withdrawn, ..Effects::default() })
}

pub(super) fn cancel(
    state: &mut State,
    place: Place<'_>,
    message: &proto::CancelAllUnfreezeV2Contract,
) -> Result<Effects, Refusal> {
    let (owner, mut account) = existing(state, &message.owner_address, "not exists")?;
    if account.unstaking.is_empty() {
        return Err(Refusal::invalid("No unfreezeV2 list to cancel"));
    }
    let withdrawn = withdraw_ended(&mut account, place.head_time)?;
    let mut restaked = Restaked::default();
    for Unstaking { resource, amount, .. } in std::mem::take(&mut account.unstaking) {
        restake(state, &mut account, resource, |own| *own = own.saturating_add(amount));
        let sum = match resource {
            Resource::Bandwidth => &mut restaked.bandwidth,
            Resource::Energy => &mut restaked.energy,
        };
        *sum = sum.saturating_add(amount);
    }
    state.set_account(owner, Some(account));
    Ok(Effects { withdrawn, restaked: Some(restaked), ..Effects::default() })
}

/// Puts what has been unstaking for long enough into the balance, and answers how much that was.
fn withdraw_ended(account: &mut Account, now: u64) -> Result<u64, Refusal> {
    let amount = account.withdrawable(now);
    account.balance = account.balance.checked_add(amount).ok_or_else(Refusal::overflow)?;
    account.unstaking.retain(|u| u.free_at > now);
    Ok(amount)
}
