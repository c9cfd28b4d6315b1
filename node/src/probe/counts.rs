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

/// How a deposit of a chunk or a challenge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageOutcome {
    /// The chunk is stored; the ranges are right and came in time.
    Done,
    /// No answer in time.
    Late,
    /// The worker could not be reached, or the connection ended.
    Unreachable,
    /// The worker refused.
    Refused,
    /// The answer is not one to what was asked, or other bytes than were deposited.
    Wrong,
    /// It never left this node, or nothing is deposited yet: not counted for or against the worker.
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

impl StorageOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [Self::Done, Self::Late, Self::Unreachable, Self::Refused, Self::Wrong, Self::NotSent];

    /// The label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Wrong => "wrong",
            Self::NotSent => "not_sent",
        }
    }
}

/// What a validator's probes came to since it started, as its prober last said.
#[derive(Debug, Default)]
pub struct ProbeCounters(Mutex<ProbeCounts>);

/// [`ProbeCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    pings: [u64; 6],
    echoes: [u64; 6],
    challenges: [u64; 6],
    deposits: [u64; 6],
    lateness: Lateness,
}

/// How late probes left: those that left after as many milliseconds as have this number of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lateness([u64; 20]);

impl Lateness {
    fn note(&mut self, late: Duration) {
        let millis = u32::try_from(late.as_millis()).unwrap_or(u32::MAX);
        let bits = usize::try_from(u32::BITS - millis.leading_zeros()).unwrap_or(0);
        let last = self.0.len().saturating_sub(1);
        self.0[bits.min(last)] += 1;
    }
}

impl ProbeCounters {
    pub(super) fn set(&self, counts: ProbeCounts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// The counts now.
    pub fn snapshot(&self) -> ProbeCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Challenges that ended so, one for each epoch and worker of whom chunks are held.
    pub const fn challenges(&self, outcome: StorageOutcome) -> u64 {
        self.challenges[outcome as usize]
    }

    /// Deposits of chunks that ended so.
    pub const fn deposits(&self, outcome: StorageOutcome) -> u64 {
        self.deposits[outcome as usize]
    }

    /// How late all but `most` in a thousand of the probes left that did, at most, by a power of two of milliseconds.
    pub fn lateness(&self, most: u64) -> Duration {
        let all: u64 = self.lateness.0.iter().sum();
        let mut later = all;
        let within = self.lateness.0.iter().position(|count| {
            later = later.saturating_sub(*count);
            later.saturating_mul(1_000) <= all.saturating_mul(most)
        });
        let bits = within.and_then(|bits| u32::try_from(bits).ok()).unwrap_or(u32::MAX);
        Duration::from_millis(1u64.checked_shl(bits).unwrap_or(u64::MAX).saturating_sub(1))
    }

    pub(super) const fn ping(&mut self, outcome: PingOutcome) {
        self.pings[outcome as usize] += 1;
    }

    pub(super) const fn echo(&mut self, outcome: EchoOutcome) {
        self.echoes[outcome as usize] += 1;
    }

    pub(super) const fn challenge(&mut self, outcome: StorageOutcome) {
        self.challenges[outcome as usize] += 1;
    }

    pub(super) const fn deposit(&mut self, outcome: StorageOutcome) {
        self.deposits[outcome as usize] += 1;
    }

    /// A probe left so long after its time.
    pub(super) fn left(&mut self, late: Duration) {
        self.lateness.note(late);
    }
}

/// What a worker has served since it started.
#[derive(Debug)]
pub struct Served {
    pings: AtomicU64,
    echoes: AtomicU64,
    echo_bytes: AtomicU64,
    stored: AtomicU64,
    challenges: AtomicU64,
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
    /// Chunks stored.
    pub stored: u64,
    /// Storage challenges answered.
    pub challenges: u64,
    /// Pings, echoes and requests for storage refused.
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
            stored: AtomicU64::new(0),
            challenges: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy: Mutex::new(busy),
        }
    }
}

impl Served {
    pub(super) fn ping(&self) {
        self.pings.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn challenge(&self) {
        self.challenges.fetch_add(1, Ordering::Relaxed);
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
            stored: read(&self.stored),
            challenges: read(&self.challenges),
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
        assert!(StorageOutcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
        let mut counts = ProbeCounts::default();
        counts.ping(PingOutcome::Wrong);
        counts.echo(EchoOutcome::Altered);
        counts.challenge(StorageOutcome::Late);
        counts.deposit(StorageOutcome::Done);
        assert_eq!(StorageOutcome::ALL.map(|outcome| counts.challenges(outcome)), [0, 1, 0, 0, 0, 0]);
        assert_eq!(StorageOutcome::ALL.map(|outcome| counts.deposits(outcome)), [1, 0, 0, 0, 0, 0]);
        assert_eq!(PingOutcome::ALL.map(|outcome| counts.pings(outcome)), [0, 0, 0, 0, 1, 0]);
        assert_eq!(EchoOutcome::ALL.map(|outcome| counts.echoes(outcome)), [0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn lateness_is_known_to_a_power_of_two() {
        let mut counts = ProbeCounts::default();
        assert_eq!(counts.lateness(0), Duration::ZERO);
        for millis in (0..98).map(|_| 0).chain([5, 1_000]) {
            counts.left(Duration::from_millis(millis));
        }
        let of = |most| counts.lateness(most).as_millis();
        assert_eq!([of(20), of(10), of(0)], [0, 7, 1_023]);
        counts.left(Duration::MAX);
        assert_eq!(counts.lateness(0).as_millis(), (1 << 19) - 1);
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
