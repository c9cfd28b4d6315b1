//! Real meshes on loopback sockets, several to a process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test's runtime owns its tasks and ends with it")]

mod budgets;
mod discovery;
mod gossip;
mod hostile;
mod net;
mod requests;
mod restart;
mod slots;
mod start;
