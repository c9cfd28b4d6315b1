//! The ledger without an engine: blocks built by hand, tampered with, and applied.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod building;
mod chain;
mod commands;
mod duties;
mod entry;
mod epochs;
mod inactive;
mod maintenance;
mod measuring;
mod mempool;
mod node_keys;
mod nodes;
mod policies;
mod pools;
mod random;
mod refusals;
mod registry;
mod roots;
mod settlement;
#[path = "../../sim/src/start.rs"]
#[expect(unreachable_pub, reason = "it is part of lucid-sim, which is another crate's and cannot be linked here")]
mod start;
mod state;
mod validator_keys;
mod validators;
