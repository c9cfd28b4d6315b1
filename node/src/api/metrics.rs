//! The node's metrics in Prometheus' text format (version 0.0.4).
//!
//! One documented struct holds all of them; label sets are closed, and no peer, worker or address is a label.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lucid_p2p::{Counter, Protocol};

use super::NodeView;
use super::model::{MemberCounts, SyncState};
use crate::probe::core::Gauges;
use crate::probe::{EchoOutcome, PingOutcome, ProbeCounts, ServedCounts, StorageOutcome};

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
    /// `lucid_owed_micro_usdt`, `lucid_paid_micro_usdt`, `lucid_payout_requests_open`, `lucid_vault_funds_micro_usdt`,
    /// `lucid_gas_account_sun`, `lucid_payout_alerts`.
    pub payouts: PayoutFigures,
    /// `lucid_pool_members{state}`: members of all pools.
    pub members: MemberCounts,
    /// `lucid_mesh_total{group,reason}`: messages accepted, refused and dropped by the mesh.
    pub mesh: Vec<Counter>,
    /// `lucid_mesh_held_bytes{protocol}`: what peers' requests, and the answers to them, hold.
    pub held: Vec<(Protocol, usize)>,
    /// `lucid_probe_{pings,echoes,challenges,deposits}_total{outcome}`: what this validator sent; `lucid_probe_lateness_ms{quantile}`: how long
    /// after their times probes left.
    pub probes: ProbeCounts,
    /// `lucid_probe_under_way{kind}`: what this validator waits for.
    pub under_way: Gauges,
    /// `lucid_scores_suspicious`: scores of the newest final epoch that are unlike their workers' own of the last day.
    pub suspicious: u64,
    /// `lucid_served_*`: what this worker answered.
    pub served: ServedCounts,
    /// `lucid_probe_month_bytes`: what probes have taken of this worker's line in the calendar month.
    pub month_bytes: u64,
}

/// What pools owe and what has been paid, over all pools. What is read from the payment network is `None`, and not on the page,
/// as long as it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayoutFigures {
    /// Sum of all owed totals, in micro-USDT.
    pub owed_micro_usdt: u64,
    /// Sum of what vaults have paid to accounts, in the solidified view, in micro-USDT.
    pub paid_micro_usdt: Option<u64>,
    /// Accounts that are due and not paid.
    pub open: Option<u64>,
    /// What the vaults hold, in micro-USDT.
    pub vault_funds_micro_usdt: Option<u64>,
    /// What this node's gas account holds, in sun.
    pub gas_sun: Option<u64>,
    /// What an operator should look at: of vaults and of this node's own pusher.
    pub alerts: u64,
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
        (
            "lucid_scores_suspicious",
            "Scores of the newest final epoch that are unlike their workers' own of the last day.",
            metrics.suspicious,
        ),
        (
            "lucid_probe_month_bytes",
            "Bytes that probes have taken of this worker's line in the calendar month, both ways.",
            metrics.month_bytes,
        ),
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
    let payouts = &metrics.payouts;
    for (name, about, value) in [
        ("lucid_owed_micro_usdt", "Sum of all owed totals, in micro-USDT.", Some(payouts.owed_micro_usdt)),
        ("lucid_paid_micro_usdt", "Sum of what vaults have paid, solidified, in micro-USDT.", payouts.paid_micro_usdt),
        ("lucid_payout_requests_open", "Accounts that are due and not paid.", payouts.open),
        ("lucid_vault_funds_micro_usdt", "What the vaults hold, in micro-USDT.", payouts.vault_funds_micro_usdt),
        ("lucid_gas_account_sun", "What this node's gas account holds, in sun.", payouts.gas_sun),
        ("lucid_payout_alerts", "What an operator should look at, as the log says.", Some(payouts.alerts)),
    ] {
        if let Some(value) = value {
            page.family(name, "gauge", about);
            page.value(name, &[], value);
        }
    }
    page.family("lucid_pool_members", "gauge", "Members of all pools; whoever is held has a state beside that.");
    let MemberCounts { pending, active, degraded, inactive, leaving, banned, held } = metrics.members;
    for (state, count) in [
        ("pending", pending),
        ("active", active),
        ("degraded", degraded),
        ("inactive", inactive),
        ("leaving", leaving),
        ("banned", banned),
        ("held", held),
    ] {
        page.value("lucid_pool_members", &[("state", state)], count);
    }
    page.family("lucid_mesh_total", "counter", "Messages accepted, refused and dropped by the mesh.");
    for counter in &metrics.mesh {
        page.value("lucid_mesh_total", &[("group", counter.group), ("reason", counter.reason)], counter.count);
    }
    page.family("lucid_mesh_held_bytes", "gauge", "What requests of peers, and the answers to them, hold.");
    for (protocol, bytes) in &metrics.held {
        let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
        page.value("lucid_mesh_held_bytes", &[("protocol", protocol.kind())], bytes);
    }
    page.family("lucid_probe_pings_total", "counter", "Pings this validator sent.");
    for outcome in PingOutcome::ALL {
        let count = metrics.probes.pings(outcome);
        page.value("lucid_probe_pings_total", &[("outcome", outcome.label())], count);
    }
    page.family("lucid_probe_echoes_total", "counter", "Echoes this validator sent.");
    for outcome in EchoOutcome::ALL {
        page.value("lucid_probe_echoes_total", &[("outcome", outcome.label())], metrics.probes.echoes(outcome));
    }
    page.family(
        "lucid_probe_challenges_total",
        "counter",
        "Storage challenges of this validator, one for each worker and epoch.",
    );
    for outcome in StorageOutcome::ALL {
        let count = metrics.probes.challenges(outcome);
        page.value("lucid_probe_challenges_total", &[("outcome", outcome.label())], count);
    }
    page.family("lucid_probe_deposits_total", "counter", "Chunks this validator deposited with workers.");
    for outcome in StorageOutcome::ALL {
        page.value("lucid_probe_deposits_total", &[("outcome", outcome.label())], metrics.probes.deposits(outcome));
    }
    page.family(
        "lucid_probe_lateness_ms",
        "gauge",
        "How long after their times so many of this validator's probes left at most, to a power of two.",
    );
    for (quantile, later_of_1000) in [("0.5", 500), ("0.99", 10), ("1", 0)] {
        let lateness = metrics.probes.lateness(later_of_1000).as_millis();
        page.value("lucid_probe_lateness_ms", &[("quantile", quantile)], lateness);
    }
    page.family("lucid_probe_under_way", "gauge", "Probes of this validator that have left and not ended, and dials.");
    let Gauges { pings, dials, echoes, echo_bytes: _, questions, deposits } = metrics.under_way;
    for (kind, count) in
        [("ping", pings), ("dial", dials), ("echo", echoes), ("question", questions), ("deposit", deposits)]
    {
        page.value("lucid_probe_under_way", &[("kind", kind)], count);
    }
    let served = &metrics.served;
    for (name, about, value) in [
        ("lucid_served_pings_total", "Pings this worker answered.", served.pings),
        ("lucid_served_echoes_total", "Echoes this worker served to the end.", served.echoes),
        ("lucid_served_echo_bytes_total", "Bytes that echoes brought, counted once.", served.echo_bytes),
        ("lucid_served_chunks_total", "Chunks this worker stored.", served.stored),
        ("lucid_served_challenges_total", "Storage challenges this worker answered.", served.challenges),
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

async fn page(State(view): State<Arc<dyn NodeView>>) -> Response {
    // Members are counted one by one, which is too long for a thread of the runtime.
    match tokio::task::spawn_blocking(move || render(&view.metrics())).await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
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
            members: MemberCounts { degraded: 6, ..MemberCounts::default() },
            payouts: PayoutFigures { owed_micro_usdt: 5, paid_micro_usdt: Some(2), ..PayoutFigures::default() },
            mesh: vec![Counter { group: "commitments", reason: "a\"b\\", count: 3 }],
            held: vec![(Protocol::Sync, 5)],
            probes: ProbeCounts::default(),
            under_way: Gauges { echoes: 3, ..Gauges::default() },
            served: ServedCounts { pings: 4, ..ServedCounts::default() },
            month_bytes: 11,
            suspicious: 2,
        };
        let page = render(&metrics);
        for line in [
            "lucid_height 7",
            "lucid_sync_state{state=\"syncing\"} 1",
            "lucid_sync_state{state=\"synced\"} 0",
            "lucid_owed_micro_usdt 5",
            "lucid_paid_micro_usdt 2",
            "lucid_pool_members{state=\"degraded\"} 6",
            "lucid_mesh_total{group=\"commitments\",reason=\"a\\\"b\\\\\"} 3",
            "lucid_mesh_held_bytes{protocol=\"sync\"} 5",
            "lucid_probe_echoes_total{outcome=\"verified\"} 0",
            "lucid_probe_lateness_ms{quantile=\"0.99\"} 0",
            "lucid_probe_under_way{kind=\"echo\"} 3",
            "lucid_probe_under_way{kind=\"ping\"} 0",
            "lucid_served_pings_total 4",
            "lucid_probe_month_bytes 11",
            "lucid_scores_suspicious 2",
            "# TYPE lucid_mesh_total counter",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert!(!page.contains("lucid_gas_account_sun"), "what is not known is not on the page");
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
