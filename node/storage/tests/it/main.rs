//! The store as its callers see it, on real files, with real processes that are really killed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]
#![expect(clippy::print_stdout, reason = "a test prints its figures")]

mod blocks;
mod commit;
mod contents;
mod crash;
mod damage;
mod history;
mod hostile;
mod identity;
mod maintenance;
mod own;
mod restore;
mod support;
mod wal;
