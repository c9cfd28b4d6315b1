//! A network that is kept on disk.

use std::path::Path;
use std::time::Duration;

use lucid_tron_devnet::{DevnetConfig, DevnetError, address, serve};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::client::{Net, pay};

fn config(dir: &Path) -> DevnetConfig {
    DevnetConfig {
        port: 0,
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
    let before = net.post("/devnet/travel", r#"{"milliseconds": 3600000}"#).await;
    net.stop().await;
    let net = Net::start_with(config).await;
    let after = net.get("/devnet/info").await;
    assert!(after["now"].as_u64().unwrap() >= before["time"].as_u64().unwrap(), "{before} {after}");
    pay(&net, 0, 1, 5).await;
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
    let without = DevnetConfig { deploy_usdt: false, balance: 1, ..config(&dir.path().join("without")) };
    for _ in 0..2 {
        let net = Net::start_with(without.clone()).await;
        let first = net.get("/wallet/getblockbynum?num=1").await;
        assert_eq!(first["block_header"]["raw_data"]["number"], 1, "{first}");
        assert_eq!(net.get("/wallet/getnowblock").await, first);
        net.stop().await;
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
    let error = refused(DevnetConfig { port: net.ready.listen[0].port(), ..DevnetConfig::default() }).await;
    assert!(matches!(error, DevnetError::Listen { address, .. } if address == net.ready.listen[0]), "{error}");
    assert_ne!(net.get("/wallet/getnowblock").await, json!({}));
    net.stop().await;
}

#[tokio::test]
async fn who_cannot_pay_for_the_token_learns_how_much_it_takes() {
    let config = DevnetConfig { port: 0, balance: 10_000_000, ..DevnetConfig::default() };
    let DevnetError::DeployUsdt { balance, fee } = refused(config.clone()).await else { panic!("another error") };
    assert_eq!(balance, 10_000_000);
    let DevnetError::DeployUsdt { fee: same, .. } = refused(DevnetConfig { balance: fee - 1, ..config.clone() }).await
    else {
        panic!("another error")
    };
    assert_eq!(same, fee);
    let net = Net::start_with(DevnetConfig { balance: fee, ..config }).await;
    let usdt = address::to_hex(net.ready.usdt.unwrap());
    assert_eq!(net.get(&format!("/wallet/getcontract?value={usdt}")).await["name"], "TestUsdt");
    let owner = address::to_base58(net.ready.accounts[0].address());
    let owner = net.get(&format!("/wallet/getaccount?visible=true&address={owner}")).await;
    assert_eq!(owner["balance"].as_u64(), None, "all of it was burnt: {owner}");
    net.stop().await;
}
