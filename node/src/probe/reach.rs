//! What a validator knows of the way to a worker.
//!
//! Everything goes over a connection that there is; whoever finds none asks for a dial, one at a time for a worker. A worker that
//! could not be reached is left alone for a while: what is due to it meanwhile fails at once, unless it has come by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_types::id::NodeId;
use lucid_types::time::UnixMillis;

/// Dials in a row that came to nothing, though there was a connection, after which the worker counts as unreachable: it hangs up.
const FRUITLESS: u32 = 2;

/// The way to one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    way: Way,
    /// Dials that failed since the last one that did not.
    failures: u32,
    /// Dials since anything came of a connection.
    fruitless: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// It may be connected.
    #[default]
    Open,
    /// A dial waits for its turn since then.
    Queued(UnixMillis),
    Dialling,
    /// It could not be reached.
    Down {
        until: UnixMillis,
    },
}

impl Reach {
    /// Whether it is not worth a dial.
    pub(super) fn is_down(&self, now: UnixMillis) -> bool {
        matches!(self.way, Way::Down { until } if now < until)
    }

    /// Whether it is being dialled.
    pub(super) fn is_dialling(&self) -> bool {
        self.way == Way::Dialling
    }

    /// Whether it takes connections and makes no use of them.
    pub(super) fn hangs_up(&self) -> bool {
        self.way == Way::Open && self.fruitless >= FRUITLESS
    }

    /// Something came over a connection.
    pub(super) fn came(&mut self) {
        self.fruitless = 0;
        if matches!(self.way, Way::Down { .. }) {
            *self = Self::default();
        }
    }

    /// There is a connection.
    pub(super) fn connected(&mut self) {
        *self = Self { way: Way::Open, failures: 0, fruitless: self.fruitless };
    }

    /// Nobody knows whether it could be reached: the dial was none.
    pub(super) fn undialled(&mut self) {
        self.way = Way::Open;
        self.fruitless = self.fruitless.saturating_sub(1);
    }

    /// It could not be reached.
    pub(super) fn failed(&mut self, until: UnixMillis) {
        *self = Self { way: Way::Down { until }, failures: self.failures.saturating_add(1), fruitless: 0 };
    }
}

/// Dials that wait for their turn: of workers that failed least first, so that those which are not there keep nobody waiting who is; then
/// by time.
#[derive(Debug, Default)]
pub(super) struct DialQueue(BTreeSet<(u32, UnixMillis, NodeId)>);

impl DialQueue {
    /// Asks for a dial, if none is asked for and none under way.
    pub(super) fn ask(&mut self, worker: NodeId, reach: &mut Reach, now: UnixMillis) {
        if matches!(reach.way, Way::Open | Way::Down { .. }) {
            reach.way = Way::Queued(now);
            self.0.insert((reach.failures, now, worker));
        }
    }

    /// The worker to be dialled next.
    pub(super) fn first(&self) -> Option<NodeId> {
        self.0.first().map(|(_, _, worker)| *worker)
    }

    /// It is being dialled.
    pub(super) fn dial(&mut self, worker: NodeId, reach: &mut Reach) {
        self.withdraw(worker, reach);
        reach.way = Way::Dialling;
        reach.fruitless = reach.fruitless.saturating_add(1);
    }

    /// Nobody waits for the dial any more.
    pub(super) fn withdraw(&mut self, worker: NodeId, reach: &mut Reach) {
        if let Way::Queued(since) = reach.way {
            self.0.remove(&(reach.failures, since, worker));
            reach.way = Way::Open;
        }
    }
}

/// What one epoch leaves to the next: workers that could not be reached, how often in a row, and until when they are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptReach(BTreeMap<NodeId, (u32, UnixMillis)>);

impl KeptReach {
    /// What is remembered of a worker. A time further ahead than `longest` is the doing of a clock that was set.
    pub(super) fn reach(&self, worker: &NodeId, now: UnixMillis, longest: Duration) -> Reach {
        let Some((failures, until)) = self.0.get(worker).copied() else { return Reach::default() };
        Reach { way: Way::Down { until: until.min(now.after(longest)) }, failures, fruitless: 0 }
    }

    pub(super) fn of<'a>(workers: impl Iterator<Item = (&'a NodeId, &'a Reach)>) -> Self {
        let down = |(worker, reach): (&NodeId, &Reach)| match reach.way {
            Way::Down { until } => Some((*worker, (reach.failures, until))),
            // It is dialled again as soon as something is due to it, after those that were there.
            _ if reach.failures > 0 => Some((*worker, (reach.failures, UnixMillis::ZERO))),
            _ => None,
        };
        Self(workers.filter_map(down).collect())
    }
}
