//! The bytes of everything that travels, is signed, hashed or stored: frozen, bounded, and with one encoding each.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod arbitrary;
mod commands;
mod golden;
mod harness;
mod limits;
mod meter;
mod policy;
mod properties;
mod samples;
