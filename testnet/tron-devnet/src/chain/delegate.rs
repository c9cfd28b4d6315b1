//! Lending the yield of a stake to another account: java-tron's `DelegateResourceActuator`, `UnDelegateResourceActuator` and
//! `DelegatedResourceStore`.
//!
//! The stake stays the delegator's. What of it is in use cannot be delegated; when a delegation comes back, the part of the receiver's
//! use that it made possible comes along and recovers at the delegator's.

use lucid_tron_types::proto;
use prost::Message;
use revm::primitives::Address;

use super::execute::Place;
use super::params::{Params, SLOT_MS};
use super::refusal::Refusal;
use super::resource::{Pool, Resource, TRX};
use super::state::State;
use super::system::{Effects, existing, missing};
use crate::address;

/// A delegation is locked for three days if nothing else is said.
const DEFAULT_LOCK_SLOTS: u64 = 3 * 24 * 60 * 60 * 1_000 / SLOT_MS;
/// Bytes of a delegation's transaction, without what depends on its numbers.
const DELEGATION_BYTES: u64 = 275;

/// What one account has delegated to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delegations {
    /// Stakes for bandwidth.
    pub bandwidth: Delegation,
    /// Stakes for energy.
    pub energy: Delegation,
    /// Milliseconds since the epoch of the head when the last of it was delegated.
    pub delegated_at: u64,
}

/// Stakes for one resource that one account has delegated to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delegation {
    /// Sun that can be taken back at any time.
    pub open: u64,
    /// Sun that is locked until [`Self::locked_until`].
    pub locked: u64,
    /// Milliseconds since the epoch; 0 if nothing is locked.
    pub locked_until: u64,
}

impl Delegations {
    /// For one resource.
    pub const fn of(&self, resource: Resource) -> &Delegation {
        match resource {
            Resource::Bandwidth => &self.bandwidth,
            Resource::Energy => &self.energy,
        }
    }

    const fn of_mut(&mut self, resource: Resource) -> &mut Delegation {
        match resource {
            Resource::Bandwidth => &mut self.bandwidth,
            Resource::Energy => &mut self.energy,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        Resource::ALL.iter().all(|r| self.of(*r).open == 0 && self.of(*r).locked == 0)
    }

    /// Opens what has been locked for long enough.
    fn unlock(&mut self, now: u64) {
        for resource in Resource::ALL {
            let delegation = self.of_mut(resource);
            if delegation.locked_until < now {
                *delegation =
                    Delegation { open: delegation.open.saturating_add(delegation.locked), locked: 0, locked_until: 0 };
            }
        }
    }
}

/// What delegating all of an account's stake is estimated to cost in bandwidth, for a transaction that is not made yet.
pub(crate) fn estimated_bytes(params: &Params, own: u64) -> u64 {
    let most = proto::DelegateResourceContract {
        lock: true,
        lock_period: i64::try_from(params.max_delegate_lock_period).unwrap_or(i64::MAX),
        balance: i64::try_from(own).unwrap_or(i64::MAX),
        ..proto::DelegateResourceContract::default()
    };
    let least = proto::DelegateResourceContract { balance: 1_000_000, ..proto::DelegateResourceContract::default() };
    let more = most.encoded_len().saturating_sub(least.encoded_len());
    DELEGATION_BYTES.saturating_add(u64::try_from(more).unwrap_or(0))
}

pub(super) fn delegate(
    state: &mut State,
    place: Place<'_>,
    message: &proto::DelegateResourceContract,
) -> Result<Effects, Refusal> {
    let (owner, mut delegator) = existing(state, &message.owner_address, "not exists")?;
    let amount = u64::try_from(message.balance).ok().filter(|amount| *amount >= TRX);
    let amount = amount.ok_or_else(|| Refusal::invalid("delegateBalance must be greater than or equal to 1 TRX"))?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"))?;
    let stake = delegator.stake(resource);
    let own_bytes = match resource {
        Resource::Bandwidth if place.is_draft => estimated_bytes(place.params, stake.own),
        _ => 0,
    };
    if Pool::of(state, place.params, resource).delegatable(stake, own_bytes, place.slot()) < amount {
        return Err(Refusal::invalid(match resource {
            Resource::Bandwidth => "delegateBalance must be less than or equal to available FreezeBandwidthV2 balance",
            Resource::Energy => "delegateBalance must be less than or equal to available FreezeEnergyV2 balance",
        }));
    }
    let receiver = receiver(&message.receiver_address, owner)?;
    let Some(mut receiving) = state.account(receiver).cloned() else {
        return Err(missing(&message.receiver_address, "not exists"));
    };
    let mut delegations = state.delegations(owner, receiver);
    let locked_until = match message.lock {
        true => Some(lock(place, message.lock_period, resource, delegations.of(resource).locked_until)?),
        false => None,
    };
    if receiving.is_contract {
        return Err(Refusal::invalid("Do not allow delegate resources to contract addresses"));
    }

    delegations.unlock(place.head_time);
    let delegation = delegations.of_mut(resource);
    match locked_until {
        Some(time) => (delegation.locked, delegation.locked_until) = (delegation.locked.saturating_add(amount), time),
        None => delegation.open = delegation.open.saturating_add(amount),
    }
    delegations.delegated_at = place.head_time;
    let delegated = delegator.stake_mut(resource);
    delegated.own = delegated.own.saturating_sub(amount);
    delegated.delegated = delegated.delegated.saturating_add(amount);
    let acquired = &mut receiving.stake_mut(resource).acquired;
    *acquired = acquired.saturating_add(amount);
    state.set_delegations(owner, receiver, delegations);
    state.set_account(owner, Some(delegator));
    state.set_account(receiver, Some(receiving));
    Ok(Effects::default())
}

/// Until when a new lock lasts; it must not end before the one in force.
fn lock(place: Place<'_>, period: i64, resource: Resource, locked_until: u64) -> Result<u64, Refusal> {
    let max = place.params.max_delegate_lock_period;
    let slots = u64::try_from(period).ok().map(|slots| if slots == 0 { DEFAULT_LOCK_SLOTS } else { slots });
    let slots = slots.filter(|slots| *slots <= max).ok_or_else(|| {
        Refusal::invalid(format_args!(
            "The lock period of delegate resource cannot be less than 0 and cannot exceed {max}!"
        ))
    })?;
    let remaining = locked_until.saturating_sub(place.head_time);
    let period = slots.saturating_mul(SLOT_MS);
    if period < remaining {
        let name = resource.name();
        return Err(Refusal::invalid(format_args!(
            "The lock period for {name} this time cannot be less than the remaining time[{remaining}ms] of the last lock period for {name}!"
        )));
    }
    Ok(place.head_time.saturating_add(period))
}

pub(super) fn undelegate(
    state: &mut State,
    place: Place<'_>,
    message: &proto::UnDelegateResourceContract,
) -> Result<Effects, Refusal> {
    let (owner, mut delegator) = existing(state, &message.owner_address, "does not exist")?;
    let receiver = receiver(&message.receiver_address, owner)?;
    let mut delegations = state.delegations(owner, receiver);
    if delegations.is_empty() {
        return Err(Refusal::invalid("delegated Resource does not exist"));
    }
    let amount = u64::try_from(message.balance).ok().filter(|amount| *amount > 0);
    let amount = amount.ok_or_else(|| Refusal::invalid("unDelegateBalance must be more than 0 TRX"))?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]"))?;
    delegations.unlock(place.head_time);
    let delegation = delegations.of_mut(resource);
    delegation.open = delegation.open.checked_sub(amount).ok_or_else(|| {
        let what = match resource {
            Resource::Bandwidth => "insufficient delegatedFrozenBalance(BANDWIDTH)",
            Resource::Energy => "insufficient delegateFrozenBalance(Energy)",
        };
        Refusal::invalid(format_args!("{what}, request={amount}, unlock_balance={}", delegation.open))
    })?;

    let now = place.slot();
    // A receiver can have gone, and come back as a contract that has acquired nothing.
    let mut in_use = (0, 0);
    if let Some(mut receiving) = state.account(receiver).cloned() {
        let stake = receiving.stake_mut(resource);
        stake.usage.refresh(now);
        if let Some(left) = stake.acquired.checked_sub(amount) {
            let part = amount as f64 / stake.in_force() as f64;
            let transferred = super::usage::whole(stake.usage.amount as f64 * part)
                .min(Pool::of(state, place.params, resource).yield_of(amount));
            stake.acquired = left;
            stake.usage.amount = stake.usage.amount.saturating_sub(transferred);
            in_use = (transferred, stake.usage.window());
        } else {
            stake.acquired = 0;
        }
        state.set_account(receiver, Some(receiving));
    }
    let stake = delegator.stake_mut(resource);
    stake.delegated = stake.delegated.saturating_sub(amount);
    stake.own = stake.own.saturating_add(amount);
    if in_use.0 > 0 {
        stake.usage.take_over(in_use.0, in_use.1, now);
    }
    state.set_delegations(owner, receiver, delegations);
    state.set_account(owner, Some(delegator));
    Ok(Effects::default())
}

fn receiver(wire: &[u8], owner: Address) -> Result<Address, Refusal> {
    let receiver = address::from_wire(wire).map_err(|_| Refusal::invalid("Invalid receiverAddress"))?;
    if receiver == owner {
        return Err(Refusal::invalid("receiverAddress must not be the same as ownerAddress"));
    }
    Ok(receiver)
}
