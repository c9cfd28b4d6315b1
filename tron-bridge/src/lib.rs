//! TRON for Lucid: transactions built, signed, sent and followed locally.
//!
//! The only product crate that names TRON, secp256k1 or an HTTP client for it. It turns a finalised payout attempt into
//! transaction bytes ([`transfer`]) and a node's answers into what validators report.
//!
//! It decides nothing about work or shares, and it stores nothing: durable state is the node's.

pub mod address;
pub mod checked;
pub mod client;
pub mod courier;
pub mod key;
pub mod observer;
pub mod signature;
pub mod signer;
pub mod status;
pub mod transfer;
pub mod trc20;
pub mod verdict;
pub mod view;

#[cfg(test)]
mod testing;
