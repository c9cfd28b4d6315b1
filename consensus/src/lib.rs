//! The replicated ledger of epochs and the sans-IO driver of the BFT engine.
//!
//! ```text
//!   gossip, peers, clock, prober ──Input──▶ Replica ──Effect──▶ storage, gossip, peers
//!                                             │
//!                            ┌────────────────┼───────────────┐
//!                    Reports, commands      Engine          Ledger
//!                    commitments & reveals   Malachite core   State, execute
//! ```
//!
//! Nothing here performs IO or reads a clock: time and randomness are arguments, and effects are returned in the
//! order in which the shell must carry them out. What makes it safe to crash anywhere is that order: whatever must be
//! durable stands before whatever leaves the node.

pub mod admission;
pub mod chain_spec;
pub mod commands;
pub mod engine;
pub mod keyring;
pub mod ledger;
pub mod replica;
pub mod reports;
pub mod rules;

// Its tests share a file with those of other crates.
#[cfg(test)]
extern crate self as lucid_consensus;
