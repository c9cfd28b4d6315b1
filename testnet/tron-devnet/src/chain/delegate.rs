//! Lending the yield of a stake to another account: java-tron's `DelegateResourceActuator`, `UnDelegateResourceActuator` and
//! `DelegatedResourceStore`.
//!
//! The stake stays the lender's. What of it is in use cannot be lent; when a loan comes back, the part of the borrower's
//! use that it made possible comes along and recovers at the lender's.

use lucid_tron_bridge::proto;
use prost::Message;
use revm::primitives::Address;

use super::execute::Place;
use super::params::{Params, SLOT_MS};
use super::refusal::Refusal;
use super::resource::{Pool, Resource, TRX};
use super::state::State;
use super::system::{Effects, existing, missing};
use crate::address;

/// A loan is locked for three days if nothing else is said.
const DEFAULT_LOCK_SLOTS: u64 = 3 * 24 * 60 * 60 * 1_000 / SLOT_MS;
/// Bytes of a loan's transaction, without what depends on its numbers.
const LOAN_BYTES: u64 = 275;

/// What one account has lent to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loans {
    /// Stakes for bandwidth.
    pub bandwidth: Loan,
    /// Stakes for energy.
    pub energy: Loan,
    /// Milliseconds since the epoch of the head when the last of it was lent.
    pub lent_at: u64,
}

/// Stakes for one resource that one account has lent to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loan {
    /// Sun that can be taken back at any time.
    pub open: u64,
    /// Sun that is locked until [`Self::locked_until`].
    pub locked: u64,
    /// Milliseconds since the epoch; 0 if nothing is locked.
    pub locked_until: u64,
}

impl Loans {
    /// For one resource.
    pub const fn of(&self, resource: Resource) -> &Loan {
        match resource {
            Resource::Bandwidth => &self.bandwidth,
            Resource::Energy => &self.energy,
        }
    }

    const fn of_mut(&mut self, resource: Resource) -> &mut Loan {
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
            let loan = self.of_mut(resource);
            if loan.locked_until < now {
                *loan = Loan { open: loan.open.saturating_add(loan.locked), locked: 0, locked_until: 0 };
            }
        }
    }
}

/// What lending all of an account's stake is estimated to cost in bandwidth, for a transaction that is not made yet.
pub(crate) fn estimated_bytes(params: &Params, own: u64) -> u64 {
    let most = proto::DelegateResourceContract {
        lock: true,
        lock_period: i64::try_from(params.max_delegate_lock_period).unwrap_or(i64::MAX),
        balance: i64::try_from(own).unwrap_or(i64::MAX),
        ..proto::DelegateResourceContract::default()
    };
    let least = proto::DelegateResourceContract { balance: 1_000_000, ..proto::DelegateResourceContract::default() };
    let more = most.encoded_len().saturating_sub(least.encoded_len());
    LOAN_BYTES.saturating_add(u64::try_from(more).unwrap_or(0))
}

pub(super) fn delegate(
    state: &mut State,
    place: Place<'_>,
    message: &proto::DelegateResourceContract,
) -> Result<Effects, Refusal> {
    let (owner, mut lender) = existing(state, &message.owner_address, "not exists")?;
    let amount = u64::try_from(message.balance).ok().filter(|amount| *amount >= TRX);
    let amount = amount.ok_or_else(|| Refusal::invalid("delegateBalance must be greater than or equal to 1 TRX"))?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"))?;
    let stake = lender.stake(resource);
    let own_bytes = match resource {
        Resource::Bandwidth if place.is_draft => estimated_bytes(place.params, stake.own),
        _ => 0,
    };
    if Pool::of(state, place.params, resource).lendable(stake, own_bytes, place.slot()) < amount {
        return Err(Refusal::invalid(match resource {
            Resource::Bandwidth => "delegateBalance must be less than or equal to available FreezeBandwidthV2 balance",
            Resource::Energy => "delegateBalance must be less than or equal to available FreezeEnergyV2 balance",
        }));
    }
    let receiver = receiver(&message.receiver_address, owner)?;
    let Some(mut borrower) = state.account(receiver).cloned() else {
        return Err(missing(&message.receiver_address, "not exists"));
    };
    let mut loans = state.loans(owner, receiver);
    let locked_until = match message.lock {
        true => Some(lock(place, message.lock_period, resource, loans.of(resource).locked_until)?),
        false => None,
    };
    if borrower.is_contract {
        return Err(Refusal::invalid("Do not allow delegate resources to contract addresses"));
    }

    loans.unlock(place.head_time);
    let loan = loans.of_mut(resource);
    match locked_until {
        Some(time) => (loan.locked, loan.locked_until) = (loan.locked.saturating_add(amount), time),
        None => loan.open = loan.open.saturating_add(amount),
    }
    loans.lent_at = place.head_time;
    let lent = lender.stake_mut(resource);
    lent.own = lent.own.saturating_sub(amount);
    lent.lent = lent.lent.saturating_add(amount);
    let borrowed = &mut borrower.stake_mut(resource).borrowed;
    *borrowed = borrowed.saturating_add(amount);
    state.set_loans(owner, receiver, loans);
    state.set_account(owner, Some(lender));
    state.set_account(receiver, Some(borrower));
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
    let (owner, mut lender) = existing(state, &message.owner_address, "does not exist")?;
    let receiver = receiver(&message.receiver_address, owner)?;
    let mut loans = state.loans(owner, receiver);
    if loans.is_empty() {
        return Err(Refusal::invalid("delegated Resource does not exist"));
    }
    let amount = u64::try_from(message.balance).ok().filter(|amount| *amount > 0);
    let amount = amount.ok_or_else(|| Refusal::invalid("unDelegateBalance must be more than 0 TRX"))?;
    let resource = Resource::from_wire(message.resource)
        .ok_or_else(|| Refusal::invalid("ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]"))?;
    loans.unlock(place.head_time);
    let loan = loans.of_mut(resource);
    loan.open = loan.open.checked_sub(amount).ok_or_else(|| {
        let what = match resource {
            Resource::Bandwidth => "insufficient delegatedFrozenBalance(BANDWIDTH)",
            Resource::Energy => "insufficient delegateFrozenBalance(Energy)",
        };
        Refusal::invalid(format_args!("{what}, request={amount}, unlock_balance={}", loan.open))
    })?;

    let now = place.slot();
    // A borrower can have gone, and come back as a contract that borrows nothing.
    let mut in_use = (0, 0);
    if let Some(mut borrower) = state.account(receiver).cloned() {
        let stake = borrower.stake_mut(resource);
        stake.usage.refresh(now);
        if let Some(left) = stake.borrowed.checked_sub(amount) {
            let part = amount as f64 / stake.in_force() as f64;
            let transferred = super::usage::whole(stake.usage.amount as f64 * part)
                .min(Pool::of(state, place.params, resource).yield_of(amount));
            stake.borrowed = left;
            stake.usage.amount = stake.usage.amount.saturating_sub(transferred);
            in_use = (transferred, stake.usage.window());
        } else {
            stake.borrowed = 0;
        }
        state.set_account(receiver, Some(borrower));
    }
    let stake = lender.stake_mut(resource);
    stake.lent = stake.lent.saturating_sub(amount);
    stake.own = stake.own.saturating_add(amount);
    if in_use.0 > 0 {
        stake.usage.take_over(in_use.0, in_use.1, now);
    }
    state.set_loans(owner, receiver, loans);
    state.set_account(owner, Some(lender));
    Ok(Effects::default())
}

fn receiver(wire: &[u8], owner: Address) -> Result<Address, Refusal> {
    let receiver = address::from_wire(wire).map_err(|_| Refusal::invalid("Invalid receiverAddress"))?;
    if receiver == owner {
        return Err(Refusal::invalid("receiverAddress must not be the same as ownerAddress"));
    }
    Ok(receiver)
}
