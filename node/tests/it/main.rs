//! Integration tests of the node's periphery: the real binary, the API over real sockets, probes over real meshes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and end their tasks with their runtime"
)]

mod api;
mod cli;
mod fixture;
mod mesh;
mod probe;
mod responder;
mod view;
