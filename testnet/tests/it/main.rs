//! Whole networks as processes, seen from outside: through `lucid-testnet`, the nodes' command line, and the report.
//!
//! The networks share one machine with each other, so the tests run one at a time. Those of the payout vault ([`vault`]), of
//! its set-up ([`funding`]) and of payouts in simulation ([`sim`]) need no processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bad_input;
mod crash;
mod funding;
mod harness;
mod payout_faults;
mod proxy;
mod requests;
mod run;
mod sim;
mod vault;
mod vault_cli;
