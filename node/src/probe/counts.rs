//! Counts of probes, for metrics and for the worker's attestations. Closed label sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a ping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingOutcome {
    /// Answered in time with a right signature.
    Answered,
    /// No answer in time.
    Late,
    /// The worker could not be reached, or the connection ended.
    Unreachable,
    /// The worker refused to answer.
    Refused,
    /// The answer is not one to this ping by this worker.
    Wrong,
    /// It never left this node, through no fault of the worker: not counted for or against it.
    NotSent,
}

/// How an echo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoOutcome {
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

impl PingOutcome {
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

impl EchoOutcome {
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
    pings: [AtomicU64; 6],
    echoes: [AtomicU64; 6],
}

/// [`ProbeCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    pings: [u64; 6],
    echoes: [u64; 6],
}

impl ProbeCounters {
    pub(super) fn ping(&self, outcome: PingOutcome) {
        self.pings[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn echo(&self, outcome: EchoOutcome) {
        self.echoes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn snapshot(&self) -> ProbeCounts {
        let read = |counts: &[AtomicU64; 6]| std::array::from_fn(|i| counts[i].load(Ordering::Relaxed));
        ProbeCounts { pings: read(&self.pings), echoes: read(&self.echoes) }
    }
}

impl ProbeCounts {
    /// Pings that ended so.
    pub const fn pings(&self, outcome: PingOutcome) -> u64 {
        self.pings[outcome as usize]
    }

    /// Echoes that ended so.
    pub const fn echoes(&self, outcome: EchoOutcome) -> u64 {
        self.echoes[outcome as usize]
    }
}

/// What a worker has served since it started.
#[derive(Debug)]
pub struct Served {
    pings: AtomicU64,
    echoes: AtomicU64,
    echo_bytes: AtomicU64,
    refused: AtomicU64,
    busy: Mutex<Busy>,
}

/// [`Served`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedCounts {
    /// Pings answered.
    pub pings: u64,
    /// Echoes served to the end.
    pub echoes: u64,
    /// Bytes that echoes brought, counted once.
    pub echo_bytes: u64,
    /// Pings and echoes refused.
    pub refused: u64,
}

impl ServedCounts {
    /// Probe sessions served: pings and echoes.
    pub const fn sessions(&self) -> u64 {
        self.pings.saturating_add(self.echoes)
    }
}

/// The sum of all echoes' durations, running ones included.
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
            pings: AtomicU64::new(0),
            echoes: AtomicU64::new(0),
            echo_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: Mutex::new(busy),
        }
    }
}

impl Served {
    pub(super) fn ping(&self) {
        self.pings.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn echo_begins(&self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.active = busy.active.saturating_add(1);
    }

    /// `bytes` of a session that was served to the end; `None` for one that was not.
    pub(super) fn echo_ends(&self, bytes: Option<u64>) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.active = busy.active.saturating_sub(1);
        drop(busy);
        if let Some(bytes) = bytes {
            self.echoes.fetch_add(1, Ordering::Relaxed);
            self.echo_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The sum of all echoes' durations until now; two readings tell how busy the time between was.
    pub fn busy_time(&self) -> Duration {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(Instant::now());
        busy.total
    }

    /// The counts now.
    pub fn snapshot(&self) -> ServedCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServedCounts {
            pings: read(&self.pings),
            echoes: read(&self.echoes),
            echo_bytes: read(&self.echo_bytes),
            refused: read(&self.refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_their_places() {
        assert!(PingOutcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
        assert!(EchoOutcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
        let counters = ProbeCounters::default();
        counters.ping(PingOutcome::Wrong);
        counters.echo(EchoOutcome::Altered);
        let counts = counters.snapshot();
        assert_eq!(PingOutcome::ALL.map(|outcome| counts.pings(outcome)), [0, 0, 0, 0, 1, 0]);
        assert_eq!(EchoOutcome::ALL.map(|outcome| counts.echoes(outcome)), [0, 0, 0, 0, 1, 0]);
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
