//! `/devnet/*` and the faults.

use std::time::Duration;

use lucid_tron_devnet::wallet::Wallet;
use lucid_tron_devnet::{DevnetConfig, address, token};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Net, paid_bytes, pay};

async fn controlled() -> Net {
    Net::start_with(DevnetConfig {
        port: 0,
        block_time: None,
        solid_lag: 2,
        accounts: 3,
        control: true,
        ..DevnetConfig::default()
    })
    .await
}

async fn balance(net: &Net, base58: &str) -> u64 {
    let account = net.get(&format!("/wallet/getaccount?visible=true&address={base58}")).await;
    account["balance"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn methods_are_refused_without_control() {
    let net = Net::start(None, 1).await;
    for name in ["mine", "fund", "faults", "snapshot", "nonsense", "mine/", "/mine", "../devnet/mine", "mine?blocks=1"]
    {
        for (method, refusal) in [("POST", 403), ("GET", 403), ("PUT", 405), ("HEAD", 405), ("OPTIONS", 405)] {
            let (status, _) = net.head(method, &format!("/devnet/{name}")).await;
            assert_eq!(status, refusal, "{method} {name}");
        }
    }
    for path in ["//devnet/mine", "/DEVNET/mine", "/%64evnet/mine", "/devnet%2fmine", "/wallet/../devnet/mine"] {
        assert_eq!(net.raw("POST", path, "{}").await.0, 404, "{path}");
    }
    net.stop().await;
}

#[tokio::test]
async fn mine_travel_and_fund() {
    let net = controlled().await;
    let before = net.get("/devnet/info").await;
    let after = net.post("/devnet/mine", r#"{"blocks": 5}"#).await;
    assert_eq!(after["number"].as_u64().unwrap(), before["number"].as_u64().unwrap() + 5);
    assert_eq!(after["solid"].as_u64().unwrap(), after["number"].as_u64().unwrap() - 2);
    let later = net.post("/devnet/travel", r#"{"milliseconds": 3600000}"#).await;
    assert_eq!(later["number"].as_u64().unwrap(), after["number"].as_u64().unwrap() + 1);
    assert!(later["time"].as_u64().unwrap() >= before["time"].as_u64().unwrap() + 3_600_000);
    let who = address::to_base58(Wallet::derive("somebody", 0).address());
    net.post("/devnet/fund", &json!({ "address": who, "balance": 77 }).to_string()).await;
    assert_eq!(balance(&net, &who).await, 77);
    let (status, body) = net.raw("POST", "/devnet/fund", r#"{"address": "nobody", "balance": 1}"#).await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(net.raw("POST", "/devnet/nonsense", "{}").await.0, 404);
    net.stop().await;
}

#[tokio::test]
async fn pages_may_use_the_api_but_not_control() {
    let net = controlled().await;
    for path in ["/wallet/getnowblock", "/wallet/unknown", "/v1/blocks/latest/events", "/nowhere", "/healthcheck"] {
        let preflight = format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: devnet\r\norigin: http://elsewhere\r\nconnection: close\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: x-one, Authorization\r\n\r\n"
        );
        let head = net.say(&preflight).await.to_lowercase();
        assert!(head.starts_with("http/1.1 204 "), "{path}: {head}");
        for header in ["origin: *", "methods: get, post", "headers: x-one, authorization"] {
            assert!(head.contains(&format!("access-control-allow-{header}\r\n")), "{path}: {head}");
        }
    }
    for (method, path, expected) in [
        ("GET", "/wallet/getnowblock", 200),
        ("HEAD", "/wallet/getnowblock", 200),
        ("GET", "/healthcheck", 200),
        ("GET", "/wallet/unknown", 404),
        ("GET", "/", 404),
        ("PUT", "/wallet/getnowblock", 405),
    ] {
        let (status, head) = net.head(method, path).await;
        assert_eq!(status, expected, "{method} {path}");
        assert!(head.contains("access-control-allow-origin: *\r\n"), "{method} {path}: {head}");
    }
    faults(&net, json!({ "status": 429, "requests": 1 })).await;
    let (status, head) = net.head("GET", "/wallet/getnowblock").await;
    assert_eq!(status, 429);
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    for path in ["/devnet/info", "/devnet/mine", "/admin/accounts-json", "/admin/accounts", "/admin/nothing"] {
        assert_eq!(net.head("OPTIONS", path).await.0, 405, "{path}");
        assert!(!net.head("GET", path).await.1.contains("access-control"), "{path}");
    }
    net.stop().await;
}

#[tokio::test]
async fn a_page_cannot_even_use_control_blindly() {
    let net = controlled().await;
    let before = net.get("/devnet/info").await["number"].clone();
    // What a browser sends for a page without asking first: it says where the page is from, unless it is an image or so.
    let request = "POST /devnet/mine HTTP/1.1\r\nhost: devnet\r\norigin: http://elsewhere\r\ncontent-type: text/plain\r\n\
        connection: close\r\ncontent-length: 2\r\n\r\n{}";
    assert!(net.say(request).await.starts_with("HTTP/1.1 403 "));
    assert_eq!(net.raw("GET", "/devnet/mine?blocks=1", "").await.0, 405);
    assert_eq!(net.raw("GET", "/devnet/faults?busy=true", "").await.0, 405);
    assert_eq!(net.get("/devnet/info").await["number"], before);
    net.stop().await;
}

#[tokio::test]
async fn methods_take_nothing_for_granted() {
    let net = controlled().await;
    let usdt = address::to_base58(net.ready.usdt.unwrap());
    for (name, body) in [
        ("mine", json!({ "blocks": 100_001 })),
        ("mine", json!({ "time": 253_402_300_800_000u64 })),
        ("mine", json!({ "time": 0 })),
        ("mine", json!({ "time": 1_700_000_000_000u64 })),
        ("travel", json!({})),
        ("travel", json!({ "milliseconds": i64::MAX })),
        ("fund", json!({ "address": usdt })),
        ("energyfactor", json!({ "contract": usdt })),
        ("token", json!({})),
        ("token", json!({ "paused": 1 })),
        ("solidify", json!({})),
        ("solidify", json!({ "on": "no" })),
        ("fork", json!({})),
        ("revert", json!({})),
        ("faults", json!({ "status": 101 })),
        ("faults", json!({ "status": 99 })),
    ] {
        let before = net.get("/devnet/info").await["id"].clone();
        let (status, answer) = net.raw("POST", &format!("/devnet/{name}"), &body.to_string()).await;
        assert_eq!(status, 400, "{name} {body}: {answer}");
        assert_eq!(net.get("/devnet/info").await["id"], before);
    }
    net.stop().await;
}

#[tokio::test]
async fn mining_at_a_time_takes_the_network_there() {
    let net = controlled().await;
    let time = net.get("/devnet/info").await["now"].as_u64().unwrap() + 86_400_000;
    net.post("/devnet/mine", &json!({ "time": time }).to_string()).await;
    let info = net.get("/devnet/info").await;
    assert_eq!(info["time"], time);
    assert!(info["now"].as_u64().unwrap() >= time);
    pay(&net, 0, 1, 5).await;
    net.stop().await;
}

#[tokio::test]
async fn a_long_method_holds_up_neither_answers_nor_the_end() {
    let net = controlled().await;
    let mine = "POST /devnet/mine HTTP/1.1\r\nhost: devnet\r\ncontent-length: 18\r\n\r\n{\"blocks\": 100000}";
    // This test has one thread, so a call that took it would not let any other be answered.
    let mut mining = Vec::new();
    for _ in 0..2 {
        let mut connection = TcpStream::connect(net.ready.listen[0]).await.unwrap();
        connection.write_all(mine.as_bytes()).await.unwrap();
        mining.push(connection);
    }
    let mut last = 0;
    for _ in 0..20 {
        let number = async {
            loop {
                let number = net.get("/devnet/info").await["number"].as_u64().unwrap();
                if number > last {
                    return number;
                }
            }
        };
        last = timeout(Duration::from_secs(5), number).await.unwrap();
    }
    assert!(last < 100_000, "{last}");
    timeout(Duration::from_secs(10), net.stop()).await.unwrap();
}

#[tokio::test]
async fn snapshots_come_back_once() {
    let net = controlled().await;
    let before = net.get("/wallet/getnowblock").await;
    let id = net.post("/devnet/snapshot", "").await["id"].as_u64().unwrap();
    pay(&net, 0, 1, 5).await;
    assert_ne!(net.get("/wallet/getnowblock").await, before);
    net.post("/devnet/revert", &json!({ "id": id }).to_string()).await;
    assert_eq!(net.get("/wallet/getnowblock").await, before);
    assert_eq!(net.raw("POST", "/devnet/revert", &json!({ "id": id }).to_string()).await.0, 400);
    pay(&net, 0, 1, 6).await;
    let next = net.post("/devnet/snapshot", "").await["id"].as_u64().unwrap();
    assert!(next > id, "an id never comes to mean something else");
    // As many as a test suite likes, and back to each.
    let now = net.get("/devnet/info").await["now"].as_u64().unwrap();
    let mut heads = Vec::new();
    for amount in 10..60 {
        let id = net.post("/devnet/snapshot", "").await["id"].as_u64().unwrap();
        heads.push((id, net.get("/wallet/getnowblock").await));
        net.post("/devnet/travel", r#"{"milliseconds": 3600000}"#).await;
        pay(&net, 0, 1, amount).await;
    }
    for (id, head) in heads.into_iter().rev() {
        net.post("/devnet/revert", &json!({ "id": id }).to_string()).await;
        assert_eq!(net.get("/wallet/getnowblock").await, head);
    }
    let info = net.get("/devnet/info").await;
    assert!((now..now + 3_600_000).contains(&info["now"].as_u64().unwrap()), "the clock went back too: {info}");
    net.stop().await;
}

#[tokio::test]
async fn a_fork_leaves_the_test_usdt_deployed() {
    let net = controlled().await;
    assert_eq!(net.post("/devnet/fork", r#"{"depth": 9}"#).await["number"], 1);
    let usdt = address::to_hex(net.ready.usdt.unwrap());
    assert_eq!(net.get(&format!("/wallet/getcontract?value={usdt}")).await["name"], "TestUsdt");
    net.stop().await;
}

/// Without a block after the genesis block clients cannot build transactions.
#[tokio::test]
async fn a_fork_leaves_block_1() {
    let config = DevnetConfig {
        port: 0,
        deploy_usdt: false,
        control: true,
        solid_lag: 3,
        block_time: None,
        ..DevnetConfig::default()
    };
    let net = Net::start_with(config).await;
    let first = net.get("/wallet/getnowblock").await;
    net.post("/devnet/mine", r#"{"blocks": 2}"#).await;
    assert_eq!(net.post("/devnet/fork", r#"{"depth": 9}"#).await["number"], 1);
    assert_eq!(net.get("/wallet/getnowblock").await, first);
    net.stop().await;
}

#[tokio::test]
async fn a_fork_takes_a_transaction_back_until_it_is_solid() {
    let net = controlled().await;
    let who = address::to_base58(net.ready.accounts[1].address());
    let before = balance(&net, &who).await;
    let id = pay(&net, 0, 1, 5).await;
    let lost = net.get("/wallet/getnowblock").await;
    net.post("/devnet/fork", r#"{"depth": 1}"#).await;
    assert_eq!(net.get(&format!("/wallet/gettransactioninfobyid?value={id}")).await, json!({}));
    assert_eq!(balance(&net, &who).await, before);
    net.post("/devnet/mine", r#"{"blocks": 3}"#).await;
    let number = lost["block_header"]["raw_data"]["number"].as_u64().unwrap();
    let other = net.get(&format!("/wallet/getblockbynum?num={number}")).await;
    assert_ne!(other["blockID"], lost["blockID"], "another block stands there now");
    assert_eq!(net.get(&format!("/wallet/getblockbyid?value={}", lost["blockID"].as_str().unwrap())).await, json!({}));
    // Solidified blocks stay.
    let info = net.post("/devnet/fork", r#"{"depth": 100}"#).await;
    assert_eq!(info["number"], info["solid"]);
    net.stop().await;
}

#[tokio::test]
async fn solidification_can_stop() {
    let net = controlled().await;
    let before = net.post("/devnet/solidify", r#"{"on": false}"#).await["solid"].as_u64().unwrap();
    let info = net.post("/devnet/mine", r#"{"blocks": 9}"#).await;
    assert_eq!(info["solid"].as_u64().unwrap(), before);
    let info = net.post("/devnet/solidify", r#"{"on": true}"#).await;
    assert_eq!(info["solid"].as_u64().unwrap(), info["number"].as_u64().unwrap() - 2);
    net.stop().await;
}

#[tokio::test]
async fn the_token_can_be_paused_blacklisted_and_made_to_take_a_fee() {
    let net = controlled().await;
    let usdt = net.ready.usdt.unwrap();
    let who = net.ready.accounts[1].address();
    let change = json!({ "paused": true, "blacklist": address::to_base58(who), "basis_points": 10, "max_fee": 5 });
    let ids = net.post("/devnet/token", &change.to_string()).await;
    assert_eq!(ids["transactions"].as_array().unwrap().len(), 3, "{ids}");
    let read = async |selector: &str, parameter: String| -> String {
        let call = json!({
            "owner_address": address::to_hex(who), "contract_address": address::to_hex(usdt),
            "function_selector": selector, "parameter": parameter,
        });
        let answer = net.post("/wallet/triggerconstantcontract", &call.to_string()).await;
        answer["constant_result"][0].as_str().unwrap().trim_start_matches('0').to_owned()
    };
    assert_eq!(read("paused()", String::new()).await, "1");
    assert_eq!(read("isBlackListed(address)", hex::encode(token::address_word(who))).await, "1");
    assert_eq!(read("basisPointsRate()", String::new()).await, "a");
    assert_eq!(read("maximumFee()", String::new()).await, format!("{:x}", 5_000_000));
    net.stop().await;
}

async fn faults(net: &Net, plan: Value) {
    let set = net.post("/devnet/faults", &plan.to_string()).await;
    assert!(set.is_object());
}

#[tokio::test]
async fn every_fault() {
    let net = controlled().await;
    let broadcast = async |amount: u64| {
        let (bytes, id) = paid_bytes(&net, 0, 1, amount).await;
        let body = json!({ "transaction": hex::encode(bytes) }).to_string();
        (body, id)
    };

    let (body, id) = broadcast(1).await;
    faults(&net, json!({ "busy": true, "requests": 0 })).await;
    let empty = json!({ "transaction": "" }).to_string();
    assert_ne!(net.post("/wallet/broadcasthex", &empty).await["code"], "SERVER_BUSY", "no request is hit");
    faults(&net, json!({ "busy": true, "requests": 1 })).await;
    net.get("/wallet/getnowblock").await;
    assert_eq!(net.get("/devnet/faults").await["busy"], true, "a request that it does not hit does not use it up");
    let answer = net.post("/wallet/broadcasthex", &body).await;
    assert_eq!((answer["result"].as_bool(), answer["code"].as_str()), (Some(false), Some("SERVER_BUSY")));
    assert_eq!(net.get("/devnet/faults").await["busy"], false, "one request used it up");

    faults(&net, json!({ "broadcast_drop": true, "requests": 1 })).await;
    assert_eq!(net.post("/wallet/broadcasthex", &body).await["result"], true);
    let by_id = format!("/wallet/gettransactionbyid?value={id}");
    assert_eq!(net.get(&by_id).await, json!({}), "dropped silently");

    faults(&net, json!({ "broadcast_timeout": true, "requests": 1 })).await;
    let asked = timeout(Duration::from_millis(200), net.post("/wallet/broadcasthex", &body));
    assert!(asked.await.is_err(), "never answered");
    assert_eq!(net.get(&by_id).await["txID"], id, "and yet carried out");

    let usdt = net.ready.usdt.unwrap();
    let deployment =
        net.get("/wallet/getblockbynum?num=1").await["transactions"][0]["txID"].as_str().unwrap().to_owned();
    let info = format!("/wallet/gettransactioninfobyid?value={deployment}");
    let truth = net.get(&info).await;
    assert_eq!(truth["contract_address"], address::to_hex(usdt));
    faults(&net, json!({ "lie_receipt": true })).await;
    let lie = net.get(&info).await;
    assert_eq!((lie["result"].as_str(), lie["receipt"]["result"].as_str()), (Some("FAILED"), Some("REVERT")));
    faults(&net, json!({ "mutate": true })).await;
    let mutated = net.get(&info).await;
    assert_ne!(mutated["id"], truth["id"]);
    assert_eq!(mutated["id"].as_str().unwrap().len(), 64);
    faults(&net, json!({ "stale_head": 1 })).await;
    let stale = net.get("/wallet/getnowblock").await["block_header"]["raw_data"]["number"].as_u64().unwrap();
    let block = net.post("/wallet/getblock", "{}").await["block_header"]["raw_data"]["number"].as_u64().unwrap();
    assert_eq!(block, stale);
    faults(&net, json!({ "html": true })).await;
    assert!(net.raw("GET", &info, "").await.1.starts_with("<html>"));
    faults(&net, json!({ "html": true, "status": 403 })).await;
    let (status, page) = net.raw("GET", &info, "").await;
    assert_eq!((status, page.starts_with("<html>")), (403, true), "{page}");
    faults(&net, json!({ "status": 429, "requests": 2 })).await;
    assert_eq!(net.raw("GET", &info, "").await.0, 429);
    assert_eq!(net.raw("GET", &info, "").await.0, 429);
    assert_eq!(net.get(&info).await, truth);
    let head = net.get("/wallet/getnowblock").await["block_header"]["raw_data"]["number"].as_u64().unwrap();
    assert_eq!(stale + 1, head);
    faults(&net, json!({ "delay_ms": 150, "requests": 1 })).await;
    assert!(timeout(Duration::from_millis(50), net.get(&info)).await.is_err());
    let (status, body) = net.raw("POST", "/devnet/faults", r#"{"nonsense": 1}"#).await;
    assert_eq!(status, 400, "{body}");
    net.stop().await;
}
