//! Bandwidth: the free bytes of a day, and what is burnt when they do not suffice.
//!
//! Usage fades linearly over a day of 3-second slots, with java-tron's rounding (`ResourceProcessor.increase`). Staked
//! bandwidth does not exist on this network.

use super::params::{Params, SLOT_MS, WINDOW_SLOTS};
use super::state::Account;

const PRECISION: u128 = 1_000_000;

/// Number of the slot that `time` lies in.
pub(crate) fn slot(genesis_time: u64, time: u64) -> u64 {
    time.saturating_sub(genesis_time) / SLOT_MS
}

/// Free bytes still in use at slot `now`.
pub(crate) fn free_usage(account: &Account, now: u64) -> u64 {
    faded(account.free_net_usage, account.free_net_slot, now)
}

fn faded(usage: u64, last: u64, now: u64) -> u64 {
    let window = u128::from(WINDOW_SLOTS);
    let elapsed = u128::from(now.saturating_sub(last));
    let mut average = (u128::from(usage) * PRECISION).div_ceil(window);
    if elapsed >= window {
        average = 0;
    } else if elapsed > 0 {
        // Rounded to the nearest.
        average = (average * (window - elapsed) * 2 + window) / (2 * window);
    }
    u64::try_from(average * window / PRECISION).unwrap_or(u64::MAX)
}

/// How bandwidth was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paid {
    /// With this many free bytes.
    Free(u64),
    /// With this many sun.
    Burnt(u64),
}

/// Takes `bytes` from the free bytes or burns their price; none if the balance does not suffice.
pub(crate) fn pay(account: &mut Account, bytes: u64, params: &Params, now: u64) -> Option<Paid> {
    let used = free_usage(account, now);
    if bytes <= params.free_bandwidth.saturating_sub(used) {
        account.free_net_usage = add(used, bytes);
        account.free_net_slot = now;
        return Some(Paid::Free(bytes));
    }
    let fee = bytes.saturating_mul(params.bandwidth_price);
    account.balance = account.balance.checked_sub(fee)?;
    Some(Paid::Burnt(fee))
}

/// Sums two usages of the same slot the way java-tron does, which rounds each to its average.
fn add(used: u64, bytes: u64) -> u64 {
    let window = u128::from(WINDOW_SLOTS);
    let average = |n: u64| (u128::from(n) * PRECISION).div_ceil(window);
    u64::try_from((average(used) + average(bytes)) * window / PRECISION).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_bytes_come_back_over_a_day() {
        let params = Params::default();
        let mut account = Account::new(0);
        account.balance = 1_000_000;
        assert_eq!(pay(&mut account, 300, &params, 10), Some(Paid::Free(300)));
        assert_eq!(free_usage(&account, 10), 300);
        assert_eq!(free_usage(&account, 10 + WINDOW_SLOTS / 2), 150);
        assert_eq!(free_usage(&account, 10 + WINDOW_SLOTS), 0);
        // 300 are left, so 301 must be burnt.
        assert_eq!(pay(&mut account, 301, &params, 10), Some(Paid::Burnt(301_000)));
        assert_eq!(account.balance, 699_000);
        assert_eq!(pay(&mut account, 300, &params, 10), Some(Paid::Free(300)));
        assert_eq!(pay(&mut account, 700, &params, 10), None);
        assert_eq!(account.balance, 699_000, "a refusal takes nothing");
    }
}
