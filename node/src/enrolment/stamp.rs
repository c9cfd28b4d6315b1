//! Working out a stamp beside everything else: on a thread of its own, slice by slice, until it is found, gets old, or is wanted no more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lucid_types::policy::FixedPolicy;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::time::Epoch;
use tokio::task::JoinError;

use crate::utc::duration_of;

/// Tries between two looks at the clock and at whether to stop: well below a second's.
const SLICE: u64 = 1 << 16;
/// Between two words about how far it is.
const TELL: Duration = Duration::from_secs(5);
/// Epochs after which a stamp is begun anew for a newer one: half of those for which stamps are taken.
const EPOCHS_TO_SEARCH: u32 = 4;

/// A stamp that is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is made for.
    pub target: StampTarget,
    /// The epoch whose closing block's beacon that is.
    pub epoch: Epoch,
    /// What it must be worth.
    pub bits: u8,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    bits: u8,
    tries: u64,
    /// Tries a second.
    rate: u64,
}

impl Wanted {
    /// Searches for it and tells of it, for the first time after a fraction of a second. `None` if the search took so long that another
    /// stamp should be searched for. Dropped, it ends.
    ///
    /// # Errors
    /// The thread panicked.
    pub async fn search(
        self,
        policy: FixedPolicy,
        tell: impl Fn(Progress) + Send + 'static,
    ) -> Result<Option<Stamp>, JoinError> {
        let patience = policy.epoch().saturating_mul(EPOCHS_TO_SEARCH);
        let is_over = Arc::new(AtomicBool::new(false));
        let _guard = Guard(Arc::clone(&is_over));
        let Self { target, epoch, bits } = self;
        let search = Search { bits, begun: Instant::now(), patience, is_over };
        tokio::task::spawn_blocking(move || search.run(|from| target.search(epoch, bits, from, SLICE), tell)).await
    }
}

/// Ends the search when nobody waits for it any more.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Search {
    bits: u8,
    begun: Instant,
    patience: Duration,
    is_over: Arc<AtomicBool>,
}

impl Search {
    /// `slice` tries some nonces from one on.
    fn run(self, slice: impl Fn(u64) -> Result<Stamp, u64>, tell: impl Fn(Progress)) -> Option<Stamp> {
        let (mut from, mut told) = (0, None);
        while self.begun.elapsed() < self.patience && !self.is_over.load(Ordering::Relaxed) {
            match slice(from) {
                Ok(stamp) => return Some(stamp),
                Err(next) => from = next,
            }
            if told.is_none_or(|told: Instant| told.elapsed() >= TELL) {
                told = Some(Instant::now());
                tell(Progress::of(self.bits, from, self.begun.elapsed()));
            }
        }
        None
    }
}

impl Progress {
    fn of(bits: u8, tries: u64, elapsed: Duration) -> Self {
        let rate = u128::from(tries).saturating_mul(1_000).checked_div(elapsed.as_millis()).unwrap_or(0);
        Self { bits, tries, rate: u64::try_from(rate).unwrap_or(u64::MAX).max(1) }
    }

    /// How long it takes on average from now on. Luck has no memory: however many tries there were, as many are to come.
    pub const fn left(self) -> Duration {
        Duration::from_secs(tries_of(self.bits).div_ceil(self.rate))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bits, tries, rate } = self;
        let left = duration_of(self.left().as_secs());
        write!(f, "a stamp of {bits} bits: {tries} tries, {rate} a second, it takes about {left} more")
    }
}

/// The tries that a stamp of so many bits takes on average.
pub const fn tries_of(bits: u8) -> u64 {
    if bits < 64 { 1 << bits } else { u64::MAX }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::{Hash, NetworkId, NodeId};

    use lucid_types::policy::Policy;

    use super::*;

    fn search(patience: Duration) -> Search {
        Search { bits: 24, begun: Instant::now(), patience, is_over: Arc::default() }
    }

    #[test]
    fn a_search_goes_on_slice_by_slice_and_can_be_ended() {
        let found =
            |from| if from >= 3 * SLICE { Ok(Stamp { epoch: Epoch::new(1), nonce: from }) } else { Err(from + SLICE) };
        let told = std::cell::Cell::new(0);
        let stamp = search(Duration::MAX).run(found, |_| told.set(told.get() + 1)).unwrap();
        assert_eq!((stamp.nonce, told.get()), (3 * SLICE, 1));
        assert_eq!(search(Duration::ZERO).run(found, |_| ()), None, "its time is over");
        let ended = search(Duration::MAX);
        let is_over = Arc::clone(&ended.is_over);
        let slice = |from| {
            is_over.store(from > 0, Ordering::Relaxed);
            Err(from + SLICE)
        };
        assert_eq!(ended.run(slice, |_| ()), None);
    }

    #[tokio::test]
    async fn a_search_that_nobody_waits_for_ends() {
        let target = StampTarget {
            network: NetworkId::from_bytes([1; 32]),
            account: NodeId::from_bytes([2; 32]),
            pool: None,
            beacon: Hash::from_bytes([3; 32]),
        };
        let wanted = |bits| Wanted { target, epoch: Epoch::new(1), bits };
        let policy = FixedPolicy { epoch_ms: u64::MAX / 8, ..Policy::default().fixed() };
        let stamp = wanted(4).search(policy, |_| ()).await.unwrap().unwrap();
        assert!(stamp.bits(&target) >= 4);
        // The thread owns the sender, so that its end is an event.
        let (begun, mut has_begun) = tokio::sync::mpsc::channel::<Progress>(1);
        let tell = move |progress| {
            let _full = begun.try_send(progress);
        };
        tokio::select! {
            _ = wanted(64).search(policy, tell) => unreachable!(),
            told = has_begun.recv() => assert!(told.is_some()),
        }
        assert!(has_begun.recv().await.is_none());
    }

    #[test]
    fn it_is_said_how_long_it_takes() {
        let told = Progress::of(24, 1 << 20, Duration::from_secs(1));
        assert_eq!(told.left(), Duration::from_secs(16));
        assert_eq!(told.to_string(), "a stamp of 24 bits: 1048576 tries, 1048576 a second, it takes about 16 s more");
    }
}
