//! What a pusher is for, its limits, and how long it waits for things.

use std::time::Duration;

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::PayoutAddress;

use crate::vault::VaultDomain;

/// Sun in a TRX.
const SUN: u64 = 1_000_000;

/// See [`super::Pusher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PusherConfig {
    /// The vault.
    pub domain: VaultDomain,
    /// The account that pays for the transactions.
    pub gas_address: PayoutAddress,
    /// The network's payout threshold: less is no payment of its own.
    pub threshold: MicroUsdt,
    /// Most leaves in a batch.
    pub max_items: usize,
    /// Most transactions that are sent and not yet included.
    pub max_in_flight: usize,
    /// Greatest fee limit of a transaction.
    pub max_fee: Sun,
    /// Most that the gas account spends in any 24 hours: fee limits and bandwidth of what is in flight, and fees paid.
    pub max_per_day: Sun,
    /// How long it waits.
    pub timing: Timing,
}

impl PusherConfig {
    /// The usual limits: 20 leaves, 64 transactions at a time, 150 TRX each, 500 TRX a day.
    pub fn new(
        domain: VaultDomain,
        gas_address: PayoutAddress,
        threshold: MicroUsdt,
        leader_timeout: Duration,
    ) -> Self {
        Self {
            domain,
            gas_address,
            threshold,
            max_items: 20,
            max_in_flight: 64,
            max_fee: Sun::new(150 * SUN),
            max_per_day: Sun::new(500 * SUN),
            timing: Timing::new(leader_timeout),
        }
    }
}

/// How long a pusher waits for things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long each in line waits longer than the one before it.
    pub leader_timeout: Duration,
    /// Between reads of the head while something is under way, and between looks for a receipt.
    pub head_every: Duration,
    /// Between reads of the solid view.
    pub solid_every: Duration,
    /// Between reads when nothing has happened for [`Self::busy`].
    pub slow: Duration,
    /// How long the short intervals go on after something happened.
    pub busy: Duration,
    /// Until an unanswered request is repeated; doubled each time up to [`Self::slow`].
    pub retry: Duration,
    /// Until the same bytes are broadcast again; doubled each time up to [`Self::slow`].
    pub resend: Duration,
    /// How far the head must be past a transaction's expiration before a new one takes its place.
    pub expiry_margin: Duration,
    /// The first pause after three failed transactions in a row; doubled each time up to an hour.
    pub failure_pause: Duration,
}

impl Timing {
    /// Waits that fit a leader time-out.
    pub fn new(leader_timeout: Duration) -> Self {
        let part = |parts: u32, least: u64, most: u64| {
            (leader_timeout / parts).clamp(Duration::from_millis(least), Duration::from_millis(most))
        };
        Self {
            leader_timeout,
            head_every: part(10, 500, 3_000),
            solid_every: part(10, 500, 15_000),
            slow: part(2, 1_000, 60_000),
            busy: leader_timeout,
            retry: part(10, 500, 5_000),
            resend: part(5, 1_000, 6_000),
            expiry_margin: Duration::from_secs(10),
            failure_pause: part(3, 1_000, 60_000),
        }
    }
}

/// The `n`-th wait, from 0, of those that begin with `first`, double, and are at most `most`.
pub(super) fn backoff(first: Duration, most: Duration, n: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(n.min(31)).unwrap_or(u32::MAX)).min(most)
}
