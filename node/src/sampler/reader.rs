//! Reads the machine: by sysinfo, and by files where sysinfo does not look.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lucid_types::amount::Ppm;
use lucid_types::time::UnixMillis;
use sysinfo::{Components, MINIMUM_CPU_UPDATE_INTERVAL, Networks, System};

use super::cgroup::{self, CgroupError, CpuUsage, Groups, ReadFile};
use super::{Limits, Sample, Temperature};

/// Sensors are asked once in so many readings: some take milliseconds to answer, and temperatures change slowly.
const SENSORS_EVERY: u32 = 10;

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
    /// No thread can be started.
    #[error("cannot start the thread that samples this machine")]
    Thread(#[source] io::Error),
}

/// Reads the machine. Keeps what differences need between two readings, and refreshes nothing else.
pub struct Sampler {
    home: PathBuf,
    read: Box<ReadFile>,
    system: System,
    networks: Networks,
    /// Nothing where the system has no sensors.
    sensors: Option<Components>,
    temperatures: Vec<Temperature>,
    groups: Result<Groups, CgroupError>,
    /// CPU time of the limited group at the reading before.
    cpu_before: Option<CpuUsage>,
    is_broken_told: bool,
    last: Instant,
    n_readings: u32,
}

impl Sampler {
    /// Takes the first reading, against which the next one counts. `home` must exist.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn new(home: &Path) -> Result<Self, SampleError> {
        Self::with_files(home, Box::new(|path| std::fs::read_to_string(path)))
    }

    /// As [`Self::new`], with other files of control groups.
    pub(super) fn with_files(home: &Path, read: Box<ReadFile>) -> Result<Self, SampleError> {
        let fail = |what| move |source| SampleError::System { what, source };
        let mut system = System::new().map_err(fail("the system"))?;
        system.refresh_cpu_usage();
        let networks = Networks::new_with_refreshed_list().map_err(fail("the network interfaces"))?;
        let mut sampler = Self {
            home: home.to_path_buf(),
            groups: Groups::find(&*read),
            read,
            system,
            networks,
            sensors: Components::new().ok(),
            temperatures: Vec::new(),
            cpu_before: None,
            is_broken_told: false,
            last: Instant::now(),
            n_readings: 0,
        };
        sampler.disk()?;
        sampler.cpu_before = sampler.limits().cpu;
        Ok(sampler)
    }

    /// How long after the reading before another one makes sense.
    pub const fn min_interval() -> Duration {
        MINIMUM_CPU_UPDATE_INTERVAL
    }

    /// A reading, at this time of day. Takes about a millisecond; reads small files of the kernel.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn sample(&mut self, time: UnixMillis) -> Result<Sample, SampleError> {
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
        let cores = u32::try_from(self.system.cpus().len()).unwrap_or(u32::MAX);
        let (memory_used, memory_total) = (self.system.used_memory(), self.system.total_memory());
        let machine = Sample {
            time,
            cpu: ppm_of_percent(self.system.global_cpu_usage()),
            per_core: self.system.cpus().iter().map(|cpu| ppm_of_percent(cpu.usage())).collect(),
            cores,
            memory_used,
            memory_total,
            disk_used,
            disk_total,
            received_bytes_s: per_second(received, elapsed),
            sent_bytes_s: per_second(sent, elapsed),
            load: System::load_average().map_or([0; 3], |load| [load.one, load.five, load.fifteen].map(hundredths)),
            uptime_s,
            temperatures: self.temperatures(),
            limits: Limits::default(),
        };
        let usage = self.limits();
        let cpu_before = std::mem::replace(&mut self.cpu_before, usage.cpu.clone());
        Ok(limited(machine, &usage, cpu_before.as_ref(), elapsed))
    }

    /// What control groups leave to this process. When they are broken it is said once, and there are no limits.
    fn limits(&mut self) -> cgroup::Usage {
        let usage = match &self.groups {
            Ok(groups) => groups.usage(&*self.read),
            Err(error) => return unlimited(error, &mut self.is_broken_told),
        };
        usage.unwrap_or_else(|error| unlimited(&error, &mut self.is_broken_told))
    }

    fn temperatures(&mut self) -> Vec<Temperature> {
        let is_due = self.n_readings.is_multiple_of(SENSORS_EVERY);
        self.n_readings = self.n_readings.wrapping_add(1);
        if let Some(sensors) = self.sensors.as_mut().filter(|_| is_due) {
            sensors.refresh(true);
            let read = |it: &sysinfo::Component| {
                let millicelsius = it.temperature().and_then(millicelsius)?;
                Some(Temperature { sensor: it.label().to_owned(), millicelsius })
            };
            self.temperatures = sensors.iter().filter_map(read).collect();
        }
        self.temperatures.clone()
    }

    /// Bytes in use and in all.
    fn disk(&self) -> Result<(u64, u64), SampleError> {
        let stat = nix::sys::statvfs::statvfs(&self.home)
            .map_err(|source| SampleError::Disk { path: self.home.clone(), source })?;
        let (block, total, free) = (stat.fragment_size(), stat.blocks(), stat.blocks_available());
        Ok((total.saturating_sub(free).saturating_mul(block), total.saturating_mul(block)))
    }
}

fn unlimited(error: &CgroupError, is_told: &mut bool) -> cgroup::Usage {
    if !std::mem::replace(is_told, true) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "the limits by control groups are not known: the machine's figures are shown");
    }
    cgroup::Usage::default()
}

/// The machine as its control groups leave it, where they limit it further than it is limited itself. Pure.
fn limited(machine: Sample, usage: &cgroup::Usage, cpu_before: Option<&CpuUsage>, elapsed: Duration) -> Sample {
    let mut sample = machine;
    if let Some(cpu) = usage.cpu.as_ref().filter(|cpu| cpu.limit_millis < sample.cores.saturating_mul(1_000)) {
        sample.cores = cpu.limit_millis.div_ceil(1_000);
        sample.limits.cpu_millis = Some(cpu.limit_millis);
        // Without a reading of the same group before, the machine's share is what is known.
        if let Some(before) = cpu_before.filter(|before| before.group == cpu.group) {
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let used = micros(cpu.used.saturating_sub(before.used)).saturating_mul(1_000);
            sample.cpu = Ppm::ratio(used, micros(elapsed).saturating_mul(u64::from(cpu.limit_millis)));
        }
    }
    if let Some(memory) = usage.memory.filter(|memory| memory.limit < sample.memory_total) {
        (sample.memory_used, sample.memory_total) = (memory.used, memory.limit);
        sample.limits.memory_bytes = Some(memory.limit);
    }
    sample
}

/// `floor(bytes / seconds)`; 0 when no time has passed.
fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = (u128::from(bytes) * 1_000_000).checked_div(elapsed.as_micros()).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Percent as sysinfo gives them. NaN maps to 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=1,000,000 before; NaN becomes 0"
)]
fn ppm_of_percent(percent: f32) -> Ppm {
    Ppm::new((percent * 10_000.0).clamp(0.0, 1_000_000.0) as u32)
}

/// A load average. NaN maps to 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the numbers of a u32 before; NaN becomes 0"
)]
fn hundredths(load: f64) -> u32 {
    (load * 100.0).round().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// What a sensor says; `None` for what is no temperature, as of a sensor that is broken.
#[expect(clippy::cast_possible_truncation, reason = "within 1,000 degrees")]
fn millicelsius(celsius: f32) -> Option<i32> {
    (-273.2..=1_000.0).contains(&celsius).then(|| (celsius * 1_000.0).round() as i32)
}

/// The loopback interface, which carries nothing that another machine sees.
fn is_loopback(name: &str) -> bool {
    name.strip_prefix("lo").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::cgroup::MemoryUsage;
    use super::*;
    use crate::sampler::tests::sample;

    const NOW: UnixMillis = UnixMillis::new(1_000_000);

    #[test]
    fn percent_become_ppm_whatever_sysinfo_says() {
        for (percent, ppm) in [(0.0, 0), (12.5, 125_000), (100.0, 1_000_000), (250.0, 1_000_000), (-1.0, 0)] {
            assert_eq!(ppm_of_percent(percent).get(), ppm);
        }
        assert_eq!(ppm_of_percent(f32::NAN), Ppm::ZERO);
    }

    #[test]
    fn loads_and_temperatures_are_integers() {
        assert_eq!([0.0, 1.257, 1e12, -1.0, f64::NAN].map(hundredths), [0, 126, u32::MAX, 0, 0]);
        let of = [-5.5, 41.25, 0.0, 1e30, f32::NAN].map(millicelsius);
        assert_eq!(of, [Some(-5_500), Some(41_250), Some(0), None, None]);
    }

    #[test]
    fn rates_are_bytes_over_time() {
        let seconds = Duration::from_secs;
        assert_eq!(per_second(10_001, seconds(2)), 5_000);
        assert_eq!(per_second(1_999, seconds(2)), 999);
        assert_eq!(per_second(5, Duration::ZERO), 0);
        assert_eq!(per_second(u64::MAX, Duration::from_micros(1)), u64::MAX);
    }

    #[test]
    fn loopback_is_told_from_other_interfaces() {
        assert!(["lo", "lo0", "lo12"].into_iter().all(is_loopback));
        assert!(!["eth0", "lowpan0", "enp3s0", "wlo1", "lo-br"].into_iter().any(is_loopback));
    }

    fn cpu(limit_millis: u32, group: &str, used_ms: u64) -> CpuUsage {
        CpuUsage { limit_millis, group: group.into(), used: Duration::from_millis(used_ms) }
    }

    #[test]
    fn limits_take_the_machines_place() {
        let second = Duration::from_secs(1);
        let memory = MemoryUsage { limit: 1 << 30, used: 1 << 29 };
        let usage = cgroup::Usage { cpu: Some(cpu(1_500, "/a", 10_300)), memory: Some(memory) };
        let found = limited(sample(), &usage, Some(&cpu(1_500, "/a", 10_000)), second);
        let wanted = Sample {
            cores: 2,
            // 0.3 of 1.5 CPU seconds.
            cpu: Ppm::new(200_000),
            memory_used: 1 << 29,
            memory_total: 1 << 30,
            limits: Limits { cpu_millis: Some(1_500), memory_bytes: Some(1 << 30) },
            ..sample()
        };
        assert_eq!(found, wanted);
        // Of another group's time nothing is known.
        let found = limited(sample(), &usage, Some(&cpu(1_500, "/b", 0)), second);
        assert_eq!((found.cpu, found.cores), (sample().cpu, 2));
        // What is no less than the machine has is no limit.
        let wide = MemoryUsage { limit: sample().memory_total, used: 0 };
        let usage = cgroup::Usage { cpu: Some(cpu(sample().cores * 1_000, "/a", 9)), memory: Some(wide) };
        assert_eq!(limited(sample(), &usage, None, second), sample());
    }

    #[test]
    fn this_machine_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut sampler = Sampler::new(folder.path()).unwrap();
        // Something to measure until CPU usage is defined.
        let (start, mut spins) = (Instant::now(), 0u64);
        while start.elapsed() < Sampler::min_interval() + Duration::from_millis(20) {
            spins = std::hint::black_box(spins.wrapping_add(1));
        }
        let sample = sampler.sample(NOW).unwrap();
        assert!(sample.cores > 0 && sample.uptime_s > 0 && sample.time == NOW, "{sample:?}");
        assert!(sample.cpu > Ppm::ZERO, "this test alone kept a core busy: {sample:?}");
        assert!(sample.per_core.iter().any(|core| *core > Ppm::ZERO), "{sample:?}");
        assert!(0 < sample.memory_used && sample.memory_used < sample.memory_total, "{sample:?}");
        assert!(0 < sample.disk_total && sample.disk_used <= sample.disk_total, "{sample:?}");
        assert!(sample.capacity().is_plausible());
    }

    /// A container of half a CPU and 64 MiB, whose files break after the first reading.
    #[test]
    fn a_container_is_seen_and_broken_files_are_not_believed() {
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = Arc::clone(&is_broken);
        let read = move |path: &Path| {
            let text = match path.to_str().unwrap() {
                "/proc/self/cgroup" => "0::/\n",
                "/proc/self/mountinfo" => "9 8 0:28 / /group ro - cgroup2 cgroup rw\n",
                "/group/cpu.max" if broken.load(Ordering::Relaxed) => "half\n",
                "/group/cpu.max" => "50000 100000\n",
                "/group/cpu.stat" => "usage_usec 7\n",
                "/group/memory.max" => "67108864\n",
                "/group/memory.current" => "33554432\n",
                "/group/memory.stat" => "inactive_file 1048576\n",
                _ => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok(text.to_owned())
        };
        let folder = tempfile::tempdir().unwrap();
        let mut sampler = Sampler::with_files(folder.path(), Box::new(read)).unwrap();
        let sample = sampler.sample(NOW).unwrap();
        assert_eq!(sample.limits, Limits { cpu_millis: Some(500), memory_bytes: Some(64 << 20) });
        assert_eq!((sample.cores, sample.cpu), (1, Ppm::ZERO));
        assert_eq!((sample.memory_used, sample.memory_total), (31 << 20, 64 << 20));
        assert_eq!((sample.capacity().cores, sample.capacity().memory_bytes), (1, 64 << 20));

        is_broken.store(true, Ordering::Relaxed);
        let machine = sampler.sample(NOW).unwrap();
        assert_eq!(machine.limits, Limits::default());
        assert!(machine.memory_total > 64 << 20 && sampler.is_broken_told);
        // It is read again: a limit may be set while the node runs.
        is_broken.store(false, Ordering::Relaxed);
        assert_eq!(sampler.sample(NOW).unwrap().cores, 1);
    }

    #[test]
    fn a_home_that_is_not_there_is_named() {
        let Err(error) = Sampler::new(Path::new("/no/such/home")) else { unreachable!("there is no such folder") };
        assert!(error.to_string().contains("/no/such/home"), "{error}");
    }
}
