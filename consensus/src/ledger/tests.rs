//! The ledger without an engine: blocks built by hand, tampered with, and applied.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod building;
mod chain;
mod commands;
mod epochs;
mod measuring;
mod refusals;
mod roots;
mod settlement;
mod state;
