//! Tests of the conversion by hand.

use proptest::prelude::*;

use super::*;

/// Of a machine of four cores.
pub(crate) fn sample() -> Sample {
    Sample {
        time: UnixMillis::new(1_000),
        cpu: Ppm::new(125_000),
        per_core: vec![Ppm::new(500_000), Ppm::ZERO, Ppm::ZERO, Ppm::ZERO],
        cores: 4,
        memory_used: 3 << 30,
        memory_total: 8 << 30,
        disk_used: 30,
        disk_total: 40,
        received_bytes_s: 5_000,
        sent_bytes_s: 999,
        load: [125, 50, 5],
        uptime_s: 77,
        temperatures: [("core", 41_500), ("disk", 30_000)]
            .map(|(sensor, millicelsius)| Temperature { sensor: sensor.to_owned(), millicelsius })
            .to_vec(),
        limits: Limits::default(),
    }
}

fn context() -> Context {
    Context {
        epoch: Epoch::new(3),
        sequence: 9,
        time: UnixMillis::new(1_234),
        sessions: 5,
        capacity: Capacity { cores: 2, ..Capacity::default() },
        elapsed: Duration::from_secs(2),
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

proptest! {
    #[test]
    fn every_reading_makes_a_plausible_attestation(
        cpu in 0..=1_000_000u32,
        numbers: [u64; 6],
        elapsed: u32,
        busy: u32,
        slots: u32,
    ) {
        let [memory_used, memory_total, disk_used, disk_total, received_bytes_s, sent_bytes_s] = numbers;
        let cpu = Ppm::new(cpu);
        let sample =
            Sample { cpu, memory_used, memory_total, disk_used, disk_total, received_bytes_s, sent_bytes_s, ..sample() };
        let [elapsed, busy] = [elapsed, busy].map(|micros| Duration::from_micros(micros.into()));
        let context = Context { elapsed, busy, echo_slots: slots, capacity: sample.capacity(), ..context() };
        prop_assert!(sample.attest(&context).is_plausible());
    }
}
