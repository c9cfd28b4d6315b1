//! Probing: validators measure workers, workers answer.
//!
//! ```text
//!  validator                                             worker
//!  Prober --ping: nonce (request-response)-------------> Responder --signed reply--> checked, timed
//!         --echo: secret stream -----------------------> returns it ---------------> compared, timed
//!         --chunks, and ranges of them ----------------> StorageServer --ranges-------> compared, in time
//!         '--at the epoch's end: ScoreReport --> the reporter
//! ```
//!
//! Self-reports earn nothing: what counts is what comes out of a worker within the time, judged by the validator
//! alone (protocol: "Probing"). When what is sent and what becomes of it is decided purely, in [`core`], by [`schedule`]; what it amounts to, in
//! [`tally`]. Whom a validator measures is its assignment, by the function by which the ledger reads its report.

mod attestations;
mod budget;
mod chunk;
pub mod core;
mod counts;
mod draws;
mod echo;
mod limits;
mod line;
mod ping;
mod prober;
mod reach;
mod responder;
pub mod schedule;
mod storage;
mod storage_client;
mod storage_server;
pub mod tally;
mod validation;

pub use attestations::{AttestationTable, Attested, Recorded};
pub use chunk::{ChunkSeed, StorageSecret};
pub use counts::{EchoOutcome, PingOutcome, ProbeCounters, ProbeCounts, Served, ServedCounts, StorageOutcome};
pub use draws::Draws;
pub use line::Line;
pub use prober::{Assignments, KeyOf, Prober, ProberParts};
pub use responder::{EchoGrant, EchoGrants, IsValidator, Offer, PolicyOf, Responder, ResponderHandle, ResponderParts};
pub use storage::StoredAt;
pub use storage_server::{StorageGrants, StorageHandle, StorageOffer, StorageServer, StorageServerParts};
pub use validation::{IsValidatorNow, IsWorker, ValidationParts, Validations};
pub(crate) use validation::{LONGEST as LONGEST_VALIDATION, SHORTEST as SHORTEST_VALIDATION};
