use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lucid_tron_bridge::client::{ApiKey, BroadcastOutcome, Client, ClientConfig, ClientError};
use lucid_tron_types::proto::{Transaction, TransactionRaw};
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use prost::Message;
use serde_json::json;

use crate::server::{Answer, Request, Server};

const GENESIS: SolidBlockId = SolidBlockId::from_bytes([0x11; 32]);
const TX: TxId = TxId::from_bytes([0xab; 32]);
const INFO: &str = "/walletsolidity/gettransactioninfobyid";

fn config(servers: &[&Server]) -> ClientConfig {
    ClientConfig {
        endpoints: servers.iter().map(|s| s.url.clone()).collect(),
        api_key: None,
        genesis: Some(GENESIS),
        timeout: Duration::from_secs(5),
        retries: 0,
    }
}

fn client(servers: &[&Server]) -> Client {
    Client::new(config(servers)).unwrap()
}

/// Answers for block 0, and `answer` for the rest.
async fn node(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.path == "/wallet/getblockbynum" && request.body["num"] == 0 {
            return Answer::json(&json!({ "blockID": GENESIS.to_string(), "block_header": { "raw_data": {} } }));
        }
        answer(request)
    })
    .await
}

async fn absent() -> Server {
    node(|_| Answer::Ok("{}".into())).await
}

#[tokio::test]
async fn requests_are_json_posts_with_the_key_and_the_path_prefix() {
    let server = Server::start(|_| Answer::Ok("{}".into())).await;
    let config = ClientConfig {
        endpoints: vec![format!("{}/some/access-token/", server.url)],
        api_key: Some(ApiKey::new("my-key")),
        genesis: None,
        ..config(&[&server])
    };
    assert!(!format!("{config:?}").contains("my-key"));
    let client = Client::new(config).unwrap();
    assert_eq!(client.solid_transaction_info(&TX).await.unwrap(), None);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/some/access-token/walletsolidity/gettransactioninfobyid");
    assert_eq!(request.headers["tron-pro-api-key"], "my-key");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.body, json!({ "value": TX.to_string() }));
}

#[tokio::test]
async fn an_endpoint_of_another_network_is_never_used() {
    let wrong = Server::start(|_| Answer::json(&json!({ "blockID": "22".repeat(32) }))).await;
    let error = client(&[&wrong]).solid_transaction_info(&TX).await.unwrap_err();
    assert!(matches!(error, ClientError::OtherNetwork { expected: GENESIS, .. }), "{error}");
    assert_eq!(wrong.count(INFO), 0);
    // Beside a right one it is passed over, and nothing is broadcast to it.
    let right = absent().await;
    let both = client(&[&wrong, &right]);
    assert_eq!(both.solid_transaction_info(&TX).await.unwrap(), None);
    let transaction = Transaction { raw_data: vec![1], signature: vec![], ret: vec![] }.encode_to_vec();
    both.broadcast(&transaction).await.unwrap();
    assert_eq!((wrong.count("/wallet/broadcasthex"), right.count("/wallet/broadcasthex")), (0, 1));
}

#[tokio::test]
async fn block_0_is_asked_for_once_an_endpoint() {
    let server = absent().await;
    let client = client(&[&server]);
    for _ in 0..3 {
        client.solid_transaction_info(&TX).await.unwrap();
    }
    assert_eq!((server.count("/wallet/getblockbynum"), server.count(INFO)), (1, 3));
}

#[tokio::test]
async fn a_silent_node_is_given_up_after_the_timeout_and_the_next_is_asked() {
    let silent = Server::start(|_| Answer::Silence).await;
    let good = absent().await;
    let client =
        Client::new(ClientConfig { timeout: Duration::from_millis(300), ..config(&[&silent, &good]) }).unwrap();
    assert_eq!(client.solid_transaction_info(&TX).await.unwrap(), None);
    assert_eq!(silent.requests().len(), 1);
    // From then on the one that answered comes first.
    assert_eq!(client.solid_transaction_info(&TX).await.unwrap(), None);
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn every_bad_answer_makes_the_next_endpoint_be_asked_and_is_named() {
    type Bad = (&'static str, fn() -> Answer, fn(&ClientError) -> bool);
    let bad: [Bad; 8] = [
        ("html", || Answer::Ok("<html>502 Bad Gateway</html>".into()), |e| matches!(e, ClientError::NotJson { .. })),
        (
            "lite node",
            || Answer::Ok("this API is closed because this node is a lite fullnode".into()),
            |e| matches!(e, ClientError::NotJson { excerpt, .. } if excerpt.contains("lite fullnode")),
        ),
        ("torn", || Answer::Ok(r#"{"id":"#.into()), |e| matches!(e, ClientError::Shape { .. })),
        (
            "error 500",
            || Answer::Status(500, "", "oops".into()),
            |e| matches!(e, ClientError::Status { status: 500, excerpt, .. } if excerpt == "oops"),
        ),
        ("403", || Answer::Status(403, "", String::new()), |e| matches!(e, ClientError::Limited { status: 403, .. })),
        (
            "exception",
            || Answer::json(&json!({ "Error": "class java.lang.NullPointerException : null" })),
            |e| matches!(e, ClientError::Node { message, .. } if message.contains("NullPointer")),
        ),
        ("hang-up", || Answer::Hangup, |e| matches!(e, ClientError::Transport { .. })),
        (
            "other receipt",
            || Answer::json(&json!({ "id": "00".repeat(32) })),
            |e| matches!(e, ClientError::Content { .. }),
        ),
    ];
    for (name, answer, is_right) in bad {
        let broken = node(move |_| answer()).await;
        let error = client(&[&broken]).solid_transaction_info(&TX).await.unwrap_err();
        assert!(is_right(&error), "{name}: {error:?}");
        assert!(error.is_passing(), "{name}");
        assert!(error.to_string().contains(&broken.url), "{name}: {error}");
        let good = absent().await;
        assert_eq!(client(&[&broken, &good]).solid_transaction_info(&TX).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let flood = node(|_| Answer::Flood(256 << 20)).await;
    let error = client(&[&flood]).solid_transaction_info(&TX).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit, .. } if limit == 4 << 20), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = absent().await;
    let location: &'static str = format!("location: {}/x\r\n", target.url).leak();
    let redirecting = Server::start(move |_| Answer::Status(307, location, String::new())).await;
    let error = client(&[&redirecting]).solid_transaction_info(&TX).await.unwrap_err();
    assert!(matches!(error, ClientError::Status { status: 307, .. }), "{error}");
    assert!(target.requests().is_empty());
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
    assert_eq!(client.solid_transaction_info(&TX).await.unwrap(), None);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(n.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let refusing = node(|_| {
        let message = hex::encode("Contract validate error : No contract");
        Answer::json(&json!({ "result": { "code": "CONTRACT_VALIDATE_ERROR", "message": message } }))
    })
    .await;
    let other = absent().await;
    let client = Client::new(ClientConfig { retries: 3, ..config(&[&refusing, &other]) }).unwrap();
    let address = PayoutAddress::from_hash20([1; 20]);
    let error = client.constant_call(&address, &address, &[0; 4]).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { code, message, .. }
            if code == "CONTRACT_VALIDATE_ERROR" && message.ends_with("No contract")),
        "{error}"
    );
    assert_eq!(refusing.count("/walletsolidity/triggerconstantcontract"), 1);
    assert_eq!(other.requests().len(), 0);
}

fn transaction() -> (Vec<u8>, TxId) {
    let raw = TransactionRaw { timestamp: 7, ..TransactionRaw::default() }.encode_to_vec();
    let id = TxId::from_bytes(lucid_tron_types::block::transaction_id(&raw));
    (Transaction { raw_data: raw, signature: vec![vec![1; 65]], ret: vec![] }.encode_to_vec(), id)
}

#[tokio::test]
async fn a_broadcast_goes_to_every_endpoint_and_the_best_news_count() {
    let (bytes, id) = transaction();
    let accepting = node(move |_| Answer::json(&json!({ "result": true, "txid": id.to_string() }))).await;
    let refusing = node(|_| {
        Answer::json(&json!({ "result": false, "code": "TAPOS_ERROR", "message": hex::encode("Tapos check error.") }))
    })
    .await;
    let broken = node(|_| Answer::Ok("<html>".into())).await;
    let outcome = client(&[&refusing, &broken, &accepting]).broadcast(&bytes).await.unwrap();
    assert_eq!(outcome, BroadcastOutcome::Accepted);
    for server in [&accepting, &refusing, &broken] {
        let requests = server.requests();
        let sent: Vec<_> = requests.iter().filter(|r| r.path == "/wallet/broadcasthex").collect();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].body, json!({ "transaction": hex::encode(&bytes) }));
    }
    let outcome = client(&[&broken, &refusing]).broadcast(&bytes).await.unwrap();
    let BroadcastOutcome::NeedsNewAttempt(answer) = outcome else { panic!("{outcome:?}") };
    assert_eq!((answer.code.as_str(), answer.message.as_str()), ("TAPOS_ERROR", "Tapos check error."));
    assert!(matches!(client(&[&broken]).broadcast(&bytes).await, Err(ClientError::NotJson { .. })));
}

#[tokio::test]
async fn accepted_and_then_silent_is_an_error_and_not_a_verdict() {
    let (bytes, _) = transaction();
    let silent = node(|_| Answer::Silence).await;
    let client = Client::new(ClientConfig { timeout: Duration::from_millis(300), ..config(&[&silent]) }).unwrap();
    let error = client.broadcast(&bytes).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }) && error.is_passing(), "{error}");
    assert_eq!(silent.count("/wallet/broadcasthex"), 1, "it is the caller who sends again");
}

#[tokio::test]
async fn wrong_configurations_are_refused_by_name() {
    let base = ClientConfig::new("http://127.0.0.1:1", None);
    let with = |endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        Client::new(ClientConfig { endpoints, ..base.clone() }).unwrap_err().to_string()
    };
    assert!(with(&[]).contains("name at least one"));
    assert!(with(&["ftp://x"]).contains("ftp://x"));
    assert!(with(&["not a url"]).contains("not a url"));
    let key = ClientConfig { api_key: Some(ApiKey::new("a\nb")), ..base };
    assert!(matches!(Client::new(key), Err(ClientError::ApiKey)));
}
