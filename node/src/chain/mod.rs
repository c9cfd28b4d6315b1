//! The chain of epoch blocks: runs the replica, keeps what it decides, and catches up with peers.
//!
//! ```text
//!  mesh ──▶ router ──▶ driver (owns Replica, Store's log) ──▶ head (watch): state, for everyone else
//!                         │  ▲
//!              fetches ◀──┘  └── decided blocks, bodies, reports from peers
//! ```

pub mod driver;
pub mod fetch;
pub mod head;
pub mod persist;
pub mod report;
pub mod serve;
