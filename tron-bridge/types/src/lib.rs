//! What TRON's nodes and clients share: protobuf messages ([`proto`]), how they are hashed ([`block`]), how addresses come
//! about ([`address`]), and call data of contracts ([`abi`]).
//!
//! Pure: no node is asked, nothing is signed. The bridge and the local TRON network are built on it, and neither on the
//! other.

pub mod abi;
pub mod address;
pub mod block;
pub mod proto;

use sha3::{Digest, Keccak256};

/// Keccak-256 (the original padding, not SHA-3).
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}
