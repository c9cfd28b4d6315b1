//! Solidity's ABI encoding by hand: call data, results, topics, as far as Lucid's contracts need it.

use crate::address::Hash20;
use crate::keccak256;

/// 32 bytes of call data, a result or a topic.
pub type Word = [u8; 32];

/// The first four bytes of the Keccak-256 of a function's or an error's signature.
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

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A value of fixed size, or a struct of such: its words.
    Fixed(Vec<Word>),
    /// A value of variable size: its encoding, which begins with its length.
    Dynamic(Vec<u8>),
}

impl Argument {
    /// A value of one word.
    pub fn word(word: Word) -> Self {
        Self::Fixed(vec![word])
    }

    /// `bytes`.
    pub fn bytes(value: &[u8]) -> Self {
        let mut encoded = length_word(value.len()).to_vec();
        encoded.extend_from_slice(value);
        encoded.resize(encoded.len().next_multiple_of(32), 0);
        Self::Dynamic(encoded)
    }

    /// An array whose elements, all of fixed size, have these words.
    pub fn array<const N: usize>(elements: &[[Word; N]]) -> Self {
        let mut encoded = length_word(elements.len()).to_vec();
        encoded.extend_from_slice(elements.as_flattened().as_flattened());
        Self::Dynamic(encoded)
    }

    /// An array whose elements have variable size.
    pub fn dynamic_array(elements: &[Self]) -> Self {
        let mut encoded = length_word(elements.len()).to_vec();
        encoded.extend(encode(elements));
        Self::Dynamic(encoded)
    }
}

/// Arguments without a selector, as a constructor takes them: values of variable size lie behind the others, and their offsets
/// among them.
pub fn encode(arguments: &[Argument]) -> Vec<u8> {
    let head_size = |argument: &Argument| match argument {
        Argument::Fixed(words) => words.len().saturating_mul(32),
        Argument::Dynamic(_) => 32,
    };
    let heads_size: usize = arguments.iter().map(head_size).sum();
    let (mut heads, mut tails) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument {
            Argument::Fixed(words) => heads.extend_from_slice(words.as_flattened()),
            Argument::Dynamic(tail) => {
                heads.extend_from_slice(&length_word(heads_size.saturating_add(tails.len())));
                tails.extend_from_slice(tail);
            }
        }
    }
    heads.append(&mut tails);
    heads
}

/// Call data of a function with these arguments.
pub fn call_with(signature: &str, arguments: &[Argument]) -> Vec<u8> {
    let mut data = selector(signature).to_vec();
    data.extend(encode(arguments));
    data
}

/// An integer as a word.
pub fn word_of(value: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn length_word(length: usize) -> Word {
    // A usize has at most 64 bits on every platform that Rust runs on.
    word_of(u64::try_from(length).unwrap_or(u64::MAX))
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

/// Reads words one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// Of these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many whole words are left.
    pub const fn len(&self) -> usize {
        self.0.len() / 32
    }

    /// Whether no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next word; `None` at the end.
    pub fn word(&mut self) -> Option<Word> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*word)
    }

    /// The next word's integer; `None` at the end, and if it does not fit.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(to_u64(&self.word()?)?).ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
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

    #[test]
    fn words_are_read_to_the_end_and_no_further() {
        let bytes = [word_of(5).as_slice(), &word_of(300), &[1; 31]].concat();
        let mut words = Words::new(&bytes);
        assert_eq!(words.len(), 2);
        assert_eq!(words.number(), Some(5_u64));
        assert_eq!(words.number::<u8>(), None, "300 does not fit");
        assert!(words.word().is_none() && !words.is_empty());
    }

    /// The example of Solidity's ABI specification: `f(uint256,uint32[],bytes10,bytes)`.
    #[test]
    fn call_data_is_that_of_the_specification() {
        let mut bytes10 = [0; 32];
        bytes10[..10].copy_from_slice(b"1234567890");
        let arguments = [
            Argument::word(word_of(0x123)),
            Argument::array(&[[word_of(0x456)], [word_of(0x789)]]),
            Argument::word(bytes10),
            Argument::bytes(b"Hello, world!"),
        ];
        let expected = [
            "8be65246",
            "0000000000000000000000000000000000000000000000000000000000000123",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "3132333435363738393000000000000000000000000000000000000000000000",
            "00000000000000000000000000000000000000000000000000000000000000e0",
            "0000000000000000000000000000000000000000000000000000000000000002",
            "0000000000000000000000000000000000000000000000000000000000000456",
            "0000000000000000000000000000000000000000000000000000000000000789",
            "000000000000000000000000000000000000000000000000000000000000000d",
            "48656c6c6f2c20776f726c642100000000000000000000000000000000000000",
        ];
        let data = call_with("f(uint256,uint32[],bytes10,bytes)", &arguments);
        assert_eq!(hex::encode(data), expected.concat());
    }

    /// The example of Solidity's ABI specification: `g(uint256[][],string[])`.
    #[test]
    fn arrays_of_arrays_are_those_of_the_specification() {
        let array = |values: &[u64]| Argument::array(&values.iter().map(|v| [word_of(*v)]).collect::<Vec<_>>());
        let arguments = [
            Argument::dynamic_array(&[array(&[1, 2]), array(&[3])]),
            Argument::dynamic_array(&["one", "two", "three"].map(|text| Argument::bytes(text.as_bytes()))),
        ];
        let data = call_with("g(uint256[][],string[])", &arguments);
        assert_eq!(data.get(..4).unwrap(), hex::decode("2289b18c").unwrap());
        let words: Vec<u64> = data[4..].chunks(32).filter_map(|w| to_u64(w.try_into().unwrap())).collect();
        // The words of text do not fit 64 bits and are left out here.
        assert_eq!(words, [0x40, 0x140, 2, 0x40, 0xa0, 2, 1, 2, 1, 3, 3, 0x60, 0xa0, 0xe0, 3, 3, 5]);
    }
}
