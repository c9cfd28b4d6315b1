//! The running network over real HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod answers;
mod client;
mod control;
mod http;
mod keep;
mod kill;
mod stakes;
