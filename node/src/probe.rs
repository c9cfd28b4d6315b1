//! Probing: validators measure workers, workers answer.
//!
//! ```text
//!  validator                                             worker
//!  Prober --beacon: nonce (request-response)-----------> Responder --signed reply--> checked, timed
//!         --relay task: secret stream -----------------> echoes it ---------------> compared, timed
//!         '--at the epoch's end: ScoreReport --> whoever commitments it
//! ```
//!
//! Self-reports earn nothing: what counts is what comes out of a worker within the time, judged by the validator
//! alone (protocol: "Probing"). When what is sent is decided purely, in [`schedule`]; what it amounts to, purely, in
//! [`tally`]. Storage tasks do not exist yet and are reported as zero.

mod attestations;
mod beacon;
mod counts;
mod draws;
mod limits;
mod pace;
mod prober;
mod relay;
mod responder;
pub mod schedule;
pub mod tally;

pub use attestations::{AttestationTable, Attested, Recorded};
pub use counts::{BeaconOutcome, ProbeCounters, ProbeCounts, RelayOutcome, Served, ServedCounts};
pub use draws::Draws;
pub use prober::{Assignments, Prober, ProberParts};
pub use responder::{IsValidator, Offer, Responder, ResponderHandle, ResponderParts};
