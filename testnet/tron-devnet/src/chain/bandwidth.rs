//! Who pays for a transaction's bytes: staked bandwidth first, then the free bytes of a day, then TRX; java-tron's
//! `BandwidthProcessor`.
//!
//! A transaction that makes an account cannot use free bytes. What all accounts together may have free, 14.4 GB a day, is
//! not counted.

use super::account::Account;
use super::params::{Params, SLOT_MS, WINDOW_SLOTS};
use super::resource::Pool;
use super::usage::increased;

/// Number of the slot that `time` lies in.
pub(crate) fn slot(genesis_time: u64, time: u64) -> u64 {
    time.saturating_sub(genesis_time) / SLOT_MS
}

/// Free bytes still in use at slot `now`.
pub(crate) fn free_usage(account: &Account, now: u64) -> u64 {
    increased(account.free_net_usage, 0, account.free_net_slot, now, WINDOW_SLOTS)
}

/// How bandwidth was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paid {
    /// With this many bytes, staked or free.
    Bytes(u64),
    /// With this many sun.
    Burnt(u64),
}

/// Takes `bytes` from the stake or the free bytes, or burns their price; none if the balance does not suffice.
pub(crate) fn pay(account: &mut Account, bytes: u64, params: &Params, pool: Pool, now: u64) -> Option<Paid> {
    let free = free_usage(account, now);
    if pay_from_stake(account, bytes, pool, now) {
        return Some(Paid::Bytes(bytes));
    }
    if bytes <= params.free_bandwidth.saturating_sub(free) {
        account.free_net_usage = increased(free, bytes, now, now, WINDOW_SLOTS);
        account.free_net_slot = now;
        return Some(Paid::Bytes(bytes));
    }
    burn(account, bytes.saturating_mul(params.bandwidth_price))
}

/// As [`pay`] for a transaction that makes an account.
pub(crate) fn pay_for_new_account(
    account: &mut Account,
    bytes: u64,
    params: &Params,
    pool: Pool,
    now: u64,
) -> Option<Paid> {
    if pay_from_stake(account, bytes, pool, now) {
        return Some(Paid::Bytes(bytes));
    }
    burn(account, params.create_account_bandwidth_fee)
}

fn pay_from_stake(account: &mut Account, bytes: u64, pool: Pool, now: u64) -> bool {
    let is_enough = bytes <= pool.left(&account.bandwidth, now);
    if is_enough {
        account.bandwidth.usage.add(bytes, now);
    }
    is_enough
}

fn burn(account: &mut Account, fee: u64) -> Option<Paid> {
    account.balance = account.balance.checked_sub(fee)?;
    Some(Paid::Burnt(fee))
}

#[cfg(test)]
mod tests {
    use super::super::resource::TRX;
    use super::*;

    #[test]
    fn free_bytes_come_back_over_a_day() {
        let params = Params::default();
        let pool = Pool { limit: 1, weight: 1 };
        let mut account = Account::new(0);
        account.balance = 1_000_000;
        assert_eq!(pay(&mut account, 300, &params, pool, 10), Some(Paid::Bytes(300)));
        assert_eq!(free_usage(&account, 10), 300);
        assert_eq!(free_usage(&account, 10 + WINDOW_SLOTS / 2), 150);
        assert_eq!(free_usage(&account, 10 + WINDOW_SLOTS), 0);
        // 300 are left, so 301 must be burnt.
        assert_eq!(pay(&mut account, 301, &params, pool, 10), Some(Paid::Burnt(301_000)));
        assert_eq!(account.balance, 699_000);
        assert_eq!(pay(&mut account, 300, &params, pool, 10), Some(Paid::Bytes(300)));
        assert_eq!(pay(&mut account, 700, &params, pool, 10), None);
        assert_eq!(account.balance, 699_000, "a refusal takes nothing");
    }

    #[test]
    fn a_stake_pays_before_the_free_bytes() {
        let params = Params::default();
        let pool = Pool { limit: 1_000, weight: 1 };
        let mut account = Account::new(0);
        account.bandwidth.own = TRX;
        assert_eq!(pay(&mut account, 800, &params, pool, 5), Some(Paid::Bytes(800)));
        assert_eq!((account.bandwidth.usage.amount, account.free_net_usage), (800, 0));
        // 200 of the stake are left, not enough, so the free bytes pay all of it.
        assert_eq!(pay(&mut account, 300, &params, pool, 5), Some(Paid::Bytes(300)));
        assert_eq!((account.bandwidth.usage.amount, account.free_net_usage), (800, 300));
        // New accounts cannot be made with free bytes.
        assert_eq!(pay_for_new_account(&mut account, 201, &params, pool, 5), None);
        assert_eq!(pay_for_new_account(&mut account, 200, &params, pool, 5), Some(Paid::Bytes(200)));
    }
}
