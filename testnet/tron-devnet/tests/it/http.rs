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
    assert_eq!(net.raw("POST", "/wallet/nosuchcall", "{}").await.0, 404);
    assert_eq!(net.raw("PUT", "/wallet/getnowblock", "").await.0, 405);
    let huge = "x".repeat(5 * 1024 * 1024);
    let answer = net.post("/wallet/getaccount", &huge).await;
    assert!(answer["Error"].as_str().unwrap().contains("body size is too big"), "{answer}");
    net.stop().await;
}

fn wallet_id(bytes: &[u8]) -> [u8; 32] {
    use prost::Message;
    let transaction = lucid_tron_bridge::proto::Transaction::decode(bytes).unwrap();
    lucid_tron_bridge::block::transaction_id(&transaction.raw_data)
}

#[tokio::test]
async fn open_connections_do_not_hold_up_the_end() {
    let net = Net::start(None, 1).await;
    // One that never says anything, one in the middle of its headers, one in the middle of its body, and one that was
    // answered and stays open.
    let silent = TcpStream::connect(net.ready.listen).await.unwrap();
    let mut started = TcpStream::connect(net.ready.listen).await.unwrap();
    started.write_all(b"POST /wallet/getnow").await.unwrap();
    let mut half = TcpStream::connect(net.ready.listen).await.unwrap();
    half.write_all(b"POST /wallet/getnowblock HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    let mut kept = TcpStream::connect(net.ready.listen).await.unwrap();
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
