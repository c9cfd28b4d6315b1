//! Two provider groups that see, or say, different things.

use std::sync::atomic::{AtomicU64, Ordering};

use lucid_tron_bridge::client::{BroadcastOutcome, Client, ClientError};
use lucid_tron_bridge::providers::{Difference, Providers};
use lucid_tron_types::abi::{Word, address_word, word_of};
use lucid_tron_types::proto::Transaction;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::AccountId;
use prost::Message;
use serde_json::json;

use crate::client::client;
use crate::server::{Answer, Request, Server, block, node};

fn vault() -> PayoutAddress {
    PayoutAddress::from_hash20([9; 20])
}

fn id(n: u32) -> AccountId {
    AccountId::from_bytes(word_of(n.into()))
}

/// The ids that a call of `snapshot` asks for.
fn asked(request: &Request) -> Vec<Word> {
    let data = hex::decode(request.body["data"].as_str().unwrap()).unwrap();
    data[4 + 64..].as_chunks().0.to_vec()
}

/// What a vault whose newest root is of `settlement` returns when each account has had `paid` and its id's number.
fn snapshot(settlement: u64, paid: u64, ids: &[Word]) -> Answer {
    let mut words = vec![word_of(32), word_of(settlement)];
    words.extend([word_of(0); 19]);
    words.push(word_of(paid));
    words.extend([word_of(0); 4]);
    words.extend([[1; 20], [2; 20], [0; 20]].map(|address| address_word(&address)));
    words.extend([word_of(3_600), word_of(1), word_of(31 * 32), word_of(u64::try_from(ids.len()).unwrap())]);
    words.extend(ids.iter().map(|id| word_of(paid + u64::from(id[31]))));
    Answer::json(&json!({ "result": { "result": true }, "constant_result": [hex::encode(words.as_flattened())] }))
}

/// A node whose solidified head is this block.
async fn group(head: i64, settlement: u64, paid: u64) -> Server {
    node(move |request| match request.path.as_str() {
        "/walletsolidity/getblock" => Answer::json(&block(head)),
        "/walletsolidity/triggerconstantcontract" => snapshot(settlement, paid, &asked(request)),
        "/wallet/broadcasthex" => Answer::json(&json!({ "result": true })),
        _ => Answer::Ok("{}".into()),
    })
    .await
}

fn providers(servers: &[&Server]) -> Providers {
    Providers::new(servers.iter().map(|server| client(&[server])).collect()).unwrap()
}

#[tokio::test]
async fn a_long_list_of_accounts_is_asked_for_in_portions() {
    let server = group(5, 3, 0).await;
    let ids: Vec<_> = (0..1_201).map(id).collect();
    let snapshot = client(&[&server]).vault_snapshot(&vault(), &ids).await.unwrap();
    assert_eq!((snapshot.paid.len(), snapshot.paid_of(&id(1_200))), (1_201, Some(MicroUsdt::new(1_200 % 256))));
    assert_eq!(server.count("/walletsolidity/triggerconstantcontract"), 3);
    let empty = client(&[&server]).vault_snapshot(&vault(), &[]).await.unwrap();
    assert_eq!((empty.settlement, empty.paid.len()), (3, 0));
}

/// A node whose vault pays between two requests, the first so many times.
async fn paying(times: u64) -> Server {
    let n_asked = AtomicU64::new(0);
    node(move |request| match request.path.as_str() {
        "/walletsolidity/getblock" => Answer::json(&block(5)),
        "/walletsolidity/triggerconstantcontract" => {
            snapshot(3, n_asked.fetch_add(1, Ordering::Relaxed).min(times), &asked(request))
        }
        _ => Answer::Ok("{}".into()),
    })
    .await
}

#[tokio::test]
async fn all_portions_are_of_one_state_of_the_vault() {
    let ids: Vec<_> = (0..1_201).map(id).collect();
    let state = async |server: &Server| client(&[server]).vault_snapshot(&vault(), &ids).await;
    // It changes after the first portion, and after the first of the second try: 2 requests are lost each time.
    let server = paying(3).await;
    let snapshot = state(&server).await.unwrap();
    assert_eq!(snapshot.paid_out, MicroUsdt::new(3));
    let is_of_one_state = |n: u32| snapshot.paid_of(&id(n)) == Some(MicroUsdt::new(3 + u64::from(n % 256)));
    assert!((0..1_201).all(is_of_one_state), "{:?}", snapshot.paid);
    assert_eq!(server.count("/walletsolidity/triggerconstantcontract"), 2 + 2 + 3);
    // A vault that never stands still is not asked for ever, and nothing is put together of it.
    let server = paying(u64::MAX).await;
    let error = state(&server).await.unwrap_err().to_string();
    assert!(error.contains("changed") && error.contains("1201 accounts"), "{error}");
    assert_eq!(server.count("/walletsolidity/triggerconstantcontract"), 6);
    // One portion is always of one state.
    let server = paying(u64::MAX).await;
    client(&[&server]).vault_snapshot(&vault(), &ids[..500]).await.unwrap();
}

#[tokio::test]
async fn what_every_group_confirms_counts() {
    let (ahead, behind) = (group(12, 3, 50).await, group(10, 2, 40).await);
    let witnessed = providers(&[&ahead, &behind]).vault_snapshot(&vault(), &[id(1)]).await.unwrap();
    assert_eq!((witnessed.snapshot.settlement, witnessed.block.number), (2, 10));
    assert_eq!(witnessed.snapshot.paid_of(&id(1)), Some(MicroUsdt::new(41)));
    assert_eq!(witnessed.contradictions, []);
    let heads: Vec<_> = witnessed.groups.iter().map(|answer| answer.block.as_ref().unwrap().number).collect();
    assert_eq!(heads, [12, 10]);
}

#[tokio::test]
async fn a_group_that_lies_is_reported_and_the_least_counts() {
    let (liar, honest) = (group(12, 3, 10).await, group(10, 3, 40).await);
    let witnessed = providers(&[&liar, &honest]).vault_snapshot(&vault(), &[id(1)]).await.unwrap();
    assert_eq!(witnessed.snapshot.paid_of(&id(1)), Some(MicroUsdt::new(11)));
    let about: Vec<_> = witnessed.contradictions.iter().map(|c| c.about).collect();
    assert_eq!(about, [Difference::Vault("payments"), Difference::Paid(id(1))]);
    assert_eq!(witnessed.contradictions[0].groups, [liar.url.clone(), honest.url.clone()]);
}

#[tokio::test]
async fn a_group_that_fails_is_reported_and_stops_nothing() {
    let (broken, good) = (node(|_| Answer::Ok("<html>".into())).await, group(10, 3, 40).await);
    let both = providers(&[&broken, &good]);
    let witnessed = both.vault_snapshot(&vault(), &[id(1)]).await.unwrap();
    assert_eq!(witnessed.snapshot.settlement, 3);
    assert!(witnessed.groups[0].block.as_ref().unwrap_err().contains("JSON"), "{witnessed:?}");
    assert_eq!(both.first(Client::solid_head).await.unwrap().number, 10);
    let transaction = Transaction { raw_data: vec![1], signature: vec![], ret: vec![] }.encode_to_vec();
    assert_eq!(both.broadcast(&transaction).await.unwrap(), BroadcastOutcome::Accepted);
    let alone = providers(&[&broken]);
    assert!(matches!(alone.vault_snapshot(&vault(), &[]).await, Err(ClientError::NotJson { .. })));
    assert!(matches!(Providers::new(Vec::new()), Err(ClientError::NoEndpoint)));
}

#[tokio::test]
async fn a_contract_that_is_no_vault_is_named() {
    let server = node(|_| Answer::json(&json!({ "result": { "result": true }, "constant_result": ["00"] }))).await;
    let error = client(&[&server]).vault_snapshot(&vault(), &[]).await.unwrap_err();
    assert!(matches!(error, ClientError::OtherContract { .. }), "{error}");
    assert!(error.to_string().contains(&vault().to_string()), "{error}");
}
