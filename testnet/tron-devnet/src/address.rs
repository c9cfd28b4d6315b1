//! TRON addresses as the chain keeps them: the 20 bytes that the virtual machine sees.
//!
//! On the wire an address is 21 bytes with the prefix `0x41`; people read it in base58check. The HTTP API also takes
//! the 21 bytes in hex.

use k256::ecdsa::VerifyingKey;
use lucid_tron_types::address::of_public_key;
use revm::primitives::Address;

pub use lucid_tron_types::address::PREFIX;

/// Characters of an address in base58check.
const BASE58_LENGTH: usize = 34;

/// Why a text or byte string is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a TRON address: {0:?}")]
pub struct InvalidAddress(pub String);

/// The 21 bytes of the wire.
pub fn to_wire(address: Address) -> [u8; 21] {
    lucid_tron_types::address::to_wire(&address.0.0)
}

/// Reads the 21 bytes of the wire.
pub fn from_wire(wire: &[u8]) -> Result<Address, InvalidAddress> {
    match wire {
        [PREFIX, rest @ ..] if rest.len() == 20 => Ok(Address::from_slice(rest)),
        _ => Err(InvalidAddress(hex::encode(wire))),
    }
}

/// Base58check, beginning with `T`.
pub fn to_base58(address: Address) -> String {
    bs58::encode(to_wire(address)).with_check().into_string()
}

/// Reads base58check.
pub fn from_base58(text: &str) -> Result<Address, InvalidAddress> {
    let invalid = || InvalidAddress(text.to_owned());
    // Reading a long text takes the square of its length.
    if text.len() > BASE58_LENGTH {
        return Err(invalid());
    }
    let wire = bs58::decode(text).with_check(None).into_vec().map_err(|_| invalid())?;
    from_wire(&wire)
}

/// 42 lower-case hex digits beginning with `41`.
pub fn to_hex(address: Address) -> String {
    hex::encode(to_wire(address))
}

/// Reads 42 hex digits.
pub fn from_hex(text: &str) -> Result<Address, InvalidAddress> {
    let wire = hex::decode(text).map_err(|_| InvalidAddress(text.to_owned()))?;
    from_wire(&wire)
}

/// The address of a public key.
pub fn of_key(key: &VerifyingKey) -> Address {
    of_public_key(key).into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn known_pairs() {
        let usdt = from_base58("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t").unwrap();
        assert_eq!(to_hex(usdt), "41a614f803b6fd780986a42c78ec9c7f77e6ded13c");
        assert_eq!(from_hex("41a614f803b6fd780986a42c78ec9c7f77e6ded13c").unwrap(), usdt);
        assert_eq!(to_base58(usdt), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
    }

    #[test]
    fn refuses_what_is_no_address() {
        assert!(from_base58("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u").is_err());
        assert!(from_base58(&"z".repeat(1_000_000)).is_err(), "and at once");
        assert!(from_hex("42a614f803b6fd780986a42c78ec9c7f77e6ded13c").is_err());
        assert!(from_hex("41a614").is_err());
        assert!(from_wire(&[]).is_err());
    }
}
