//! The bytes of the chunks that a validator deposits: of a secret that never leaves it, so that no chunk has to be kept.
//!
//! ```text
//! seed    = derive("lucid storage seed 1", secret, network id, validator, worker, term as u64)
//! deposit = derive("lucid storage deposit 1", seed), which is public
//! chunk i = the first 2^20 bytes of BLAKE3 keyed with the seed over i as u32, little-endian
//! ```
//!
//! A range is read out of the middle of that output: 16 blocks of 64 bytes for a KiB.

use lucid_types::id::{Hash, NetworkId, NodeId};
use lucid_types::storage::{CHUNK_BYTES, ChunkRange, DepositId};
use zeroize::Zeroizing;

/// A validator's secret, from which all its chunks follow.
#[derive(Clone)]
pub struct StorageSecret(Zeroizing<[u8; 32]>);

/// What the chunks of one deposit follow from.
pub struct ChunkSeed(Zeroizing<[u8; 32]>);

impl StorageSecret {
    /// That of 32 random bytes.
    pub const fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// The seed of what a validator deposits with a worker for the term that begins in a settlement. Validators have chunks of their own, also if
    /// they have the same secret: no worker keeps one for two.
    pub fn seed(&self, network: &NetworkId, validator: &NodeId, worker: &NodeId, term: u64) -> ChunkSeed {
        let term = term.to_le_bytes();
        let parts: [&[u8]; 5] = [self.0.as_slice(), network.as_bytes(), validator.as_bytes(), worker.as_bytes(), &term];
        ChunkSeed(Zeroizing::new(*Hash::derive("lucid storage seed 1", &parts).as_bytes()))
    }

    /// The name of that deposit.
    pub fn deposit(&self, network: &NetworkId, validator: &NodeId, worker: &NodeId, term: u64) -> DepositId {
        DepositId { term, tag: self.seed(network, validator, worker, term).tag() }
    }
}

impl ChunkSeed {
    /// Tells chunks of this seed from those of another, and nothing of either.
    pub fn tag(&self) -> Hash {
        Hash::derive("lucid storage deposit 1", &[self.0.as_slice()])
    }

    /// A whole chunk. Takes about a millisecond.
    pub fn chunk(&self, index: u32) -> Vec<u8> {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.output(index).fill(&mut chunk);
        chunk
    }

    /// Whether `bytes` are these ranges, of `length` bytes each, one after the other.
    pub fn is_right(&self, ranges: &[ChunkRange], length: u32, bytes: &[u8]) -> bool {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || bytes.len() != ranges.len().saturating_mul(length) {
            return false;
        }
        let mut expected = vec![0; length];
        ranges.iter().zip(bytes.chunks(length)).all(|(range, bytes)| {
            let mut output = self.output(range.index);
            output.set_position(range.offset.into());
            output.fill(&mut expected);
            expected == bytes
        })
    }

    fn output(&self, index: u32) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.0).update(&index.to_le_bytes()).finalize_xof()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
    const VALIDATOR: NodeId = NodeId::from_bytes([5; 32]);
    const WORKER: NodeId = NodeId::from_bytes([2; 32]);

    fn secret(byte: u8) -> StorageSecret {
        StorageSecret::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_range_is_that_part_of_its_chunk() {
        let seed = secret(3).seed(&NETWORK, &VALIDATOR, &WORKER, 7);
        let ranges = [(0, 0), (0, 1), (5, 63), (5, 65_000), (9, (1 << 20) - 100)]
            .map(|(index, offset)| ChunkRange { index, offset });
        let part = |it: &ChunkRange| {
            let start = usize::try_from(it.offset).unwrap_or(0);
            seed.chunk(it.index)[start..start + 100].to_vec()
        };
        let bytes: Vec<u8> = ranges.iter().flat_map(part).collect();
        assert!(seed.is_right(&ranges, 100, &bytes));
        for at in [0, 99, 100, 250, 499] {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1;
            assert!(!seed.is_right(&ranges, 100, &spoiled), "byte {at}");
        }
        assert!(!seed.is_right(&ranges, 100, &bytes[..499]) && !seed.is_right(&ranges[1..], 100, &bytes));
        assert!(!seed.is_right(&ranges, 100, &[&bytes[..], &[0]].concat()) && !seed.is_right(&ranges, 100, &[]));
        let swapped = [ranges[1], ranges[0], ranges[2], ranges[3], ranges[4]];
        assert!(!seed.is_right(&swapped, 100, &bytes));
    }

    #[test]
    fn every_secret_network_validator_worker_and_term_has_a_deposit_of_its_own() {
        let deposits = [
            secret(3).deposit(&NETWORK, &VALIDATOR, &WORKER, 7),
            secret(4).deposit(&NETWORK, &VALIDATOR, &WORKER, 7),
            secret(3).deposit(&NetworkId::from_bytes([9; 32]), &VALIDATOR, &WORKER, 7),
            secret(3).deposit(&NETWORK, &NodeId::from_bytes([9; 32]), &WORKER, 7),
            secret(3).deposit(&NETWORK, &WORKER, &VALIDATOR, 7),
            secret(3).deposit(&NETWORK, &VALIDATOR, &NodeId::from_bytes([9; 32]), 7),
            secret(3).deposit(&NETWORK, &VALIDATOR, &WORKER, 8),
        ];
        let tags: std::collections::BTreeSet<_> = deposits.iter().map(|it| it.tag).collect();
        assert_eq!(tags.len(), deposits.len());
        assert_eq!(secret(3).deposit(&NETWORK, &VALIDATOR, &WORKER, 7), deposits[0]);
    }
}
