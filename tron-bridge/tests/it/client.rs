use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use lucid_tron_bridge::client::{
    ApiKey, BroadcastOutcome, Client, ClientConfig, ClientError, EndpointConfig, Estimate, Header,
};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::providers::Providers;
use lucid_tron_bridge::sender::{SendOptions, Sender};
use lucid_tron_bridge::trc20::TokenFlags;
use lucid_tron_bridge::vault::VaultRevert;
use lucid_tron_types::abi::{selector, word_of};
use lucid_tron_types::keccak256;
use lucid_tron_types::proto::{Transaction, TransactionRaw};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, TxId};
use prost::Message;
use serde_json::{Value, json};

use crate::server::{Answer, GENESIS, Server, block, block_of, node};

const TX: TxId = TxId::from_bytes([0xab; 32]);
const INFO: &str = "/walletsolidity/gettransactioninfobyid";

pub(crate) fn config(servers: &[&Server]) -> ClientConfig {
    ClientConfig {
        endpoints: servers.iter().map(|s| EndpointConfig { url: s.url.clone(), api_key: None }).collect(),
        genesis: Some(GENESIS),
        timeout: Duration::from_secs(5),
        retries: 0,
        requests_per_s: None,
    }
}

pub(crate) fn client(servers: &[&Server]) -> Client {
    Client::new(config(servers)).unwrap()
}

/// A node that has nothing.
pub(crate) async fn absent() -> Server {
    node(|_| Answer::Ok("{}".into())).await
}

fn account(n: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([n; 20])
}

#[tokio::test]
async fn requests_are_json_posts_with_the_key_and_the_path_prefix() {
    let server = Server::start(|_| Answer::Ok("{}".into())).await;
    let config = ClientConfig {
        endpoints: vec![EndpointConfig {
            url: format!("{}/some/access-token/", server.url),
            api_key: Some(ApiKey::new("my-key")),
        }],
        genesis: None,
        ..config(&[&server])
    };
    assert!(!format!("{config:?}").contains("my-key"));
    let client = Client::new(config).unwrap();
    assert!(!format!("{client:?}").contains("my-key"));
    assert_eq!(client.label(), server.url, "a path may hold an access token");
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
    assert_eq!((server.count("/wallet/getblock"), server.count(INFO)), (1, 3));
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
async fn a_refusal_is_final() {
    let refusing = node(|_| {
        let message = hex::encode("Contract validate error : No contract");
        Answer::json(&json!({ "result": { "code": "CONTRACT_VALIDATE_ERROR", "message": message } }))
    })
    .await;
    let other = absent().await;
    let client = Client::new(ClientConfig { retries: 3, ..config(&[&refusing, &other]) }).unwrap();
    let error = client.constant_call(&account(1), &account(1), &[0; 4]).await.unwrap_err();
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
    let BroadcastOutcome::Rebuild(answer) = outcome else { panic!("{outcome:?}") };
    assert_eq!((answer.code.as_str(), answer.message.as_str()), ("TAPOS_ERROR", "Tapos check error."));
    assert!(matches!(client(&[&broken]).broadcast(&bytes).await, Err(ClientError::NotJson { .. })));
}

#[tokio::test]
async fn accepted_and_then_silent_is_an_error_and_not_an_outcome() {
    let (bytes, _) = transaction();
    let silent = node(|_| Answer::Silence).await;
    let client = Client::new(ClientConfig { timeout: Duration::from_millis(300), ..config(&[&silent]) }).unwrap();
    let error = client.broadcast(&bytes).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }) && error.is_passing(), "{error}");
    assert_eq!(silent.count("/wallet/broadcasthex"), 1, "it is the caller who sends again");
}

#[tokio::test]
async fn only_the_header_of_a_block_is_asked_for_and_read() {
    let server = node(|request| {
        if request.path == SOLID_INFOS {
            return Answer::Ok("[]".into());
        }
        assert_eq!(request.body["detail"], false);
        let mut answer = match request.body["id_or_num"].as_str() {
            None => block(9),
            Some("6") => block(5),
            Some(_) => json!({}),
        };
        // A node that overlooks what is wanted, and transactions that this program does not know.
        answer["transactions"] = json!([{ "ret": [{ "contractRet": "OF_TOMORROW" }], "raw_data_hex": "zz" }, 7, null]);
        Answer::json(&answer)
    })
    .await;
    let client = client(&[&server]);
    assert_eq!(client.head().await.unwrap().number, 9);
    let head = client.solid_head().await.unwrap();
    assert_eq!((head.number, head.time.get()), (9, 27_000));
    assert_eq!(client.solid_logs(7, None).await.unwrap(), None);
    let error = client.solid_logs(6, None).await.unwrap_err();
    assert!(matches!(&error, ClientError::Content { problem, .. } if problem.contains("block 5 for 6")), "{error}");
    assert_eq!((server.count("/wallet/getblock"), server.count("/walletsolidity/getblock")), (1 + 1, 3));
}

#[tokio::test]
async fn a_block_whose_header_was_changed_is_refused() {
    let server = node(|_| {
        let mut forged = block(9);
        forged["block_header"]["raw_data"]["timestamp"] = json!(1);
        Answer::json(&forged)
    })
    .await;
    let error = client(&[&server]).solid_head().await.unwrap_err();
    assert!(matches!(&error, ClientError::Content { problem, .. } if problem.contains("not to its id")), "{error}");
}

#[tokio::test]
async fn an_empty_block_is_told_from_one_that_is_not_there_yet() {
    let server = node(|request| match (request.path.as_str(), request.body["num"].as_u64()) {
        (SOLID_INFOS, Some(7)) => {
            Answer::json(&json!([{ "id": TX.to_string(), "blockNumber": 7 }, { "id": 5, "of": "tomorrow" }]))
        }
        (SOLID_INFOS, _) => Answer::Ok("[]".into()),
        _ if request.body["id_or_num"] == "8" => Answer::json(&block(8)),
        // The header is of a node that is further than the one that was asked for receipts.
        _ if request.body["id_or_num"] == "9" => Answer::json(&block_of(9, [1; 32])),
        _ if request.body["id_or_num"].is_null() => Answer::json(&block(10)),
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let client = client(&[&server]);
    let infos = client.solid_logs(7, None).await.unwrap().unwrap();
    assert_eq!(infos.iter().map(|info| info.id).collect::<Vec<_>>(), [TX]);
    assert_eq!(client.solid_logs(8, None).await.unwrap(), Some(vec![]));
    assert_eq!(client.solid_logs(9, None).await.unwrap(), None);
    assert_eq!(client.solid_logs(11, None).await.unwrap(), None);
    let asked = server.count(SOLID_INFOS);
    let newest = client.solid_header().await.unwrap();
    assert_eq!(client.solid_logs(10, Some(newest)).await.unwrap(), Some(vec![]));
    assert_eq!(server.count(SOLID_INFOS), asked, "its header says that it is empty");
    let other = Header { is_empty: false, ..newest };
    assert_eq!(client.solid_logs(10, Some(other)).await.unwrap(), None, "its receipts are not there yet");
    assert!(client.solid_logs(7, Some(other)).await.unwrap().is_some());
}

const SOLID_INFOS: &str = "/walletsolidity/gettransactioninfobyblocknum";

fn constant(data: &[u8]) -> Answer {
    Answer::json(&json!({ "result": { "result": true }, "energy_used": 100, "constant_result": [hex::encode(data)],
        "transaction": { "ret": [{}] } }))
}

fn reverted(data: &[u8]) -> Answer {
    Answer::json(&json!({ "result": { "result": true, "message": hex::encode("REVERT opcode executed") },
        "energy_used": 70, "energy_penalty": 7, "constant_result": [hex::encode(data)],
        "transaction": { "ret": [{ "ret": "FAILED" }] } }))
}

#[tokio::test]
async fn constant_calls_estimates_and_reverts() {
    let server = node(|request| match (request.path.as_str(), request.body["data"].as_str()) {
        ("/wallet/triggerconstantcontract", Some("01")) => reverted(&selector("NotOwner()")),
        ("/walletsolidity/triggerconstantcontract", Some("01")) => reverted(&[9]),
        _ => constant(&word_of(5)),
    })
    .await;
    let client = client(&[&server]);
    let (caller, contract) = (account(1), account(2));
    assert_eq!(client.constant_call(&caller, &contract, &[0]).await.unwrap().data, word_of(5));
    assert_eq!(client.head_constant_call(&caller, &contract, &[0]).await.unwrap().energy, 100);
    let estimate = client.estimate(&caller, &contract, &[0]).await.unwrap();
    assert_eq!(estimate, Estimate { energy: 100, penalty: 0, revert: None });
    let estimate = client.estimate(&caller, &contract, &[1]).await.unwrap();
    assert_eq!((estimate.energy, estimate.penalty), (70, 7));
    assert_eq!(estimate.revert.unwrap().of_vault(), Some(VaultRevert::NotOwner));
    let error = client.constant_call(&caller, &contract, &[1]).await.unwrap_err();
    assert!(!error.is_passing());
    assert_eq!(error.to_string(), format!("{contract} reverted: REVERT opcode executed (09)"));
    client.estimate_creation(&caller, &[0]).await.unwrap();
    let bodies: Vec<Value> = server.requests().into_iter().skip(1).map(|request| request.body).collect();
    let call = json!({ "owner_address": caller.hex(), "contract_address": contract.hex(), "data": "00" });
    assert_eq!(bodies[0], call);
    assert_eq!(bodies.last().unwrap(), &json!({ "owner_address": caller.hex(), "data": "00" }));
}

#[tokio::test]
async fn a_tokens_flags_and_balances_are_read() {
    let server = node(|request| {
        let data = hex::decode(request.body["data"].as_str().unwrap()).unwrap();
        let is = |signature: &str| data[..4] == selector(signature);
        let is_set = is("basisPointsRate()") || is("isBlackListed(address)");
        match () {
            () if is("balanceOf(address)") => constant(&[0xff; 32]),
            () if is_set => constant(&word_of(3)),
            () if request.body["contract_address"] == account(8).hex() => constant(&[0; 31]),
            () => constant(&word_of(0)),
        }
    })
    .await;
    let client = client(&[&server]);
    let flags = client.token_flags(&account(7), &account(1)).await.unwrap();
    assert_eq!(flags, TokenFlags { paused: false, deprecated: false, fee: true, blacklisted: true });
    assert_eq!(client.token_balance(&account(7), &account(1)).await.unwrap(), MicroUsdt::new(u64::MAX));
    let error = client.token_flags(&account(8), &account(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::OtherContract { .. }), "{error}");
}

#[tokio::test]
async fn a_contracts_code_is_hashed_here() {
    let server = node(|request| match request.path.as_str() {
        "/wallet/getcontractinfo" if request.body["value"] == account(1).hex() => {
            Answer::json(&json!({ "runtimecode": "6080", "smart_contract": { "code_hash": "00" } }))
        }
        _ => Answer::Ok("{}".into()),
    })
    .await;
    let client = client(&[&server]);
    assert_eq!(client.code_hash(&account(1)).await.unwrap(), Some(keccak256(&[0x60, 0x80])));
    assert_eq!(client.code_hash(&account(2)).await.unwrap(), None);
}

#[tokio::test]
async fn requests_are_limited_in_number() {
    let server = absent().await;
    let limited =
        Client::new(ClientConfig { requests_per_s: NonZeroU32::new(10), genesis: None, ..config(&[&server]) }).unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        limited.solid_transaction_info(&TX).await.unwrap();
    }
    let burst = start.elapsed();
    // Tasks share the limit: five more need half a second.
    let tasks = (0..5).map(|_| limited.solid_transaction_info(&TX));
    futures::future::try_join_all(tasks).await.unwrap();
    assert!(burst < Duration::from_millis(900), "{burst:?}");
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(server.count(INFO), 15);
}

/// The node's tasks hold them.
#[test]
fn requests_can_move_between_threads() {
    fn check<T: Send>(_: &T) {}
    let client = Client::new(ClientConfig::new("http://127.0.0.1:1", None)).unwrap();
    check(&client.solid_head());
    check(&client.solid_logs(1, None));
    check(&client.broadcast(&[]));
    check(&client.vault_snapshot(&account(1), &[]));
    check(&client.token_flags(&account(1), &account(1)));
    let key = TronKey::from_secret(&[1; 32]).unwrap();
    let (sender, options) = (Sender::new(&client, &key), SendOptions::new(Sun::ZERO));
    check(&sender.call(account(1), vec![], &options, Duration::ZERO));
    check(&sender.deploy("", vec![], &options, Duration::ZERO));
    check(&sender.send_trx(account(1), Sun::ZERO, &options, Duration::ZERO));
    let providers = Providers::new(vec![Client::new(ClientConfig::new("http://127.0.0.1:1", None)).unwrap()]).unwrap();
    check(&providers.vault_snapshot(&account(1), &[]));
    check(&providers.broadcast(&[]));
    check(&providers.first(Client::solid_head));
}

#[tokio::test]
async fn wrong_configurations_are_refused_by_name() {
    let base = ClientConfig::new("http://127.0.0.1:1", None);
    let endpoint = |url: &str, key: Option<&str>| EndpointConfig { url: url.into(), api_key: key.map(ApiKey::new) };
    let with = |endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|url| endpoint(url, None)).collect();
        Client::new(ClientConfig { endpoints, ..base.clone() }).unwrap_err().to_string()
    };
    assert!(with(&[]).contains("name at least one"));
    assert!(with(&["ftp://x"]).contains("ftp://x"));
    assert!(with(&["not a url"]).contains("not a url"));
    let with_key = |url, key| Client::new(ClientConfig { endpoints: vec![endpoint(url, Some(key))], ..base.clone() });
    assert!(matches!(with_key("https://example.org", "a\nb"), Err(ClientError::ApiKey)));
    let error = with_key("http://example.org/x", "secret").unwrap_err().to_string();
    assert!(error.contains("http://example.org ") && error.contains("https") && !error.contains("secret"), "{error}");
}
