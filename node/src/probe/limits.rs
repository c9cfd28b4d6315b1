//! Times and sizes of probes, the same for both sides, all derived from the network's policy.

use std::time::Duration;

use lucid_score::aggregate::PING_TIMEOUT_US;
use lucid_types::policy::{FixedPolicy, Policy};

/// A ping is answered within this, or it counts as unanswered.
pub(super) const PING_TIMEOUT: Duration = Duration::from_micros(PING_TIMEOUT_US);

/// How late a ping may leave, however long the epoch.
const PING_SLACK: Duration = Duration::from_millis(250);

/// Pings of one validation out of turn. A worker answers as many for one validator in an epoch, beyond those that are assigned.
pub(super) const VALIDATION_PINGS: u32 = 4;

/// Longest time for a connection to a worker that is to be given an echo, however long the epoch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What an echo of no bytes may take: round trips, and the start of a connection that has been idle.
const ECHO_LATENCY: Duration = Duration::from_secs(2);

/// What an echo's bytes come at, beyond [`ECHO_LATENCY`]: 32 Mbit/s. With both, the least throughput that counts is 1 Mbit/s for an echo of
/// 256 KiB and 22 Mbit/s for one of 16 MiB, which is given only to a worker whose last agreed throughput was above 500 Mbit/s.
const MIN_ECHO_BYTES_PER_S: u64 = 4_000_000;

/// Left for the connection to a worker between the time when an echo is due and the last time when one is begun: a sixth of the epoch, at most 5 s.
pub(super) fn connect_timeout(policy: &FixedPolicy) -> Duration {
    CONNECT_TIMEOUT.min(policy.epoch() / 6)
}

/// For a dial: what an echo has, and never less than what a ping waits.
pub(super) fn dial_timeout(policy: &FixedPolicy) -> Duration {
    connect_timeout(policy).max(PING_TIMEOUT)
}

/// From opening an echo stream to the last byte that comes back: 2 s and what the bytes take at 32 Mbit/s, at most a third of the epoch.
pub(super) fn echo_timeout(policy: &FixedPolicy, bytes: u64) -> Duration {
    let transfer = Duration::from_millis(bytes.saturating_mul(1_000) / MIN_ECHO_BYTES_PER_S);
    ECHO_LATENCY.saturating_add(transfer).min(policy.epoch() / 3)
}

/// How long a worker is left alone that could not be reached: a twelfth of the epoch, 10 s of the public one.
pub(super) fn down_time(policy: &FixedPolicy) -> Duration {
    policy.epoch() / 12
}

/// No ping is sent in the last part of an epoch, so that each has time for its answer.
pub(super) fn ping_tail(policy: &FixedPolicy) -> Duration {
    PING_TIMEOUT.min(policy.epoch() / 8)
}

/// How long before the end of the pings' time the last of them are due, so that those leave that a busy machine sends late: a hundredth of the
/// epoch, at most 250 ms.
pub(super) fn ping_slack(policy: &FixedPolicy) -> Duration {
    PING_SLACK.min(policy.epoch() / 100)
}

/// No echo is begun in the last part of an epoch, so that each has time to come back.
pub(super) fn echo_tail(policy: &Policy) -> Duration {
    echo_timeout(&policy.fixed(), policy.echo_max_bytes)
}

/// How far a worker's clock may be from the validator's: half an epoch.
pub(super) fn clock_tolerance(policy: &FixedPolicy) -> Duration {
    policy.epoch() / 2
}
