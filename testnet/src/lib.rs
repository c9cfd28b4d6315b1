//! Local Lucid networks of real processes on a local TRON network.
//!
//! [`cli`] is the command line. [`up`] makes a network ([`setup`]), follows it ([`session`], fed by [`watch`]) and
//! judges it ([`collect`], [`report`]); [`control`] is how the other commands reach it. It decides nothing that nodes
//! decide: everything shown or reported is read from their API or from the chain.

pub mod api;
pub mod cheats;
pub mod cli;
pub mod collect;
pub mod console;
pub mod control;
pub mod devnet;
pub mod dir;
pub mod duration;
pub mod finish;
#[cfg(test)]
mod fixtures;
pub mod funding;
pub mod genesis;
pub mod homes;
mod http;
pub mod interrupt;
pub mod lucid;
pub mod manifest;
mod parent_death;
pub mod payouts;
pub mod plan;
pub mod pool;
pub mod ports;
pub mod process;
pub mod report;
pub mod session;
pub mod setup;
pub mod sim;
pub mod supervisor;
pub mod up;
pub mod usage;
pub mod view;
pub mod watch;
