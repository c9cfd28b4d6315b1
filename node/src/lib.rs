//! The Lucid node: daemon and command line.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod home;
pub mod probe;
pub mod sampler;

/// Identifies the sources this was built from: the version, then a hash. Two binaries of one build have the same.
pub const BUILD_ID: &str = env!("LUCID_BUILD_ID");
