//! Any bytes as the body of any call: answered without a panic. The first byte chooses the call.
//!
//! `cargo fuzz run json` in this folder's parent.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lucid_tron_devnet::api;
use lucid_tron_devnet::chain::{Chain, Genesis};
use lucid_tron_devnet::node::Node;

const CALLS: [&str; 16] = [
    "broadcasttransaction",
    "broadcasthex",
    "triggerconstantcontract",
    "estimateenergy",
    "createtransaction",
    "createaccount",
    "accountpermissionupdate",
    "deploycontract",
    "triggersmartcontract",
    "getsignweight",
    "getapprovedlist",
    "getblock",
    "getblockbynum",
    "gettransactionbyid",
    "getaccount",
    "getcontract",
];

static CHAIN: LazyLock<Chain> =
    LazyLock::new(|| Chain::new(Genesis::seeded("fuzz", 2, 1_000_000_000_000, 1_700_000_000_000, 1)));

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let name = CALLS[usize::from(*first) % CALLS.len()];
    let node = Node::new(CHAIN.clone(), false);
    assert!(api::call(&node, &format!("/wallet/{name}"), body).is_some());
});
