//! What the API answers about the node's own machine.

use lucid_types::amount::Ppm;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::sampler::rings::Granularity;

/// The machine now: the newest sample, of which there is one a second. `GET /api/v1/resources`.
///
/// Where control groups limit CPU or memory, the limit takes the machine's place, and stands in `limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcesView {
    /// When the sample was taken.
    pub time: UnixMillis,
    /// CPU in use in the second before, of all cores or of the limit.
    pub cpu_ppm: Ppm,
    /// The same of each of the machine's logical CPUs, whatever the limit is.
    pub per_core_ppm: Vec<Ppm>,
    /// Logical CPUs; with a limit, as many as it fills at least in part.
    pub cores: u32,
    /// Memory in use, in bytes.
    pub memory_used_bytes: u64,
    /// Memory, or the limit of it.
    pub memory_total_bytes: u64,
    /// Part of the memory that is in use.
    pub memory_ppm: Ppm,
    /// In use on the file system of the node's home, in bytes.
    pub disk_used_bytes: u64,
    /// Size of that file system.
    pub disk_total_bytes: u64,
    /// Part of the disk that is in use.
    pub disk_ppm: Ppm,
    /// Bytes received in the second before, on all interfaces but loopback.
    pub network_rx_bytes_s: u64,
    /// Bytes sent in the second before, on all interfaces but loopback.
    pub network_tx_bytes_s: u64,
    /// Load averages of the machine over 1, 5 and 15 minutes, in hundredths.
    pub load_hundredths: [u32; 3],
    /// Seconds since the machine started.
    pub uptime_s: u64,
    /// What the machine's sensors say, asked every ten seconds; empty without sensors.
    pub temperatures: Vec<TemperatureView>,
    /// What control groups leave of the machine.
    pub limits: ResourceLimitsView,
}

/// What a sensor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemperatureView {
    /// Its name.
    pub sensor: String,
    /// Thousandths of a degree Celsius.
    pub millicelsius: i32,
}

/// Limits by control groups of version 2 that are below what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimitsView {
    /// Thousandths of a CPU; `null` if it is not limited.
    pub cpu_millis: Option<u32>,
    /// Bytes; `null` if it is not limited.
    pub memory_bytes: Option<u64>,
}

/// Which spans. The query of `GET /api/v1/resources/history`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceFilter {
    /// How long they are.
    #[serde(default = "finest")]
    pub granularity: Granularity,
    /// Only those that began then or later.
    pub from: Option<UnixMillis>,
    /// Only those that began before.
    pub to: Option<UnixMillis>,
    /// At most so many.
    pub limit: Option<usize>,
}

const fn finest() -> Granularity {
    Granularity::Minute
}

/// How the machine went: newest first. `GET /api/v1/resources/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceHistory {
    /// How long the spans are.
    pub granularity: Granularity,
    /// Those in which something was sampled. The newest may not have ended.
    pub spans: Vec<SpanView>,
}

/// The machine over a span; figures are `null` if no sample has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanView {
    /// When it began.
    pub from: UnixMillis,
    /// Samples taken in it, of one a second.
    pub samples: u32,
    /// CPU in use, in millionths.
    pub cpu_ppm: Option<MeanMax>,
    /// Memory in use, in millionths.
    pub memory_ppm: Option<MeanMax>,
    /// Disk in use, in millionths.
    pub disk_ppm: Option<MeanMax>,
    /// Bytes received a second.
    pub network_rx_bytes_s: Option<MeanMax>,
    /// Bytes sent a second.
    pub network_tx_bytes_s: Option<MeanMax>,
    /// Load average over a minute, in hundredths.
    pub load_hundredths: Option<MeanMax>,
    /// The hottest sensor, in thousandths of a degree Celsius.
    pub hottest_millicelsius: Option<MeanMax>,
}

/// A figure over a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeanMax {
    /// The mean of all samples that have it, rounded down.
    pub mean: i64,
    /// The greatest.
    pub max: i64,
}
