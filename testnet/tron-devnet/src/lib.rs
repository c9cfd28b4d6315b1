//! A local TRON network that real TRON clients can talk to ("anvil for TRON").
//!
//! [`chain`] is the network itself: a deterministic library without HTTP, clock or tasks, except that constant calls can be
//! given a deadline. [`api`] gives it a full node's HTTP API, [`server`] runs both. [`wallet`] and [`token`] build what
//! tests and tools need to act on it.
//!
//! What it does not do: peers, votes, TRC-10 tokens. Blocks come from a single witness, and "solidified" means a set number
//! of blocks behind the head.

pub mod address;
pub mod api;
pub mod chain;
pub(crate) mod clock;
mod connections;
pub(crate) mod evm;
pub(crate) mod faults;
pub mod node;
pub(crate) mod report;
pub(crate) mod requests;
pub mod server;
pub(crate) mod start;
pub mod store;
pub mod token;
pub mod wallet;

/// The virtual machine's types that this crate's interface speaks.
pub use revm::primitives::{Address, B256, U256};
pub use server::{DevnetConfig, DevnetError, Ready, serve};
