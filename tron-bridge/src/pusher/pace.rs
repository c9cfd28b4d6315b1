//! How much is sent at a time, and how much it may cost: what keeps a pusher from burning TRX for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use lucid_types::amount::Sun;
use lucid_types::time::UnixMillis;

use super::config::{Timing, backoff};
use super::types::Spent;

/// Failed transactions in a row after which nothing is sent for a while.
const SERIES: u32 = 3;

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The window of the day budget.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many transactions may be open at a time. It begins with as many as may fail before a pause, doubles with each batch that
/// paid, because an estimate came before it and a thousand accounts should not take a dozen blocks, and is halved with each
/// failure.
#[derive(Debug)]
pub(super) struct Pace {
    window: usize,
    max: usize,
    in_a_row: u32,
    /// When the last pause began: what was sent before belongs to the series that led to it.
    paused_at: UnixMillis,
    pause_until: UnixMillis,
}

impl Pace {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        let first = usize::try_from(SERIES).unwrap_or(max).min(max);
        Self { window: first, max, in_a_row: 0, paused_at: UnixMillis::ZERO, pause_until: UnixMillis::ZERO }
    }

    pub(super) const fn window(&self) -> usize {
        self.window
    }

    pub(super) const fn pause_until(&self) -> UnixMillis {
        self.pause_until
    }

    /// A transaction did something; only batches say how well batches go.
    pub(super) fn succeeded(&mut self, is_batch: bool) {
        self.in_a_row = 0;
        if is_batch {
            self.window = self.window.saturating_mul(2).min(self.max);
        }
    }

    /// A transaction sent at `sent_at` was included and did nothing. Returns how many have failed in a row if that ends in a
    /// pause.
    pub(super) fn failed(&mut self, now: UnixMillis, sent_at: UnixMillis, timing: &Timing) -> Option<u32> {
        self.window = (self.window / 2).max(1);
        if sent_at < self.paused_at {
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let n = self.in_a_row.checked_sub(SERIES)?;
        self.window = 1;
        self.paused_at = now;
        self.pause_until = now.after(backoff(timing.failure_pause, MAX_PAUSE, n));
        Some(self.in_a_row)
    }

    /// The circumstances are others: one more try before the next, longer pause.
    pub(super) const fn resume(&mut self) {
        self.pause_until = UnixMillis::ZERO;
    }
}

/// What the gas account spent in the last day.
#[derive(Debug, Default)]
pub(super) struct Spending(VecDeque<Spent>);

impl Spending {
    pub(super) fn new(mut spent: Vec<Spent>) -> Self {
        spent.sort_by_key(|spent| spent.at);
        Self(spent.into())
    }

    pub(super) fn add(&mut self, spent: Spent) {
        self.0.push_back(spent);
    }

    /// A fork took back what a transaction had cost.
    pub(super) fn remove(&mut self, spent: &Spent) {
        if let Some(at) = self.0.iter().position(|other| other == spent) {
            self.0.remove(at);
        }
    }

    pub(super) fn of_the_last_day(&mut self, now: UnixMillis) -> Sun {
        let since = now.before(DAY);
        self.0.retain(|spent| spent.at >= since);
        self.0.iter().fold(Sun::ZERO, |sum, spent| sum.saturating_add(spent.fee))
    }
}
