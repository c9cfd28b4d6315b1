//! The client against real sockets that behave as full nodes and the providers before them do on bad days.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod observer;
mod server;
