//! What a worker says of its own machine: samples of CPU, memory, disk and network, as signed attestations.
//!
//! It earns nothing; it is compared with what validators prove. Reading the machine is [`Sampler`]'s business, what a
//! reading amounts to is a pure function ([`Sample::attest`]), and [`Attester`] does both once an epoch. CPU, memory
//! and network come from sysinfo; the disk is the file system of the node's home, asked directly, because a home may
//! lie on a mount that sysinfo does not list.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_types::amount::Ppm;
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::genesis::Genesis;
use lucid_types::id::NetworkId;
use lucid_types::key::NodeKey;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::{Epoch, UnixMillis};
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, Networks, System};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, sleep_until};
use crate::probe::Served;

/// Why the machine cannot be sampled.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The operating system is not supported, or hides what is asked.
    #[error("cannot read {what} of this machine")]
    System {
        /// What was asked.
        what: &'static str,
        /// What sysinfo said.
        #[source]
        source: sysinfo::Error,
    },
    /// The file system of the home does not answer.
    #[error("cannot read the size of the file system of {}", path.display())]
    Disk {
        /// The home.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: nix::Error,
    },
}

/// One reading of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// CPU in use since the reading before, over all cores.
    pub cpu: Ppm,
    /// Logical CPUs.
    pub cores: u32,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Memory, in bytes.
    pub memory_total: u64,
    /// Bytes in use on the home's file system, what is kept back for the system's administrator included.
    pub disk_used: u64,
    /// Bytes of the home's file system.
    pub disk_total: u64,
    /// Bytes received since the reading before, on all interfaces but loopback.
    pub received: u64,
    /// Bytes sent since the reading before, on all interfaces but loopback.
    pub sent: u64,
    /// Time since the reading before.
    pub elapsed: Duration,
    /// Seconds since the machine started.
    pub uptime_s: u64,
}

/// What an attestation says beside the machine's reading.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The epoch of the reading.
    pub epoch: Epoch,
    /// Strictly increasing over the node's life.
    pub sequence: u64,
    /// When the reading was taken.
    pub time: UnixMillis,
    /// Probe sessions served since the node started.
    pub sessions: u64,
    /// What the worker offers.
    pub capacity: Capacity,
    /// Sum of all echoes' durations since the reading before.
    pub busy: Duration,
    /// Echoes that the worker serves at a time.
    pub echo_slots: u32,
}

impl Sample {
    /// The attestation of this reading. Pure.
    pub fn attest(&self, context: &Context) -> ResourceAttestation {
        ResourceAttestation {
            epoch: context.epoch,
            sequence: context.sequence,
            time: context.time,
            uptime_s: self.uptime_s,
            cpu: self.cpu,
            memory: Ppm::ratio(self.memory_used, self.memory_total),
            disk: Ppm::ratio(self.disk_used, self.disk_total),
            network_rx_bytes_s: per_second(self.received, self.elapsed),
            network_tx_bytes_s: per_second(self.sent, self.elapsed),
            sessions: context.sessions,
            capacity: context.capacity,
            allocation: allocation(context.busy, self.elapsed, context.echo_slots),
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

/// `floor(bytes / seconds)`; 0 when no time has passed.
fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = (u128::from(bytes) * 1_000_000).checked_div(elapsed.as_micros()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The share of the echo slots' time that sessions took.
fn allocation(busy: Duration, elapsed: Duration, slots: u32) -> Ppm {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Ppm::ratio(micros(busy), micros(elapsed.saturating_mul(slots)))
}

/// Percent as sysinfo gives them; what is no number is nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=1,000,000 before; NaN becomes 0"
)]
fn ppm_of_percent(percent: f32) -> Ppm {
    Ppm::new((percent * 10_000.0).clamp(0.0, 1_000_000.0) as u32)
}

/// The loopback interface, which carries nothing that another machine sees.
fn is_loopback(name: &str) -> bool {
    name.strip_prefix("lo").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// Reads the machine. Keeps what differences need between two readings, and refreshes nothing else.
pub struct Sampler {
    home: PathBuf,
    system: System,
    networks: Networks,
    last: Instant,
}

impl Sampler {
    /// Takes the first reading, against which the next one counts. `home` must exist.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn new(home: &Path) -> Result<Self, SampleError> {
        let fail = |what| move |source| SampleError::System { what, source };
        let mut system = System::new().map_err(fail("the system"))?;
        system.refresh_cpu_usage();
        let networks = Networks::new_with_refreshed_list().map_err(fail("the network interfaces"))?;
        let sampler = Self { home: home.to_path_buf(), system, networks, last: Instant::now() };
        sampler.disk()?;
        Ok(sampler)
    }

    /// How long after the reading before another one makes sense.
    pub const fn min_interval() -> Duration {
        MINIMUM_CPU_UPDATE_INTERVAL
    }

    /// A reading. Takes well under a millisecond of CPU time; reads a few small files of the kernel.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn sample(&mut self) -> Result<Sample, SampleError> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.last);
        self.last = now;
        let outside = self.networks.iter().filter(|(name, _)| !is_loopback(&name.to_string_lossy()));
        let (received, sent) = outside.fold((0u64, 0u64), |(received, sent), (_, data)| {
            (received.saturating_add(data.received()), sent.saturating_add(data.transmitted()))
        });
        let (disk_used, disk_total) = self.disk()?;
        let uptime_s = System::uptime().map_err(|source| SampleError::System { what: "the uptime", source })?;
        Ok(Sample {
            cpu: ppm_of_percent(self.system.global_cpu_usage()),
            cores: u32::try_from(self.system.cpus().len()).unwrap_or(u32::MAX),
            memory_used: self.system.used_memory(),
            memory_total: self.system.total_memory(),
            disk_used,
            disk_total,
            received,
            sent,
            elapsed,
            uptime_s,
        })
    }

    /// Bytes in use and in all.
    fn disk(&self) -> Result<(u64, u64), SampleError> {
        let stat = nix::sys::statvfs::statvfs(&self.home)
            .map_err(|source| SampleError::Disk { path: self.home.clone(), source })?;
        let (block, total, free) = (stat.fragment_size(), stat.blocks(), stat.blocks_available());
        Ok((total.saturating_sub(free).saturating_mul(block), total.saturating_mul(block)))
    }
}

/// What an attester needs.
pub struct AttesterParts<S> {
    /// Signs.
    pub key: NodeKey,
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// Tells the epoch.
    pub clock: Arc<dyn Clock>,
    /// Reads the machine.
    pub sampler: Sampler,
    /// What the worker declares now; `None` while it is not registered: then nobody takes an attestation of it, and it makes none.
    pub capacity: Arc<dyn Fn() -> Option<Capacity> + Send + Sync>,
    /// What the responder has served.
    pub served: Arc<Served>,
    /// Echoes that the responder serves at a time.
    pub echo_slots: u32,
    /// The next sequence, persisted before it is returned. An error skips this epoch's attestation.
    pub next_sequence: S,
    /// Takes the attestations. When it is full, the attestation is dropped: the next epoch brings a newer one.
    pub out: mpsc::Sender<Verified<Signed<ResourceAttestation>>>,
}

/// Attests once an epoch, and once at its start. [`Self::run`] it.
pub struct Attester<S> {
    parts: AttesterParts<S>,
    network: NetworkId,
    busy_before: Duration,
}

impl<S, E> Attester<S>
where
    S: FnMut() -> Result<u64, E> + Send,
    E: std::fmt::Display,
{
    /// An attester that has said nothing yet.
    pub fn new(parts: AttesterParts<S>) -> Self {
        let network = parts.genesis.network_id();
        let busy_before = parts.served.busy_time();
        Self { parts, network, busy_before }
    }

    /// Attests until `stop`: soon after the start of each epoch, at a place in its first quarter that differs from
    /// worker to worker, so that not all attestations travel at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let offset = self.offset();
        // The first reading needs one before it to compare with.
        let mut next = self.parts.clock.now().after(Sampler::min_interval());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(&*self.parts.clock, next) => {}
            }
            let epoch = self.parts.genesis.epoch_at(self.parts.clock.now());
            if epoch > Epoch::ZERO {
                self.attest(epoch);
            }
            next = self.parts.genesis.epoch_start(epoch.next()).after(offset);
        }
    }

    /// Between 0 and a quarter of an epoch, from the node's key.
    fn offset(&self) -> Duration {
        let part = u32::from(self.parts.key.public_key().as_bytes()[0]);
        (self.parts.genesis.policy.epoch() / 4).saturating_mul(part) / 256
    }

    fn attest(&mut self, epoch: Epoch) {
        let Some(capacity) = (self.parts.capacity)() else { return };
        let sample = match self.parts.sampler.sample() {
            Ok(sample) => sample,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no attestation in this epoch");
                return;
            }
        };
        let sequence = match (self.parts.next_sequence)() {
            Ok(sequence) => sequence,
            Err(error) => {
                tracing::warn!(%error, "no sequence, so no attestation in this epoch");
                return;
            }
        };
        let busy = self.parts.served.busy_time();
        let context = Context {
            epoch,
            sequence,
            time: self.parts.clock.now(),
            sessions: self.parts.served.snapshot().sessions(),
            capacity,
            busy: busy.saturating_sub(self.busy_before),
            echo_slots: self.parts.echo_slots,
        };
        self.busy_before = busy;
        let attestation = self.parts.key.sign_attestation(&self.network, sample.attest(&context));
        if let Err(error) = self.parts.out.try_send(attestation) {
            tracing::debug!(epoch = epoch.get(), %error, "nobody takes the attestation");
        }
    }
}

#[cfg(test)]
mod tests;
