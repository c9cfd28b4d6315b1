//! What the API shows of the node's own machine.

use crate::api::model::{MeanMax, ResourceLimitsView, ResourcesView, SpanView, TemperatureView};
use crate::sampler::rings::{Bucket, Figure};
use crate::sampler::{Sample, Temperature};

pub(super) fn now(sample: &Sample) -> ResourcesView {
    let temperature = |Temperature { sensor, millicelsius }: &Temperature| TemperatureView {
        sensor: sensor.clone(),
        millicelsius: *millicelsius,
    };
    ResourcesView {
        time: sample.time,
        cpu_ppm: sample.cpu,
        per_core_ppm: sample.per_core.clone(),
        cores: sample.cores,
        memory_used_bytes: sample.memory_used,
        memory_total_bytes: sample.memory_total,
        memory_ppm: sample.memory(),
        disk_used_bytes: sample.disk_used,
        disk_total_bytes: sample.disk_total,
        disk_ppm: sample.disk(),
        network_rx_bytes_s: sample.received_bytes_s,
        network_tx_bytes_s: sample.sent_bytes_s,
        load_hundredths: sample.load,
        uptime_s: sample.uptime_s,
        temperatures: sample.temperatures.iter().map(temperature).collect(),
        limits: ResourceLimitsView { cpu_millis: sample.limits.cpu_millis, memory_bytes: sample.limits.memory_bytes },
    }
}

pub(super) fn span(Bucket { from, figures }: &Bucket) -> SpanView {
    let shown = |figure: &Figure| figure.mean_and_max().map(|(mean, max)| MeanMax { mean, max });
    SpanView {
        from: *from,
        // Every sample has this figure.
        samples: figures.cpu.samples(),
        cpu_ppm: shown(&figures.cpu),
        memory_ppm: shown(&figures.memory),
        disk_ppm: shown(&figures.disk),
        network_rx_bytes_s: shown(&figures.received),
        network_tx_bytes_s: shown(&figures.sent),
        load_hundredths: shown(&figures.load),
        hottest_millicelsius: shown(&figures.temperature),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::Ppm;
    use lucid_types::time::UnixMillis;

    use super::*;
    use crate::sampler::Limits;
    use crate::sampler::rings::{Granularity, Rings};
    use crate::sampler::tests::sample;

    #[test]
    fn what_is_shown_is_what_was_sampled() {
        let limits = Limits { cpu_millis: Some(500), memory_bytes: Some(7) };
        let view = now(&Sample { limits, ..sample() });
        assert_eq!([view.cpu_ppm, view.memory_ppm, view.disk_ppm], [125_000, 375_000, 750_000].map(Ppm::new));
        assert_eq!((view.memory_used_bytes, view.memory_total_bytes), (3 << 30, 8 << 30));
        assert_eq!((view.disk_used_bytes, view.disk_total_bytes), (30, 40));
        assert_eq!((view.network_rx_bytes_s, view.network_tx_bytes_s), (5_000, 999));
        assert_eq!(view.limits, ResourceLimitsView { cpu_millis: Some(500), memory_bytes: Some(7) });
        assert_eq!(view.temperatures[1], TemperatureView { sensor: "disk".to_owned(), millicelsius: 30_000 });
    }

    #[test]
    fn a_span_shows_each_figure_as_its_own() {
        let mut rings = Rings::default();
        rings.add(&sample());
        let all = (UnixMillis::ZERO, UnixMillis::new(u64::MAX));
        let view = span(rings.between(Granularity::Hour, all).first().unwrap());
        let same = |value| Some(MeanMax { mean: value, max: value });
        let wanted = SpanView {
            from: UnixMillis::ZERO,
            samples: 1,
            cpu_ppm: same(125_000),
            memory_ppm: same(375_000),
            disk_ppm: same(750_000),
            network_rx_bytes_s: same(5_000),
            network_tx_bytes_s: same(999),
            load_hundredths: same(125),
            hottest_millicelsius: same(41_500),
        };
        assert_eq!(view, wanted);
    }
}
