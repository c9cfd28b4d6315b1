//! Networks in virtual time, for tests, benchmarks and the table of cheats. No product links it.
//!
//! - [`world`]: whole replicas with disks, crashes and lossy links, watched by a [`monitor`] of the invariants; a [`pool`]'s owner gives
//!   commands, and a [`liar`] says what no honest validator would.
//! - [`chain`]: the ledger without the engine. A simulation above decides what validators measure and who cheats.
//! - [`genesis`] and [`start`]: the networks that both begin with.
//!
//! It fails by panicking: what is unwrapped here holds, or the code under test is wrong.

#![expect(clippy::unwrap_used, reason = "a simulation fails by panicking")]

pub mod chain;
mod duties;
pub mod genesis;
pub mod liar;
pub mod monitor;
pub mod pool;
pub mod start;
pub mod world;
