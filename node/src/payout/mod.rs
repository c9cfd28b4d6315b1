//! Payouts: what this node reads of the pools' vaults, what it sends as a leader, and what it signs as a treasury signer.
//!
//! The rules are in `lucid-tron-bridge`; here are the tasks around them and their places in the store.

pub mod checks;
pub mod cosign;
mod pace;
pub mod push;
pub mod reader;
pub mod status;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) mod testing;
pub mod vaults;
pub mod watermark;

/// An error with its causes on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
