//! Pages of events, however early they end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lucid_tron_types::proto;
use proptest::prelude::*;
use serde_json::Value;

use super::super::request::Request;
use super::super::tests::node;
use super::{STEPS, Subject, page};
use crate::address;
use crate::node::Node;
use crate::token;
use crate::wallet::{self, Validity, Wallet};

/// Blocks with as many transfers of the token as these numbers say, one unit more each; and the token.
fn network(blocks: &[u64]) -> (Node, Subject) {
    let (node, usdt, _) = node();
    let usdt = address::from_hex(&usdt).unwrap();
    let owner = Wallet::derive("api", 0);
    let mut units = 0;
    for transfers in blocks {
        for _ in 0..*transfers {
            units += 1;
            let data = token::transfer(Wallet::derive("api", 1).address(), units);
            let head = node.chain().head().block().clone();
            let validity = Validity::after(head.id.0, head.time(), 60_000);
            let call = wallet::trigger(owner.address(), usdt, data, 0);
            let mut transaction: proto::Transaction = wallet::build(&call, 0, 100_000_000, validity);
            owner.sign(&mut transaction);
            node.submit(transaction).unwrap();
        }
        let time = node.chain().head().block().time() + 3_000;
        node.produce(time).unwrap();
    }
    (node, Subject::Contract(usdt.to_vec()))
}

fn one(node: &Node, subject: &Subject, query: &str, steps: usize) -> Value {
    let chain = node.chain();
    page(subject, &Request::from_query(query), chain.head(), steps).unwrap()
}

/// All pages one behind the other, and how many there were.
fn all(node: &Node, subject: &Subject, query: &str, steps: usize) -> (Vec<Value>, usize) {
    let mut events = Vec::new();
    let mut from = String::new();
    let mut pages = 0;
    loop {
        pages += 1;
        assert!(pages < 1_000, "the pages do not end");
        let next = one(node, subject, &format!("{query}{from}"), steps);
        events.extend(next["data"].as_array().unwrap().clone());
        match next["meta"]["fingerprint"].as_str() {
            Some(end) => from = format!("&fingerprint={end}"),
            None => return (events, pages),
        }
    }
}

#[test]
fn a_page_that_looks_for_long_ends_early() {
    let (node, usdt) = network(&[2, 0, 0, 1]);
    let first = one(&node, &usdt, "event_name=Nothing", 1);
    assert_eq!(first["data"], Value::Array(Vec::new()));
    assert!(first["meta"]["fingerprint"].is_string(), "it was not all");
    let (events, pages) = all(&node, &usdt, "event_name=Nothing", 1);
    assert!(events.is_empty() && pages > 4, "{pages}");
    assert_eq!(all(&node, &usdt, "event_name=Nothing", STEPS), (Vec::new(), 1));
}

#[test]
fn only_the_blocks_of_the_times_that_are_asked_for_are_looked_at() {
    let (node, usdt) = network(&[1, 1, 0, 1, 1]);
    let values = |query: &str| {
        let page = one(&node, &usdt, &format!("event_name=Transfer&order_by=block_timestamp,asc&{query}"), STEPS);
        let values = page["data"].as_array().unwrap().iter().map(|e| e["result"]["value"].clone());
        values.map(|value| value.as_str().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    // The token was made, with 1,000 units, in block 1.
    let time = |number| node.chain().head().block_by_number(number).unwrap().time();
    assert_eq!(values(""), [1_000, 1, 2, 3, 4]);
    assert_eq!(values(&format!("min_block_timestamp={}", time(3))), [2, 3, 4]);
    assert_eq!(values(&format!("min_block_timestamp={}", time(3) + 1)), [3, 4]);
    assert_eq!(values(&format!("max_block_timestamp={}", time(3))), [1_000, 1, 2]);
    assert_eq!(values(&format!("max_block_timestamp={}", time(3) - 1)), [1_000, 1]);
    assert_eq!(values(&format!("min_block_timestamp={}&max_block_timestamp={}", time(2), time(5))), [1, 2, 3]);
    assert_eq!(values(&format!("min_block_timestamp={}", time(6) + 1)), [0; 0]);
    assert_eq!(values("block_number=5"), [3]);
    assert_eq!(values("block_number=-1"), [0; 0]);
    assert_eq!(values("block_number=7"), [0; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pages_of_any_length_are_together_all(
        blocks in proptest::collection::vec(0..4u64, 0..6),
        limit in 1..5usize,
        steps in prop_oneof![1..20usize, 20..400usize],
        is_ascending: bool,
        is_named: bool,
    ) {
        let (node, usdt) = network(&blocks);
        let order = if is_ascending { "asc" } else { "desc" };
        let name = if is_named { "Transfer" } else { "" };
        let query = format!("order_by=block_timestamp,{order}&event_name={name}&limit=");
        let (together, pages) = all(&node, &usdt, &format!("{query}200"), STEPS);
        prop_assert_eq!((together.len() as u64, pages), (1 + blocks.iter().sum::<u64>(), 1));
        prop_assert_eq!(all(&node, &usdt, &format!("{query}{limit}"), steps).0, together);
    }
}
