//! The Merkle root over a list of leaves, after RFC 6962 with BLAKE3: leaves and inner nodes are hashed with
//! different prefixes, and the split is at the largest power of two below the number of leaves.

use lucid_types::id::Hash;

/// The hash of one leaf.
pub fn leaf(key: &[u8], value: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0]);
    hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Hash::from_bytes(*blake3::hash(&bytes).as_bytes())
}

/// The root; of no leaves, the hash of nothing.
pub fn merkle_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::from_bytes(*blake3::hash(&[]).as_bytes()),
        [only] => *only,
        many => {
            let split = many.len().next_power_of_two() / 2;
            inner(&merkle_root(&many[..split]), &merkle_root(&many[split..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_its_key_and_its_place_count() {
        let leaves: Vec<_> = (0..7u8).map(|i| leaf(&[i], b"value")).collect();
        let root = merkle_root(&leaves);
        for i in 0..leaves.len() {
            let mut changed = leaves.clone();
            changed[i] = leaf(&[99], b"value");
            assert_ne!(merkle_root(&changed), root, "leaf {i}");
        }
        let mut swapped = leaves.clone();
        swapped.swap(2, 5);
        assert_ne!(merkle_root(&swapped), root);
        assert_ne!(merkle_root(&leaves[..6]), root);
        assert_ne!(leaf(b"ab", b"c"), leaf(b"a", b"bc"));
    }

    #[test]
    fn a_pair_of_leaves_is_no_leaf() {
        let (a, b) = (leaf(b"a", b""), leaf(b"b", b""));
        let joined = [a.as_bytes().as_slice(), b.as_bytes().as_slice()].concat();
        assert_ne!(merkle_root(&[a, b]), leaf(b"", &joined));
    }
}
