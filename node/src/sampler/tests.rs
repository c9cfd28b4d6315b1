//! Tests of the conversion by hand, and of readings of the machine that runs them.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn sample() -> Sample {
    Sample {
        cpu: Ppm::new(125_000),
        cores: 4,
        memory_used: 3 << 30,
        memory_total: 8 << 30,
        disk_used: 30,
        disk_total: 40,
        received: 10_000,
        sent: 1_999,
        elapsed: Duration::from_secs(2),
        uptime_s: 77,
    }
}

fn context() -> Context {
    Context {
        epoch: Epoch::new(3),
        sequence: 9,
        time: UnixMillis::new(1_234),
        sessions: 5,
        capacity: Capacity { cores: 2, ..Capacity::default() },
        busy: Duration::from_secs(1),
        echo_slots: 8,
    }
}

#[test]
fn an_attestation_by_hand() {
    let found = sample().attest(&context());
    let wanted = ResourceAttestation {
        epoch: Epoch::new(3),
        sequence: 9,
        time: UnixMillis::new(1_234),
        uptime_s: 77,
        cpu: Ppm::new(125_000),
        memory: Ppm::new(375_000),
        disk: Ppm::new(750_000),
        network_rx_bytes_s: 5_000,
        network_tx_bytes_s: 999,
        sessions: 5,
        capacity: Capacity { cores: 2, ..Capacity::default() },
        // One second of eight slots' two seconds.
        allocation: Ppm::new(62_500),
    };
    assert_eq!(found, wanted);
}

#[test]
fn an_idle_worker_has_allocated_nothing() {
    let idle = Context { busy: Duration::ZERO, ..context() };
    assert_eq!(sample().attest(&idle).allocation, Ppm::ZERO);
}

#[test]
fn percent_become_ppm_whatever_sysinfo_says() {
    for (percent, ppm) in [(0.0, 0), (12.5, 125_000), (100.0, 1_000_000), (250.0, 1_000_000), (-1.0, 0)] {
        assert_eq!(ppm_of_percent(percent).get(), ppm);
    }
    assert_eq!(ppm_of_percent(f32::NAN), Ppm::ZERO);
}

#[test]
fn loopback_is_told_from_other_interfaces() {
    assert!(["lo", "lo0", "lo12"].into_iter().all(is_loopback));
    assert!(!["eth0", "lowpan0", "enp3s0", "wlo1", "lo-br"].into_iter().any(is_loopback));
}

proptest! {
    #[test]
    fn every_reading_makes_a_plausible_attestation(
        cpu in 0..=1_000_000u32,
        numbers: [u64; 6],
        elapsed: u32,
        busy: u32,
        slots: u32,
    ) {
        let [memory_used, memory_total, disk_used, disk_total, received, sent] = numbers;
        let elapsed = Duration::from_micros(elapsed.into());
        let sample = Sample { cpu: Ppm::new(cpu), memory_used, memory_total, disk_used, disk_total, received, sent, elapsed, ..sample() };
        let context = Context { busy: Duration::from_micros(busy.into()), echo_slots: slots, capacity: sample.capacity(), ..context() };
        prop_assert!(sample.attest(&context).is_plausible());
    }
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
    let sample = sampler.sample().unwrap();
    assert!(sample.elapsed >= Sampler::min_interval());
    assert!(sample.cores > 0 && sample.uptime_s > 0, "{sample:?}");
    assert!(sample.cpu > Ppm::ZERO, "this test alone kept a core busy: {sample:?}");
    assert!(0 < sample.memory_used && sample.memory_used < sample.memory_total, "{sample:?}");
    assert!(0 < sample.disk_total && sample.disk_used <= sample.disk_total, "{sample:?}");
    assert!(sample.capacity().is_plausible());
    let again = sampler.sample().unwrap();
    assert!(again.elapsed < sample.elapsed, "each reading counts from the one before");
}

#[test]
fn a_home_that_is_not_there_is_named() {
    let Err(error) = Sampler::new(Path::new("/no/such/home")) else { unreachable!("there is no such folder") };
    assert!(error.to_string().contains("/no/such/home"), "{error}");
}
