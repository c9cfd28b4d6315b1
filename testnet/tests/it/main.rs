//! Whole networks as processes, seen from outside: through `lucid-testnet`, the nodes' command line, and the report.
//!
//! The networks share one machine with each other, so the tests run one at a time. Those of the payout vault ([`vault`]) need
//! no processes: they act on the chain itself.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bad_input;
mod crash;
mod harness;
mod run;
mod vault;
