//! Identities: nodes, networks, pools, blocks, payouts.

use std::fmt;
use std::str::FromStr;

use bs58::decode::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::hex_bytes;
use crate::codec::Wire;
use crate::signed::Signer;

pub use crate::bytes::ParseBytesError;

hex_bytes!(
    /// An ed25519 public key.
    PublicKey, 32
);
hex_bytes!(
    /// An account: the first ed25519 public key of a node, for ever. Statistics, owed totals and roles hang on it. The current key,
    /// from which the libp2p peer id comes, may be another: the state knows it.
    NodeId, 32
);
hex_bytes!(
    /// A validator's key: the ed25519 public key with which it signs. An account has one at a time, and changes it.
    ValidatorId, 32
);
hex_bytes!(
    /// A network: the BLAKE3 hash of its genesis in the codec's bytes. Block 1's parent has the same bytes.
    NetworkId, 32
);
hex_bytes!(
    /// The BLAKE3 hash of a block's header in the codec's bytes; what the validators vote on.
    BlockHash, 32
);
hex_bytes!(
    /// The Merkle root of the replicated state after a block.
    StateRoot, 32
);
hex_bytes!(
    /// A pool of workers: BLAKE3 of the network id and the pool's name.
    PoolId, 32
);
hex_bytes!(
    /// What became due for one account in one settlement: BLAKE3 of the account's id and the settlement.
    PayoutId, 32
);
hex_bytes!(
    /// A transaction of the payment network: SHA-256 of its raw data.
    TxId, 32
);
hex_bytes!(
    /// A block of the payment network.
    SolidBlockId, 32
);
hex_bytes!(
    /// A BLAKE3 hash without a type of its own.
    Hash, 32
);

impl Signer for ValidatorId {
    fn of(key: PublicKey) -> Self {
        Self::from_bytes(*key.as_bytes())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(*self.as_bytes())
    }
}

impl Wire for NodeId {
    const MAX_BYTES: usize = 32;
}

impl NodeId {
    /// The account of a node whose first key this is.
    pub const fn from_first_key(key: PublicKey) -> Self {
        Self::from_bytes(*key.as_bytes())
    }

    /// The account's first key. It may have been given up for another.
    pub const fn first_key(&self) -> PublicKey {
        PublicKey::from_bytes(*self.as_bytes())
    }
}

impl Wire for Hash {
    const MAX_BYTES: usize = 32;
}

impl From<NetworkId> for BlockHash {
    /// The parent of block 1.
    fn from(network: NetworkId) -> Self {
        Self::from_bytes(*network.as_bytes())
    }
}

impl Hash {
    /// BLAKE3 under a derive-key context: the same bytes hashed for two purposes never collide.
    pub fn derive(context: &'static str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        Self::from_bytes(*hasher.finalize().as_bytes())
    }
}

impl PoolId {
    /// The id of the pool called `name`, which `network` was the first to have.
    pub fn derive(network: &NetworkId, name: &str) -> Self {
        Self::from_bytes(*Hash::derive("lucid pool id 1", &[network.as_bytes(), name.as_bytes()]).as_bytes())
    }
}

/// Where a payout is sent: 21 bytes, the first 0x41; text form base58check. Data, never an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutAddress([u8; 21]);

impl PayoutAddress {
    /// The first byte of every address.
    pub const PREFIX: u8 = 0x41;

    /// Wraps 21 raw bytes; `None` if they do not start with [`Self::PREFIX`].
    pub const fn from_bytes(bytes: [u8; 21]) -> Option<Self> {
        if bytes[0] == Self::PREFIX { Some(Self(bytes)) } else { None }
    }

    /// The address of a 20-byte account or contract hash.
    pub fn from_hash20(hash: [u8; 20]) -> Self {
        let mut bytes = [Self::PREFIX; 21];
        bytes[1..].copy_from_slice(&hash);
        Self(bytes)
    }

    /// All 21 bytes.
    pub const fn as_bytes(&self) -> &[u8; 21] {
        &self.0
    }

    /// The last 20 bytes, as contracts see the address.
    pub fn hash20(&self) -> [u8; 20] {
        let mut hash = [0; 20];
        hash.copy_from_slice(&self.0[1..]);
        hash
    }

    /// Refuses the zero address, from which nothing comes back; `name` says what it was given as.
    pub(crate) fn check_not_zero(&self, name: &str) -> Result<(), String> {
        if self.hash20() == [0; 20] {
            return Err(format!("{name} is the zero address; give an account of your own"));
        }
        Ok(())
    }

    /// 42 lower-case hex digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for PayoutAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).with_check().into_string())
    }
}

impl fmt::Debug for PayoutAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayoutAddress({self})")
    }
}

/// Longer text is no address with a mistake in it, and is not repeated in errors.
const MAX_SHOWN: usize = 64;

impl FromStr for PayoutAddress {
    type Err = ParseBytesError;
    fn from_str(text: &str) -> Result<Self, ParseBytesError> {
        let fail = |why: &str| {
            let shown = if text.len() <= MAX_SHOWN { format!("{text:?}") } else { "the text".to_owned() };
            ParseBytesError { kind: "PayoutAddress", problem: format!("{shown} is no TRON address ({why})") }
        };
        let mut bytes = [0; 25];
        // The decoder's own words speak of buffers, and of checksums in lists of bytes.
        let n = bs58::decode(text).with_check(None).onto(&mut bytes).map_err(|error| match error {
            Error::BufferTooSmall => fail("it is too long"),
            Error::NoChecksum => fail("it is too short"),
            Error::InvalidChecksum { .. } => fail("its checksum does not match"),
            Error::InvalidCharacter { character, .. } => fail(&format!("no address has the character {character:?}")),
            _ => fail("it has a character that no address has"),
        })?;
        let payload = bytes[..n].try_into().map_err(|_| fail("it is too short"))?;
        Self::from_bytes(payload).ok_or_else(|| fail("it is of another chain: its first byte is not 0x41"))
    }
}

impl Serialize for PayoutAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            crate::bytes::serialize("PayoutAddress", &self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PayoutAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return crate::bytes::deserialize_text(deserializer);
        }
        let bytes = crate::bytes::deserialize("PayoutAddress", deserializer)?;
        Self::from_bytes(bytes).ok_or_else(|| serde::de::Error::custom("a payout address starts with 0x41"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::StrDeserializer;

    use super::*;

    #[test]
    fn text_round_trips() {
        let id = NodeId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        // The mainnet USDT contract, hex and base58check (public knowledge).
        let usdt: PayoutAddress = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".parse().unwrap();
        assert_eq!(usdt.hex(), "41a614f803b6fd780986a42c78ec9c7f77e6ded13c");
        assert_eq!(usdt.to_string(), "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t");
        assert_eq!(PayoutAddress::from_hash20(usdt.hash20()), usdt);
    }

    #[test]
    fn wrong_text_says_what_is_wrong() {
        let e = "abcd".parse::<NodeId>().unwrap_err();
        assert_eq!(e.to_string(), "NodeId: expected 64 hex digits, found 4");
        assert!("zz".repeat(32).parse::<NodeId>().is_err());
        // One changed character breaks the checksum; a Bitcoin address has another prefix.
        let long = "T".repeat(65);
        for (text, why) in [
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u", "its checksum does not match"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6", "its checksum does not match"),
            ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "it is of another chain: its first byte is not 0x41"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj0t", "no address has the character '0'"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6\u{e9}", "it has a character that no address has"),
            ("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6tTR7N", "it is too long"),
            ("TR7", "it is too short"),
        ] {
            let told = format!("{text:?} is no TRON address ({why})");
            assert_eq!(text.parse::<PayoutAddress>().unwrap_err().problem, told);
            // In a file, too.
            let read: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
            assert_eq!(PayoutAddress::deserialize(read).unwrap_err().to_string(), format!("PayoutAddress: {told}"));
        }
        let error = long.parse::<PayoutAddress>().unwrap_err();
        assert_eq!(error.problem, "the text is no TRON address (it is too long)");
    }

    #[test]
    fn accounts_and_payouts_differ_in_every_part() {
        use crate::payout::AccountKind::{Commission, Validator, Worker};
        use crate::payout_tree::AccountId;

        let (net, pool, node) =
            (NetworkId::from_bytes([1; 32]), PoolId::from_bytes([2; 32]), NodeId::from_bytes([3; 32]));
        let base = AccountId::derive(&net, &pool, Worker, &node);
        let others = [
            AccountId::derive(&NetworkId::from_bytes([9; 32]), &pool, Worker, &node),
            AccountId::derive(&net, &PoolId::from_bytes([9; 32]), Worker, &node),
            AccountId::derive(&net, &pool, Commission, &node),
            AccountId::derive(&net, &pool, Validator, &node),
            AccountId::derive(&net, &pool, Worker, &NodeId::from_bytes([9; 32])),
        ];
        let payout = PayoutId::derive(&base, 1);
        for other in others {
            assert_ne!(other, base);
            assert_ne!(PayoutId::derive(&other, 1), payout);
        }
        assert_ne!(PayoutId::derive(&base, 2), payout);
    }
}
