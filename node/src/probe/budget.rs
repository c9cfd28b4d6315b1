//! How much a validator has under way at a time. What is beyond waits for its turn, and is *not sent* if that does not come in time:
//! none of it is ever held against a worker.

use lucid_p2p::{Limits, Protocol};
use lucid_types::policy::Policy;

/// How many of the largest echoes the echoes in flight may be together.
const LARGEST_ECHOES: u64 = 4;
/// Echoes in flight. So many that the slow ones among them delay nobody.
const ECHOES: usize = 64;
/// Challenges, and questions how much a worker holds, in flight: room for all that fall due in 2 s, if nobody answers any of them.
const QUESTIONS: usize = 1_024;
/// Deposits in flight: more would go no faster over one line, and share it with echoes.
const DEPOSITS: usize = 4;
/// Of a worker's chunks for a term one in so many is deposited again: enough for a disk that errs, too little to be worth throwing chunks away.
const AGAIN_PART: u32 = 8;

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreLimits {
    /// Pings in flight. At the planned rates there is room for all, if nobody answers any of them.
    pub pings: usize,
    /// Pings in flight to one worker.
    pub pings_per_worker: usize,
    /// Workers that are connected to at a time.
    pub dials: usize,
    /// Echoes in flight.
    pub echoes: usize,
    /// Their bytes together.
    pub echo_bytes: u64,
    /// Storage challenges, and questions how much a worker holds, in flight.
    pub questions: usize,
    /// Deposits of chunks in flight.
    pub deposits: usize,
    /// Of a worker's chunks for a term one in so many is deposited again, if it has lost them or did not take them in time.
    pub again_part: u32,
}

impl CoreLimits {
    /// Those of a validator, below what its mesh refuses.
    pub fn new(policy: &Policy) -> Self {
        Self {
            pings: Limits::VALIDATOR_REQUESTS,
            // The mesh counts a request until its own time is over, which is longer than a ping's.
            pings_per_worker: Protocol::Probe.limits().per_peer / 2,
            dials: Limits::VALIDATOR_DIALS,
            echoes: ECHOES,
            echo_bytes: policy.echo_max_bytes.saturating_mul(LARGEST_ECHOES),
            questions: QUESTIONS,
            deposits: DEPOSITS,
            again_part: AGAIN_PART,
        }
    }
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Pings in flight.
    pub pings: usize,
    /// Workers that are being connected to.
    pub dials: usize,
    /// Echoes in flight.
    pub echoes: usize,
    /// Their bytes together.
    pub echo_bytes: u64,
    /// Storage challenges, and questions how much a worker holds, in flight.
    pub questions: usize,
    /// Deposits of chunks in flight.
    pub deposits: usize,
}

impl Gauges {
    pub(super) const fn may_ping(&self, limits: &CoreLimits) -> bool {
        self.pings < limits.pings
    }

    pub(super) const fn may_dial(&self, limits: &CoreLimits) -> bool {
        self.dials < limits.dials
    }

    pub(super) const fn may_echo(&self, limits: &CoreLimits, bytes: u64) -> bool {
        self.echoes < limits.echoes && self.echo_bytes.saturating_add(bytes) <= limits.echo_bytes
    }
}
