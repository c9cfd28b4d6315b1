//! The storage probe on the wire: a validator deposits chunks with a worker, and asks for parts of them again.
//!
//! Nothing of it is signed: the connection proves who asks and who answers, and nobody but the validator judges the answer.

use serde::{Deserialize, Serialize};

use crate::codec::Wire;
use crate::id::Hash;
use crate::policy::{FixedPolicy, Policy};

/// Bytes of a chunk.
pub const CHUNK_BYTES: usize = 1 << 20;

const _: () = assert!(CHUNK_BYTES as u64 == Policy::CHUNK_BYTES);

/// The most bytes that a challenge asks for: the bound of the policy's `storage_ranges * storage_range_bytes`.
pub const MAX_CHALLENGE_BYTES: usize = 64 << 10;

/// The most ranges of a challenge: the bound of the policy's `storage_ranges`.
pub const MAX_RANGES: usize = 64;

/// What a validator has deposited with a worker for one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DepositId {
    /// The settlement in which the term begins.
    pub term: u64,
    /// Tells chunks of one secret seed from those of another.
    pub tag: Hash,
}

/// A part of a chunk; how many bytes it has, the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRange {
    /// The chunk's place in the deposit.
    pub index: u32,
    /// Its first byte.
    pub offset: u32,
}

/// What a validator asks of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRequest {
    /// How many chunks of the deposit are there.
    Held(DepositId),
    /// Store the next chunk.
    Deposit {
        /// To which deposit it belongs.
        deposit: DepositId,
        /// Its place: as many as are there.
        index: u32,
        /// [`CHUNK_BYTES`] bytes.
        #[serde(with = "serde_bytes")]
        chunk: Vec<u8>,
    },
    /// Return these parts, one after the other.
    Challenge {
        /// Of which deposit.
        deposit: DepositId,
        /// As many as the policy says.
        ranges: Vec<ChunkRange>,
    },
}

impl Wire for StorageRequest {
    const MAX_BYTES: usize = 4 + 40 + 4 + 8 + CHUNK_BYTES;
}

impl StorageRequest {
    /// The deposit that it is about.
    pub const fn deposit(&self) -> &DepositId {
        match self {
            Self::Held(deposit) | Self::Deposit { deposit, .. } | Self::Challenge { deposit, .. } => deposit,
        }
    }

    /// Whether it is one that a validator under this policy sends: a whole chunk, or as many ranges as a challenge has, all of them
    /// within a chunk.
    pub fn is_well_formed(&self, policy: &FixedPolicy) -> bool {
        match self {
            Self::Held(_) => true,
            Self::Deposit { chunk, .. } => chunk.len() == CHUNK_BYTES,
            Self::Challenge { ranges, .. } => {
                let last = Policy::CHUNK_BYTES.saturating_sub(policy.storage_range_bytes.into());
                let is_within = |range: &ChunkRange| u64::from(range.offset) <= last;
                ranges.len() as u64 == u64::from(policy.storage_ranges) && ranges.iter().all(is_within)
            }
        }
    }
}

/// What a worker answers. To a request that is not well-formed, or of whoever is no validator, it gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageReply {
    /// So many chunks of the deposit are there.
    Held {
        /// Their number.
        chunks: u32,
    },
    /// The chunk is durable.
    Stored {
        /// How many are there with it.
        chunks: u32,
    },
    /// The parts, in the order in which they were asked for.
    Ranges(#[serde(with = "serde_bytes")] Vec<u8>),
    /// It does not.
    Refused(StorageRefusal),
}

impl Wire for StorageReply {
    const MAX_BYTES: usize = 4 + 8 + MAX_CHALLENGE_BYTES;
}

/// Why a worker does not do what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageRefusal {
    /// The validator has no seat in that term, or not for so many chunks, as far as the worker knows.
    NotDrawn,
    /// There is no room.
    Full,
    /// Too much is being read and written.
    Busy,
    /// Another chunk is the next.
    OutOfOrder {
        /// Its place.
        next: u32,
    },
    /// There is no such deposit, or not so many chunks of it.
    Unknown,
    /// A chunk cannot be read any more. It is gone, and all after it.
    Damaged {
        /// Its place.
        index: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{DecodeError, decode, encode};

    const DEPOSIT: DepositId = DepositId { term: 7, tag: Hash::from_bytes([1; 32]) };

    fn challenge(ranges: usize, offset: u32) -> StorageRequest {
        StorageRequest::Challenge { deposit: DEPOSIT, ranges: vec![ChunkRange { index: u32::MAX, offset }; ranges] }
    }

    fn chunk(bytes: usize) -> StorageRequest {
        StorageRequest::Deposit { deposit: DEPOSIT, index: 0, chunk: vec![0xff; bytes] }
    }

    #[test]
    fn the_greatest_messages_fit_their_limits_to_the_byte() {
        assert_eq!(encode(&chunk(CHUNK_BYTES)).len(), StorageRequest::MAX_BYTES);
        assert_eq!(encode(&StorageReply::Ranges(vec![0; MAX_CHALLENGE_BYTES])).len(), StorageReply::MAX_BYTES);
        let longer = encode(&chunk(CHUNK_BYTES + 1));
        assert!(matches!(decode::<StorageRequest>(&longer), Err(DecodeError::TooLong { .. })));
        let longer = encode(&StorageReply::Ranges(vec![0; MAX_CHALLENGE_BYTES + 1]));
        assert!(matches!(decode::<StorageReply>(&longer), Err(DecodeError::TooLong { .. })));
    }

    #[test]
    fn only_whole_chunks_and_ranges_within_them_are_well_formed() {
        let policy = Policy::default().fixed();
        let is_well_formed = |request: StorageRequest| request.is_well_formed(&policy);
        let last = (1 << 20) - 1_024;
        assert!(is_well_formed(StorageRequest::Held(DEPOSIT)));
        assert!(is_well_formed(chunk(CHUNK_BYTES)) && is_well_formed(challenge(8, 0)));
        assert!(is_well_formed(challenge(8, last)) && !is_well_formed(challenge(8, last + 1)));
        assert!(!is_well_formed(challenge(8, u32::MAX)));
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES + 1] {
            assert!(!is_well_formed(chunk(bytes)), "{bytes}");
        }
        for ranges in [0, 7, 9, MAX_RANGES + 1] {
            assert!(!is_well_formed(challenge(ranges, 0)), "{ranges}");
        }
    }

    #[test]
    fn the_bounds_are_those_of_the_policy() {
        let policy =
            |storage_ranges, storage_range_bytes| Policy { storage_ranges, storage_range_bytes, ..Policy::default() };
        assert!(policy(64, 1_024).check().is_ok());
        assert!(policy(65, 64).check().is_err() && policy(64, 1_025).check().is_err());
        assert_eq!((MAX_RANGES, MAX_CHALLENGE_BYTES), (64, 64 * 1_024));
    }
}
