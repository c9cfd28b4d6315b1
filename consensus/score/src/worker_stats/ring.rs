//! A window of epochs as a ring of buckets, the newest first, up to the oldest that is not empty.

use std::iter::repeat_n;

use lucid_types::policy::Buckets;
use lucid_types::time::Epoch;

/// How many buckets of `ring` are in the window at an epoch, when its first is that of `measured`.
fn n_in_window(buckets: Buckets, measured: Epoch, at: Epoch) -> usize {
    let kept = buckets.count.saturating_sub(buckets.between(measured, at));
    usize::try_from(kept).unwrap_or(usize::MAX)
}

/// The buckets of `ring` that are in the window at an epoch.
pub(super) fn in_window<B>(ring: &[B], buckets: Buckets, measured: Epoch, at: Epoch) -> &[B] {
    ring.get(..n_in_window(buckets, measured, at)).unwrap_or(ring)
}

/// Turns the ring from the bucket of `measured` to that of a later epoch, forgets what leaves the window, and adds to the newest bucket.
pub(super) fn turn<B>(ring: &mut Vec<B>, buckets: Buckets, measured: Epoch, epoch: Epoch, add: impl FnOnce(B) -> B)
where
    B: Copy + Default + PartialEq,
{
    ring.truncate(n_in_window(buckets, measured, epoch));
    if !ring.is_empty() {
        let turned = usize::try_from(buckets.between(measured, epoch)).unwrap_or(usize::MAX);
        ring.splice(..0, repeat_n(B::default(), turned));
    }
    match ring.first_mut() {
        Some(newest) => *newest = add(*newest),
        None => ring.push(add(B::default())),
    }
    let kept = ring.iter().rposition(|bucket| *bucket != B::default()).map_or(0, |oldest| oldest + 1);
    ring.truncate(kept);
}
