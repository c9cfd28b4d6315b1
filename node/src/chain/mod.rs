//! The chain: runs the replica, keeps what it decides, and catches up with peers.
//!
//! ```text
//!  mesh ──▶ router ──▶ driver (owns Replica, Store's log) ──▶ head (watch): state, for everyone else
//!                       │  │ ▲ ▲
//!     fetch: items, ◀───┘  │ │ └── decided blocks, from several peers at once
//!     proposals, reports ──┼─┘     ▲
//!                          └──▶ catch_up: decided blocks, or a snapshot of the state where blocks are too many or gone
//!     sets: who the validators are beyond the state, as far as peers have shown it; for all that judge what peers say of later heights
//! ```

pub mod catch_up;
pub mod driver;
pub mod fetch;
#[cfg(test)]
pub(crate) mod fixture;
pub mod head;
pub mod persist;
pub mod pin;
pub mod presence;
pub mod prune;
pub mod report;
pub mod serve;
pub mod sets;
pub mod snapshot;
pub mod watermark;
