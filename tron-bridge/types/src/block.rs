//! Ids and tree roots of TRON: how a transaction, a block header and a block's list of transactions are hashed.
//!
//! Rules from java-tron: `TransactionCapsule.getRawHash` and `getMerkleHash`, `Sha256Hash.generateBlockId`,
//! `MerkleTree.createTree`. Nothing here reads the network.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::proto::{BlockHeaderRaw, Transaction};

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A transaction's id: the SHA-256 of its encoded raw data. Signatures are not covered.
pub fn transaction_id(raw_data: &[u8]) -> [u8; 32] {
    sha256(raw_data)
}

/// A block's id: its number as 8 big-endian bytes, then bytes 8..32 of the SHA-256 of the encoded raw header.
pub fn block_id(header: &BlockHeaderRaw) -> [u8; 32] {
    let mut id = sha256(&header.encode_to_vec());
    id[..8].copy_from_slice(&header.number.to_be_bytes());
    id
}

/// The number that a block's id begins with.
pub fn block_number(id: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What a header's `tx_trie_root` must be for these transactions, as the block holds them: with signatures and results.
///
/// A leaf is the SHA-256 of the whole encoded transaction, an inner node the SHA-256 of its two children; the last of
/// an odd row goes up unchanged. 32 zero bytes for a block without transactions.
pub fn transaction_root(transactions: &[Transaction]) -> [u8; 32] {
    let mut row: Vec<[u8; 32]> = transactions.iter().map(|t| sha256(&t.encode_to_vec())).collect();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => Sha256::new().chain_update(left).chain_update(right).finalize().into(),
                single => single.first().copied().unwrap_or_default(),
            })
            .collect();
    }
    row.first().copied().unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn transactions(n: u8) -> Vec<Transaction> {
        (0..n).map(|i| Transaction { raw_data: vec![i; 3], signature: vec![vec![i; 65]], ret: vec![] }).collect()
    }

    fn leaf(t: &Transaction) -> [u8; 32] {
        sha256(&t.encode_to_vec())
    }

    fn node(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
        sha256(&[left, right].concat())
    }

    #[test]
    fn root_promotes_the_odd_one() {
        assert_eq!(transaction_root(&[]), [0; 32]);
        let t = transactions(5);
        assert_eq!(transaction_root(&t[..1]), leaf(&t[0]));
        let pair = node(leaf(&t[0]), leaf(&t[1]));
        assert_eq!(transaction_root(&t[..2]), pair);
        assert_eq!(transaction_root(&t[..3]), node(pair, leaf(&t[2])));
        let four = node(pair, node(leaf(&t[2]), leaf(&t[3])));
        assert_eq!(transaction_root(&t), node(four, leaf(&t[4])));
    }

    #[test]
    fn root_covers_order_signatures_and_results() {
        let t = transactions(3);
        let root = transaction_root(&t);
        let mut swapped = t.clone();
        swapped.swap(0, 1);
        assert_ne!(transaction_root(&swapped), root);
        let mut resigned = t.clone();
        resigned[2].signature[0][64] ^= 1;
        assert_ne!(transaction_root(&resigned), root);
        assert_ne!(transaction_root(&t[..2]), root);
    }

    #[test]
    fn block_ids_are_those_of_the_public_networks() {
        // Headers of the main network and of the Nile test network.
        for (id, timestamp, number, parent, root, witness, version) in [
            (
                "000000000335f6219b675cfb09a93b99a53729b80b188dcde464eb41625c3d0c",
                1_745_423_034_000,
                53_868_065,
                "000000000335f620ef6509d67751753763be896f7ac569fc1d1cfa059cecf619",
                "0000000000000000000000000000000000000000000000000000000000000000",
                "41711cf6683d28621ae12030fd541b288c61d682cd",
                31,
            ),
            (
                "0000000003b6b891043be54ac0ae1ef579fad5e6e1732cb0ac4237a873b8453e",
                1_717_563_117_000,
                62_306_449,
                "0000000003b6b890d8e1d886520dcad1820f4313a435ad593a80c549ea883054",
                "7cb6ddff8ada79c91baf6667cc8ead757b39205a8dc8ae097298dbb0587bddb7",
                "4114f2c09d3de3fe82a71960da65d4935a30b24e1f",
                30,
            ),
        ] {
            let header = BlockHeaderRaw {
                timestamp,
                tx_trie_root: hex::decode(root).unwrap(),
                parent_hash: hex::decode(parent).unwrap(),
                number,
                witness_address: hex::decode(witness).unwrap(),
                version,
                ..BlockHeaderRaw::default()
            };
            assert_eq!(hex::encode(block_id(&header)), id);
        }
    }

    #[test]
    fn block_id_starts_with_its_number() {
        let header = BlockHeaderRaw { number: 0x0102_0304, timestamp: 7, ..BlockHeaderRaw::default() };
        let id = block_id(&header);
        assert_eq!(id[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(id[8..], sha256(&header.encode_to_vec())[8..]);
        assert_eq!(block_number(&id), 0x0102_0304);
    }
}
