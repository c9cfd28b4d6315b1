//! How the machine's figures went: their mean and greatest value in each minute, five minutes, quarter of an hour and hour. Pure.
//!
//! The newest [`KEPT`] spans of each length are in memory, 43 KB in all; [`crate::history::resources`] keeps them for longer. Spans
//! begin at whole multiples of their length since 1970, by the node's clock.

use std::collections::VecDeque;
use std::time::Duration;

use clap::ValueEnum;
use lucid_types::amount::Ppm;
use lucid_types::codec::Wire;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::Sample;

/// Spans of each length in memory.
pub const KEPT: usize = 60;

/// The length of the spans of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Granularity {
    /// A minute.
    #[serde(rename = "1m")]
    #[value(name = "1m")]
    Minute,
    /// Five minutes.
    #[serde(rename = "5m")]
    #[value(name = "5m")]
    FiveMinutes,
    /// A quarter of an hour.
    #[serde(rename = "15m")]
    #[value(name = "15m")]
    QuarterHour,
    /// An hour.
    #[serde(rename = "1h")]
    #[value(name = "1h")]
    Hour,
}

impl Granularity {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour];

    /// How long a span is.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
        })
    }

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
        }
    }

    /// When the span began in which `time` lies.
    pub const fn start(self, time: UnixMillis) -> UnixMillis {
        let length = self.length().as_secs().saturating_mul(1_000);
        UnixMillis::new(time.get() - time.get() % length)
    }
}

/// A figure over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Samples that have the figure.
    n: u32,
    sum: i64,
    /// 0 without samples.
    max: i64,
}

impl Figure {
    fn add(&mut self, value: i64) {
        self.max = if self.n == 0 { value } else { self.max.max(value) };
        self.n = self.n.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
    }

    /// How many samples have it.
    pub const fn samples(&self) -> u32 {
        self.n
    }

    /// Its mean, rounded down, and its greatest value; `None` if no sample has it.
    pub fn mean_and_max(&self) -> Option<(i64, i64)> {
        let n = Some(i64::from(self.n)).filter(|n| *n > 0)?;
        Some((self.sum.div_euclid(n), self.max))
    }
}

/// The machine's figures over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// CPU in use, in millionths.
    pub cpu: Figure,
    /// Memory in use, in millionths.
    pub memory: Figure,
    /// Disk in use, in millionths.
    pub disk: Figure,
    /// Bytes received a second.
    pub received: Figure,
    /// Bytes sent a second.
    pub sent: Figure,
    /// Load over a minute, in hundredths.
    pub load: Figure,
    /// The hottest sensor, in thousandths of a degree Celsius.
    pub temperature: Figure,
}

impl Wire for Figures {
    const MAX_BYTES: usize = 7 * (4 + 8 + 8);
}

impl Figures {
    fn add(&mut self, sample: &Sample) {
        let ppm = |part: Ppm| i64::from(part.get());
        let count = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.cpu.add(ppm(sample.cpu));
        self.memory.add(ppm(sample.memory()));
        self.disk.add(ppm(sample.disk()));
        self.received.add(count(sample.received_bytes_s));
        self.sent.add(count(sample.sent_bytes_s));
        self.load.add(i64::from(sample.load[0]));
        let hottest = sample.temperatures.iter().map(|it| it.millicelsius).max();
        hottest.into_iter().for_each(|it| self.temperature.add(i64::from(it)));
    }
}

/// A span and what was seen in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When the span began.
    pub from: UnixMillis,
    /// What was seen.
    pub figures: Figures,
}

/// The newest spans of one length, in the order of time.
#[derive(Debug, Default)]
struct Ring {
    buckets: VecDeque<Bucket>,
    /// How many at the end were changed since they were last taken.
    n_changed: usize,
}

impl Ring {
    fn add(&mut self, from: UnixMillis, sample: &Sample) {
        // The clock was set back: what was noted for times that are yet to come is not the newest.
        while self.buckets.back().is_some_and(|newest| newest.from > from) {
            self.buckets.pop_back();
            self.n_changed = self.n_changed.saturating_sub(1);
        }
        if self.buckets.back().is_none_or(|newest| newest.from < from) {
            self.push(Bucket { from, figures: Figures::default() });
        }
        if let Some(newest) = self.buckets.back_mut() {
            newest.figures.add(sample);
            self.n_changed = self.n_changed.max(1);
        }
    }

    fn push(&mut self, bucket: Bucket) {
        if self.buckets.len() == KEPT {
            self.buckets.pop_front();
        }
        self.buckets.push_back(bucket);
        self.n_changed = self.n_changed.saturating_add(1).min(self.buckets.len());
    }
}

/// The newest spans of all lengths.
#[derive(Debug, Default)]
pub struct Rings([Ring; Granularity::ALL.len()]);

impl Rings {
    /// Rings that go on with spans that have begun earlier: at most one of each length.
    pub fn resume(open: impl IntoIterator<Item = (Granularity, Bucket)>) -> Self {
        let mut rings = Self::default();
        for (granularity, bucket) in open {
            rings.0[granularity as usize].buckets = VecDeque::from([bucket]);
        }
        rings
    }

    /// Counts a sample in the spans in which it was taken.
    pub fn add(&mut self, sample: &Sample) {
        for granularity in Granularity::ALL {
            self.0[granularity as usize].add(granularity.start(sample.time), sample);
        }
    }

    /// The spans to which a sample was added since this was asked last.
    pub fn take_changed(&mut self) -> Vec<(Granularity, Bucket)> {
        let mut changed = Vec::new();
        for granularity in Granularity::ALL {
            let ring = &mut self.0[granularity as usize];
            let first = ring.buckets.len().saturating_sub(std::mem::take(&mut ring.n_changed));
            changed.extend(ring.buckets.range(first..).map(|bucket| (granularity, *bucket)));
        }
        changed
    }

    /// The spans in memory that began at `from` or later and before `to`, in the order of time.
    pub fn between(&self, granularity: Granularity, (from, to): (UnixMillis, UnixMillis)) -> Vec<Bucket> {
        let buckets = &self.0[granularity as usize].buckets;
        buckets.iter().copied().filter(|it| (from..to).contains(&it.from)).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::codec::encode;
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::tests::sample;

    const MINUTE: u64 = 60_000;
    /// A whole hour.
    const START: u64 = 500_000 * 60 * MINUTE;
    const ALL: (UnixMillis, UnixMillis) = (UnixMillis::ZERO, UnixMillis::new(u64::MAX));

    fn at(millis: u64, cpu: u32) -> Sample {
        Sample { time: UnixMillis::new(START + millis), cpu: Ppm::new(cpu), ..sample() }
    }

    /// When a span began, after the start in minutes; how many samples it has, and mean and maximum of CPU.
    fn told(buckets: &[Bucket]) -> Vec<(u64, u32, i64, i64)> {
        let told = |it: &Bucket| {
            let (mean, max) = it.figures.cpu.mean_and_max().unwrap();
            ((it.from.get() - START) / MINUTE, it.figures.cpu.samples(), mean, max)
        };
        buckets.iter().map(told).collect()
    }

    #[test]
    fn every_sample_counts_once_in_each_length() {
        let mut rings = Rings::default();
        for second in 0..3_600u32 {
            rings.add(&at(u64::from(second) * 1_000, second));
        }
        let all = |granularity| told(&rings.between(granularity, ALL));
        assert_eq!(all(Granularity::Hour), [(0, 3_600, 1_799, 3_599)]);
        assert_eq!(all(Granularity::QuarterHour)[3], (45, 900, 3_149, 3_599));
        let minutes = all(Granularity::Minute);
        assert_eq!((minutes.len(), minutes[0], minutes[59]), (60, (0, 60, 29, 59), (59, 60, 3_569, 3_599)));
        assert_eq!(all(Granularity::FiveMinutes).len(), 12);
    }

    #[test]
    fn figures_are_those_of_the_samples() {
        let mut rings = Rings::default();
        let cool = Sample { temperatures: Vec::new(), ..at(0, 0) };
        let hot = Sample { received_bytes_s: u64::MAX, load: [250, 0, 0], ..at(1_000, 0) };
        for sample in [&cool, &hot] {
            rings.add(sample);
        }
        let [bucket] = rings.between(Granularity::Minute, ALL)[..] else { unreachable!("one minute") };
        let figures = bucket.figures;
        assert_eq!(figures.memory.mean_and_max(), Some((375_000, 375_000)));
        assert_eq!(figures.disk.mean_and_max(), Some((750_000, 750_000)));
        assert_eq!(figures.received.mean_and_max(), Some((i64::MAX / 2, i64::MAX)), "no overflow");
        assert_eq!(figures.load.mean_and_max(), Some((187, 250)));
        assert_eq!((figures.temperature.samples(), figures.temperature.mean_and_max()), (1, Some((41_500, 41_500))));
        assert_eq!(Figure::default().mean_and_max(), None);
        assert_eq!(encode(&figures).len(), Figures::MAX_BYTES);
    }

    #[test]
    fn a_figure_may_be_negative() {
        let mut figure = Figure::default();
        [-10, -5, -2].into_iter().for_each(|it| figure.add(it));
        assert_eq!(figure.mean_and_max(), Some((-6, -2)));
    }

    #[test]
    fn what_was_changed_is_taken_once() {
        let mut rings = Rings::default();
        let minutes = |changed: Vec<(Granularity, Bucket)>| {
            let of = changed.into_iter().filter(|(granularity, _)| *granularity == Granularity::Minute);
            told(&of.map(|(_, bucket)| bucket).collect::<Vec<_>>())
        };
        rings.add(&at(0, 1));
        assert_eq!(rings.take_changed().len(), 4);
        assert_eq!(rings.take_changed(), []);
        rings.add(&at(1_000, 3));
        rings.add(&at(MINUTE, 5));
        assert_eq!(minutes(rings.take_changed()), [(0, 2, 2, 3), (1, 1, 5, 5)]);
        rings.add(&at(MINUTE + 1, 7));
        assert_eq!(minutes(rings.take_changed()), [(1, 2, 6, 7)]);
        // Nobody takes for longer than the ring holds.
        for minute in 2..200 {
            rings.add(&at(minute * MINUTE, 9));
        }
        let changed = minutes(rings.take_changed());
        assert_eq!((changed.len(), changed[0].0, changed[59].0), (KEPT, 140, 199));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_history() {
        let mut rings = Rings::default();
        for minute in [0, 1, 50] {
            rings.add(&at(minute * MINUTE, 1));
        }
        rings.take_changed();
        rings.add(&at(MINUTE + 1, 3));
        rings.add(&at(2 * MINUTE, 5));
        assert_eq!(told(&rings.between(Granularity::Minute, ALL)), [(0, 1, 1, 1), (1, 2, 2, 3), (2, 1, 5, 5)]);
        let changed = rings.take_changed().into_iter().filter(|(it, _)| *it == Granularity::Minute).count();
        assert_eq!(changed, 2);
    }

    #[test]
    fn what_has_begun_goes_on() {
        let mut rings = Rings::default();
        rings.add(&at(0, 2));
        let open: Vec<_> = rings.take_changed();
        let mut resumed = Rings::resume(open);
        assert_eq!(resumed.take_changed(), []);
        resumed.add(&at(MINUTE, 4));
        assert_eq!(told(&resumed.between(Granularity::Minute, ALL)), [(0, 1, 2, 2), (1, 1, 4, 4)]);
        assert_eq!(told(&resumed.between(Granularity::Hour, ALL)), [(0, 2, 3, 4)]);
        assert_eq!(resumed.take_changed().len(), 4);
        let (from, to) = (UnixMillis::new(START), UnixMillis::new(START + MINUTE));
        assert_eq!(told(&resumed.between(Granularity::Minute, (from, to))), [(0, 1, 2, 2)]);
    }

    proptest! {
        /// Whatever the clock does, memory is bounded, spans are in order, and nothing that was changed is forgotten while it is there.
        #[test]
        fn rings_are_bounded_and_in_order(times in proptest::collection::vec(0..20_000_000u64, 1..200)) {
            let mut rings = Rings::default();
            for millis in times {
                rings.add(&at(millis, 1));
                for granularity in Granularity::ALL {
                    prop_assert!(Granularity::ALL.len() * KEPT * size_of::<Bucket>() < 43_000);
                    let all = rings.between(granularity, ALL);
                    prop_assert!(all.len() <= KEPT && all.is_sorted_by(|a, b| a.from < b.from));
                    prop_assert_eq!(all.last().unwrap().from, granularity.start(UnixMillis::new(START + millis)));
                    prop_assert_eq!(rings.0[granularity as usize].n_changed, all.len());
                }
            }
        }
    }
}
