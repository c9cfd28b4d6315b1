//! A full node's calls, as clients make them.

use std::time::Duration;

use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{address, token};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Net;

async fn validity(net: &Net) -> Validity {
    let block = net.get("/wallet/getnowblock").await;
    let id = hex::decode(block["blockID"].as_str().unwrap()).unwrap();
    let time = block["block_header"]["raw_data"]["timestamp"].as_u64().unwrap();
    Validity::after(id.try_into().unwrap(), time, 60_000)
}

async fn broadcast(net: &Net, bytes: &[u8]) -> Value {
    net.post("/wallet/broadcasthex", &json!({ "transaction": hex::encode(bytes) }).to_string()).await
}

#[tokio::test]
async fn token_transfer_over_http() {
    let net = Net::start(None, 1).await;
    let owner = &net.ready.accounts[0];
    let usdt = net.ready.usdt.unwrap();
    let recipient = Wallet::derive("recipient", 0).address();

    let contract = net.post("/wallet/getcontract", &json!({ "value": address::to_hex(usdt) }).to_string()).await;
    assert_eq!(contract["name"], "TestUsdt");
    assert_eq!(contract["origin_address"], address::to_hex(owner.address()));

    let message = wallet::trigger(owner.address(), usdt, token::transfer(recipient, 1_500_000), 0);
    let (bytes, id) = wallet::signed(owner, &message, 100_000_000, validity(&net).await);
    let answer = broadcast(&net, &bytes).await;
    assert_eq!(answer["result"], true, "{answer}");
    assert_eq!(answer["code"], "SUCCESS");
    assert_eq!(answer["txid"], hex::encode(id));

    let by_id = json!({ "value": hex::encode(id) }).to_string();
    let info = net.post("/wallet/gettransactioninfobyid", &by_id).await;
    assert_eq!(info["receipt"]["result"], "SUCCESS", "{info}");
    assert_eq!(info["log"][0]["address"], hex::encode(usdt));
    assert_eq!(info["contractResult"][0], "00".repeat(32), "transfer answers false on success");
    assert_eq!(info["fee"], info["receipt"]["energy_fee"]);
    let transaction = net.post("/wallet/gettransactionbyid", &by_id).await;
    assert_eq!(transaction["ret"][0]["contractRet"], "SUCCESS");
    assert_eq!(transaction["raw_data"]["contract"][0]["type"], "TriggerSmartContract");
    let solid = net.get(&format!("/walletsolidity/gettransactioninfobyid?value={}", hex::encode(id))).await;
    assert_eq!(solid, json!({}), "not solidified yet");

    let read = json!({
        "owner_address": address::to_base58(owner.address()),
        "contract_address": address::to_base58(usdt),
        "function_selector": "balanceOf(address)",
        "parameter": hex::encode(token::address_word(recipient)),
        "visible": true,
    });
    let read = net.post("/wallet/triggerconstantcontract", &read.to_string()).await;
    assert_eq!(read["result"]["result"], true, "{read}");
    assert_eq!(read["constant_result"][0], hex::encode(token::number_word(1_500_000)));

    // The next block solidifies it.
    let message = wallet::transfer(owner.address(), recipient, 2_000_000);
    let (bytes, _) = wallet::signed(owner, &message, 0, validity(&net).await);
    assert_eq!(broadcast(&net, &bytes).await["result"], true);
    let solid = net.get(&format!("/walletsolidity/gettransactioninfobyid?value={}", hex::encode(id))).await;
    assert_eq!(solid, info);
    let account = net.get(&format!("/wallet/getaccount?visible=true&address={}", address::to_base58(recipient))).await;
    assert_eq!(account["balance"], 2_000_000);
    assert_eq!(account["owner_permission"]["keys"][0]["address"], address::to_base58(recipient));
    assert_eq!(net.get(&format!("/walletsolidity/getaccount?address={}", address::to_hex(recipient))).await, json!({}));
    net.stop().await;
}

#[tokio::test]
async fn refusals_have_a_full_nodes_shapes() {
    let net = Net::start(None, 1).await;
    let (a, b) = (&net.ready.accounts[0], net.ready.accounts[1].address());
    let good = validity(&net).await;
    let message = wallet::transfer(a.address(), b, 1);
    let (bytes, id) = wallet::signed(a, &message, 0, Validity { reference: [9; 32], ..good });
    let answer = broadcast(&net, &bytes).await;
    assert_eq!(answer["result"], false);
    assert_eq!(
        (answer["code"].as_str(), answer["message"].as_str()),
        (Some("TAPOS_ERROR"), Some("Tapos check error."))
    );
    assert_eq!(answer["txid"], hex::encode(id));

    // The JSON call prints the message in hex, and names no result.
    let (bytes, _) = wallet::signed(a, &message, 0, good);
    assert_eq!(broadcast(&net, &bytes).await["result"], true);
    let json =
        net.post("/wallet/gettransactionbyid", &json!({ "value": hex::encode(wallet_id(&bytes)) }).to_string()).await;
    let again = net.post("/wallet/broadcasttransaction", &json.to_string()).await;
    assert_eq!(again["code"], "DUP_TRANSACTION_ERROR", "{again}");
    assert_eq!(again["message"], hex::encode("Dup transaction."));
    assert!(again.get("result").is_none());

    for (path, body) in [
        ("/wallet/broadcasthex", r#"{"transaction": "ffff"}"#),
        ("/wallet/broadcasthex", r#"{"transaction": 5}"#),
        ("/wallet/broadcasttransaction", "{}"),
        ("/wallet/broadcasttransaction", "[]"),
        ("/wallet/getblockbynum", r#"{"num": "x"}"#),
        ("/wallet/getaccount", r#"{"address": "zz"}"#),
        ("/wallet/getaccount", "{"),
    ] {
        let answer = net.post(path, body).await;
        assert!(answer["Error"].as_str().is_some_and(|e| e.starts_with("class ")), "{path} {body}: {answer}");
    }
    for (path, told) in [
        ("/wallet/nosuchcall", "docs/src/devnet.md"),
        ("/jsonrpc", "It serves a full node's /wallet and /walletsolidity"),
        ("/walletsolidity/broadcasthex", "; /wallet/broadcasthex does"),
    ] {
        let (status, body) = net.raw("POST", path, "{}").await;
        let error = serde_json::from_str::<Value>(&body).unwrap()["Error"].as_str().unwrap().to_owned();
        assert!(status == 404 && error.starts_with(path) && error.contains(told), "{status} {error}");
    }
    // What is built for a network with everything is refused here in the words that it would be refused with in the end.
    for (call, told) in [
        ("transferasset", "contract type 2 does not exist on this network"),
        ("votewitnessaccount", "contract type 4 does not exist on this network"),
        ("freezebalance", "freeze v2 is open, old freeze is closed"),
        ("marketsellasset", "Not support Market Transaction, need to be opened by the committee"),
    ] {
        let answer = net.post(&format!("/wallet/{call}"), "{}").await;
        let expected = format!("class org.tron.core.exception.ContractValidateException : {told}");
        assert_eq!(answer, json!({ "Error": expected }), "{call}");
        assert_eq!(net.raw("POST", &format!("/walletsolidity/{call}"), "{}").await.0, 404);
    }
    assert_eq!(net.raw("PUT", "/wallet/getnowblock", "").await.0, 405);
    let huge = "x".repeat(5 * 1024 * 1024);
    let answer = net.post("/wallet/getaccount", &huge).await;
    assert!(answer["Error"].as_str().unwrap().contains("body size is too big"), "{answer}");
    net.stop().await;
}

fn wallet_id(bytes: &[u8]) -> [u8; 32] {
    use prost::Message;
    let transaction = lucid_tron_types::proto::Transaction::decode(bytes).unwrap();
    lucid_tron_types::block::transaction_id(&transaction.raw_data)
}

/// The head's tree shows what waits for a block, as a full node's does; the solidified one does not.
#[tokio::test]
async fn what_waits_for_a_block_is_seen_at_once() {
    let net = Net::start(Some(Duration::from_secs(3_600)), 0).await;
    let owner = &net.ready.accounts[0];
    let fresh = Wallet::derive("fresh", 0);
    let create = wallet::create(owner.address(), "thing", token::creation_code(9), Some(token::abi()), 0);
    let good = validity(&net).await;
    let (bytes, id) = wallet::signed(owner, &create, 1_000_000_000, good);
    assert_eq!(broadcast(&net, &bytes).await["result"], true);
    let thing = address::to_hex(wallet::contract_address(&id, owner.address()));
    let by_value = |value: &str| json!({ "value": value }).to_string();
    assert_eq!(net.post("/wallet/getcontract", &by_value(&thing)).await["name"], "thing");
    assert_eq!(
        net.post("/wallet/gettransactionbyid", &by_value(&hex::encode(id))).await["ret"][0]["contractRet"],
        "SUCCESS"
    );
    assert_eq!(net.post("/wallet/gettransactioninfobyid", &by_value(&hex::encode(id))).await, json!({}));
    let call = json!({ "owner_address": address::to_hex(owner.address()), "contract_address": thing,
        "function_selector": "decimals()" });
    let answer = net.post("/wallet/triggerconstantcontract", &call.to_string()).await;
    assert_eq!(answer["constant_result"][0], hex::encode(token::number_word(6)));
    let answer = net.post("/wallet/triggersmartcontract", &call.to_string()).await;
    assert_eq!(answer["result"]["result"], true, "{answer}");

    // What has just arrived can be spent.
    let (bytes, _) = wallet::signed(owner, &wallet::transfer(owner.address(), fresh.address(), 3_000_000), 0, good);
    assert_eq!(broadcast(&net, &bytes).await["result"], true);
    let account = json!({ "address": address::to_hex(fresh.address()) }).to_string();
    assert_eq!(net.post("/wallet/getaccount", &account).await["balance"], 3_000_000);
    let spend = |amount: u64| {
        json!({ "owner_address": address::to_hex(fresh.address()), "to_address": address::to_hex(owner.address()),
            "amount": amount })
        .to_string()
    };
    assert!(net.post("/wallet/createtransaction", &spend(3_000_000)).await["txID"].is_string());
    let answer = net.post("/wallet/createtransaction", &spend(3_000_001)).await;
    assert!(answer["Error"].as_str().unwrap().contains("balance is not sufficient"), "{answer}");
    let (bytes, _) = wallet::signed(&fresh, &wallet::transfer(fresh.address(), owner.address(), 1_000_000), 0, good);
    assert_eq!(broadcast(&net, &bytes).await["result"], true);
    assert_eq!(net.post("/wallet/getaccount", &account).await["balance"], 2_000_000);

    assert_eq!(net.post("/walletsolidity/getaccount", &account).await, json!({}));
    let answer = net.post("/walletsolidity/triggerconstantcontract", &call.to_string()).await;
    assert_eq!(answer["result"]["code"], "CONTRACT_VALIDATE_ERROR", "{answer}");
    assert_eq!(net.get("/wallet/getnowblock").await["block_header"]["raw_data"]["number"], 1);
    net.stop().await;
}

/// What TronBox asks its own network for.
#[tokio::test]
async fn the_accounts_are_shown_to_programs_here() {
    let net = Net::start(None, 1).await;
    let keys: Vec<_> = net.ready.accounts.iter().map(|wallet| hex::encode(wallet.secret())).collect();
    assert_eq!(net.get("/admin/accounts-json").await, json!({ "privateKeys": keys, "more": [] }));
    let (status, text) = net.raw("GET", "/admin/accounts", "").await;
    assert_eq!(status, 200);
    let last = net.ready.accounts.len() - 1;
    for line in [
        format!("({last}) {} (1000000 TRX)", address::to_base58(net.ready.accounts[last].address())),
        format!("({last}) {}", keys[last]),
    ] {
        assert!(text.lines().any(|l| l == line), "{text}");
    }
    for host in ["localhost", "LOCALHOST:9090", "127.0.0.1", "127.0.0.1:9090", "[::1]:9090"] {
        let request = format!("GET /admin/accounts-json HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert!(net.say(&request).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for path in ["/admin/accounts-json", "/admin/accounts", "/admin/requests"] {
        for other in ["elsewhere.example", "127.0.0.1.elsewhere.example", "192.0.2.1", "localhost@elsewhere", ""] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {other}\r\nconnection: close\r\n\r\n");
            let answer = net.say(&request).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{other}: {answer}");
        }
        let answer = net
            .say(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\norigin: http://elsewhere\r\nconnection: close\r\n\r\n"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && !keys.iter().any(|key| answer.contains(key)), "{answer}");
    }
    assert_eq!(net.raw("GET", "/admin/other", "").await.0, 404);
    net.stop().await;
}

/// What a test needs to hold a program to what it may ask of a provider.
#[tokio::test]
async fn requests_are_counted_by_client_and_call() {
    let net = Net::start(None, 1).await;
    let keyed = |path: &str, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ntron-pro-api-key: worker-1\r\n");
        format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let call = "/wallet/triggerconstantcontract";
    for body in
        [r#"{"data":"70A08231"}"#, r#"{"function_selector":"balanceOf(address)"}"#, r#"{"data":"zz"}"#, "no JSON"]
    {
        net.say(&keyed(call, body)).await;
    }
    net.say(&keyed("/walletsolidity/getnowblock/", "")).await;
    net.say(&keyed("/wallet/inventedcall", "")).await;
    net.get("/wallet/getnowblock").await;
    net.raw("GET", "/v1/blocks/latest/events", "").await;
    net.raw("GET", "/healthcheck", "").await;
    let answer = net.get("/admin/requests").await;
    let calls = json!({ call: 2, format!("{call} 70a08231"): 2, "/walletsolidity/getnowblock": 1, "other": 1 });
    assert_eq!(answer["clients"]["worker-1"]["calls"], calls, "{answer}");
    let without_key = json!({ "/wallet/getnowblock": 1, "/v1/": 1 });
    assert_eq!(answer["clients"]["no API key"]["calls"], without_key, "neither itself nor the health check counts");
    assert!((1..=6).contains(&answer["clients"]["worker-1"]["busiest_second"].as_u64().unwrap()), "{answer}");
    assert_eq!(answer["blocks"], net.get("/wallet/getnowblock").await["block_header"]["raw_data"]["number"]);
    net.stop().await;
}

#[tokio::test]
async fn both_loopback_addresses_answer() {
    let net = Net::start(None, 1).await;
    for at in &net.ready.listen {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /healthcheck HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{at}: {answer}");
    }
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    assert_eq!(net.ready.listen.len(), 1 + usize::from(has_ipv6));
    net.stop().await;
}

#[tokio::test]
async fn open_connections_do_not_hold_up_the_end() {
    let net = Net::start(None, 1).await;
    // One that never says anything, one in the middle of its headers, one in the middle of its body, and one that was
    // answered and stays open.
    let silent = TcpStream::connect(net.ready.listen[0]).await.unwrap();
    let mut started = TcpStream::connect(net.ready.listen[0]).await.unwrap();
    started.write_all(b"POST /wallet/getnow").await.unwrap();
    let mut half = TcpStream::connect(net.ready.listen[0]).await.unwrap();
    half.write_all(b"POST /wallet/getnowblock HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    let mut kept = TcpStream::connect(net.ready.listen[0]).await.unwrap();
    kept.write_all(b"GET /healthcheck HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    tokio::time::timeout(Duration::from_secs(10), net.stop()).await.unwrap();
    drop((silent, started, half, kept));
}

#[tokio::test]
async fn blocks_come_on_time_and_solidify() {
    let net = Net::start(Some(Duration::from_millis(100)), 2).await;
    let start = net.get("/wallet/getnowblock").await["block_header"]["raw_data"]["number"].as_u64().unwrap();
    let mut times = Vec::new();
    while times.len() < 4 {
        let block = net.get(&format!("/wallet/getblockbynum?num={}", start + 1 + times.len() as u64)).await;
        if let Some(time) = block["block_header"]["raw_data"]["timestamp"].as_u64() {
            times.push(time);
            let solid = net.get("/walletsolidity/getnowblock").await;
            let solid = solid["block_header"]["raw_data"]["number"].as_u64().unwrap_or(0);
            assert!(solid + 2 >= start + times.len() as u64, "{solid}");
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert!(times.windows(2).all(|w| w[1] % 100 == 0 && w[1] > w[0]), "{times:?}");
    net.stop().await;
}
