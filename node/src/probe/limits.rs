//! Times and sizes of probes, the same for both sides, all derived from the network's policy.

use std::time::Duration;

use lucid_types::policy::Policy;

/// A beacon is answered within this, or it counts as unanswered.
pub(super) const BEACON_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time for a relay task, however long the epoch.
const RELAY_TIMEOUT: Duration = Duration::from_secs(30);

/// From opening a relay stream to the last byte that comes back: a third of the epoch, at most 30 s.
pub(super) fn relay_timeout(policy: &Policy) -> Duration {
    RELAY_TIMEOUT.min(policy.epoch() / 3)
}

/// No beacon is sent in the last part of an epoch, so that each has time for its answer.
pub(super) fn beacon_tail(policy: &Policy) -> Duration {
    BEACON_TIMEOUT.min(policy.epoch() / 8)
}

/// How far a worker's clock may be from the validator's: half an epoch.
pub(super) fn clock_tolerance(policy: &Policy) -> Duration {
    policy.epoch() / 2
}
