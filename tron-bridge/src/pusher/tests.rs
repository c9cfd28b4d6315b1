//! The pusher's rules by scripted worlds, and a simulation of faulty ones. Seeds that found something stay in the list.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod model;
mod rules;
mod simulation;
mod world;
