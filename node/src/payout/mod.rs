//! Payouts: what a validator sees of the payment network, what a leader sends, and what a treasury signer signs.
//!
//! The rules are in `lucid-tron-bridge`; here are the tasks around them and their places in the store.

pub mod carry;
pub mod cosign;
pub mod sign_log;
pub mod watch;
