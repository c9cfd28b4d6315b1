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
