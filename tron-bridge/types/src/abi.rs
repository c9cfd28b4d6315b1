//! Call data and results of contracts, as far as all arguments are words: Solidity's ABI encoding by hand.

use crate::address::Hash20;
use crate::keccak256;

/// 32 bytes of call data, a result or a topic.
pub type Word = [u8; 32];

/// The first four bytes of the Keccak-256 of a function's signature.
pub fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak256(signature.as_bytes());
    [a, b, c, d]
}

/// Call data of a function with these words as arguments.
pub fn call(signature: &str, arguments: &[Word]) -> Vec<u8> {
    let mut data = selector(signature).to_vec();
    data.extend(arguments.iter().flatten());
    data
}

/// An integer as a word.
pub fn word_of(value: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

/// An address as a word: 12 zero bytes before it.
pub fn address_word(address: &Hash20) -> Word {
    let mut word = [0; 32];
    word[12..].copy_from_slice(address);
    word
}

/// The integer in a word; `None` if it needs more than 64 bits.
pub fn to_u64(word: &Word) -> Option<u64> {
    let (high, low) = word.split_at(24);
    let low = low.try_into().ok()?;
    high.iter().all(|&b| b == 0).then(|| u64::from_be_bytes(low))
}

/// The first word of a call's result; `None` if it is shorter.
pub fn first_word(result: &[u8]) -> Option<Word> {
    result.first_chunk::<32>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_the_published_ones() {
        assert_eq!(hex::encode(selector("transfer(address,uint256)")), "a9059cbb");
        assert_eq!(hex::encode(selector("balanceOf(address)")), "70a08231");
        assert_eq!(hex::encode(selector("paused()")), "5c975abb");
        assert_eq!(hex::encode(selector("isBlackListed(address)")), "e47d6060");
    }

    #[test]
    fn words_hold_64_bits_and_no_more() {
        assert_eq!(to_u64(&word_of(u64::MAX)), Some(u64::MAX));
        let mut word = word_of(1);
        word[23] = 1;
        assert_eq!(to_u64(&word), None);
        assert_eq!(first_word(&[0; 31]), None);
        assert_eq!(first_word(&[7; 40]), Some([7; 32]));
    }
}
