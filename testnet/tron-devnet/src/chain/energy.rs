//! Who pays for a call's energy: how much it may use, judged before, and the bill after it.
//!
//! The caller's staked energy comes first, then its TRX, up to the fee limit, which also bounds staked energy. If somebody
//! else deployed the contract, they pay a share of it from staked energy alone, as far as that and their limit go. This is
//! java-tron's `VMActuator.getTotalEnergyLimitWithFixRatio` and `ReceiptCapsule.payEnergyBill`.

use lucid_tron_types::proto;
use revm::primitives::Address;

use super::execute::Place;
use super::receipt::Receipt;
use super::refusal::{Code, Refusal};
use super::resource::{Pool, Resource};
use super::state::State;
use crate::address;

/// The deployer's limit if the contract names none.
const DEFAULT_ORIGIN_LIMIT: u64 = 10_000_000;

/// What a call may use, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnergyBudget {
    caller: Address,
    /// Staked energy that the caller has left.
    caller_left: u64,
    origin: Option<Origin>,
    /// All the energy the call may use.
    pub(super) limit: u64,
}

/// A deployer who is not the caller.
#[derive(Clone, Copy, Debug)]
struct Origin {
    address: Address,
    /// Percent of the energy that it pays.
    share: u64,
    /// Most energy that it pays for this call.
    most: u64,
}

impl EnergyBudget {
    /// For a call that sends `value` sun, or, without a contract, for a creation.
    pub(super) fn new(
        state: &State,
        place: Place<'_>,
        caller: Address,
        value: u64,
        fee_limit: u64,
        contract: Option<&proto::SmartContract>,
    ) -> Result<Self, Refusal> {
        let price = place.params.sun_per_energy();
        let balance = state.account(caller).map_or(0, |account| account.balance);
        let caller_left = left(state, place, caller);
        let affordable = caller_left.saturating_add(balance.saturating_sub(value) / price);
        let from_caller = affordable.min(fee_limit / price);
        let budget = Self { caller, caller_left, origin: None, limit: from_caller };

        let Some(contract) = contract else { return Ok(budget) };
        let Some(origin) = address::from_wire(&contract.origin_address).ok().filter(|a| state.account(*a).is_some())
        else {
            return Ok(budget);
        };
        if origin == caller {
            return Ok(budget);
        }
        let limit = u64::try_from(contract.origin_energy_limit)
            .map_err(|_| Refusal::invalid("originEnergyLimit can't be < 0"))?;
        let limit = if limit == 0 { DEFAULT_ORIGIN_LIMIT } else { limit };
        let callers_share = u64::try_from(contract.consume_user_resource_percent).unwrap_or(0).min(100);
        let share = 100 - callers_share;
        let most = if share == 0 { 0 } else { left(state, place, origin).min(limit) };
        let from_origin = if callers_share == 0 {
            most
        } else {
            let in_proportion = u128::from(from_caller) * u128::from(share) / u128::from(callers_share);
            most.min(u64::try_from(in_proportion).unwrap_or(u64::MAX))
        };
        let origin = Some(Origin { address: origin, share, most });
        Ok(Self { origin, limit: from_caller.saturating_add(from_origin), ..budget })
    }

    /// Takes `energy` from those who pay it, and writes it into the receipt. `has_ended_well` is whether the call's changes
    /// stay: then uses were counted at its beginning, which rounds differently.
    pub(super) fn pay(
        self,
        state: &mut State,
        place: Place<'_>,
        energy: u64,
        has_ended_well: bool,
        receipt: &mut Receipt,
    ) -> Result<(), Refusal> {
        receipt.energy_usage_total = energy;
        if has_ended_well {
            for payer in [self.origin.map(|origin| origin.address), Some(self.caller)].into_iter().flatten() {
                refresh(state, place, payer);
            }
        }
        if energy == 0 {
            return Ok(());
        }
        let mut from_caller = energy;
        if let Some(origin) = self.origin {
            let share = u128::from(energy) * u128::from(origin.share) / 100;
            let from_origin = u64::try_from(share).unwrap_or(u64::MAX).min(origin.most);
            take(state, place, origin.address, from_origin);
            receipt.origin_energy_usage = from_origin;
            from_caller = energy.saturating_sub(from_origin);
        }
        receipt.energy_usage = from_caller.min(self.caller_left);
        take(state, place, self.caller, receipt.energy_usage);
        receipt.energy_fee =
            from_caller.saturating_sub(receipt.energy_usage).saturating_mul(place.params.sun_per_energy());
        burn(state, self.caller, receipt.energy_fee)
    }
}

/// Staked energy that an account has left.
fn left(state: &State, place: Place<'_>, of: Address) -> u64 {
    let pool = Pool::of(state, place.params, Resource::Energy);
    state.account(of).map_or(0, |account| pool.left(&account.energy, place.slot()))
}

fn refresh(state: &mut State, place: Place<'_>, of: Address) {
    if let Some(mut account) = state.account(of).cloned() {
        account.energy.usage.refresh(place.slot());
        state.set_account(of, Some(account));
    }
}

fn take(state: &mut State, place: Place<'_>, from: Address, energy: u64) {
    if let Some(mut account) = state.account(from).cloned() {
        account.energy.usage.add(energy, place.slot());
        account.last_operation = place.head_time;
        state.set_account(from, Some(account));
    }
}

fn burn(state: &mut State, from: Address, fee: u64) -> Result<(), Refusal> {
    if fee == 0 {
        return Ok(());
    }
    let payer = state.account(from).cloned();
    let Some((mut payer, balance)) = payer.and_then(|p| Some((p.clone(), p.balance.checked_sub(fee)?))) else {
        let what = format!("Contract execute error : {} insufficient balance", address::to_hex(from));
        return Err(Refusal::new(Code::ContractExeError, what));
    };
    payer.balance = balance;
    state.set_account(from, Some(payer));
    Ok(())
}
