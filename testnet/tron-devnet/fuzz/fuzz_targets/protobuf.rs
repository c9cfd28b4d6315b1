//! Any bytes as a signed transaction: judged without a panic, and a refusal leaves no trace.
//!
//! `cargo fuzz run protobuf` in this folder's parent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucid_tron_devnet::chain::{Chain, Genesis};

fuzz_target!(|data: &[u8]| {
    let mut chain = chain();
    if chain.submit(data).is_err() {
        assert_eq!(chain.pending(), 0);
    }
    chain.produce_block(1_700_000_003_000);
});

fn chain() -> Chain {
    Chain::new(Genesis::seeded("fuzz", 2, 1_000_000_000_000, 1_700_000_000_000, 1))
}
