//! How an address comes about: 20 bytes of a Keccak-256, to which the wire adds the prefix [`PREFIX`].

use k256::ecdsa::VerifyingKey;

use crate::keccak256;

/// First byte of every address on the wire.
pub const PREFIX: u8 = 0x41;

/// The last 20 bytes of an address on the wire, of a contract's word, or of a hash.
pub type Hash20 = [u8; 20];

/// Of a public key: from the Keccak-256 of its uncompressed coordinates.
pub fn of_public_key(key: &VerifyingKey) -> Hash20 {
    let point = key.to_encoded_point(false);
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    last_20(&keccak256(coordinates))
}

/// Of the contract that a transaction with this id deploys for this owner: from the Keccak-256 of the id and the owner's 21
/// bytes (java-tron `Util.generateContractAddress`).
pub fn of_contract(transaction_id: &[u8; 32], owner: &Hash20) -> Hash20 {
    let preimage = [transaction_id.as_slice(), &to_wire(owner)].concat();
    last_20(&keccak256(&preimage))
}

/// With the prefix.
pub fn to_wire(address: &Hash20) -> [u8; 21] {
    let mut wire = [PREFIX; 21];
    wire[1..].copy_from_slice(address);
    wire
}

/// The last 20 bytes of a word.
pub fn last_20(word: &[u8; 32]) -> Hash20 {
    let mut out = [0; 20];
    out.copy_from_slice(&word[12..]);
    out
}
