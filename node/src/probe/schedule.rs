//! When a validator sends which probe: a pure function of the epoch, the policy, the workers and random numbers.
//!
//! Beacons of one worker fall anywhere in the epoch, independently of each other, so that a worker cannot know when
//! it need not listen. A worker is given relay tasks in one epoch of every `relay_every`, drawn by hash, in the same
//! epoch by all validators.

use std::time::Duration;

use lucid_types::id::{Hash, NodeId};
use lucid_types::policy::Policy;
use lucid_types::time::{Epoch, UnixMillis};

use super::draws::Draws;
use super::limits::{beacon_tail, relay_timeout};

/// One probe to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// When.
    pub at: UnixMillis,
    /// To whom.
    pub worker: NodeId,
}

/// All probes of one epoch, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Uptime beacons.
    pub beacons: Vec<Task>,
    /// Relay tasks.
    pub relays: Vec<Task>,
    /// After this no relay task is begun: it could not end within the epoch.
    pub last_relay: UnixMillis,
}

/// An epoch's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its number.
    pub epoch: Epoch,
    /// Its first millisecond.
    pub start: UnixMillis,
    /// The first millisecond after it.
    pub end: UnixMillis,
}

impl Bounds {
    /// Whether `time` is in the epoch.
    pub fn contain(&self, time: UnixMillis) -> bool {
        (self.start..self.end).contains(&time)
    }
}

/// The probes of an epoch for these workers.
///
/// Tasks before `now` are left out: a validator that starts in the middle of an epoch measures what is left of it.
/// `relay_seed` must be the same on all validators and for all epochs of a block of `relay_every`.
pub fn plan(
    policy: &Policy,
    bounds: Bounds,
    now: UnixMillis,
    workers: &[NodeId],
    relay_seed: &Hash,
    draws: &mut Draws,
) -> Plan {
    let length = bounds.start.until(bounds.end);
    let beacon_window = length.saturating_sub(beacon_tail(policy));
    let relay_window = length.saturating_sub(relay_timeout(policy));
    let mut plan = Plan { last_relay: bounds.start.after(relay_window), ..Plan::default() };
    for worker in workers {
        for _ in 0..policy.beacons {
            plan.beacons.push(Task { at: random_time(bounds.start, beacon_window, draws), worker: *worker });
        }
        let at = random_time(bounds.start, relay_window, draws);
        if is_relay_epoch(policy, relay_seed, worker, bounds.epoch) {
            plan.relays.push(Task { at, worker: *worker });
        }
    }
    for tasks in [&mut plan.beacons, &mut plan.relays] {
        tasks.retain(|task| task.at >= now);
        tasks.sort_unstable();
    }
    plan
}

fn random_time(start: UnixMillis, window: Duration, draws: &mut Draws) -> UnixMillis {
    let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    start.after(Duration::from_millis(draws.below(millis)))
}

/// Whether `worker` is given relay tasks in `epoch`: of each block of `relay_every` epochs, the one whose place in the
/// block is BLAKE3(seed, worker, number of the block) modulo `relay_every`.
pub fn is_relay_epoch(policy: &Policy, seed: &Hash, worker: &NodeId, epoch: Epoch) -> bool {
    let every = policy.relay_every.max(1);
    let (block, place) = (epoch.get() / every, epoch.get() % every);
    let parts: [&[u8]; 3] = [seed.as_bytes(), worker.as_bytes(), &block.to_le_bytes()];
    Draws::from_seed(Hash::derive("lucid relay epoch draw 1", &parts).as_bytes()).below(every) == place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(policy: &Policy, epoch: u64) -> Bounds {
        let start = UnixMillis::new(1_000_000 + (epoch - 1) * policy.epoch_ms);
        Bounds { epoch: Epoch::new(epoch), start, end: start.after(policy.epoch()) }
    }

    fn workers(n: u8) -> Vec<NodeId> {
        (1..=n).map(|byte| NodeId::from_bytes([byte; 32])).collect()
    }

    fn local() -> Policy {
        Policy::local(Duration::from_secs(5), 2, None)
    }

    const SEED: Hash = Hash::from_bytes([9; 32]);

    proptest! {
        #[test]
        fn every_worker_gets_its_tasks_within_the_epoch_and_with_time_to_answer(seed: [u8; 32], epoch in 1..1_000_000u64, n in 0..8u8, public: bool) {
            let policy = if public { Policy::default() } else { local() };
            let bounds = bounds(&policy, epoch);
            let plan = plan(&policy, bounds, bounds.start, &workers(n), &SEED, &mut Draws::from_seed(&seed));
            for worker in workers(n) {
                let sent = plan.beacons.iter().filter(|task| task.worker == worker).count();
                prop_assert_eq!(sent, usize::try_from(policy.beacons).unwrap_or(0));
                let relays = plan.relays.iter().filter(|task| task.worker == worker).count();
                prop_assert_eq!(relays, usize::from(is_relay_epoch(&policy, &SEED, &worker, bounds.epoch)));
            }
            prop_assert!(plan.beacons.is_sorted() && plan.relays.is_sorted());
            for task in &plan.beacons {
                prop_assert!(task.at >= bounds.start && task.at.until(bounds.end) >= beacon_tail(&policy));
            }
            for task in &plan.relays {
                prop_assert!(task.at >= bounds.start && task.at <= plan.last_relay);
                prop_assert!(task.at.until(bounds.end) >= relay_timeout(&policy));
            }
        }

        #[test]
        fn one_epoch_of_each_block_is_a_relay_epoch(worker: [u8; 32], block in 0..1_000_000u64) {
            let (policy, worker) = (Policy::default(), NodeId::from_bytes(worker));
            let first = block * policy.relay_every;
            let drawn = (first..first + policy.relay_every).filter(|epoch| is_relay_epoch(&policy, &SEED, &worker, Epoch::new(*epoch)));
            prop_assert_eq!(drawn.count(), 1);
        }
    }

    #[test]
    fn locally_every_epoch_is_a_relay_epoch() {
        let worker = NodeId::from_bytes([1; 32]);
        assert!((1..100).all(|epoch| is_relay_epoch(&local(), &SEED, &worker, Epoch::new(epoch))));
    }

    #[test]
    fn a_late_start_leaves_out_what_is_past() {
        let (policy, workers) = (local(), workers(6));
        let bounds = bounds(&policy, 3);
        let at = |now| plan(&policy, bounds, now, &workers, &SEED, &mut Draws::from_seed(&[5; 32]));
        let (whole, middle) = (at(bounds.start), bounds.start.after(policy.epoch() / 2));
        let half = at(middle);
        assert!(half.beacons.len() < whole.beacons.len() && !half.beacons.is_empty());
        assert!(half.beacons.iter().all(|task| task.at >= middle && whole.beacons.contains(task)));
        assert_eq!(at(bounds.end), Plan { last_relay: whole.last_relay, ..Plan::default() });
    }

    #[test]
    fn beacons_spread_over_the_epoch() {
        let (policy, workers) = (Policy::default(), workers(50));
        let bounds = bounds(&policy, 1);
        let plan = plan(&policy, bounds, bounds.start, &workers, &SEED, &mut Draws::from_seed(&[5; 32]));
        // 600 beacons over 118 s: about 152 in each of four parts of 30 s, standard deviation 11.
        let mut parts = [0u32; 4];
        for task in &plan.beacons {
            let part = bounds.start.until(task.at).as_secs() / 30;
            parts[usize::try_from(part).unwrap_or(3)] += 1;
        }
        assert!(parts.iter().all(|count| (90..210).contains(count)), "{parts:?}");
    }
}
