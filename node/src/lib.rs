//! The Lucid node: daemon and command line.

pub mod api;
pub mod caps;
pub mod chain;
pub mod chunks;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod enrolment;
pub mod gate;
pub mod health;
pub mod history;
pub mod home;
pub mod node;
pub mod payout;
pub mod peering;
pub mod peers;
pub mod probe;
pub mod proof;
pub mod router;
pub mod sampler;
pub mod score;
pub mod signer;
mod stage;
mod utc;
pub mod validations;
pub mod view;
pub mod visit;

/// Identifies the sources this was built from: the version, then a hash. Two binaries of one build have the same.
pub const BUILD_ID: &str = env!("LUCID_BUILD_ID");
