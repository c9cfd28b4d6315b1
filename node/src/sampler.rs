//! What a node reads of its machine: samples of CPU, memory, disk, network, load and temperatures.
//!
//! [`Sampler`] takes one reading; [`spawn`] has a thread of its own do it once a second. Where a container's control groups limit CPU or
//! memory, the limits take the machine's place. What the samples add up to over minutes and hours is in [`rings`]. Once an epoch a worker
//! says what it reads in a signed attestation ([`Attester`]): it earns nothing, and is compared with what validators prove.
//!
//! CPU, memory, network, load and temperatures come from sysinfo; the disk is the file system of the node's home, asked directly, because
//! a home may lie on a mount that sysinfo does not list. What a reading amounts to is a pure function ([`Sample::attest`]).

mod attester;
pub mod cgroup;
mod reader;
pub mod rings;
mod thread;

use std::time::Duration;

use lucid_types::amount::Ppm;
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::time::{Epoch, UnixMillis};

pub use self::attester::{Attester, AttesterParts};
pub use self::reader::{SampleError, Sampler};
pub use self::thread::{NAME, Newest, PERIOD, SamplerHandle, SharedRings, spawn};

/// One reading of the machine. What is a rate or a share counts since the reading before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub time: UnixMillis,
    /// CPU in use, of all cores or of the limit.
    pub cpu: Ppm,
    /// CPU in use of each of the machine's logical CPUs, whatever the limit is.
    pub per_core: Vec<Ppm>,
    /// Logical CPUs; with a limit, as many as it fills at least in part.
    pub cores: u32,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Memory, or the limit of it, in bytes.
    pub memory_total: u64,
    /// Bytes in use on the home's file system, what is kept back for the system's administrator included.
    pub disk_used: u64,
    /// Bytes of the home's file system.
    pub disk_total: u64,
    /// Bytes received a second, on all interfaces but loopback.
    pub received_bytes_s: u64,
    /// Bytes sent a second, on all interfaces but loopback.
    pub sent_bytes_s: u64,
    /// Load averages of the machine over 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    /// Seconds since the machine started.
    pub uptime_s: u64,
    /// What the machine's sensors say, at most ten readings ago; empty without sensors.
    pub temperatures: Vec<Temperature>,
    /// What control groups leave of the machine.
    pub limits: Limits,
}

/// What one sensor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temperature {
    /// Its name.
    pub sensor: String,
    /// Thousandths of a degree Celsius.
    pub millicelsius: i32,
}

/// What control groups of version 2 leave of the machine, where that is less than it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU; `None` if it is not limited.
    pub cpu_millis: Option<u32>,
    /// Bytes of memory; `None` if it is not limited.
    pub memory_bytes: Option<u64>,
}

/// What an attestation says beside the machine's reading.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The epoch of the attestation.
    pub epoch: Epoch,
    /// Strictly increasing over the node's life.
    pub sequence: u64,
    /// When it is made.
    pub time: UnixMillis,
    /// Probe sessions served since the node started.
    pub sessions: u64,
    /// What the worker offers.
    pub capacity: Capacity,
    /// Time since the attestation before, or since the start.
    pub elapsed: Duration,
    /// Sum of all echoes' durations in that time.
    pub busy: Duration,
    /// Echoes that the worker serves at a time.
    pub echo_slots: u32,
}

impl Sample {
    /// Memory in use.
    pub fn memory(&self) -> Ppm {
        Ppm::ratio(self.memory_used, self.memory_total)
    }

    /// Disk in use.
    pub fn disk(&self) -> Ppm {
        Ppm::ratio(self.disk_used, self.disk_total)
    }

    /// The attestation of this reading. Pure.
    pub fn attest(&self, context: &Context) -> ResourceAttestation {
        ResourceAttestation {
            epoch: context.epoch,
            sequence: context.sequence,
            time: context.time,
            uptime_s: self.uptime_s,
            cpu: self.cpu,
            memory: self.memory(),
            disk: self.disk(),
            network_rx_bytes_s: self.received_bytes_s,
            network_tx_bytes_s: self.sent_bytes_s,
            sessions: context.sessions,
            capacity: context.capacity,
            allocation: allocation(context.busy, context.elapsed, context.echo_slots),
        }
    }

    /// The machine as a capacity that a node may declare: all of it, what is free on the disk, and no bandwidth, which nothing has
    /// measured yet.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            cores: self.cores,
            memory_bytes: self.memory_total.min(Capacity::MAX_BYTES),
            disk_bytes: self.disk_total.saturating_sub(self.disk_used).min(Capacity::MAX_BYTES),
            bandwidth_kbit_s: 0,
        }
    }
}

/// The share of the echo slots' time that sessions took.
fn allocation(busy: Duration, elapsed: Duration, slots: u32) -> Ppm {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ppm::ratio(micros(busy), micros(elapsed.saturating_mul(slots)))
}

#[cfg(test)]
pub(crate) mod tests;
