//! What can be told of scores beyond what the ledger says: whether they are right, what lowered them and what that cost, what came of them in
//! a pool, whether validators measure by themselves, and whether a worker's score is like itself.
//! The functions are pure; what they read comes from the history.

pub mod agreement;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) mod fixture;
pub mod replay;
pub mod report;
pub mod suspicion;
pub mod verify;
pub mod watch;
pub mod why;
