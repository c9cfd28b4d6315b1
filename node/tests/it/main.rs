//! Integration tests of the node's periphery: the real binary, the API over real sockets, probes over real meshes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, end their tasks with their runtime, and print what they measured"
)]

mod api;
mod cli;
mod db;
mod fixture;
mod hostile;
mod join;
mod mesh;
mod probe;
mod proof;
mod responder;
mod roles;
mod signer;
mod storage;
mod validation;
mod vault_cli;
mod view;
