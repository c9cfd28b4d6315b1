//! Real meshes on loopback sockets, several to a process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod discovery;
mod gossip;
mod hostile;
mod net;
mod requests;
mod restart;
mod start;
