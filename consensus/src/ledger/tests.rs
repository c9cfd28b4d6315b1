//! The ledger without an engine: blocks built by hand, tampered with, and applied.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod building;
mod chain;
mod payouts;
mod refusals;
mod settlement;
mod state;
