//! Whole networks as processes, seen from outside: through `lucid-testnet`, the nodes' command line, and the report.
//!
//! Networks share one machine, so only as many run at a time as it has room for ([`harness::room`]), and one alone where figures
//! are taken. The tests of the payout vault ([`vault`]), of
//! its set-up ([`funding`]) and of payouts in simulation ([`sim`]) need no processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod attack;
mod bad_input;
mod books;
mod crash;
mod disk;
mod figures;
mod funding;
mod harness;
mod join;
mod load;
mod newcomer_storm;
mod newcomers;
mod payout_faults;
mod policy;
mod pools;
mod proxy;
mod restore;
mod rotation;
mod run;
mod sim;
mod snapshot;
mod stalls;
mod storm;
mod strangers;
mod twins;
mod validators;
mod vault;
mod vault_cli;
