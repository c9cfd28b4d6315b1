//! Real meshes on loopback sockets, several to a process.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and tell what they measure"
)]
#![expect(clippy::disallowed_methods, reason = "a test's runtime owns its tasks and ends with it")]

mod addresses;
mod budgets;
mod discovery;
mod gossip;
mod hostile;
mod intake;
mod memory;
mod net;
mod requests;
mod restart;
mod slots;
mod start;
mod stranger;
