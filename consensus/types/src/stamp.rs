//! Stamps: work that makes entering a network or a pool cost something (hashcash).
//!
//! A stamp's hash is BLAKE3 in derive-key mode with the context `lucid stamp 1` over network (32 bytes), account (32), pool (32;
//! zeros for the network), the random beacon of the block that closed the stamp's epoch (32), the epoch and the stamp's nonce
//! (`u64` little-endian each). The stamp is worth as many bits as zeros lead the hash, so that one of *n* bits takes 2^n tries on
//! average. The beacon keeps anybody from making stamps ahead of time.

use serde::{Deserialize, Serialize};

use crate::id::{Hash, NetworkId, NodeId, PoolId};
use crate::time::Epoch;

/// Work that makes entering cost something: hashcash. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// The epoch whose closing block's beacon it is made for; 0 for the first beacon.
    pub epoch: Epoch,
    /// What was searched for.
    pub nonce: u64,
}

/// What a stamp is made for. It is worth nothing for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampTarget {
    /// The network.
    pub network: NetworkId,
    /// The account that enters.
    pub account: NodeId,
    /// Where it enters; `None` for the network alone.
    pub pool: Option<PoolId>,
    /// The random beacon of the block that closed the stamp's epoch.
    pub beacon: Hash,
}

impl Stamp {
    /// How much work it shows: the zero bits that lead its hash, 0 to 256.
    pub fn bits(&self, target: &StampTarget) -> u32 {
        worth(target.hasher(self.epoch), self.nonce)
    }
}

impl StampTarget {
    /// Tries `tries` nonces from `from` on, after the last one again from 0, and returns the first stamp of at least `bits` bits.
    /// Takes about 2^bits tries in all; a caller that shows progress or can be cancelled asks for some at a time.
    ///
    /// # Errors
    /// None of the nonces will do: the next to try.
    pub fn search(&self, epoch: Epoch, bits: u8, from: u64, tries: u64) -> Result<Stamp, u64> {
        let hasher = self.hasher(epoch);
        let mut nonces = (0..tries).map(|i| from.wrapping_add(i));
        let found = nonces.find(|nonce| worth(hasher.clone(), *nonce) >= u32::from(bits));
        found.map(|nonce| Stamp { epoch, nonce }).ok_or(from.wrapping_add(tries))
    }

    /// Everything but the nonce.
    fn hasher(&self, epoch: Epoch) -> blake3::Hasher {
        let pool = self.pool.unwrap_or(PoolId::from_bytes([0; 32]));
        let mut hasher = blake3::Hasher::new_derive_key("lucid stamp 1");
        for part in [self.network.as_bytes(), self.account.as_bytes(), pool.as_bytes(), self.beacon.as_bytes()] {
            hasher.update(part);
        }
        hasher.update(&epoch.get().to_le_bytes());
        hasher
    }
}

/// The zero bits that lead the hash with this nonce.
fn worth(mut hasher: blake3::Hasher, nonce: u64) -> u32 {
    let hash = hasher.update(&nonce.to_le_bytes()).finalize();
    let zeros = hash.as_bytes().iter().take_while(|byte| **byte == 0).count();
    let rest = hash.as_bytes().get(zeros).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(8 * zeros).map_or(u32::MAX, |bits| bits + rest)
}

/// The most bits that are ever asked for.
pub const MAX_DIFFICULTY: u8 = 40;

/// The bits that a stamp must be worth where `joins` entered in the last epoch: `base` while these are at most `free`, one bit
/// more up to twice `free`, two up to four times, and so on, at most [`MAX_DIFFICULTY`]. So the work for an entry grows in
/// proportion to the number of entries.
pub fn difficulty(base: u8, joins: u32, free: u32) -> u8 {
    let mut bits = base;
    let mut limit = u64::from(free);
    while bits < MAX_DIFFICULTY && u64::from(joins) > limit {
        bits += 1;
        limit = (2 * limit).max(1);
    }
    bits.min(MAX_DIFFICULTY)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(account: u32) -> StampTarget {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&account.to_le_bytes());
        StampTarget {
            network: NetworkId::from_bytes([1; 32]),
            account: NodeId::from_bytes(id),
            pool: Some(PoolId::from_bytes([2; 32])),
            beacon: Hash::from_bytes([3; 32]),
        }
    }

    #[test]
    fn a_stamp_of_n_bits_takes_about_two_to_the_n_tries() {
        for bits in [4, 8] {
            let tries = |account| target(account).search(Epoch::new(9), bits, 0, 1 << 20).unwrap().nonce + 1;
            let accounts = 1_000;
            let mean = (0..accounts).map(tries).sum::<u64>() / u64::from(accounts);
            // The deviation of the mean is 3 %.
            let expected = 1 << bits;
            assert!((expected * 85..expected * 115).contains(&(100 * mean)), "{mean} tries for {bits} bits");
        }
    }

    #[test]
    fn a_stamp_is_worth_nothing_for_anything_else() {
        let here = target(1);
        let stamp = here.search(Epoch::new(9), 16, 0, 1 << 22).unwrap();
        assert!(stamp.bits(&here) >= 16);
        let others = [
            StampTarget { network: NetworkId::from_bytes([9; 32]), ..here },
            StampTarget { account: NodeId::from_bytes([9; 32]), ..here },
            StampTarget { pool: Some(PoolId::from_bytes([9; 32])), ..here },
            StampTarget { pool: None, ..here },
            StampTarget { beacon: Hash::from_bytes([9; 32]), ..here },
        ];
        for other in others {
            assert!(stamp.bits(&other) < 16, "{other:?}");
        }
        assert!(Stamp { epoch: Epoch::new(10), ..stamp }.bits(&here) < 16);
        assert!(Stamp { nonce: stamp.nonce + 1, ..stamp }.bits(&here) < 16);
    }

    #[test]
    fn a_search_goes_on_where_it_stopped_and_finds_the_first() {
        let (target, epoch) = (target(2), Epoch::new(9));
        let whole = target.search(epoch, 10, 0, 1 << 20).unwrap();
        let mut from = 0;
        let stamp = loop {
            match target.search(epoch, 10, from, 7) {
                Ok(stamp) => break stamp,
                Err(next) => {
                    assert_eq!(next, from + 7);
                    from = next;
                }
            }
        };
        assert_eq!(stamp, whole);
        assert_eq!(target.search(epoch, 10, 0, whole.nonce), Err(whole.nonce), "one try too few");
        assert_eq!(target.search(epoch, 0, 5, 1).unwrap().nonce, 5, "any nonce is worth no bit");
        assert_eq!(target.search(epoch, 255, u64::MAX, 3), Err(2), "after the last nonce comes 0");
    }

    #[test]
    fn difficulty_grows_by_a_bit_with_every_doubling() {
        for (joins, bits) in [(0, 20), (8, 20), (9, 21), (16, 21), (17, 22), (32, 22), (33, 23), (u32::MAX, 40)] {
            assert_eq!(difficulty(20, joins, 8), bits, "{joins} joins");
        }
        for (joins, bits) in [(0, 20), (1, 21), (2, 22), (4, 23), (5, 24)] {
            assert_eq!(difficulty(20, joins, 0), bits, "{joins} joins, none free");
        }
        assert_eq!(difficulty(50, 0, 8), 40);
    }

    proptest! {
        #[test]
        fn difficulty_never_falls_and_doubles_with_the_joins(base in 0u8..=45, joins: u32, free: u32) {
            let bits = difficulty(base, joins, free);
            prop_assert!(bits <= MAX_DIFFICULTY);
            prop_assert!(bits >= base.min(MAX_DIFFICULTY));
            prop_assert!(difficulty(base, joins.saturating_add(1), free) >= bits);
            prop_assert!(difficulty(base, joins, free.saturating_add(1)) <= bits);
            prop_assert!(difficulty(base.saturating_add(1), joins, free) >= bits);
            prop_assert_eq!(bits == base.min(MAX_DIFFICULTY), joins <= free || base >= MAX_DIFFICULTY);
            if (1..=u32::MAX / 2).contains(&free) && (free + 1..=u32::MAX / 2).contains(&joins) {
                prop_assert_eq!(difficulty(base, 2 * joins, free), (bits + 1).min(MAX_DIFFICULTY));
            }
        }
    }
}
