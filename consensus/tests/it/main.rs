//! The replica in a simulated world: virtual time, lossy links, crashes, and a monitor of the invariants.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod crashes;
mod genesis;
mod liveness;
mod replay;
mod world;
