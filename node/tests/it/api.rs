//! The API and the metrics over real sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lucid_node::api::{serve, serve_metrics};
use lucid_types::block::Item;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command};
use lucid_types::id::{NetworkId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::pool::PoolAction;
use lucid_types::signed::MultiSigned;
use lucid_types::time::UnixMillis;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{STATUS_KEYS, node, within};
use crate::view::{Known, known, settled};

/// What `GET /api/v1/payouts/{id}` answers.
const PAYOUT_KEYS: [&str; 14] = [
    "payout_id",
    "pool",
    "settlement",
    "worker",
    "kind",
    "address",
    "amount_micro_usdt",
    "owed_micro_usdt",
    "status",
    "waits_for",
    "since",
    "tx_id",
    "block",
    "fee_sun",
];

/// What `GET /api/v1/resources` answers.
const RESOURCES_KEYS: [&str; 16] = [
    "time",
    "cpu_ppm",
    "per_core_ppm",
    "cores",
    "memory_used_bytes",
    "memory_total_bytes",
    "memory_ppm",
    "disk_used_bytes",
    "disk_total_bytes",
    "disk_ppm",
    "network_rx_bytes_s",
    "network_tx_bytes_s",
    "load_hundredths",
    "uptime_s",
    "temperatures",
    "limits",
];

/// What each span of `GET /api/v1/resources/history` has.
const SPAN_KEYS: [&str; 9] = [
    "from",
    "samples",
    "cpu_ppm",
    "memory_ppm",
    "disk_ppm",
    "network_rx_bytes_s",
    "network_tx_bytes_s",
    "load_hundredths",
    "hottest_millicelsius",
];

const METRIC_KEYS: [&str; 14] = [
    "received",
    "epoch",
    "sequence",
    "time",
    "uptime_s",
    "cpu_ppm",
    "memory_ppm",
    "disk_ppm",
    "network_rx_bytes_s",
    "network_tx_bytes_s",
    "sessions",
    "capacity",
    "allocation_ppm",
    "signature",
];

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) view: Arc<Known>,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

pub(crate) async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, view, stop) = (listener.local_addr().unwrap(), known(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, Arc::<Known>::clone(&view), stop.clone()));
    Server { address, view, stop, task }
}

impl Server {
    async fn call(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = within(client.request(method, format!("http://{}{path}", self.address)).send()).await.unwrap();
        let (status, id) = (answer.status(), answer.headers().get("x-request-id").cloned());
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null);
        if let Some(in_body) = body.pointer("/error/request_id") {
            assert_eq!(id.unwrap().to_str().unwrap(), in_body.as_str().unwrap());
        }
        (status, body)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Status, code and message of a failure.
    async fn failure(&self, method: Method, path: &str) -> (u16, String, String) {
        let (status, body) = self.call(method, path).await;
        assert_eq!(body.as_object().map(|o| o.len()), Some(1), "{path}: {body}");
        let text = |key| body["error"][key].as_str().unwrap_or_else(|| panic!("{path}: {body}")).to_owned();
        (status.as_u16(), text("code"), text("message"))
    }
}

#[tokio::test]
async fn the_status_has_exactly_its_keys() {
    let server = server().await;
    let status = server.get("/api/v1/status").await;
    let keys: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(STATUS_KEYS));
    assert_eq!(status["roles"], json!(["validator", "bootstrap"]));
    assert_eq!(status["block_hash"], "02".repeat(32));
    assert_eq!((&status["height"], &status["sync"], &status["pool"]), (&json!(5), &json!("synced"), &Value::Null));
}

#[tokio::test]
async fn a_raw_block_is_its_bytes_and_nothing_else() {
    let server = server().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let path = format!("http://{}/api/v1/blocks/3/raw", server.address);
    let answer = within(client.get(path).send()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(&answer.bytes().await.unwrap()[..], [0, 0xff]);
}

#[tokio::test]
async fn lists_and_single_entries_are_found() {
    let server = server().await;
    let numbers = |list: &Value, of: &str, key: &str| -> Vec<u64> {
        list[of].as_array().unwrap().iter().map(|it| it[key].as_u64().unwrap()).collect()
    };
    let blocks = server.get("/api/v1/blocks").await;
    assert_eq!((numbers(&blocks, "blocks", "height"), &blocks["chain"]), (vec![5, 4, 3, 2, 1], &json!("lucid-blocks")));
    let page = server.get("/api/v1/blocks?limit=2&before=4").await;
    assert_eq!(numbers(&page, "blocks", "height"), [3, 2]);
    assert_eq!(server.get("/api/v1/blocks/3").await["signatures"], 3);
    let certificate = server.get("/api/v1/blocks/3/certificate").await;
    assert_eq!((&certificate["height"], &certificate["block_hash"]), (&json!(3), &json!("03".repeat(32))));
    assert_eq!(certificate["signatures"][0]["signature"], "06".repeat(64));
    let epochs = server.get("/api/v1/epochs").await;
    assert_eq!(numbers(&epochs, "epochs", "epoch"), [4, 3, 2, 1]);
    let stages: Vec<_> = epochs["epochs"].as_array().unwrap().iter().map(|it| it["stage"].clone()).collect();
    assert_eq!(stages, ["open", "unmeasured", "final", "final"]);
    assert_eq!(numbers(&server.get("/api/v1/epochs?limit=2&before=3").await, "epochs", "epoch"), [2, 1]);
    let open = server.get("/api/v1/epochs/4").await;
    assert_eq!((&open["closed_in"], &open["block"]), (&Value::Null, &Value::Null));
    assert_eq!(server.get("/api/v1/epochs/2").await["block"]["height"], 4);
    let scores = server.get("/api/v1/scores").await;
    assert_eq!(scores["epoch"], 4);
    let order: Vec<_> = scores["scores"].as_array().unwrap().iter().map(|s| s["score_ppm"].clone()).collect();
    assert_eq!(order, [650_000, 400_000], "best first");
    assert_eq!(scores["scores"][0]["unmeasured"], json!(["utilisation"]));
    assert_eq!(scores["scores"][0]["echo_kbit_s"], Value::Null, "what is not known is null");
    assert_eq!(server.get("/api/v1/scores?epoch=9").await, json!({"epoch": 9, "scores": []}));
    let best = server.get("/api/v1/poot/leaderboard?limit=1&offset=1").await;
    assert_eq!(
        (&best["n_places"], &best["places"][0]["rank"], &best["places"][0]["live"]),
        (&json!(2), &json!(2), &json!(9))
    );
    let worker = node(10);
    let score = server.get(&format!("/api/v1/poot/scores/{worker}?epoch=3")).await;
    assert_eq!(
        (&score["score"]["epoch"], &score["quota_chunks"], &score["suspicion"]),
        (&json!(3), &json!(147), &Value::Null)
    );
    let spans = server.get(&format!("/api/v1/poot/history/{worker}?from=1&to=4&span=hour&limit=3")).await;
    assert_eq!(numbers(&spans, "spans", "to"), [4, 3, 2]);
    assert_eq!(server.get("/api/v1/poot/agreement?from=1&to=4").await["copying"][0]["lag"], 0);
    let why = server.get(&format!("/api/v1/poot/why/{worker}?settlement=1")).await;
    assert_eq!(
        (&why["causes"][0]["cause"], &why["causes"][0]["epochs"], &why["causes"][0]["delta_micro_usdt"]),
        (&json!("offline"), &json!([[1, 2], [4, 4]]), &json!(-410_000))
    );
    assert_eq!((&why["causes"][1]["responsibility"], &why["paid_micro_usdt"]), (&json!("network"), &json!(2_000_000)));
    let change = server.get(&format!("/api/v1/poot/change/{worker}?epoch=3")).await;
    assert_eq!(
        (&change["from"], &change["factors_ppm"]["quality"], &change["rounding_ppm"]),
        (&json!(2), &json!(-20_000), &json!(-1))
    );
    let verified = server.get(&format!("/api/v1/poot/verify/{worker}")).await;
    assert_eq!((&verified["source"], &verified["is_right"]), (&json!("blocks"), &json!(true)));
    let pool = Known::pool_id();
    let report = server.get(&format!("/api/v1/poot/report/{pool}?from=1&to=4")).await;
    assert_eq!((&report["lines"][0]["kind"], &report["owed_micro_usdt"]), (&json!("worker"), &json!(100_000_000)));
    assert_eq!(server.get("/api/v1/poot/statistics?epoch=2").await["score_ppm"]["p50"], 400_002);
    let validations = server.get(&format!("/api/v1/poot/validations/{worker}?limit=1")).await;
    assert_eq!(
        (numbers(&validations, "validations", "pings_answered"), &validations["worker"]),
        (vec![4], &json!(worker))
    );
    let reports = server.get("/api/v1/epochs/4/reports").await;
    assert_eq!(reports["reporters"][0]["stage"], "revealed");
    assert_eq!((&reports["n_measurements"], &reports["measurements"][1]["observed"]), (&json!(2), &Value::Null));
    let page = server.get(&format!("/api/v1/epochs/4/reports?offset=1&limit=1&worker={}", node(10))).await;
    assert_eq!((&page["n_measurements"], &page["measurements"]), (&json!(1), &json!([])));
    assert_eq!(server.get(&format!("/api/v1/payouts?after={}", Known::payout_id())).await, json!({"payouts": []}));
    let payouts = server.get("/api/v1/payouts").await;
    assert_eq!(payouts["payouts"][0]["amount_micro_usdt"], 20_000_001);
    let one = server.get(&format!("/api/v1/payouts/{}", Known::payout_id())).await;
    assert_eq!(one, payouts["payouts"][0]);
    let keys: BTreeSet<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(PAYOUT_KEYS));
    assert_eq!((&one["status"], &one["kind"], &one["waits_for"]), (&json!("paid"), &json!("worker"), &Value::Null));
    assert_eq!(server.get("/api/v1/peers").await["peers"][0]["score"], 1.25);
    let why = server.get("/api/v1/peers/why").await;
    assert_eq!(why["peers"][0]["why"], "refused: banned for another 60 s");
    let policy = server.get("/api/v1/policy").await;
    let of = |policy: &Value| (policy["stamp_bits"].clone(), policy["weights"]["trust"].clone());
    assert_eq!((&policy["epoch"], &policy["from"]), (&json!(6), &json!(4)));
    assert_eq!(of(&policy["genesis"]), (json!(8), json!(50_000)));
    assert_eq!(of(&policy["policy"]), (json!(8), json!(60_000)));
    assert_eq!((&policy["next"][0]["from"], of(&policy["next"][0]["policy"])), (&json!(8), (json!(9), json!(60_000))));
    assert_eq!(server.get("/api/v1/policy?epoch=5").await["epoch"], 5);
    let validators = server.get("/api/v1/validators").await;
    assert_eq!(validators["validators"][1]["equivocation"]["proved_in"], 4);
    assert!(validators["validators"][0]["equivocation"].is_null());
}

#[tokio::test]
async fn metrics_are_read_from_a_time_to_another() {
    let server = server().await;
    let path = format!("/api/v1/nodes/{}/metrics", node(10));
    let received = |list: &Value| -> Vec<u64> {
        list["metrics"].as_array().unwrap().iter().map(|it| it["received"].as_u64().unwrap() / 60_000).collect()
    };
    let all = server.get(&path).await;
    assert_eq!((received(&all), &all["node"]), (vec![5, 4, 3, 2, 1], &json!(node(10))));
    let keys: BTreeSet<&str> = all["metrics"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(METRIC_KEYS));
    assert_eq!(received(&server.get(&format!("{path}?from=120000&to=240000")).await), [3, 2]);
    // The page after one begins before its last.
    assert_eq!(received(&server.get(&format!("{path}?limit=2&to=240000")).await), [3, 2]);
    for (path, status, message) in [
        (format!("{path}?from=5&to=4"), 400, "from = 5 is later than to = 4"),
        (format!("{path}?limit=1001"), 400, "1 to 1000"),
        (format!("{path}?until=4"), 400, "until"),
        ("/api/v1/nodes/12/metrics".to_owned(), 400, "expected 64 hex digits"),
        (format!("/api/v1/nodes/{}/metrics", node(11)), 404, "the network has no worker"),
    ] {
        let found = server.failure(Method::GET, &path).await;
        assert!(found.0 == status && found.2.contains(message), "{path}: {found:?}");
    }
}

#[tokio::test]
async fn the_machine_is_shown_now_and_in_the_past() {
    let server = server().await;
    let now = server.get("/api/v1/resources").await;
    let keys: BTreeSet<&str> = now.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(RESOURCES_KEYS));
    assert_eq!(now["limits"], json!({"cpu_millis": 500, "memory_bytes": 1 << 29}));
    assert_eq!(now["temperatures"], json!([{"sensor": "core", "millicelsius": 41_500}]));
    server.view.is_unsampled.store(true, Ordering::Relaxed);
    let failure = server.failure(Method::GET, "/api/v1/resources").await;
    assert_eq!((failure.0, failure.1.as_str()), (503, "not_ready"));

    let path = "/api/v1/resources/history";
    let minutes = |list: &Value| -> Vec<u64> {
        list["spans"].as_array().unwrap().iter().map(|it| it["from"].as_u64().unwrap() / 60_000).collect()
    };
    let all = server.get(path).await;
    assert_eq!((minutes(&all), &all["granularity"]), (vec![5, 4, 3, 2, 1], &json!("1m")));
    let keys: BTreeSet<&str> = all["spans"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(SPAN_KEYS));
    assert_eq!(all["spans"][0]["cpu_ppm"], json!({"mean": 123_400, "max": 1_000_000}));
    assert_eq!(all["spans"][0]["hottest_millicelsius"], Value::Null, "no sensor");
    for (granularity, minutes_each) in [("5m", 5), ("15m", 15), ("1h", 60)] {
        let list = server.get(&format!("{path}?granularity={granularity}&limit=1")).await;
        assert_eq!((minutes(&list), &list["granularity"]), (vec![5 * minutes_each], &json!(granularity)));
    }
    assert_eq!(minutes(&server.get(&format!("{path}?from=120000&to=240000")).await), [3, 2]);
    for (query, message) in [
        ("granularity=2m", "2m"),
        ("from=5&to=4", "from = 5 is later than to = 4"),
        ("limit=1001", "1 to 1000"),
        ("until=4", "until"),
    ] {
        let found = server.failure(Method::GET, &format!("{path}?{query}")).await;
        assert!(found.0 == 400 && found.2.contains(message), "{query}: {found:?}");
    }
    server.view.broken.store(true, Ordering::Relaxed);
    assert_eq!(server.failure(Method::GET, path).await.0, 500);
}

#[tokio::test]
async fn every_failure_has_one_shape() {
    let server = server().await;
    let unknown_score = &*format!("/api/v1/poot/scores/{}?epoch=3", node(99));
    let long_history = &*format!("/api/v1/poot/history/{}?from=1&to=5041", node(10));
    let unknown_settlement = &*format!("/api/v1/poot/why/{}?settlement=9", node(10));
    let unknown_change = &*format!("/api/v1/poot/change/{}?epoch=9", node(10));
    let unknown_reports = &*format!("/api/v1/poot/verify/{}?epoch=9", node(10));
    let unknown_pool = &*format!("/api/v1/poot/report/{}?from=1&to=4", PoolId::from_bytes([9; 32]));
    let long_report = &*format!("/api/v1/poot/report/{}?from=1&to=5041", Known::pool_id());
    let half_a_report = &*format!("/api/v1/poot/report/{}?from=1", Known::pool_id());
    for (method, path, status, code, message) in [
        (Method::GET, "/api/v1/blocks/99", 404, "not_found", "block 99"),
        (Method::GET, "/api/v1/blocks/99/certificate", 404, "not_found", "block 99"),
        (Method::GET, "/api/v1/blocks/99/raw", 404, "not_found", "block 99"),
        (Method::GET, "/api/v1/blocks/-1", 400, "bad_request", "-1"),
        (Method::GET, "/api/v1/blocks?limit=1001", 400, "bad_request", "1 to 1000"),
        (Method::GET, "/api/v1/epochs/99", 404, "not_found", "epoch 99"),
        (Method::GET, "/api/v1/epochs/0x1", 400, "bad_request", "0x1"),
        (Method::GET, "/api/v1/epochs/99999999999999999999", 400, "bad_request", ""),
        (Method::GET, "/api/v1/epochs?limit=0", 400, "bad_request", "limit = 0"),
        (Method::GET, "/api/v1/epochs?limit=1001", 400, "bad_request", "1 to 1000"),
        (Method::GET, "/api/v1/epochs?limt=1", 400, "bad_request", "limt"),
        (Method::GET, "/api/v1/scores?epoch=first", 400, "bad_request", "epoch"),
        (Method::GET, "/api/v1/poot/scores/12", 400, "bad_request", "expected 64 hex digits"),
        (Method::GET, unknown_score, 404, "not_found", "has no score of epoch 3 here"),
        (Method::GET, long_history, 400, "bad_request", "at most 5040 epochs"),
        (Method::GET, "/api/v1/poot/leaderboard?limit=1001", 400, "bad_request", "1 to 1000"),
        (Method::GET, "/api/v1/poot/agreement?from=9&to=8", 400, "bad_request", "from = 9 is after to = 8"),
        (Method::GET, "/api/v1/poot/agreement?from=1&to=721", 400, "bad_request", "at most 720 epochs"),
        (Method::GET, "/api/v1/poot/why/12", 400, "bad_request", "expected 64 hex digits"),
        (Method::GET, unknown_settlement, 404, "not_found", "settlement 9 is not final yet"),
        (Method::GET, unknown_change, 404, "not_found", "has no score of epoch 9 here"),
        (Method::GET, unknown_reports, 404, "not_found", "what was reported is not kept here"),
        (Method::GET, "/api/v1/poot/statistics?epoch=9", 404, "not_found", "epoch 9 has no final scores here"),
        (Method::GET, unknown_pool, 404, "not_found", "there is no pool"),
        (Method::GET, long_report, 400, "bad_request", "at most 5040 epochs"),
        (Method::GET, half_a_report, 400, "bad_request", "to"),
        (Method::GET, "/api/v1/poot/validations/12", 400, "bad_request", "expected 64 hex digits"),
        (Method::GET, "/api/v1/poot/validations", 405, "method_not_allowed", "POST"),
        (Method::GET, "/api/v1/epochs/9/reports", 404, "not_found", "the reports of epoch 9 are not here"),
        (Method::GET, "/api/v1/epochs/4/reports?worker=me", 400, "bad_request", "worker"),
        (Method::GET, "/api/v1/epochs/4/reports?limit=0", 400, "bad_request", "limit"),
        (Method::GET, "/api/v1/payouts/12", 400, "bad_request", "expected 64 hex digits"),
        (Method::GET, "/api/v1/nothing", 404, "not_found", "/api/v1/nothing"),
        (Method::GET, "/", 404, "not_found", "there is nothing at /"),
        (Method::POST, "/api/v1/status", 405, "method_not_allowed", "GET"),
        (Method::GET, "/api/v1/commands", 405, "method_not_allowed", "POST"),
        (Method::GET, "/api/v1/pools/12", 400, "bad_request", "expected 64 hex digits"),
        (Method::GET, "/api/v1/pools/12/root?settlement=x", 400, "bad_request", ""),
    ] {
        let found = server.failure(method.clone(), path).await;
        assert_eq!((found.0, found.1.as_str()), (status, code), "{method} {path}: {found:?}");
        assert!(found.2.contains(message), "{method} {path}: {found:?}");
    }
    let missing = format!("/api/v1/payouts/{}", "00".repeat(32));
    assert_eq!(server.failure(Method::GET, &missing).await.0, 404);
}

#[tokio::test]
async fn of_blocks_that_are_not_here_it_is_said_which_are() {
    let server = server().await;
    let told = async |height: u64| {
        let mut told = Vec::new();
        for part in ["", "/certificate", "/raw"] {
            let found = server.failure(Method::GET, &format!("/api/v1/blocks/{height}{part}")).await;
            assert_eq!((found.0, found.1.as_str()), (404, "not_found"), "{part}");
            told.push(found.2);
        }
        assert!(told[0] == told[1] && told[1] == told[2], "{told:?}");
        told.remove(0)
    };
    assert_eq!(told(6).await, "block 6 is not final here");
    assert_eq!(told(0).await, "block 0 is not final here");
    assert_eq!(server.get("/api/v1/blocks").await["oldest_block"], 1);

    server.view.oldest.store(4, Ordering::Relaxed);
    let removed = told(3).await;
    assert!(removed.contains("block 3 was removed here, or never was here"), "{removed}");
    assert!(removed.contains("the blocks from 4 to 5") && removed.contains("--archive"), "{removed}");
    assert_eq!(told(6).await, "block 6 is not final here");
    let list = server.get("/api/v1/blocks").await;
    assert_eq!((&list["oldest_block"], list["blocks"].as_array().unwrap().len()), (&Value::from(4), 2));
    assert_eq!(server.get("/api/v1/status").await["oldest_block"], 4);

    server.view.oldest.store(6, Ordering::Relaxed);
    let never = told(5).await;
    assert!(never.contains("has taken the state after block 5 from its peers, and no block yet"), "{never}");
    assert_eq!(server.get("/api/v1/status").await["oldest_block"], Value::Null);
    assert_eq!(server.get("/api/v1/blocks").await["oldest_block"], Value::Null);
}

/// The answer to a POST of this body.
async fn post(server: &Server, path: &str, body: &str, content_type: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}{path}", server.address)).header("content-type", content_type);
    let answer = within(request.body(body.to_owned()).send()).await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn pools_and_their_payout_trees_are_read_page_by_page() {
    let server = server().await;
    let pool = format!("/api/v1/pools/{}", Known::pool_id());
    let view = server.get(&pool).await;
    assert_eq!((&view["name"], &view["commands"], &view["contract"]), (&json!("known"), &json!(7), &Value::Null));
    assert_eq!(view["vault"]["signers"]["signer"][0]["node"], json!(node(2)));
    let leader = server.get(&format!("{pool}/leader")).await;
    assert_eq!((&leader["settlement"], &leader["turn"]["node"]), (&json!(3), &json!(node(10))));
    let first = &leader["order"][0];
    assert_eq!((&first["rank"], &first["node"], &first["live"]), (&json!(1), &json!(node(10)), &json!(9_120)));
    assert!(first["why"].as_str().unwrap().starts_with("eligible"), "{first}");
    assert_eq!(leader["not_elected"], json!([{ "node": node(11), "why": "no-gas-address" }]));
    let (root, leaves) = settled();
    let first = server.get(&format!("{pool}/root")).await;
    assert_eq!((&first["root"], &first["n_accounts"]), (&json!(root.root), &json!(5)));
    assert_eq!(first["accounts"].as_array().unwrap().len(), 3);
    let requested = |at: usize| &first["accounts"][at]["requested_micro_usdt"];
    assert_eq!((requested(0), requested(1)), (&json!(0), &json!(2_000_000)));
    let rest = server.get(&format!("{pool}/root?settlement=3&offset=3")).await;
    assert_eq!(rest["accounts"][0]["id"], json!(leaves[3].id));
    assert_eq!(rest["accounts"][1]["owed_micro_usdt"], 5_000_000);
    let missing = server.failure(Method::GET, &format!("{pool}/root?settlement=4")).await;
    assert_eq!((missing.0, missing.1.as_str()), (404, "not_found"));
    assert!(missing.2.contains("settlement 4"), "{missing:?}");
    assert_eq!(server.failure(Method::GET, &format!("/api/v1/pools/{}", "00".repeat(32))).await.0, 404);
}

#[tokio::test]
async fn validations_are_asked_for_with_json_only() {
    let server = server().await;
    let path = "/api/v1/poot/validations";
    let wanted = |by: u8| json!({ "worker": node(10), "by": node(by) }).to_string();
    let (status, found) = post(&server, path, &wanted(3), "application/json").await;
    assert_eq!((status, &found["validator"], &found["pings_answered"]), (200, &json!(node(3)), &json!(4)));
    let (status, found) = post(&server, path, &json!({ "worker": node(10) }).to_string(), "application/json").await;
    assert_eq!((status, &found["worker"], &found["rtt_us"]), (200, &json!(node(10)), &json!(512)));
    for (body, content_type, status, code) in [
        (&*wanted(2), "application/json", 409, "refused"),
        ("{}", "application/json", 400, "bad_request"),
        (r#"{"worker":"12"}"#, "application/json", 400, "bad_request"),
        (r#"{"worker":7,"why":1}"#, "application/json", 400, "bad_request"),
        (&*wanted(3), "text/plain", 400, "bad_request"),
    ] {
        let (found, answer) = post(&server, path, body, content_type).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn signatures_and_commands_are_asked_for_with_json_only() {
    let server = server().await;
    let path = format!("/api/v1/pools/{}/signatures", Known::pool_id());
    let (status, list) = post(&server, &path, r#"{"root":{"settlement":3}}"#, "application/json").await;
    assert_eq!((status, &list["needed"], &list["missing"][0]["node"]), (200, &json!(1), &json!(node(2))));
    for (body, content_type, status, code) in [
        (r#"{"limits":{"nonce":1}}"#, "application/json", 409, "refused"),
        (r#"{"root":{"settlement":3},"more":1}"#, "application/json", 400, "bad_request"),
        ("{", "application/json", 400, "bad_request"),
        // What a page of another site can send without being asked.
        (r#"{"root":{"settlement":3}}"#, "text/plain", 400, "bad_request"),
    ] {
        let (found, answer) = post(&server, &path, body, content_type).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
    }

    let network = NetworkId::from_bytes([1; 32]);
    let record = |nonce| Command {
        account: node(1),
        nonce,
        until: UnixMillis::new(5),
        action: Action::Pool { pool: Known::pool_id(), action: PoolAction::Suspend(true) },
    };
    let signed = |nonce| {
        let signed = NodeKey::from_seed(&[1; 32]).sign_command(&network, record(nonce)).into_inner();
        MultiSigned::collect(signed.record, [(signed.signer, signed.signature)])
    };
    let body = |command: &[u8]| json!({ "signed_command": hex::encode(command) }).to_string();
    let hand_in = async |bytes: &[u8]| post(&server, "/api/v1/commands", &body(bytes), "application/json").await;
    let (status, answer) = hand_in(&encode(&signed(8))).await;
    let id = Item::Command(signed(8)).reference().id;
    assert_eq!((status, answer), (202, json!({ "id": id, "account": node(1), "nonce": 8, "durable": node(2) })));
    assert_eq!(*server.view.commands.lock().unwrap(), [signed(8)]);
    let (status, answer) = hand_in(&encode(&signed(9))).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("refused")), "{answer}");
    let cut = encode(&signed(8));
    for bytes in [&cut[..cut.len() - 1], b"", &[0xff; 6_000]] {
        let (status, answer) = hand_in(bytes).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")), "{answer}");
    }

    // What is only checked is handed to nobody, and cannot be: it has no signature.
    let check = async |bytes: &[u8]| {
        let body = json!({ "command": hex::encode(bytes) }).to_string();
        post(&server, "/api/v1/commands/check", &body, "application/json").await
    };
    assert_eq!(check(&encode(&record(8))).await, (200, json!({ "account": node(1), "nonce": 8 })));
    assert_eq!(check(&encode(&record(9))).await.0, 409);
    assert_eq!(check(&encode(&signed(8))).await.0, 400);
    assert_eq!(server.view.commands.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn accounts_and_their_commands_are_looked_up() {
    let server = server().await;
    let account = server.get(&format!("/api/v1/accounts/{}", node(1))).await;
    assert_eq!(account, json!({ "account": node(1), "key": node(1), "nonce": 8, "allowance": 7, "waiting": [8] }));
    let command = async |nonce: u64| server.get(&format!("/api/v1/commands/{}/{nonce}", node(1))).await;
    let included = command(7).await;
    assert_eq!(
        (&included["stage"], &included["height"], &included["epoch"]),
        (&json!("included"), &json!(5), &json!(2))
    );
    assert_eq!(included["command"]["action"]["pool"]["action"], json!({ "suspend": true }));
    let unknown = command(9).await;
    assert_eq!(
        (&unknown["stage"], &unknown["height"], &unknown["command"]),
        (&json!("unknown"), &Value::Null, &Value::Null)
    );
    for path in ["/api/v1/accounts/12", "/api/v1/commands/12/1"] {
        assert_eq!(server.failure(Method::GET, path).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn registered_nodes_are_read_page_by_page() {
    let server = server().await;
    let mut ids = [10, 11, 12].map(|n| node(n).to_string());
    ids.sort();
    let of = |list: &Value| {
        list["nodes"].as_array().unwrap().iter().map(|it| it["node"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = server.get("/api/v1/nodes?limit=2").await;
    assert_eq!((of(&first), &first["next"]), (ids[..2].to_vec(), &json!(ids[1])));
    let rest = server.get(&format!("/api/v1/nodes?limit=2&after={}&pool={}", ids[1], Known::pool_id())).await;
    assert_eq!((of(&rest), &rest["next"]), (ids[2..].to_vec(), &Value::Null));
    assert!(of(&server.get(&format!("/api/v1/nodes?pool={}", "00".repeat(32))).await).is_empty());
    for (wanted, n_found) in [("role=member", 3), ("role=leader", 0), ("state=ready&role=member", 3), ("state=busy", 0)]
    {
        assert_eq!(of(&server.get(&format!("/api/v1/nodes?{wanted}")).await).len(), n_found, "{wanted}");
    }
    let one = server.get(&format!("/api/v1/nodes/{}", ids[0])).await;
    assert_eq!(
        (&one["state"], &one["membership"]["from"], &one["request"]),
        (&json!("ready"), &json!(1), &Value::Null)
    );
    for (path, status, message) in [
        ("/api/v1/nodes?limit=101".to_owned(), 400, "1 to 100"),
        ("/api/v1/nodes?limt=1".to_owned(), 400, "limt"),
        ("/api/v1/nodes?role=king".to_owned(), 400, "`observer`"),
        ("/api/v1/nodes?state=well".to_owned(), 400, "`maintenance`"),
        (format!("/api/v1/nodes/{}", node(13)), 404, "lucid node register"),
        (format!("/api/v1/stamp?pool={}", "00".repeat(32)), 404, "there is no pool"),
        (format!("/api/v1/pools/{}/requests", "00".repeat(32)), 404, "there is no pool"),
        (format!("/api/v1/pools/{}/leader", "00".repeat(32)), 404, "has not elected a leader yet"),
        (format!("/api/v1/pools/{}/batches", "00".repeat(32)), 404, "there is no pool"),
        (format!("/api/v1/pools/{}/batches?limit=0", Known::pool_id()), 400, "1 to 1000"),
    ] {
        let found = server.failure(Method::GET, &path).await;
        assert!(found.0 == status && found.2.contains(message), "{path}: {found:?}");
    }
    let stamp = server.get("/api/v1/stamp").await;
    assert_eq!((&stamp["pool"], &stamp["bits"], &stamp["epoch"]), (&Value::Null, &json!(9), &json!(3)));
    let batches = server.get(&format!("/api/v1/pools/{}/batches?limit=1", Known::pool_id())).await;
    assert_eq!((&batches["batches"][0]["settlement"], &batches["batches"][1]), (&json!(3), &Value::Null));
    let requests = server.get(&format!("/api/v1/pools/{}/requests", Known::pool_id())).await;
    assert_eq!(requests["requests"][0]["node"], json!(node(12)));
}

/// A page of another site that has its name resolved to this machine is told nothing, and nothing is done for it.
#[tokio::test]
async fn requests_for_other_hosts_are_refused() {
    let server = server().await;
    let port = server.address.port();
    let ask = async |method: &str, host: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("{method} /api/v1/status HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    for host in [format!("127.0.0.1:{port}"), "127.0.0.1".to_owned(), "localhost:1".to_owned(), format!("[::1]:{port}")]
    {
        let answer = ask("GET", &format!("host: {host}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("node_id"), "{host}: {answer}");
    }
    for host in ["host: evil.example\r\n", "host: localhost.evil.example:80\r\n", "host: \r\n"] {
        for method in ["GET", "POST"] {
            let answer = ask(method, host).await;
            assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("node_id"), "{host}: {answer}");
            assert!(answer.contains("other_host") && answer.contains("ask for that address"), "{host}: {answer}");
        }
    }
    // With one host in the line and another in the field, the line counts.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET http://evil.example/api/v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn a_broken_disk_is_an_error_that_tells_callers_nothing_of_it() {
    let server = server().await;
    server.view.broken.store(true, Ordering::Relaxed);
    for path in [
        "/api/v1/blocks",
        "/api/v1/blocks/1",
        "/api/v1/epochs",
        "/api/v1/scores",
        "/api/v1/payouts",
        "/api/v1/epochs/1",
        &format!("/api/v1/nodes/{}/metrics", node(10)),
    ] {
        let (status, code, message) = server.failure(Method::GET, path).await;
        assert_eq!((status, code.as_str()), (500, "internal"));
        assert!(!message.contains("secret"), "{message}");
    }
    server.get("/api/v1/status").await;
}

#[tokio::test]
async fn health_and_readiness_differ() {
    let server = server().await;
    assert_eq!(server.call(Method::GET, "/healthz").await.0, StatusCode::OK);
    assert_eq!(server.call(Method::GET, "/readyz").await.0, StatusCode::OK);
    server.view.lazy.store(true, Ordering::Relaxed);
    assert_eq!(server.call(Method::GET, "/healthz").await.0, StatusCode::OK);
    let (status, code, message) = server.failure(Method::GET, "/readyz").await;
    assert_eq!((status, code.as_str()), (503, "not_ready"));
    assert_eq!(message, "the chain is stalled at height 5");
}

#[tokio::test]
async fn an_endless_head_or_body_is_cut_off() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nx: ").await.unwrap();
    let flood = vec![b'a'; 64 << 10];
    let mut answer = Vec::new();
    // The server answers and hangs up; writing fails then at the latest.
    for _ in 0..64 {
        if stream.write_all(&flood).await.is_err() {
            break;
        }
    }
    let _ = within(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/status", server.address);
    let with_body = within(client.get(url).body(vec![0; 1 << 20]).send()).await;
    // Nobody reads the body: the answer comes, or the connection is closed on the sender.
    assert!(with_body.is_err() || with_body.is_ok_and(|answer| answer.status() == StatusCode::OK));
    server.get("/api/v1/status").await;
}

/// A long read holds the only slot for its kind as long as somebody waits for it, and no longer.
#[tokio::test]
async fn a_long_read_ends_with_whoever_asked_for_it() {
    let server = server().await;
    server.view.endless.store(true, Ordering::Relaxed);
    let mut impatient = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /api/v1/poot/agreement HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    impatient.write_all(request.as_bytes()).await.unwrap();
    while server.view.agreements.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let other = || within(client.get(format!("http://{}/api/v1/poot/statistics", server.address)).send());
    let waited = other().await.unwrap();
    assert_eq!(
        (waited.status(), &waited.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    let body: Value = serde_json::from_slice(&waited.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "busy");
    server.get("/api/v1/blocks").await;

    drop(impatient);
    assert_eq!(other().await.unwrap().status(), StatusCode::OK);
    assert!(server.view.endless.load(Ordering::Relaxed), "nothing else has ended it");
}

#[tokio::test]
async fn stopping_ends_the_server_also_with_idle_connections() {
    let server = server().await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    server.get("/healthz").await;
    server.stop.cancel();
    within(server.task).await.unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_status_takes_milliseconds() {
    let server = server().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/status", server.address);
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        client.get(&url).send().await.unwrap().bytes().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    // The number to look at is printed; the bound only notices that something is badly wrong.
    println!("status: median {:?}, slowest {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(250));
}

#[tokio::test]
async fn metrics_have_their_own_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve_metrics(listener, known(), stop.clone()));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = within(client.get(format!("http://{address}/metrics")).send()).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let page = answer.text().await.unwrap();
    assert!(page.contains("\nlucid_height 5\n") && page.contains("lucid_paid_micro_usdt 6"), "{page}");
    let elsewhere = within(client.get(format!("http://{address}/api/v1/status")).send()).await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    stop.cancel();
    within(task).await.unwrap().unwrap();
}
