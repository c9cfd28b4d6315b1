//! A network that is kept on disk.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lucid_tron_devnet::wallet::{self, Validity};
use lucid_tron_devnet::{DevnetConfig, DevnetError, serve};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::client::{Net, pay};

fn config(dir: &Path) -> DevnetConfig {
    DevnetConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        block_time: None,
        solid_lag: 1,
        accounts: 3,
        dir: Some(dir.to_owned()),
        ..DevnetConfig::default()
    }
}

#[tokio::test]
async fn it_is_the_same_network_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start_with(config(dir.path())).await;
    let (genesis, usdt) = (net.ready.genesis_id, net.ready.usdt);
    let id = pay(&net, 0, 1, 5).await;
    let block = net.get("/wallet/getnowblock").await;
    net.stop().await;

    let net = Net::start_with(config(dir.path())).await;
    assert_eq!((net.ready.genesis_id, net.ready.usdt), (genesis, usdt));
    assert_eq!(net.get("/wallet/getnowblock").await, block);
    let info = net.get(&format!("/wallet/gettransactioninfobyid?value={id}")).await;
    assert_eq!(info["id"], id);
    // What is in a block is not taken twice, whoever restarted.
    let transaction = net.get(&format!("/wallet/gettransactionbyid?value={id}")).await;
    let again = net.post("/wallet/broadcasttransaction", &transaction.to_string()).await;
    assert_eq!(again["code"], "DUP_TRANSACTION_ERROR");
    pay(&net, 0, 1, 6).await;
    net.stop().await;
}

#[tokio::test]
async fn it_goes_on_at_the_time_it_travelled_to() {
    let dir = tempfile::tempdir().unwrap();
    let config = DevnetConfig { control: true, ..config(dir.path()) };
    let net = Net::start_with(config.clone()).await;
    net.post("/devnet/travel", r#"{"milliseconds": 3600000}"#).await;
    let before = net.post("/devnet/mine", "").await;
    net.stop().await;
    let net = Net::start_with(config).await;
    let after = net.get("/devnet/info").await;
    assert!(after["now"].as_u64().unwrap() >= before["time"].as_u64().unwrap(), "{before} {after}");
    pay(&net, 0, 1, 5).await;
    net.stop().await;
}

/// A transaction that only lacks a newer head gets a block made first; that block stays, whatever becomes of it.
#[tokio::test]
async fn a_block_made_for_a_refused_transaction_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = DevnetConfig { control: true, ..config(dir.path()) };
    let net = Net::start_with(config.clone()).await;
    net.post("/devnet/travel", r#"{"milliseconds": 172800000}"#).await;
    let head = net.get("/wallet/getnowblock").await;
    let now = net.get("/devnet/info").await["now"].as_u64().unwrap();
    let from = &net.ready.accounts[0];
    let send = async |reference: [u8; 32]| {
        let validity = Validity { reference, timestamp: now, expiration: now + 60_000 };
        let message = wallet::transfer(from.address(), net.ready.accounts[1].address(), i64::MAX.unsigned_abs());
        let (bytes, _) = wallet::signed(from, &message, 0, validity);
        net.post("/wallet/broadcasthex", &json!({ "transaction": hex::encode(bytes) }).to_string()).await
    };
    let answer = send([9; 32]).await;
    assert_eq!(answer["code"], "TAPOS_ERROR", "{answer}");
    assert_eq!(net.get("/wallet/getnowblock").await, head, "a newer head is not all that it lacks");
    let id = hex::decode(head["blockID"].as_str().unwrap()).unwrap();
    let answer = send(id.try_into().unwrap()).await;
    assert_eq!(answer["code"], "CONTRACT_VALIDATE_ERROR", "{answer}");
    let seen = net.get("/wallet/getnowblock").await;
    assert_ne!(seen, head);
    net.stop().await;
    let net = Net::start_with(config).await;
    assert_eq!(net.get("/wallet/getnowblock").await, seen);
    net.stop().await;
}

async fn refused(config: DevnetConfig) -> DevnetError {
    serve(config, CancellationToken::new(), |_| panic!("it started")).await.unwrap_err()
}

#[tokio::test]
async fn another_network_is_not_started_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let net = Net::start_with(config(dir.path())).await;
    let locked = refused(config(dir.path())).await;
    assert!(format!("{locked:?}").contains("Locked"), "{locked:?}");
    net.stop().await;
    for other in [
        DevnetConfig { seed: "another".to_owned(), ..config(dir.path()) },
        DevnetConfig { accounts: 4, ..config(dir.path()) },
        DevnetConfig { balance: 1, ..config(dir.path()) },
        DevnetConfig { deploy_usdt: false, ..config(dir.path()) },
    ] {
        let error = refused(other).await;
        assert!(matches!(error, DevnetError::OtherNetwork { .. }), "{error}");
    }
    // The lag and the block time may differ.
    let net = Net::start_with(DevnetConfig {
        solid_lag: 5,
        block_time: Some(Duration::from_millis(50)),
        ..config(dir.path())
    })
    .await;
    net.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let net = Net::start(None, 1).await;
    let error = refused(DevnetConfig { listen: net.ready.listen, ..DevnetConfig::default() }).await;
    assert!(matches!(error, DevnetError::Listen { address, .. } if address == net.ready.listen), "{error}");
    assert_ne!(net.get("/wallet/getnowblock").await, json!({}));
    net.stop().await;
}
