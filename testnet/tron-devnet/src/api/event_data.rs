//! The values of an event's parameters as texts: numbers in decimal, addresses as `0x` and 40 digits, bytes in hex.

use revm::primitives::{B256, U256};

const WORD: usize = 32;
/// A longer type is not read: each `[]` in it is a level of recursion.
const MAX_KIND: usize = 128;
/// Values and words of bytes read for one event beyond those that its data holds: lists may point to the same place again
/// and again.
const MAX_MORE: usize = 10_000;

/// An indexed parameter. Of what does not fit into a word, a topic has only the hash.
pub(super) fn indexed(kind: &str, topic: B256) -> String {
    if kind.ends_with(']') || matches!(kind, "string" | "bytes") { hex::encode(topic) } else { word(kind, topic) }
}

/// The other parameters, as far as they can be read: not behind a tuple, of which an interface does not say what it is
/// made of.
pub(super) fn read<'a>(kinds: impl Iterator<Item = &'a str>, data: &[u8]) -> Vec<String> {
    let mut reader = Reader { data, left: (data.len() / WORD).saturating_add(MAX_MORE) };
    let mut at = 0;
    kinds.map_while(|kind| reader.value(kind, 0, &mut at)).collect()
}

struct Reader<'a> {
    data: &'a [u8],
    /// How many values and words of bytes may still be read.
    left: usize,
}

impl Reader<'_> {
    /// The value whose head is at `at`, which moves on, of a list that begins at `base`.
    fn value(&mut self, kind: &str, base: usize, at: &mut usize) -> Option<String> {
        self.left = self.left.checked_sub(1)?;
        if kind.len() > MAX_KIND || kind.starts_with("tuple") {
            return None;
        }
        let list = split_list(kind);
        if !is_dynamic(kind) {
            return match list {
                Some((item, count)) => self.list(item, count.parse().ok()?, *at, at),
                None => Some(word(kind, self.word(at)?)),
            };
        }
        let mut tail = base.checked_add(self.number(at)?)?;
        if let Some((item, count)) = list {
            let count = if count.is_empty() { self.number(&mut tail)? } else { count.parse().ok()? };
            return self.list(item, count, tail, &mut tail);
        }
        let length = self.number(&mut tail)?;
        self.left = self.left.checked_sub(length / WORD)?;
        let bytes = self.data.get(tail..tail.checked_add(length)?)?;
        Some(if kind == "string" { String::from_utf8_lossy(bytes).into_owned() } else { hex::encode(bytes) })
    }

    /// `count` values, their heads one behind the other.
    fn list(&mut self, item: &str, count: usize, base: usize, at: &mut usize) -> Option<String> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(item, base, at)?);
        }
        Some(format!("[{}]", values.join(", ")))
    }

    fn word(&self, at: &mut usize) -> Option<B256> {
        let end = at.checked_add(WORD)?;
        let word = B256::from_slice(self.data.get(*at..end)?);
        *at = end;
        Some(word)
    }

    fn number(&self, at: &mut usize) -> Option<usize> {
        usize::try_from(U256::from_be_bytes(self.word(at)?.0)).ok()
    }
}

/// What a list is of, and how many, if its type says so.
fn split_list(kind: &str) -> Option<(&str, &str)> {
    kind.strip_suffix(']')?.rsplit_once('[')
}

fn is_dynamic(kind: &str) -> bool {
    match split_list(kind) {
        Some((item, count)) => count.is_empty() || is_dynamic(item),
        None => matches!(kind, "string" | "bytes"),
    }
}

/// A value that fits into a word.
fn word(kind: &str, word: B256) -> String {
    let number = U256::from_be_bytes(word.0);
    if kind == "bool" {
        return (!number.is_zero()).to_string();
    }
    if kind == "address" {
        return format!("0x{}", hex::encode(&word[12..]));
    }
    if kind.starts_with("uint") {
        return number.to_string();
    }
    if kind.starts_with("int") {
        return if number.bit(255) { format!("-{}", number.wrapping_neg()) } else { number.to_string() };
    }
    let length = kind.strip_prefix("bytes").and_then(|length| length.parse().ok()).unwrap_or(WORD);
    hex::encode(word.get(..length).unwrap_or(word.as_slice()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(words: &[&str]) -> Vec<u8> {
        words.iter().flat_map(|word| hex::decode(format!("{word:0>64}")).unwrap_or_default()).collect()
    }

    #[test]
    fn words_are_texts() {
        let all = ["uint256", "int8", "address", "bool", "bytes4"];
        let words = ["ff", &"ff".repeat(32), &"ab".repeat(20), "1", &format!("{:0<64}", "01020304")];
        let expected = ["255", "-1", &format!("0x{}", "ab".repeat(20)), "true", "01020304"];
        assert_eq!(read(all.into_iter(), &data(&words)), expected);
    }

    #[test]
    fn lists_and_texts_are_found_behind_the_heads() {
        // f(uint256[], string, uint8[2], string[]) with ([1, 2], "hi", [3, 4], ["a", "bc"]).
        let words = [
            "a0",
            "100",
            "3",
            "4",
            "140", //
            "2",
            "1",
            "2", //
            "2",
            &format!("{:0<64}", "6869"), //
            "2",
            "40",
            "80",
            "1",
            &format!("{:0<64}", "61"),
            "2",
            &format!("{:0<64}", "6263"),
        ];
        let kinds = ["uint256[]", "string", "uint8[2]", "string[]"];
        assert_eq!(read(kinds.into_iter(), &data(&words)), ["[1, 2]", "hi", "[3, 4]", "[a, bc]"]);
    }

    #[test]
    fn topics_of_long_values_are_hashes() {
        let topic = B256::repeat_byte(7);
        assert_eq!(indexed("string", topic), "07".repeat(32));
        assert_eq!(indexed("uint256[2]", topic), "07".repeat(32));
        assert_eq!(indexed("address", topic), format!("0x{}", "07".repeat(20)));
        assert_eq!(read(["uint8", "tuple", "uint8"].into_iter(), &data(&["1", "2", "3"])), ["1"]);
    }

    #[test]
    fn what_points_to_itself_ends() {
        // Lists of 32 lists, all of them the next.
        let bomb: Vec<u8> = std::iter::repeat_n(U256::from(32).to_be_bytes::<32>(), 500).flatten().collect();
        assert!(read([format!("uint8{}", "[]".repeat(40)).as_str()].into_iter(), &bomb).is_empty());
        assert!(read([format!("uint8{}", "[]".repeat(100_000)).as_str()].into_iter(), &bomb).is_empty());
        assert!(read(["uint8[0][1000][1000][1000]"].into_iter(), &bomb).is_empty());
        // Two lists that hold the same 32,000 bytes 250 times and 10 times.
        for (times, values) in [(250, 0), (10, 1)] {
            let heads = std::iter::repeat_n(times * 32, times);
            let words = [32, times].into_iter().chain(heads).chain([32_000]).chain(std::iter::repeat_n(7, 1_000));
            let data: Vec<u8> = words.flat_map(|word| U256::from(word).to_be_bytes::<32>()).collect();
            assert_eq!(read(["bytes[]"].into_iter(), &data).len(), values, "{times}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_type_are_read_or_not(
            kinds in proptest::collection::vec("(u?int(8|256)|address|bool|bytes(32)?|string|tuple)(\\[[0-9]{0,20}\\]){0,3}", 0..5),
            words in proptest::collection::vec(prop_oneof![0..400u64, any::<u64>()], 0..20),
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|n| U256::from(*n).to_be_bytes::<32>()).collect();
            let values = read(kinds.iter().map(String::as_str), &bytes);
            prop_assert!(values.len() <= kinds.len());
        }
    }
}
