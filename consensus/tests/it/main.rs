//! The replica in a simulated world: virtual time, lossy links, crashes, and a monitor of the invariants.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod caps;
mod commands;
mod controls;
mod crashes;
mod golden;
// The same is demanded of what is stored as of what is sent.
#[path = "../../types/tests/it/harness.rs"]
mod harness;
mod layout;
mod liveness;
#[path = "../../types/tests/it/meter.rs"]
mod meter;
mod one_key;
mod policies;
mod properties;
mod replay;
mod snapshot;
mod validators;
