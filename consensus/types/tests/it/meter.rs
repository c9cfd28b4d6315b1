//! Counts what the current thread allocates, so that a test can say how much a hostile message costs.

#![expect(unsafe_code, reason = "an allocator cannot be written without; it only counts and hands on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Meter;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    LIVE.set(LIVE.get().wrapping_add(change));
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: every call is handed to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: the caller's contract is the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-signed(layout.size()));
        // SAFETY: the caller's contract is the callee's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static METER: Meter = Meter;

/// Runs `work` and returns the most bytes that this thread held at once beyond what it held before.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    drop(work());
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

#[test]
fn the_meter_sees_what_is_allocated() {
    assert!(peak(|| vec![0u8; 1 << 20]) >= 1 << 20);
    assert!(peak(|| 1 + 1) < 1 << 10);
}
