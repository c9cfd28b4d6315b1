//! TRON addresses beyond what [`PayoutAddress`] itself offers: from a secp256k1 key, from hex, of a deployed contract,
//! and as the 32-byte words contracts see.
//!
//! An address is 0x41 followed by the last 20 bytes of the Keccak-256 of the uncompressed public key (without its
//! leading byte). Its text forms are base58check (`Display` of [`PayoutAddress`]) and 42 hex digits.

use k256::ecdsa::VerifyingKey;
use lucid_tron_types::{abi, address};
use lucid_types::id::{PayoutAddress, TxId};

/// The address of a public key.
pub fn of_public_key(key: &VerifyingKey) -> PayoutAddress {
    PayoutAddress::from_hash20(address::of_public_key(key))
}

/// The address that a deploying transaction gives its contract.
pub fn of_contract(deployed_by: &TxId, owner: &PayoutAddress) -> PayoutAddress {
    PayoutAddress::from_hash20(address::of_contract(deployed_by.as_bytes(), &owner.hash20()))
}

/// The address in raw bytes, if there are 21 and the first is 0x41.
pub fn from_slice(bytes: &[u8]) -> Option<PayoutAddress> {
    PayoutAddress::from_bytes(bytes.try_into().ok()?)
}

/// The address in 42 hex digits of either case, without `0x`.
pub fn from_hex(text: &str) -> Option<PayoutAddress> {
    let mut bytes = [0; 21];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    PayoutAddress::from_bytes(bytes)
}

/// The address as a contract sees it: 12 zero bytes and the last 20 of the address.
pub fn to_word(address: &PayoutAddress) -> [u8; 32] {
    abi::address_word(&address.hash20())
}

/// The address in a contract's word; `None` if the first 12 bytes are not zero.
pub fn from_word(word: &[u8; 32]) -> Option<PayoutAddress> {
    word[..12].iter().all(|&b| b == 0).then(|| PayoutAddress::from_hash20(address::last_20(word)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use k256::ecdsa::SigningKey;

    #[test]
    fn address_of_the_key_one() {
        // The public key of private key 1 is the curve's generator; its Ethereum address is widely known.
        let mut secret = [0; 32];
        secret[31] = 1;
        let key = SigningKey::from_slice(&secret).unwrap();
        let address = of_public_key(key.verifying_key());
        assert_eq!(address.hex(), "417e5f4552091a69125d5dfcb7b8c2659029395bdf");
        assert_eq!(from_hex("417E5F4552091A69125D5DFCB7B8C2659029395BDF"), Some(address));
        assert_eq!(from_slice(address.as_bytes()), Some(address));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(from_hex("007e5f4552091a69125d5dfcb7b8c2659029395bdf"), None);
        assert_eq!(from_hex("417e5f4552091a69125d5dfcb7b8c2659029395b"), None);
        assert_eq!(from_slice(&[0x41; 20]), None);
        let mut word = to_word(&PayoutAddress::from_hash20([7; 20]));
        assert_eq!(from_word(&word), Some(PayoutAddress::from_hash20([7; 20])));
        word[11] = 1;
        assert_eq!(from_word(&word), None);
    }
}
