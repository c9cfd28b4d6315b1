//! A transaction's way from the estimate to the solidified receipt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lucid_tron_bridge::address::of_contract;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::sender::{SendError, SendOptions, Sender};
use lucid_tron_bridge::vault::VaultRevert;
use lucid_tron_types::abi::selector;
use lucid_tron_types::block::transaction_id;
use lucid_tron_types::proto::{CreateSmartContract, Transaction, TransferContract, TriggerSmartContract};
use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, TxId};
use prost::Message;
use serde_json::{Value, json};

use crate::client::client;
use crate::server::{Answer, Request, Server, block, node};

const WAIT: Duration = Duration::from_secs(20);
const OPTIONS: SendOptions = SendOptions::new(Sun::new(20_000_000));

fn account(n: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([n; 20])
}

fn key() -> TronKey {
    TronKey::from_secret(&[0x33; 32]).unwrap()
}

/// A node that answers estimates with 100,000 energy; `answer` goes first.
async fn network(answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Server {
    node(move |request| {
        answer(request).unwrap_or_else(|| match request.path.as_str() {
            "/wallet/triggerconstantcontract" => Answer::json(&json!({ "result": { "result": true },
                "energy_used": 100_000, "constant_result": ["00"], "transaction": { "ret": [{}] } })),
            "/wallet/getchainparameters" => Answer::json(&json!({ "chainParameter": [
                { "key": "getEnergyFee", "value": 100 }, { "key": "getTransactionFee", "value": 1_000 },
                { "key": "getCreateAccountFee", "value": 100_000 },
                { "key": "getCreateNewAccountFeeInSystemContract", "value": 1_000_000 },
            ] })),
            "/wallet/getaccountresource" => Answer::json(&json!({ "freeNetLimit": 10, "EnergyLimit": 40_000 })),
            "/wallet/getaccount" if request.body["address"] == key().address().hex() => {
                Answer::json(&json!({ "address": key().address().hex(), "balance": 50_000_000 }))
            }
            "/wallet/getblock" => Answer::json(&block(1_000)),
            "/walletsolidity/getblock" => Answer::json(&block(990)),
            "/wallet/broadcasthex" => Answer::json(&json!({ "result": true })),
            _ => Answer::Ok("{}".into()),
        })
    })
    .await
}

/// The transaction that was broadcast, and its id.
fn sent(server: &Server) -> (Transaction, TxId) {
    let requests = server.requests();
    let request = requests.iter().find(|r| r.path == "/wallet/broadcasthex").unwrap();
    let bytes = hex::decode(request.body["transaction"].as_str().unwrap()).unwrap();
    let transaction = Transaction::decode(bytes.as_slice()).unwrap();
    let id = TxId::from_bytes(transaction_id(&transaction.raw_data));
    (transaction, id)
}

/// A receipt of whatever is asked for.
fn receipt(request: &Request, result: &Value) -> Option<Answer> {
    let mut receipt = json!({ "id": request.body["value"], "blockNumber": 989, "fee": 7 });
    receipt.as_object_mut().unwrap().extend(result.as_object().unwrap().clone());
    (request.path == "/walletsolidity/gettransactioninfobyid").then(|| Answer::json(&receipt))
}

#[tokio::test]
async fn a_call_is_planned_sent_and_waited_for() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let server = network(move |request| {
        let success = json!({ "receipt": { "result": "SUCCESS", "energy_usage_total": 99_000 } });
        let receipt = receipt(request, &success)?;
        (counter.fetch_add(1, Ordering::SeqCst) > 0).then_some(receipt)
    })
    .await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    let plan = sender.plan_call(account(7), vec![1, 2, 3], &OPTIONS).await.unwrap();
    assert_eq!((plan.energy, plan.fee_limit), (100_000, Sun::new(11_000_000)));
    // 40,000 of the energy are staked; the bandwidth is burnt.
    assert_eq!(plan.cost, Sun::new(6_000_000 + 1_000 * plan.bandwidth));
    assert_eq!((plan.deploys, server.count("/wallet/broadcasthex")), (None, 0));
    let info = sender.send(&plan, WAIT).await.unwrap();
    assert_eq!((info.id, info.energy), (plan.transaction.tx_id(), 99_000));
    assert_eq!((polls.load(Ordering::SeqCst), server.count("/wallet/broadcasthex")), (2, 1));
    let (transaction, id) = sent(&server);
    assert_eq!((id, transaction.signature.len()), (info.id, 1));
    let raw = transaction.raw().unwrap();
    assert_eq!((raw.timestamp, raw.expiration, raw.fee_limit), (3_000_000, 3_060_000, 11_000_000));
    let call: TriggerSmartContract = raw.contract[0].unpack().unwrap();
    assert_eq!((call.data.as_slice(), call.owner_address.as_slice()), (&[1, 2, 3][..], &key.address().as_bytes()[..]));
}

#[tokio::test]
async fn a_failed_receipt_is_an_error_with_the_vaults_words() {
    let server = network(|request| {
        let data = hex::encode(selector("BadProof()"));
        receipt(request, &json!({ "result": "FAILED", "receipt": { "result": "REVERT" }, "contractResult": [data] }))
    })
    .await;
    let (client, key) = (client(&[&server]), key());
    let error = Sender::new(&client, &key).call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap_err();
    assert!(matches!(&error, SendError::Failed { revert: Some(VaultRevert::BadProof), .. }), "{error}");
    assert!(error.to_string().contains("cost 7 sun") && error.to_string().contains("leaves"), "{error}");
}

#[tokio::test]
async fn what_would_fail_is_not_sent() {
    let server = network(|request| {
        let data = hex::encode(selector("NotOwner()"));
        (request.path == "/wallet/triggerconstantcontract").then(|| {
            Answer::json(&json!({ "result": { "result": true }, "energy_used": 9, "constant_result": [data],
                "transaction": { "ret": [{ "ret": "FAILED" }] } }))
        })
    })
    .await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    let error = sender.call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap_err();
    assert!(
        matches!(&error, SendError::WouldRevert(revert) if revert.of_vault() == Some(VaultRevert::NotOwner)),
        "{error}"
    );
    assert_eq!(server.count("/wallet/broadcasthex"), 0);
}

#[tokio::test]
async fn what_costs_too_much_is_not_sent() {
    let server = network(|_| None).await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    let options = SendOptions::new(Sun::new(9_999_999));
    let error = sender.plan_call(account(7), vec![1], &options).await.unwrap_err();
    assert!(matches!(error, SendError::TooExpensive { energy: 100_000, .. }), "{error}");
    let error = sender.plan_trx(account(7), Sun::new(49_000_000), &OPTIONS).await.unwrap_err();
    let SendError::Balance { has, needs, .. } = error else { panic!("{error}") };
    assert_eq!((has, needs), (Sun::new(50_000_000), Sun::new(49_000_000 + 1_100_000)));
}

#[tokio::test]
async fn a_refused_broadcast_ends_it_and_a_busy_node_does_not() {
    let busy = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&busy);
    let server = network(move |request| match request.path.as_str() {
        "/wallet/broadcasthex" if counter.fetch_add(1, Ordering::SeqCst) == 0 => {
            Some(Answer::json(&json!({ "result": false, "code": "SERVER_BUSY", "message": "" })))
        }
        // The first may have been taken all the same.
        "/wallet/broadcasthex" => Some(Answer::json(&json!({ "result": false, "code": "TAPOS_ERROR", "message": "" }))),
        _ => receipt(request, &json!({ "receipt": { "result": "SUCCESS" } }))
            .filter(|_| counter.load(Ordering::SeqCst) > 1),
    })
    .await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    sender.call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap();
    assert_eq!(busy.load(Ordering::SeqCst), 2);
    let error = sender.call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused { answer, .. } if answer.code == "TAPOS_ERROR"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_not_believed_while_another_endpoint_may_have_taken_it() {
    // It takes the transaction, and its answer is lost.
    let taker = network(|request| match request.path.as_str() {
        "/wallet/broadcasthex" => Some(Answer::Hangup),
        _ => receipt(request, &json!({ "receipt": { "result": "SUCCESS" } })),
    })
    .await;
    let refuser = network(|request| {
        let answer = json!({ "result": false, "code": "TAPOS_ERROR", "message": "" });
        (request.path == "/wallet/broadcasthex").then(|| Answer::json(&answer))
    })
    .await;
    let (both, alone, key) = (client(&[&taker, &refuser]), client(&[&refuser]), key());
    let info = Sender::new(&both, &key).call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap();
    assert_eq!((info.id, refuser.count("/wallet/broadcasthex")), (sent(&taker).1, 1));
    let error = Sender::new(&alone, &key).call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn what_was_not_included_in_time_expired_or_is_unknown() {
    let expired =
        network(|request| (request.path == "/walletsolidity/getblock").then(|| Answer::json(&block(1_030)))).await;
    let (dropped, key) = (client(&[&expired]), key());
    let error = Sender::new(&dropped, &key).call(account(7), vec![1], &OPTIONS, WAIT).await.unwrap_err();
    assert!(matches!(error, SendError::Expired { .. }), "{error}");
    // One block earlier the receipt may come from a node that is some blocks behind the one that told the head.
    let pending =
        network(|request| (request.path == "/walletsolidity/getblock").then(|| Answer::json(&block(1_029)))).await;
    let waiting = client(&[&pending]);
    let wait = Duration::from_secs(2);
    let error = Sender::new(&waiting, &key).call(account(7), vec![1], &OPTIONS, wait).await.unwrap_err();
    assert!(matches!(error, SendError::TimedOut { waited, last: None, .. } if waited == wait), "{error}");
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_leaves_the_transaction_named() {
    let with = async |answer: fn() -> Answer| {
        let is_receipt = |request: &Request| request.path == "/walletsolidity/gettransactioninfobyid";
        let server = network(move |request| is_receipt(request).then(answer)).await;
        let (client, key) = (client(&[&server]), key());
        let wait = Duration::from_secs(2);
        let error = Sender::new(&client, &key).call(account(7), vec![1], &OPTIONS, wait).await.unwrap_err();
        assert!(error.to_string().contains(&sent(&server).1.to_string()), "{error}");
        error
    };
    // What may pass is waited for; the last answer is told.
    let error = with(|| Answer::Ok("<html>busy</html>".into())).await;
    assert!(
        matches!(&error, SendError::TimedOut { last: Some(last), .. } if last.to_string().contains("busy")),
        "{error}"
    );
    let error = with(|| Answer::Status(404, "", "gone".into())).await;
    assert!(matches!(&error, SendError::Unclear { source, .. } if source.to_string().contains("404")), "{error}");
}

#[tokio::test]
async fn a_contract_is_deployed_and_its_address_known_before() {
    let server = network(|request| receipt(request, &json!({ "receipt": { "result": "SUCCESS" } }))).await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    let deployed = sender.deploy("PayoutVault", vec![0x60; 9], &OPTIONS, WAIT).await.unwrap();
    let (transaction, id) = sent(&server);
    assert_eq!(deployed.contract, of_contract(&id, &key.address()));
    let create: CreateSmartContract = transaction.raw().unwrap().contract[0].unpack().unwrap();
    assert_eq!(create.new_contract.unwrap().bytecode, [0x60; 9]);
    let plan = sender.plan_deploy("PayoutVault", vec![0x60; 9], &OPTIONS).await.unwrap();
    assert_eq!(plan.deploys, Some(deployed.contract));
}

#[tokio::test]
async fn trx_is_sent_also_to_an_account_that_does_not_exist() {
    let server = network(|request| receipt(request, &json!({}))).await;
    let (client, key) = (client(&[&server]), key());
    let sender = Sender::new(&client, &key);
    let plan = sender.plan_trx(account(7), Sun::new(3), &OPTIONS).await.unwrap();
    assert_eq!((plan.energy, plan.fee_limit, plan.cost), (0, Sun::ZERO, Sun::new(1_100_000)));
    sender.send(&plan, WAIT).await.unwrap();
    let transfer: TransferContract = sent(&server).0.raw().unwrap().contract[0].unpack().unwrap();
    assert_eq!((transfer.to_address.as_slice(), transfer.amount), (&account(7).as_bytes()[..], 3));
    let to_itself = sender.plan_trx(key.address(), Sun::new(3), &OPTIONS).await.unwrap();
    assert_eq!(to_itself.cost, Sun::new(1_000 * to_itself.bandwidth));
}
