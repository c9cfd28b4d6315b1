//! Work credits: what an epoch's medians earn.

use lucid_types::amount::Credits;
use lucid_types::policy::Policy;
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;

/// What a worker earned in an epoch, before it is shared with others in its network group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earned {
    /// For the echo.
    pub relay: Credits,
    /// For the storage that was proved: the epoch's part of a settlement's credits.
    pub storage: Credits,
}

impl Earned {
    /// `floor((relay + storage) / sharers)`.
    pub fn shared(&self, sharers: u16) -> Credits {
        Credits::capped(self.relay.saturating_add(self.storage).get() / u64::from(sharers.max(1)))
    }
}

/// What the medians of an epoch earn.
///
/// An echo that the median seat verified counts for all seats: a sum over those that verified it would let one liar claim any number, and
/// make a validator's own trouble the worker's. Storage credits of a settlement are spread over its epochs such that they sum up to the
/// whole.
pub fn earned(policy: &Policy, epoch: Epoch, medians: &Aggregate) -> Earned {
    let seats = u64::from(policy.seats);
    let bytes = medians.echo.map_or(0, |echo| echo.bytes);
    let sessions = if bytes > 0 { seats } else { 0 };
    let chunks = u64::from(medians.chunks.unwrap_or(0));
    let whole = storage_credits(policy, chunks * Policy::CHUNK_BYTES, chunks);
    let (epochs, number) = (policy.settle_every.max(1), epoch.get().saturating_sub(1));
    let of_first = |n: u64| u128::from(whole.get()) * u128::from(n) / u128::from(epochs);
    let storage = of_first(number % epochs + 1) - of_first(number % epochs);
    Earned {
        relay: relay_credits(policy, sessions, seats.saturating_mul(bytes)),
        storage: Credits::capped(u64::try_from(storage).unwrap_or(u64::MAX)),
    }
}

/// One for each session, or one for each started `echo_bytes_per_credit`, whichever is more.
fn relay_credits(policy: &Policy, sessions: u64, bytes: u64) -> Credits {
    Credits::capped(sessions.max(bytes.div_ceil(policy.echo_bytes_per_credit.max(1))))
}

/// What a validator earns by so many of its measurements that counted. Only how these credits are to each other matters.
pub fn validation_credits(sessions: u32) -> Credits {
    Credits::capped(u64::from(sessions).saturating_mul(5))
}

/// `floor(GiB * storage_credits_per_gib) + chunks * storage_credits_per_chunk`, for a settlement.
fn storage_credits(policy: &Policy, bytes: u64, chunks: u64) -> Credits {
    let of_bytes = (u128::from(bytes) * u128::from(policy.storage_credits_per_gib)) >> 30;
    let credits = of_bytes + u128::from(chunks) * u128::from(policy.storage_credits_per_chunk);
    Credits::capped(u64::try_from(credits).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::EchoMedian;

    fn medians(bytes: u64, chunks: u32) -> Aggregate {
        let echo = Some(EchoMedian { bytes, kbit_s: u64::from(bytes > 0) });
        Aggregate { echo, chunks: Some(chunks), ..Aggregate::default() }
    }

    #[test]
    fn relay_credits_by_the_document() {
        let policy = Policy::default();
        let credits = |sessions, bytes| relay_credits(&policy, sessions, bytes).get();
        assert_eq!(credits(0, 0), 0);
        assert_eq!(credits(0, 5_000_000), 1);
        assert_eq!(credits(0, 5_242_880), 1);
        assert_eq!(credits(0, 5_242_881), 2);
        assert_eq!(credits(0, 100 << 20), 20);
        assert_eq!(credits(30, 100 << 20), 30);
        assert_eq!(credits(0, u64::MAX), u64::MAX.div_ceil(5 << 20).min(Credits::MAX.get()));
    }

    #[test]
    fn storage_credits_by_the_document() {
        let policy = Policy { storage_credits_per_chunk: 2, ..Policy::default() };
        let credits = |bytes, chunks| storage_credits(&policy, bytes, chunks).get();
        assert_eq!(credits(10 << 30, 50), 200);
        assert_eq!((credits((10 << 30) - 1, 0), credits(u64::MAX, u64::MAX)), (99, Credits::MAX.get()));
    }

    #[test]
    fn validation_credits_by_the_document() {
        assert_eq!(
            [0, 5, u32::MAX].map(|sessions| validation_credits(sessions).get()),
            [0, 25, 5 * u64::from(u32::MAX)]
        );
    }

    /// 21 sessions, until the bytes of 21 echoes are more than 21 times 5 MiB.
    #[test]
    fn an_echo_counts_for_every_seat() {
        let policy = Policy::default();
        let relay = |bytes| earned(&policy, Epoch::new(1), &medians(bytes, 0)).relay.get();
        assert_eq!([0, 1, 256 << 10, 5 << 20, 6_248_448, 16 << 20].map(relay), [0, 21, 21, 21, 26, 68]);
        let none = Aggregate { echo: None, ..medians(0, 0) };
        assert_eq!(earned(&policy, Epoch::new(1), &none), Earned::default());
    }

    #[test]
    fn credits_are_divided_among_those_who_share() {
        let earned = Earned { relay: Credits::new(21), storage: Credits::new(2) };
        assert_eq!([0, 1, 2, 10, u16::MAX].map(|sharers| earned.shared(sharers).get()), [23, 23, 11, 2, 0]);
        let most = Earned { relay: Credits::MAX, storage: Credits::MAX };
        assert_eq!(most.shared(1), Credits::MAX);
    }

    proptest! {
        /// Whatever a settlement's epochs are, what is proved throughout earns its credits exactly, and each epoch the same to one.
        #[test]
        fn the_parts_of_a_settlement_are_the_whole(
            settle_every in 1u64..2_000,
            settlement in 1u64..1_000,
            chunks in 0u32..21 * 65_536,
            per_gib in 0u64..1_000,
        ) {
            let policy = Policy { settle_every, storage_credits_per_gib: per_gib, ..Policy::default() };
            let whole = storage_credits(&policy, u64::from(chunks) << 20, chunks.into()).get();
            let epochs = (settlement - 1) * settle_every + 1..=settlement * settle_every;
            let part = |epoch| earned(&policy, Epoch::new(epoch), &medians(0, chunks)).storage.get();
            let parts: Vec<_> = epochs.map(part).collect();
            prop_assert_eq!(parts.iter().sum::<u64>(), whole);
            prop_assert!(parts.iter().all(|part| *part == whole / settle_every || *part == whole.div_ceil(settle_every)));
        }

        /// Those who share one place never have more than the one of them that earned most.
        #[test]
        fn a_group_earns_no_more_than_its_best(all in prop::collection::vec(0u64..10_000, 1..50)) {
            let n = u16::try_from(all.len()).unwrap_or(u16::MAX);
            let shared = |relay: &u64| Earned { relay: Credits::new(*relay), ..Earned::default() }.shared(n).get();
            prop_assert!(Some(all.iter().map(shared).sum::<u64>()) <= all.iter().max().copied());
        }
    }
}
