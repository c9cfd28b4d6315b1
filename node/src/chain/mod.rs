//! The chain: runs the replica, keeps what it decides, and catches up with peers.
//!
//! ```text
//!  mesh ──▶ router ──▶ driver (owns Replica, Store's log) ──▶ head (watch): state, for everyone else
//!                       │  │ ▲ ▲
//!     fetch: items, ◀───┘  │ │ └── decided blocks, from several peers at once
//!     proposals, reports ──┼─┘     ▲
//!                          └──▶ catch_up
//! ```

pub mod catch_up;
pub mod driver;
pub mod fetch;
pub mod head;
pub mod persist;
pub mod presence;
pub mod report;
pub mod serve;
pub mod watermark;
