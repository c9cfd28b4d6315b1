//! What can be told of scores beyond what the ledger says: whether validators measure by themselves, and whether a worker's score is like itself.
//! The functions are pure; what they read comes from the history.

pub mod agreement;
pub mod suspicion;
pub mod watch;
