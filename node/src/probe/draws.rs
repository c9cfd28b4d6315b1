//! Random numbers from a seed: the same seed gives the same schedule, so schedules can be tested.

use blake3::OutputReader;

/// A stream of random numbers: BLAKE3's output of unlimited length.
pub struct Draws(OutputReader);

impl Draws {
    /// The numbers of a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(blake3::Hasher::new_keyed(seed).finalize_xof())
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A number below `bound`; 0 if `bound` is 0. Its bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let product = u128::from(u64::from_le_bytes(bytes)) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_the_bound_and_cover_it() {
        let mut draws = Draws::from_seed(&[1; 32]);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            let n = usize::try_from(draws.below(10)).unwrap_or(10);
            seen[n] += 1;
        }
        // 1,000 expected, standard deviation 30.
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
        assert_eq!(draws.below(0), 0);
        assert_eq!(draws.below(1), 0);
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        assert_eq!(Draws::from_seed(&[1; 32]).bytes(), Draws::from_seed(&[1; 32]).bytes());
        assert_ne!(Draws::from_seed(&[1; 32]).bytes(), Draws::from_seed(&[2; 32]).bytes());
        let mut draws = Draws::from_seed(&[1; 32]);
        assert_ne!(draws.bytes(), draws.bytes());
    }
}
