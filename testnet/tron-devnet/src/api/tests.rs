//! Hostile requests: whatever comes in, a JSON answer goes out, nothing panics, and nothing changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lucid_tron_types::proto;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

use super::calls::{answer, calls};
use super::request::Request;
use super::{Tree, events};
use crate::address;
use crate::chain::{Chain, Genesis};
use crate::faults::Plan;
use crate::node::Node;
use crate::token;
use crate::wallet::{self, Validity, Wallet};

const NAMES: [&str; 50] = [
    "visible",
    "address",
    "value",
    "num",
    "id_or_num",
    "detail",
    "owner_address",
    "to_address",
    "account_address",
    "contract_address",
    "amount",
    "call_value",
    "data",
    "fee_limit",
    "function_selector",
    "parameter",
    "transaction",
    "raw_data",
    "signature",
    "contract",
    "type",
    "Permission_id",
    "ref_block_bytes",
    "expiration",
    "abi",
    "entrys",
    "bytecode",
    "origin_energy_limit",
    "consume_user_resource_percent",
    "owner",
    "actives",
    "keys",
    "operations",
    "extra_data",
    "startNum",
    "endNum",
    "fromAddress",
    "toAddress",
    "receiver_address",
    "resource",
    "balance",
    "frozen_balance",
    "unfreeze_balance",
    "lock",
    "lock_period",
    "timestamp",
    "account_name",
    "contractType",
    "new_contract",
    "type_url",
];

const QUERY: [&str; 14] = [
    "limit",
    "fingerprint",
    "order_by",
    "event_name",
    "block_number",
    "min_block_timestamp",
    "max_block_timestamp",
    "only_confirmed",
    "visible",
    "int64_as_string",
    "address",
    "value",
    "num",
    "owner_address",
];

/// A network with a token, and the token's address.
pub(super) fn node() -> (Node, String, String) {
    let mut chain = Chain::new(Genesis::seeded("api", 2, 1_000_000_000_000, 1_700_000_000_000, 1));
    let key = Wallet::derive("api", 0);
    let head = chain.head().block().clone();
    let create = wallet::create(key.address(), "t", token::creation_code(1_000), Some(token::abi()), 0);
    let validity = Validity::after(head.id.0, head.time(), 60_000);
    let (bytes, id) = wallet::signed(&key, &create, 1_000_000_000, validity);
    chain.submit(&bytes).unwrap();
    chain.produce_block(1_700_000_003_000);
    let usdt = wallet::contract_address(&id, key.address());
    (Node::new(chain, false), address::to_hex(usdt), address::to_hex(key.address()))
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(calls(Tree::Head).map(|(name, _)| *name).chain(["nosuchcall", ""]).collect::<Vec<_>>())
}

fn text() -> impl Strategy<Value = String> {
    let (_, usdt, owner) = node();
    prop_oneof![
        Just(usdt),
        Just(owner),
        Just("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".to_owned()),
        Just("TransferContract".to_owned()),
        Just("AccountPermissionUpdateContract".to_owned()),
        Just("Active".to_owned()),
        Just("balanceOf(address)".to_owned()),
        "[0-9a-f]{0,80}",
        "[ -~]{0,12}",
        any::<i64>().prop_map(|n| n.to_string()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..10i64).prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::Object),
        ]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = proptest::sample::select(NAMES.as_slice()).prop_map(str::to_owned);
    proptest::collection::vec((name, value), 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_json_gets_an_answer(name in name(), body in object(value()), solid: bool) {
        let (node, _, _) = node();
        let before = node.chain().head().block().id;
        let tree = if solid { Tree::Solid } else { Tree::Head };
        let body = Value::Object(body).to_string();
        let request = Request::from_body(body.as_bytes(), false, "");
        let answered = answer(&node, tree, name, &request, &Plan::default());
        prop_assert_eq!(answered.is_some(), calls(tree).any(|(known, _)| *known == name));
        let chain = node.chain();
        prop_assert_eq!(chain.head().block().id, before);
        prop_assert_eq!(chain.pending(), 0);
    }

    #[test]
    fn any_query_and_any_path_of_events_get_an_answer(
        name in name(),
        kind in proptest::sample::select(vec!["transactions", "contracts", "blocks", ""]),
        which in prop_oneof![text(), Just("latest".to_owned())],
        query in proptest::collection::vec((proptest::sample::select(QUERY.as_slice()), text()), 0..4),
    ) {
        let (node, _, _) = node();
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Ok(Request::from_query(&query.join("&")));
        let events = events::answer(&node, &format!("/v1/{kind}/{which}/events"), &request);
        prop_assert!(events.is_err() || events.is_ok_and(|events| events["data"].is_array()));
        let answered = answer(&node, Tree::Head, name, &request, &Plan::default());
        prop_assert_eq!(answered.is_some(), calls(Tree::Head).any(|(known, _)| *known == name));
    }

    #[test]
    fn any_bytes_are_a_request_or_refused(
        name in name(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (node, _, _) = node();
        if let Some(answer) = super::call(&node, &format!("/wallet/{name}"), &body) {
            prop_assert!(serde_json::from_str::<Value>(&answer).is_ok());
        }
        drop(Request::from_query(&String::from_utf8_lossy(&body)));
    }

    /// Arbitrary bytes, and a good transaction with some of its bytes changed or cut.
    #[test]
    fn any_protobuf_is_judged(
        noise in proptest::collection::vec(any::<u8>(), 0..120),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let (node, _, _) = node();
        let key = Wallet::derive("api", 0);
        let other = Wallet::derive("api", 1).address();
        let head = node.chain().head().block().clone();
        let validity = Validity::after(head.id.0, head.time(), 60_000);
        let (good, _) = wallet::signed(&key, &wallet::transfer(key.address(), other, 5), 0, validity);
        let mut changed = good.clone();
        for (index, byte) in &changes {
            let at = index.index(changed.len());
            if let Some(old) = changed.get_mut(at) {
                *old = *byte;
            }
        }
        if let Some(cut) = cut {
            changed.truncate(cut.index(changed.len()));
        }
        let mut accepted = 0;
        for bytes in [&noise, &changed] {
            if let Ok(transaction) = proto::Transaction::decode(bytes.as_slice()) {
                // What is accepted moves what its signer signed, whatever else the bytes say.
                accepted += usize::from(node.submit(transaction).is_ok());
            }
        }
        prop_assert_eq!(node.chain().pending(), accepted);
        if accepted == 0 {
            let good = proto::Transaction::decode(good.as_slice()).unwrap();
            prop_assert!(node.submit(good).is_ok(), "a refusal leaves no trace");
        }
    }
}
