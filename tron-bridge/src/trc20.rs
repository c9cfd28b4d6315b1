//! The call and the event of a TRC-20 token that move USDT.

use lucid_tron_types::abi::{Word, call, word_of};
use lucid_tron_types::keccak256;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;

use crate::address;

/// Call data of `transfer(address,uint256)`.
pub fn transfer(to: &PayoutAddress, amount: MicroUsdt) -> Vec<u8> {
    call("transfer(address,uint256)", &[address::to_word(to), word_of(amount.get())])
}

/// First topic of `Transfer(address,address,uint256)`.
pub fn transfer_topic() -> Word {
    keccak256(b"Transfer(address,address,uint256)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_the_published_one() {
        assert_eq!(hex::encode(transfer_topic()), "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
    }
}
