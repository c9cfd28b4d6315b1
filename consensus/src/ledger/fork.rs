//! Two pure computations side by side. Most of what a great state's block takes is the hashing of changed rows and branches, which halves on
//! two cores.

use std::panic::resume_unwind;
use std::thread;

/// From how many rows on, on each side, a thread saves more than it costs.
pub(crate) const WORTH_A_THREAD: usize = 256;

/// Both results. `left` runs on a thread of its own; if the system grants none, after `right`.
pub(crate) fn fork<A: Send, B>(left: impl Fn() -> A + Sync, right: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let task = thread::Builder::new().spawn_scoped(scope, &left);
        let right = right();
        let left = match task {
            Ok(task) => task.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => left(),
        };
        (left, right)
    })
}
