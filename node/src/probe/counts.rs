//! Counts of probes, for metrics and for the worker's attestations. Closed label sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a beacon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconOutcome {
    /// Answered in time with a right signature.
    Answered,
    /// No answer in time.
    Late,
    /// The worker could not be reached, or the connection ended.
    Unreachable,
    /// The worker refused to answer.
    Refused,
    /// The answer is not one to this beacon by this worker.
    Wrong,
    /// It never left this node, through no fault of the worker: not counted for or against it.
    NotSent,
}

/// How a relay task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayOutcome {
    /// The whole stream came back right and in time.
    Verified,
    /// Not all of it came back in time.
    Late,
    /// The worker could not be reached.
    Unreachable,
    /// The stream ended early or the connection broke.
    Broken,
    /// Other bytes came back than were sent, or more.
    Altered,
    /// It never left this node, through no fault of the worker: not counted for or against it.
    NotSent,
}

impl BeaconOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Late, Self::Unreachable, Self::Refused, Self::Wrong, Self::NotSent];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Wrong => "wrong",
            Self::NotSent => "not_sent",
        }
    }
}

impl RelayOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Verified, Self::Late, Self::Unreachable, Self::Broken, Self::Altered, Self::NotSent];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Altered => "altered",
            Self::NotSent => "not_sent",
        }
    }
}

/// What a validator's probes came to since it started.
#[derive(Debug, Default)]
pub struct ProbeCounters {
    beacons: [AtomicU64; 6],
    relays: [AtomicU64; 6],
}

/// [`ProbeCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    beacons: [u64; 6],
    relays: [u64; 6],
}

impl ProbeCounters {
    pub(super) fn beacon(&self, outcome: BeaconOutcome) {
        self.beacons[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn relay(&self, outcome: RelayOutcome) {
        self.relays[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn snapshot(&self) -> ProbeCounts {
        let read = |counts: &[AtomicU64; 6]| std::array::from_fn(|i| counts[i].load(Ordering::Relaxed));
        ProbeCounts { beacons: read(&self.beacons), relays: read(&self.relays) }
    }
}

impl ProbeCounts {
    /// Beacons that ended so.
    pub const fn beacons(&self, outcome: BeaconOutcome) -> u64 {
        self.beacons[outcome as usize]
    }

    /// Relay tasks that ended so.
    pub const fn relays(&self, outcome: RelayOutcome) -> u64 {
        self.relays[outcome as usize]
    }
}

/// What a worker has served since it started.
#[derive(Debug)]
pub struct Served {
    beacons: AtomicU64,
    relays: AtomicU64,
    relay_bytes: AtomicU64,
    refused: AtomicU64,
    busy: Mutex<Busy>,
}

/// [`Served`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedCounts {
    /// Beacons answered.
    pub beacons: u64,
    /// Relay sessions served to the end.
    pub relays: u64,
    /// Bytes that relay sessions brought, counted once.
    pub relay_bytes: u64,
    /// Beacons and relay sessions refused.
    pub refused: u64,
}

impl ServedCounts {
    /// Probe sessions served: beacons and relay sessions.
    pub const fn sessions(&self) -> u64 {
        self.beacons.saturating_add(self.relays)
    }
}

/// The sum of all relay sessions' durations, running ones included.
#[derive(Debug)]
struct Busy {
    active: u32,
    since: Instant,
    total: Duration,
}

impl Busy {
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        self.total = self.total.saturating_add(passed.saturating_mul(self.active));
        self.since = now;
    }
}

impl Default for Served {
    fn default() -> Self {
        let busy = Busy { active: 0, since: Instant::now(), total: Duration::ZERO };
        Self {
            beacons: AtomicU64::new(0),
            relays: AtomicU64::new(0),
            relay_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: Mutex::new(busy),
        }
    }
}

impl Served {
    pub(super) fn beacon(&self) {
        self.beacons.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn relay_begins(&self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.active = busy.active.saturating_add(1);
    }

    /// `bytes` of a session that was served to the end; `None` for one that was not.
    pub(super) fn relay_ends(&self, bytes: Option<u64>) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.active = busy.active.saturating_sub(1);
        drop(busy);
        if let Some(bytes) = bytes {
            self.relays.fetch_add(1, Ordering::Relaxed);
            self.relay_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The sum of all relay sessions' durations until now; two readings tell how busy the time between was.
    pub fn busy_time(&self) -> Duration {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.total
    }

    /// The counts now.
    pub fn snapshot(&self) -> ServedCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServedCounts {
            beacons: read(&self.beacons),
            relays: read(&self.relays),
            relay_bytes: read(&self.relay_bytes),
            refused: read(&self.refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_their_places() {
        assert!(BeaconOutcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
        assert!(RelayOutcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
        let counters = ProbeCounters::default();
        counters.beacon(BeaconOutcome::Wrong);
        counters.relay(RelayOutcome::Altered);
        let counts = counters.snapshot();
        assert_eq!(BeaconOutcome::ALL.map(|outcome| counts.beacons(outcome)), [0, 0, 0, 0, 1, 0]);
        assert_eq!(RelayOutcome::ALL.map(|outcome| counts.relays(outcome)), [0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn busy_time_sums_over_sessions_and_stops_with_them() {
        let start = Instant::now();
        let mut busy = Busy { active: 0, since: start, total: Duration::ZERO };
        let second = |n| start + Duration::from_secs(n);
        busy.advance(second(10));
        assert_eq!(busy.total, Duration::ZERO);
        busy.active = 2;
        busy.advance(second(13));
        busy.active = 1;
        busy.advance(second(14));
        busy.active = 0;
        busy.advance(second(50));
        assert_eq!(busy.total, Duration::from_secs(7));
    }
}
