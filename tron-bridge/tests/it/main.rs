//! The client, the providers and the sender against real sockets that behave as full nodes and the providers before them do on
//! bad days.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod failover;
mod providers;
mod sender;
mod server;
