//! When a validator sends which probe: a pure function of the epoch, the policy, the assignment and random numbers.
//!
//! Pings of one worker fall anywhere in the epoch, independently of each other, so that a worker cannot know when
//! it need not listen. Which workers are given an echo in the epoch comes with the assignment.

use std::sync::Arc;
use std::time::Duration;

use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::time::{Epoch, UnixMillis};

use super::draws::Draws;
use super::limits::{connect_timeout, echo_tail, ping_slack, ping_tail};
use super::storage::StoredAt;

/// A worker that this validator measures in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The worker.
    pub worker: NodeId,
    /// Bytes of its echo, if it is given one.
    pub echo_bytes: Option<LogScale>,
    /// Where it was agreed to be last.
    pub group: NetworkGroup,
}

/// What a validator's report of an epoch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The workers that it measures, by id.
    pub workers: Vec<Assigned>,
    /// The policy of the epoch.
    pub policy: Arc<Policy>,
    /// The workers of whom it holds storage seats: of a term that is under way in the order of the draw, of one that is to begin after them.
    pub stored: Vec<StoredAt>,
}

/// One probe to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// When.
    pub at: UnixMillis,
    /// To whom.
    pub worker: NodeId,
}

/// One echo to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EchoTask {
    /// When, to whom.
    pub task: Task,
    /// How many bytes.
    pub bytes: u64,
}

/// All probes of one epoch, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The pings, in the order of their times.
    pub pings: Vec<Task>,
    /// The echoes, in the order of their times.
    pub echoes: Vec<EchoTask>,
    /// After this no ping is sent: it would have less time for its answer than the others.
    pub last_ping: UnixMillis,
    /// After this no echo is begun, though its worker be connected: it could not end within the epoch.
    pub last_echo: UnixMillis,
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

/// The probes of an epoch for these workers, between its bounds: a validator that starts in the middle of one measures in what is left of it.
pub fn plan(policy: &Policy, bounds: Bounds, assigned: &[Assigned], draws: &mut Draws) -> Plan {
    let length = bounds.start.until(bounds.end);
    let ping_window = length.saturating_sub(ping_tail(&policy.fixed()));
    let due_window = ping_window.saturating_sub(ping_slack(&policy.fixed()));
    let begin_window = length.saturating_sub(echo_tail(policy));
    let echo_window = begin_window.saturating_sub(connect_timeout(&policy.fixed()));
    let (last_ping, last_echo) = (bounds.start.after(ping_window), bounds.start.after(begin_window));
    let mut plan = Plan { last_ping, last_echo, ..Plan::default() };
    for Assigned { worker, echo_bytes, .. } in assigned {
        for _ in 0..policy.pings {
            plan.pings.push(Task { at: random_time(bounds.start, due_window, draws), worker: *worker });
        }
        let at = random_time(bounds.start, echo_window, draws);
        let task = Task { at, worker: *worker };
        plan.echoes.extend(echo_bytes.map(|bytes| EchoTask { task, bytes: bytes.value() }));
    }
    plan.pings.sort_unstable();
    plan.echoes.sort_unstable();
    plan
}

fn random_time(start: UnixMillis, window: Duration, draws: &mut Draws) -> UnixMillis {
    let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    start.after(Duration::from_millis(draws.below(millis)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(policy: &Policy, epoch: u64) -> Bounds {
        let start = UnixMillis::new(1_000_000 + (epoch - 1) * policy.epoch_ms);
        Bounds { epoch: Epoch::new(epoch), start, end: start.after(policy.epoch()) }
    }

    /// Every other one is given an echo.
    fn assigned(n: u8) -> Vec<Assigned> {
        let bytes = |byte| (byte % 2 == 0).then(|| LogScale::encode(1_000 * u64::from(byte)));
        let of = |byte| Assigned {
            worker: NodeId::from_bytes([byte; 32]),
            echo_bytes: bytes(byte),
            group: NetworkGroup::NONE,
        };
        (1..=n).map(of).collect()
    }

    fn local() -> Policy {
        Policy::local(Duration::from_secs(5), 2, None)
    }

    proptest! {
        #[test]
        fn every_worker_gets_its_tasks_within_the_epoch_and_with_time_to_answer(seed: [u8; 32], epoch in 1..1_000_000u64, n in 0..8u8, public: bool, is_late: bool) {
            let policy = if public { Policy::default() } else { local() };
            let mut bounds = bounds(&policy, epoch);
            if is_late {
                bounds.start = bounds.start.after(policy.epoch() / 2);
            }
            let plan = plan(&policy, bounds, &assigned(n), &mut Draws::from_seed(&seed));
            for Assigned { worker, echo_bytes, .. } in assigned(n) {
                let sent = plan.pings.iter().filter(|task| task.worker == worker).count();
                prop_assert_eq!(sent, usize::try_from(policy.pings).unwrap_or(0));
                let echoes = plan.echoes.iter().filter(|echo| echo.task.worker == worker).map(|echo| echo.bytes);
                prop_assert!(echoes.eq(echo_bytes.map(LogScale::value)));
            }
            prop_assert!(plan.pings.is_sorted() && plan.echoes.is_sorted());
            for task in &plan.pings {
                prop_assert!(task.at >= bounds.start && task.at.after(ping_slack(&policy.fixed())) <= plan.last_ping);
                prop_assert!(task.at.until(bounds.end) >= ping_tail(&policy.fixed()));
            }
            for EchoTask { task, .. } in &plan.echoes {
                prop_assert!(task.at >= bounds.start && task.at <= plan.last_echo);
                prop_assert!(task.at.until(bounds.end) >= connect_timeout(&policy.fixed()) + echo_tail(&policy));
            }
        }
    }

    #[test]
    fn pings_spread_over_the_epoch() {
        let (policy, assigned) = (Policy::default(), assigned(50));
        let bounds = bounds(&policy, 1);
        let plan = plan(&policy, bounds, &assigned, &mut Draws::from_seed(&[5; 32]));
        // 600 pings over 118 s: about 152 in each of four parts of 30 s, standard deviation 11.
        let mut parts = [0u32; 4];
        for task in &plan.pings {
            let part = bounds.start.until(task.at).as_secs() / 30;
            parts[usize::try_from(part).unwrap_or(3)] += 1;
        }
        assert!(parts.iter().all(|count| (90..210).contains(count)), "{parts:?}");
    }
}
