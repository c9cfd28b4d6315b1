//! What a worker says of its own machine. It earns nothing; it is compared with what validators prove.

use serde::{Deserialize, Serialize};

use crate::amount::Ppm;
use crate::codec::Wire;
use crate::id::PublicKey;
use crate::signed::SignedRecord;
use crate::time::{Epoch, UnixMillis};

/// The machine, or the part of it, that a worker offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Logical CPUs.
    pub cores: u32,
    /// Memory in bytes, at most 2^46.
    pub memory_bytes: u64,
    /// Disk offered in bytes, at most 2^46.
    pub disk_bytes: u64,
    /// Bandwidth offered in kbit/s.
    pub bandwidth_kbit_s: u64,
}

impl Capacity {
    /// The greatest number of bytes that is believed (protocol: bytes <= 2^46).
    pub const MAX_BYTES: u64 = 1 << 46;

    /// Whether every field is within its bound.
    pub const fn is_plausible(&self) -> bool {
        self.memory_bytes <= Self::MAX_BYTES && self.disk_bytes <= Self::MAX_BYTES && self.bandwidth_kbit_s <= 1 << 31
    }
}

/// A worker's sample of its machine, gossiped at least once an epoch and at most every ten seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceAttestation {
    /// The epoch in which the sample was taken.
    pub epoch: Epoch,
    /// Strictly increasing over the node's life, across restarts.
    pub sequence: u64,
    /// When the sample was taken.
    pub time: UnixMillis,
    /// Seconds since the machine started.
    pub uptime_s: u64,
    /// CPU in use, over all cores.
    pub cpu: Ppm,
    /// Memory in use.
    pub memory: Ppm,
    /// Disk in use on the file system of the node's home.
    pub disk: Ppm,
    /// Bytes received a second on all interfaces but loopback.
    pub network_rx_bytes_s: u64,
    /// Bytes sent a second on all interfaces but loopback.
    pub network_tx_bytes_s: u64,
    /// Probe sessions served since the node started.
    pub sessions: u64,
    /// What is offered.
    pub capacity: Capacity,
    /// How much of the capacity is given to tasks at the moment.
    pub allocation: Ppm,
}

impl Wire for ResourceAttestation {
    const MAX_BYTES: usize = 256;
}

impl SignedRecord for ResourceAttestation {
    type Signer = PublicKey;
    const TAG: &'static str = "lucid/attest/1";
}

impl ResourceAttestation {
    /// Whether every field is within its bound.
    pub fn is_plausible(&self) -> bool {
        let parts = [self.cpu, self.memory, self.disk, self.allocation];
        self.capacity.is_plausible() && parts.iter().all(|part| *part <= Ppm::ONE)
    }
}
