//! When to ask for the next block: shortly after it should be there, so that most blocks cost one request.
//!
//! Blocks come at equal intervals, and this node's clock is about right, but neither has to be: the interval is what blocks'
//! own times say, and how long after it a block can be read is learned from requests that came too early.

use std::time::Duration;

use lucid_tron_bridge::transaction::Reference;
use lucid_types::time::UnixMillis;

/// The shortest interval of blocks, so that what a provider says of times brings no storm of requests.
const LEAST_INTERVAL_MS: i64 = 200;
/// The longest: one block of TRON was missed.
const GREATEST_INTERVAL_MS: i64 = 6_000;

/// Requests in a row that show an older block than one before, until it is believed.
const MAX_BEHIND: u32 = 5;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::payout) struct BlockPace {
    /// Between blocks, in milliseconds: a guess, then what blocks show. Now and then one is missing, which makes an interval
    /// look longer and never shorter: so a shorter one counts at once, and longer ones little by little.
    interval: i64,
    is_measured: bool,
    /// How long after its time a block is asked for, by this node's clock.
    offset: i64,
    /// Requests since the newest block that found no newer one.
    n_missed: u32,
    /// Whether a request ever came too early: until then the offset is far too great.
    is_locked: bool,
    newest: Option<Reference>,
    next_at: UnixMillis,
}

fn ms(time: UnixMillis) -> i64 {
    i64::try_from(time.get()).unwrap_or(i64::MAX)
}

impl BlockPace {
    /// With about this interval until blocks show theirs.
    pub(in crate::payout) fn new(interval: Duration) -> Self {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(LEAST_INTERVAL_MS);
        Self {
            interval,
            is_measured: false,
            offset: 0,
            n_missed: 0,
            is_locked: false,
            newest: None,
            next_at: UnixMillis::ZERO,
        }
    }

    /// For other blocks of the same network: they come at the same moments, and the same distance from this node's clock, but for
    /// whole intervals.
    pub(in crate::payout) const fn of_same_network(&self) -> Self {
        Self { newest: None, n_missed: 0, next_at: UnixMillis::ZERO, ..*self }
    }

    /// When the next block is asked for.
    pub(in crate::payout) const fn next_at(&self) -> UnixMillis {
        self.next_at
    }

    /// A request showed this newest block.
    pub(in crate::payout) fn saw(&mut self, block: &Reference, now: UnixMillis) {
        let Some(before) = self.newest else { return self.begin(block, now) };
        if block.number <= before.number {
            // What showed a block so far ahead was a liar or a fork.
            let is_older = block.number < before.number && self.n_missed >= MAX_BEHIND;
            return if is_older { self.begin(block, now) } else { self.missed(now) };
        }
        let blocks = i64::try_from(block.number.saturating_sub(before.number)).unwrap_or(i64::MAX);
        let each = ms(block.time).saturating_sub(ms(before.time)).checked_div(blocks).unwrap_or(self.interval);
        let each = each.clamp(LEAST_INTERVAL_MS, GREATEST_INTERVAL_MS);
        let longer = self.interval.saturating_add(each.saturating_sub(self.interval).max(0) / 16);
        self.interval = if self.is_measured { longer.min(each) } else { each };
        self.is_measured = true;
        if self.n_missed == 0 {
            let step = self.interval / if self.is_locked { 32 } else { 4 };
            self.offset = self.offset.saturating_sub(step);
        }
        self.wait_for_next(block, now);
    }

    /// Begins as if this node's clock were the network's, unless the newest block's age says otherwise. What other blocks have
    /// shown counts: the newest is not older than an interval.
    fn begin(&mut self, block: &Reference, now: UnixMillis) {
        let age = ms(now).saturating_sub(ms(block.time));
        let is_plausible = (0..self.interval.saturating_mul(2)).contains(&age);
        self.offset = match is_plausible {
            _ if self.is_locked => age.saturating_sub(age.saturating_sub(self.offset).rem_euclid(self.interval)),
            true => self.interval / 16,
            false => age,
        };
        self.wait_for_next(block, now);
    }

    fn wait_for_next(&mut self, block: &Reference, now: UnixMillis) {
        self.newest = Some(*block);
        self.n_missed = 0;
        let due = ms(block.time).saturating_add(self.interval).saturating_add(self.offset);
        self.wait(now, due.saturating_sub(ms(now)));
    }

    /// The next block was not there yet, or no provider answered.
    pub(in crate::payout) fn missed(&mut self, now: UnixMillis) {
        self.is_locked = true;
        if self.n_missed == 0 {
            self.offset = self.offset.saturating_add(self.interval / 8);
        }
        let wait = (self.interval / 8).saturating_mul(1_i64.checked_shl(self.n_missed).unwrap_or(i64::MAX));
        self.n_missed = self.n_missed.saturating_add(1).min(16);
        self.wait(now, wait);
    }

    fn wait(&mut self, now: UnixMillis, wait: i64) {
        // The clock may have been set.
        let wait = wait.clamp(self.interval / 8, self.interval);
        self.next_at = now.after(Duration::from_millis(u64::try_from(wait).unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::id::SolidBlockId;

    use super::*;

    /// Follows a network for so many seconds. Its blocks can be read `lag` after their times, the node's clock is `skew` ahead.
    /// Returns requests for each block and how late blocks were seen, in the second half.
    fn follow(guess: u64, interval: u64, lag: u64, skew: u64, start: u64, seconds: u64) -> (f64, f64) {
        let mut pace = BlockPace::new(Duration::from_secs(guess));
        let (first, end) = (1_000_000, 1_000_000 + seconds * 1_000);
        let (mut at, mut requests, mut late, mut blocks, mut newest) = (first + start, 0_u64, 0, 0_u64, 0);
        while at < end {
            let number = (at - lag) / interval;
            let time = UnixMillis::new(number * interval);
            pace.saw(&Reference { number, id: SolidBlockId::from_bytes([0; 32]), time }, UnixMillis::new(at + skew));
            let is_counted = at > (first + end) / 2;
            requests += u64::from(is_counted);
            if number > newest && is_counted {
                blocks += number - newest;
                late += at - lag - number * interval;
            }
            newest = number;
            let next = pace.next_at().get() - skew;
            assert!(next > at && next <= at + 3_000, "{at} {next}");
            at = next;
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let ratio = |a: u64, b: u64| a as f64 / b as f64;
        (ratio(requests, blocks), ratio(late, blocks))
    }

    #[test]
    fn most_blocks_cost_one_request_and_are_seen_soon() {
        for (interval, lag, skew, start) in [
            (1_000, 10, 0, 300),
            (1_000, 700, 0, 900),
            (3_000, 400, 0, 10),
            (3_000, 400, 50_000, 999),
            (1_000, 20, 700, 5),
        ] {
            for guess in [1, 3] {
                let (requests, late) = follow(guess, interval, lag, skew, start, 200);
                assert!(requests < 1.35, "{requests} requests for each block: {interval} {lag} {skew}");
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let share = late / interval as f64;
                assert!(share < 0.15, "seen {late} ms late: {interval} {lag} {skew}");
            }
        }
    }

    /// What the solidified blocks have shown holds for the newest ones from the first.
    #[test]
    fn the_newest_blocks_come_when_the_solidified_ones_do() {
        let block = |number: u64| Reference {
            number,
            id: SolidBlockId::from_bytes([0; 32]),
            time: UnixMillis::new(number * 3_000),
        };
        for (lag, skew) in [(400_u64, 0_u64), (2_900, 0), (400, 50_000)] {
            let mut solid = BlockPace::new(Duration::from_secs(1));
            let mut at = 1_000_000;
            while at < 1_300_000 {
                solid.saw(&block((at - lag) / 3_000 - 19), UnixMillis::new(at + skew));
                at = solid.next_at().get() - skew;
            }
            let mut newest = solid.of_same_network();
            let (begun, mut requests) = (at, 0);
            let first = (at - lag) / 3_000;
            while at < begun + 60_000 {
                newest.saw(&block((at - lag) / 3_000), UnixMillis::new(at + skew));
                requests += 1;
                at = newest.next_at().get() - skew;
            }
            let blocks = (at - lag) / 3_000 - first;
            assert!(requests <= blocks + 3, "{requests} requests for {blocks} blocks: {lag} {skew}");
        }
    }

    #[test]
    fn a_block_from_the_future_is_forgotten() {
        let mut pace = BlockPace::new(Duration::from_secs(1));
        let block =
            |number, time| Reference { number, id: SolidBlockId::from_bytes([0; 32]), time: UnixMillis::new(time) };
        let (mut now, mut requests) = (3_010, 0);
        while now < 603_010 {
            let number = now / 3_000;
            let is_lie = (90_000..93_000).contains(&now);
            pace.saw(&if is_lie { block(1 << 40, now) } else { block(number, number * 3_000) }, UnixMillis::new(now));
            requests += u32::from(now > 303_010);
            now = pace.next_at().get();
        }
        assert!(requests < 150, "{requests} requests for 100 blocks");
    }

    #[test]
    fn a_network_that_stands_still_is_asked_once_in_an_interval() {
        let mut pace = BlockPace::new(Duration::from_secs(1));
        let block = Reference { number: 7, id: SolidBlockId::from_bytes([0; 32]), time: UnixMillis::new(7_000) };
        let (mut now, mut requests) = (7_010, 0);
        while now < 107_010 {
            pace.saw(&block, UnixMillis::new(now));
            requests += 1;
            now = pace.next_at().get();
        }
        assert!(requests < 106, "{requests}");
    }
}
