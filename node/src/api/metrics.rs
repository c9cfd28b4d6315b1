//! The node's metrics in Prometheus' text format (version 0.0.4).
//!
//! One documented struct holds all of them; label sets are closed, and no peer, worker or address is a label.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use lucid_p2p::Counter;

use super::NodeView;
use super::model::SyncState;
use crate::probe::{BeaconOutcome, ProbeCounts, RelayOutcome, ServedCounts};

/// Everything that is measured, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `lucid_height`: the newest final block.
    pub height: u64,
    /// `lucid_epoch`: the epoch of the node's clock.
    pub epoch: u64,
    /// `lucid_peers`: connected peers.
    pub peers: u64,
    /// `lucid_sync_state{state}`: 1 for the state that holds, 0 for the others.
    pub sync: SyncState,
    /// `lucid_round`: the round in which the newest block was decided.
    pub round: u64,
    /// `lucid_payouts{status="open"|"held"}`: payouts in the ledger that have not ended, and
    /// `lucid_paid_micro_usdt`: the sum of those that have.
    pub payouts: PayoutCounts,
    /// `lucid_mesh_total{group,reason}`: messages accepted, refused and dropped by the mesh.
    pub mesh: Vec<Counter>,
    /// `lucid_probe_beacons_total{outcome}` and `lucid_probe_relays_total{outcome}`: what this validator sent.
    pub probes: ProbeCounts,
    /// `lucid_served_*`: what this worker answered.
    pub served: ServedCounts,
}

/// Payouts in the ledger by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayoutCounts {
    /// Fixed by a block, no receipt is final.
    pub open: u64,
    /// Sum of the payouts that ended as paid, in micro-USDT.
    pub paid_micro_usdt: u64,
    /// Held for a person.
    pub held: u64,
}

/// The text that Prometheus reads.
pub fn render(metrics: &Metrics) -> String {
    let mut page = Page::default();
    page.family("lucid_build_info", "gauge", "The build, as a label.");
    page.value("lucid_build_info", &[("build", crate::BUILD_ID)], 1);
    for (name, about, value) in [
        ("lucid_height", "Height of the newest final block.", metrics.height),
        ("lucid_epoch", "Epoch of the node's clock.", metrics.epoch),
        ("lucid_round", "Round that decided the newest block.", metrics.round),
        ("lucid_peers", "Connected peers of this network.", metrics.peers),
    ] {
        page.family(name, "gauge", about);
        page.value(name, &[], value);
    }
    page.family("lucid_sync_state", "gauge", "1 for the state that holds.");
    for (label, state) in
        [("synced", SyncState::Synced), ("syncing", SyncState::Syncing), ("stalled", SyncState::Stalled)]
    {
        page.value("lucid_sync_state", &[("state", label)], u64::from(metrics.sync == state));
    }
    page.family("lucid_payouts", "gauge", "Payouts in the ledger.");
    let payouts = &metrics.payouts;
    for (label, value) in [("open", payouts.open), ("held", payouts.held)] {
        page.value("lucid_payouts", &[("status", label)], value);
    }
    page.family("lucid_paid_micro_usdt", "gauge", "Sum of the payouts that ended as paid, in micro-USDT.");
    page.value("lucid_paid_micro_usdt", &[], payouts.paid_micro_usdt);
    page.family("lucid_mesh_total", "counter", "Messages accepted, refused and dropped by the mesh.");
    for counter in &metrics.mesh {
        page.value("lucid_mesh_total", &[("group", counter.group), ("reason", counter.reason)], counter.count);
    }
    page.family("lucid_probe_beacons_total", "counter", "Uptime beacons this validator sent.");
    for outcome in BeaconOutcome::ALL {
        let count = metrics.probes.beacons(outcome);
        page.value("lucid_probe_beacons_total", &[("outcome", outcome.label())], count);
    }
    page.family("lucid_probe_relays_total", "counter", "Relay tasks this validator gave.");
    for outcome in RelayOutcome::ALL {
        page.value("lucid_probe_relays_total", &[("outcome", outcome.label())], metrics.probes.relays(outcome));
    }
    let served = &metrics.served;
    for (name, about, value) in [
        ("lucid_served_beacons_total", "Uptime beacons this worker answered.", served.beacons),
        ("lucid_served_relays_total", "Relay sessions this worker served to the end.", served.relays),
        ("lucid_served_relay_bytes_total", "Bytes that relay sessions brought, counted once.", served.relay_bytes),
        ("lucid_served_refused_total", "Probes this worker refused.", served.refused),
    ] {
        page.family(name, "counter", about);
        page.value(name, &[], value);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let before = if i == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escape(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }
}

/// Label values may hold anything once these three are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(super) fn router(view: Arc<dyn NodeView>) -> Router {
    Router::new().route("/metrics", get(page)).with_state(view)
}

async fn page(State(view): State<Arc<dyn NodeView>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&view.metrics()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_in_prometheus_text_format() {
        let metrics = Metrics {
            height: 7,
            epoch: 8,
            peers: 9,
            sync: SyncState::Syncing,
            round: 0,
            payouts: PayoutCounts { open: 1, paid_micro_usdt: 2, held: 0 },
            mesh: vec![Counter { group: "commits", reason: "a\"b\\", count: 3 }],
            probes: ProbeCounts::default(),
            served: ServedCounts { beacons: 4, ..ServedCounts::default() },
        };
        let page = render(&metrics);
        for line in [
            "lucid_height 7",
            "lucid_sync_state{state=\"syncing\"} 1",
            "lucid_sync_state{state=\"synced\"} 0",
            "lucid_paid_micro_usdt 2",
            "lucid_mesh_total{group=\"commits\",reason=\"a\\\"b\\\\\"} 3",
            "lucid_probe_relays_total{outcome=\"verified\"} 0",
            "lucid_served_beacons_total 4",
            "# TYPE lucid_mesh_total counter",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        // Every sample belongs to the family declared before it, and families are declared once.
        let mut declared = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap_or_default();
                assert!(!declared.contains(&name), "{name} twice");
                declared.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                assert_eq!(declared.last(), Some(&name));
            }
        }
    }
}
