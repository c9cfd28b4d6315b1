//! Which endpoint of a group is asked, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lucid_tron_bridge::client::{ApiKey, BroadcastOutcome, Client, ClientConfig, ClientError, EndpointConfig};
use lucid_tron_types::proto::Transaction;
use lucid_types::id::TxId;
use prost::Message;
use serde_json::json;

use crate::client::{absent, client, config};
use crate::server::{Answer, Server, node};

const TX: TxId = TxId::from_bytes([0xab; 32]);
const INFO: &str = "/walletsolidity/gettransactioninfobyid";

async fn ask(client: &Client) {
    assert_eq!(client.solid_transaction_info(&TX).await.unwrap(), None);
}

#[tokio::test]
async fn a_dead_first_endpoint_costs_one_time_out_and_is_tried_again_later() {
    let silent = Server::start(|_| Answer::Silence).await;
    let good = absent().await;
    let timeout = Duration::from_millis(300);
    let client = Client::new(ClientConfig { timeout, ..config(&[&silent, &good]) }).unwrap();
    let start = Instant::now();
    ask(&client).await;
    let first = start.elapsed();
    assert!(first >= timeout && first < 2 * timeout, "{first:?}");
    for _ in 0..5 {
        ask(&client).await;
    }
    assert!(start.elapsed() < first + timeout, "the dead one is passed over");
    assert_eq!(silent.requests().len(), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One of these tries it, and the others do not wait for that.
    let start = Instant::now();
    futures::future::join_all((0..5).map(|_| ask(&client))).await;
    assert!(start.elapsed() >= timeout);
    assert_eq!(silent.requests().len(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    ask(&client).await;
    assert_eq!(silent.requests().len(), 2, "the second rest is longer");
}

#[tokio::test]
async fn the_first_endpoint_is_preferred_again_when_it_has_recovered() {
    let n = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n);
    let flaky = node(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Status(502, "", "<html>".into()),
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let second = absent().await;
    let client = client(&[&flaky, &second]);
    ask(&client).await;
    ask(&client).await;
    assert_eq!((flaky.count(INFO), second.count(INFO)), (1, 2));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    ask(&client).await;
    ask(&client).await;
    assert_eq!((flaky.count(INFO), second.count(INFO)), (3, 2));
}

#[tokio::test]
async fn a_lone_endpoint_is_asked_even_if_it_just_failed() {
    let n = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n);
    let flaky = node(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Answer::Hangup,
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let client = client(&[&flaky]);
    assert!(client.solid_transaction_info(&TX).await.is_err());
    assert!(client.solid_transaction_info(&TX).await.is_err());
    ask(&client).await;
}

#[tokio::test]
async fn a_limit_is_waited_for_as_long_as_it_says() {
    let n = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n);
    let server = node(move |_| match counter.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Status(429, "retry-after: 1\r\n", "slow down".into()),
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let client = Client::new(ClientConfig { retries: 2, ..config(&[&server]) }).unwrap();
    let start = Instant::now();
    ask(&client).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(n.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_endpoint_that_limits_requests_is_left_alone() {
    let limiting = node(|_| Answer::Status(403, "retry-after: 30\r\n", "forbidden".into())).await;
    let good = absent().await;
    let both = client(&[&limiting, &good]);
    for _ in 0..4 {
        ask(&both).await;
    }
    assert_eq!((limiting.count(INFO), good.count(INFO)), (1, 4));
    // Alone it is not asked either: the error says how long to wait.
    let alone = client(&[&limiting]);
    for _ in 0..3 {
        let error = alone.solid_transaction_info(&TX).await.unwrap_err();
        assert!(matches!(error, ClientError::Limited { status: 403, .. }), "{error}");
        assert!(error.retry_after().unwrap() > Duration::from_secs(25), "{error:?}");
        assert!(error.to_string().contains("API key"), "{error}");
    }
    assert_eq!(limiting.count(INFO), 2);
    let transaction = Transaction { raw_data: vec![1], signature: vec![], ret: vec![] }.encode_to_vec();
    assert!(matches!(alone.broadcast(&transaction).await, Err(ClientError::Limited { .. })));
    assert_eq!(limiting.count("/wallet/broadcasthex"), 0);
}

#[tokio::test]
async fn a_broadcast_passes_over_what_failed_lately() {
    let silent = node(|_| Answer::Silence).await;
    let good = node(|request| match request.path.as_str() {
        "/wallet/broadcasthex" => Answer::json(&json!({ "result": true })),
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let timeout = Duration::from_millis(300);
    let client = Client::new(ClientConfig { timeout, ..config(&[&silent, &good]) }).unwrap();
    ask(&client).await;
    let transaction = Transaction { raw_data: vec![1], signature: vec![], ret: vec![] }.encode_to_vec();
    let start = Instant::now();
    assert_eq!(client.broadcast(&transaction).await.unwrap(), BroadcastOutcome::Accepted);
    assert!(start.elapsed() < timeout);
    assert_eq!((silent.count("/wallet/broadcasthex"), good.count("/wallet/broadcasthex")), (0, 1));
}

#[tokio::test]
async fn a_key_goes_to_its_endpoint_only() {
    let (first, second) = (node(|_| Answer::Hangup).await, absent().await);
    let endpoint =
        |server: &Server, key: Option<&str>| EndpointConfig { url: server.url.clone(), api_key: key.map(ApiKey::new) };
    let endpoints = vec![endpoint(&first, Some("of-the-first")), endpoint(&second, None)];
    let client = Client::new(ClientConfig { endpoints, ..config(&[]) }).unwrap();
    ask(&client).await;
    let key = |server: &Server| {
        server.requests().iter().map(|r| r.headers.get("tron-pro-api-key").cloned()).collect::<Vec<_>>()
    };
    assert_eq!(key(&first), vec![Some("of-the-first".to_owned()); 2]);
    assert_eq!(key(&second), vec![None; 2]);
}
