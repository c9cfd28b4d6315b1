//! The ledger: what the network knows after each block, and how a block changes it.
//!
//! [`state::State`] is a pure function of genesis and blocks. [`build`] makes the block that a proposer offers,
//! [`execute`] computes the state after a block and refuses an invalid one. Within one block the order is: commitments,
//! reveals, evidence, commands, scores of the epoch that becomes final, epochs that have ended, other validators and policies, settlements, payout roots. Nothing of the payment network is
//! read: what is owed is decided here, what was paid is known to the vault alone.

pub mod build;
pub mod check;
pub mod command;
pub mod duties;
pub mod entry;
pub mod event;
pub mod execute;
mod fork;
pub mod measuring;
pub mod policies;
pub mod pool;
pub mod proof;
pub mod proposals;
pub mod registry;
pub mod settle;
pub mod state;
pub mod table;
pub mod tree;
pub mod validators;

#[cfg(test)]
mod tests;
