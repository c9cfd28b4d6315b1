//! What stands on a TRON network before nodes start. The network is in this process.

use std::time::Duration;

use lucid_testnet::funding::{Funded, GAS_TRX, Needs, TronNetwork, VAULT_FUNDS};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_devnet::{DevnetConfig, serve};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::policy::Policy;
use lucid_types::vault::{SignerSet, TreasurySigner};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn signers(n: u8) -> SignerSet {
    let signer = |byte| TreasurySigner {
        node: NodeId::from_bytes([byte; 32]),
        key_address: PayoutAddress::from_hash20([byte; 20]),
    };
    SignerSet { era: 1, threshold: n / 2 + 1, members: (1..=n).map(signer).collect() }
}

#[tokio::test]
async fn token_vault_and_gas_stand_in_the_solidified_view() {
    let config =
        DevnetConfig { port: 0, block_time: Some(Duration::from_millis(200)), solid_lag: 3, ..DevnetConfig::default() };
    let (send, ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let mut devnet = JoinSet::new();
    devnet.spawn(serve(config, stop.clone(), |ready| drop(send.send(ready))));
    let url = format!("http://{}", ready.await.unwrap().listen[0]);

    let tron = TronNetwork::first_block(&url).await.unwrap();
    let (owner, policy) = (TronKey::generate().unwrap(), Policy::local(Duration::from_secs(2), 2, None));
    // As many signers as a vault takes, and more gas accounts than requests are answered at once.
    let signers = signers(16);
    let gas: Vec<_> = (100..200).map(|byte| PayoutAddress::from_hash20([byte; 20])).collect();
    let needs = Needs { owner: &owner, signers: &signers, policy: &policy, gas: &gas };
    let Funded { usdt, vault, limits } = tron.fund(&needs).await.unwrap();

    let found = tron.client.vault_snapshot(&vault, &[]).await.unwrap();
    assert_eq!((found.token, found.owner, found.limits), (usdt, owner.address(), limits));
    assert_eq!((found.era, found.nonce, found.threshold), (1, 0, 9));
    assert_eq!((found.period, found.delay, found.previous), (3_600, 8, None));
    assert_eq!((found.funds, limits.cap, limits.push_fee), (VAULT_FUNDS, VAULT_FUNDS, MicroUsdt::new(10_000)));
    assert_eq!((found.paid_out, found.fees_paid, found.root), (MicroUsdt::ZERO, MicroUsdt::ZERO, None));
    for account in gas {
        assert_eq!(tron.client.solid_account(&account).await.unwrap().unwrap().balance, GAS_TRX);
    }
    stop.cancel();
    devnet.join_next().await.unwrap().unwrap().unwrap();
}
