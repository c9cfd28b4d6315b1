//! Any bytes as a signed transaction: judged without a panic, and a refusal leaves no trace.
//!
//! `cargo fuzz run protobuf` in this folder's parent.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lucid_tron_devnet::chain::{Chain, Genesis};

static CHAIN: LazyLock<Chain> =
    LazyLock::new(|| Chain::new(Genesis::seeded("fuzz", 2, 1_000_000_000_000, 1_700_000_000_000, 1)));

fuzz_target!(|data: &[u8]| {
    let mut chain = CHAIN.clone();
    if chain.submit(data).is_err() {
        assert_eq!(chain.pending(), 0);
    } else {
        chain.produce_block(1_700_000_003_000);
    }
});
