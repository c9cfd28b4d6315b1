//! The ledger: what the network knows after each block, and how a block changes it.
//!
//! [`state::State`] is a pure function of genesis and blocks. [`build`] makes the block that a proposer offers,
//! [`execute`] computes the state after a block and refuses an invalid one. Within one block the order is: commits,
//! receipts, reveals, scores of the epoch that becomes final, settlement, new payout attempts.

pub mod archive;
pub mod build;
pub mod check;
pub mod execute;
pub mod payouts;
pub mod root;
pub mod settle;
pub mod state;

#[cfg(test)]
mod tests;
