//! Proofs that a row is in the replicated state, or that none is: the hashes of its Merkle tree, and how a proof is checked.
//!
//! The state is a set of rows, each a key and a value of bytes. The tree over them is a binary Patricia tree: a leaf for each
//! row, and a branch wherever the keys below it part.
//!
//! ```text
//!   value hash  BLAKE3(value)
//!   leaf        BLAKE3(0x00 || length of the key (u16, little-endian) || key || value hash)
//!   branch      BLAKE3(0x01 || bit (u16, little-endian) || left || right)
//!   no rows     32 zero bytes
//! ```
//!
//! Bits of a key are counted from 0, the most significant bit of its first byte. The bit of a branch is the first in which the
//! keys below it differ: those on its left have 0 there, those on its right 1. So bits grow from the root down, and the tree
//! follows from the rows alone. No key is the beginning of another: the first byte names the table of the row and so fixes the
//! key's length.
//!
//! A lookup starts at the root and takes, at each branch, the side that the key's own bit says, or the left one if the key has
//! ended. If the key is present, all these bits are its own, and the lookup ends at its leaf; so if the lookup ends at another
//! leaf, the key is absent. A proof is that way: the bit of each branch and the hash of the side not taken, and for absence the
//! leaf. Since branches commit to their bits, nobody can make a lookup turn the wrong way.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::Hash;

/// No key of a row is longer, in bytes.
pub const MAX_KEY_BYTES: usize = 72;

/// The root of the tree without rows.
pub const EMPTY_ROOT: Hash = Hash::from_bytes([0; 32]);

/// The hash of a row's value.
pub fn value_hash(value: &[u8]) -> Hash {
    Hash::from_bytes(*blake3::hash(value).as_bytes())
}

/// The hash of a leaf. Of a key longer than `u16::MAX`, which no row has, the length is written as `u16::MAX`.
pub fn leaf_hash(key: &[u8], value: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
    hasher.update(&[0, length[0], length[1]]).update(key).update(value.as_bytes());
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

/// The hash of a branch whose keys first differ in `bit`.
pub fn branch_hash(bit: u16, left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 67];
    bytes[1..3].copy_from_slice(&bit.to_le_bytes());
    bytes[3..35].copy_from_slice(left.as_bytes());
    bytes[35..].copy_from_slice(right.as_bytes());
    Hash::from_bytes(*blake3::hash(&bytes).as_bytes())
}

/// A bit of a key: whether a lookup goes right at a branch of this bit. `None` if the key has fewer bits.
pub fn key_bit(key: &[u8], bit: u16) -> Option<bool> {
    let byte = key.get(usize::from(bit / 8))?;
    Some((byte >> (7 - bit % 8)) & 1 == 1)
}

/// A branch on the way to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
// The engine has steps, too, and the page of layouts knows types by their names.
#[serde(rename = "ProofStep")]
pub struct ProofStep {
    /// The branch's bit.
    pub bit: u16,
    /// The hash of the side that the way does not take.
    pub sibling: Hash,
}

/// The leaf at which the lookup of an absent key ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLeaf {
    /// Its key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Its value hash.
    pub value: Hash,
}

/// That a key has a value under a root, or that it has none. Untrusted until checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyProof {
    /// From the root down.
    pub steps: Vec<ProofStep>,
    /// For an absent key, unless the tree is empty.
    pub other: Option<OtherLeaf>,
}

impl Wire for KeyProof {
    const MAX_BYTES: usize = 8 + Self::MAX_STEPS * 34 + 1 + 8 + MAX_KEY_BYTES + 32;
}

/// Why a proof does not show what it is said to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No row has such a key.
    #[error("a key of {0} bytes, the limit is {MAX_KEY_BYTES}")]
    LongKey(usize),
    /// A branch stands below one of a later bit, or of the same.
    #[error("a branch of bit {bit} below one of bit {above}")]
    Order {
        /// The lower branch's bit.
        bit: u16,
        /// The bit of the branch above it.
        above: u16,
    },
    /// The keys below a branch have its bit.
    #[error("a branch of bit {bit} above a leaf whose key has {bits} bits")]
    OutsideKey {
        /// The branch's bit.
        bit: u16,
        /// Bits of the leaf's key.
        bits: usize,
    },
    /// A proof of a value ends at the key's own leaf.
    #[error("a proof of a value has no other leaf")]
    Superfluous,
    /// A proof of absence ends at a leaf, unless the tree is empty.
    #[error("the leaf at which the lookup ends is missing")]
    NoLeaf,
    /// The other leaf is that of the key: it is present.
    #[error("the leaf at which the lookup ends has the key itself")]
    Present,
    /// The lookup turns the other way at a branch of this bit.
    #[error("the key's lookup does not turn towards the other leaf at the branch of bit {0}")]
    OffPath(u16),
    /// The proof is of another tree, key or value.
    #[error("the proof leads to the root {0}")]
    Root(Hash),
}

impl KeyProof {
    /// Branches above a leaf at most: one for each bit of the longest key.
    pub const MAX_STEPS: usize = 8 * MAX_KEY_BYTES;

    /// Checks that under `root` the row `key` has exactly this value.
    ///
    /// # Errors
    /// It does not show that.
    pub fn check_value(&self, root: &Hash, key: &[u8], value: &[u8]) -> Result<(), ProofError> {
        if self.other.is_some() {
            return Err(ProofError::Superfluous);
        }
        self.check_path(root, key, &value_hash(value))
    }

    /// Checks that under `root` there is no row `key`.
    ///
    /// # Errors
    /// It does not show that.
    pub fn check_absence(&self, root: &Hash, key: &[u8]) -> Result<(), ProofError> {
        check_length(key)?;
        let Some(other) = &self.other else {
            return if self.steps.is_empty() { check_root(EMPTY_ROOT, root) } else { Err(ProofError::NoLeaf) };
        };
        if other.key == key {
            return Err(ProofError::Present);
        }
        let goes_right = |key, bit| key_bit(key, bit).unwrap_or(false);
        let parts = |step: &&ProofStep| goes_right(key, step.bit) != goes_right(&other.key, step.bit);
        if let Some(step) = self.steps.iter().find(parts) {
            return Err(ProofError::OffPath(step.bit));
        }
        self.check_path(root, &other.key, &other.value)
    }

    /// Checks that the steps lead to this leaf. Their bits grow and lie inside its key, which bounds their number.
    fn check_path(&self, root: &Hash, key: &[u8], value: &Hash) -> Result<(), ProofError> {
        check_length(key)?;
        if let Some([above, below]) = self.steps.array_windows().find(|[above, below]| below.bit <= above.bit) {
            return Err(ProofError::Order { bit: below.bit, above: above.bit });
        }
        let mut hash = leaf_hash(key, value);
        for ProofStep { bit, sibling } in self.steps.iter().rev() {
            hash = match key_bit(key, *bit) {
                Some(false) => branch_hash(*bit, &hash, sibling),
                Some(true) => branch_hash(*bit, sibling, &hash),
                None => return Err(ProofError::OutsideKey { bit: *bit, bits: 8 * key.len() }),
            };
        }
        check_root(hash, root)
    }
}

fn check_length(key: &[u8]) -> Result<(), ProofError> {
    if key.len() > MAX_KEY_BYTES { Err(ProofError::LongKey(key.len())) } else { Ok(()) }
}

fn check_root(found: Hash, root: &Hash) -> Result<(), ProofError> {
    if found == *root { Ok(()) } else { Err(ProofError::Root(found)) }
}

#[cfg(test)]
mod tests;
