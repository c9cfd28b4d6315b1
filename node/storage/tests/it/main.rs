//! The store as its callers see it, on real files, with real processes that are really killed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

mod commit;
mod crash;
mod damage;
mod identity;
mod own;
mod support;
mod wal;
