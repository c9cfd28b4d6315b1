//! The wire codec: the only place that names bincode.
//!
//! Little-endian, fixed-width integers, a byte limit for every message type, trailing bytes refused, and bytes that
//! do not re-encode to themselves refused, so one value has exactly one encoding. Wire types have no floats,
//! `usize` or vectors of zero-sized items; maps stand in rows of the state alone, as entries by ascending key; enums only grow at the end. Why bincode 2.0.1, and what it would take to
//! replace it: `docs/src/adr/0002-codec.md`.

use std::cell::RefCell;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type that travels or is stored, with the greatest length of its encoding.
pub trait Wire: Serialize + DeserializeOwned {
    /// Longer inputs are refused before they are read.
    const MAX_BYTES: usize;
}

/// No message is longer, whatever its type says: bounds what a hostile length can make the decoder allocate.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

type Config = Configuration<LittleEndian, Fixint, Limit<MAX_MESSAGE_BYTES>>;

const fn config() -> Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_MESSAGE_BYTES>()
}

/// Why bytes are not the value they claim to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the type's limit.
    #[error("{found} bytes, the limit is {limit}")]
    TooLong {
        /// Bytes received.
        found: usize,
        /// [`Wire::MAX_BYTES`] of the type.
        limit: usize,
    },
    /// Bytes follow the value.
    #[error("{0} bytes after the end of the value")]
    TrailingBytes(usize),
    /// The value has another encoding than these bytes.
    #[error("the encoding is not canonical")]
    NotCanonical,
    /// An enum's variant that this version does not know, and a later one may have: see [`VARIANT_WINDOW`].
    #[error("a kind that this version does not know")]
    UnknownVariant,
    /// Not an encoding of the type at all.
    #[error("malformed")]
    Malformed(#[source] bincode::error::DecodeError),
}

/// The canonical bytes of `value`.
#[expect(clippy::expect_used, reason = "wire types have known lengths and no failing serializer")]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    thread_local! {
        /// What is written grows here, so that the result is taken from the allocator once.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    struct Writer<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Writer<'_> {
        #[inline]
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let config = bincode::config::standard().with_fixed_int_encoding();
    let mut scratch = SCRATCH.take();
    scratch.clear();
    bincode::serde::encode_into_writer(value, Writer(&mut scratch), config).expect("wire types encode");
    let encoded = scratch.clone();
    if scratch.capacity() <= MAX_SCRATCH_BYTES {
        SCRATCH.set(scratch);
    }
    encoded
}

/// What a thread keeps for the next value that it encodes.
const MAX_SCRATCH_BYTES: usize = 1 << 20;

/// Reads exactly one `T` from `bytes`.
///
/// # Errors
/// When the bytes are too long, malformed, followed by others, or not the value's only encoding.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    let limit = T::MAX_BYTES.min(MAX_MESSAGE_BYTES);
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { found: bytes.len(), limit });
    }
    let (value, read) =
        bincode::serde::decode_from_slice::<T, Config>(bytes, config()).map_err(|error| match error {
            // How serde names it; bincode has no error of its own for it.
            bincode::error::DecodeError::OtherString(text) if is_later_variant(&text) => DecodeError::UnknownVariant,
            error => DecodeError::Malformed(error),
        })?;
    if read != bytes.len() {
        return Err(DecodeError::TrailingBytes(bytes.len() - read));
    }
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// Variants beyond those known that a message of a later version may have: enums only grow at the end, by a few from version to
/// version. Greater numbers are noise, not another version.
pub const VARIANT_WINDOW: u64 = 64;

/// Whether an error of serde's is about a variant within the window: "integer `9`, expected variant index 0 <= i < 3".
fn is_later_variant(error: &str) -> bool {
    let Some((found, expected)) = error.split_once("variant index") else { return false };
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).rfind(|it| !it.is_empty())?.parse::<u64>().ok();
    let (Some(found), Some(known)) = (number(found), number(expected)) else { return false };
    found.checked_sub(known).is_some_and(|beyond| beyond < VARIANT_WINDOW)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u64,
        flag: bool,
        list: Vec<u32>,
        text: String,
        maybe: Option<u16>,
    }
    impl Wire for Sample {
        const MAX_BYTES: usize = 4096;
    }

    #[test]
    fn integers_are_fixed_width_little_endian() {
        let bytes = encode(&Sample { number: 1, flag: true, list: vec![2], text: "a".into(), maybe: Some(3) });
        assert_eq!(
            hex::encode(bytes),
            "01000000000000000101000000000000000200000001000000000000006101".to_owned() + "0300"
        );
    }

    #[test]
    fn hostile_lengths_end_in_an_error_not_an_allocation() {
        // 8 + 1 bytes of fields, then a list that claims 2^64 - 1 items: an unlimited decoder aborts the process here.
        let mut bytes = vec![0; 9];
        bytes.extend([0xff; 8]);
        assert!(matches!(decode::<Sample>(&bytes), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Sample>(&[0; 4097]), Err(DecodeError::TooLong { found: 4097, limit: 4096 })));
    }

    #[test]
    fn an_unknown_kind_is_told_from_nonsense() {
        use crate::message::ConsensusMessage;
        // Proposal, vote and wake are 0 to 2.
        let of_kind = |kind: u32| decode::<ConsensusMessage>(&kind.to_le_bytes());
        for later in [3, 2 + u32::try_from(VARIANT_WINDOW).unwrap()] {
            assert!(matches!(of_kind(later), Err(DecodeError::UnknownVariant)), "{later}");
        }
        for nonsense in [1, 3 + u32::try_from(VARIANT_WINDOW).unwrap(), u32::MAX] {
            assert!(matches!(of_kind(nonsense), Err(DecodeError::Malformed(_))), "{nonsense}");
        }
    }

    #[test]
    fn a_second_encoding_of_a_value_is_refused() {
        let good = encode(&Sample { number: 1, flag: true, list: vec![], text: String::new(), maybe: None });
        let mut trailing = good.clone();
        trailing.push(0);
        assert!(matches!(decode::<Sample>(&trailing), Err(DecodeError::TrailingBytes(1))));
        let mut bool_two = good.clone();
        bool_two[8] = 2;
        assert!(decode::<Sample>(&bool_two).is_err());
        assert!(decode::<Sample>(&good).is_ok());
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(number: u64, flag: bool, list in prop::collection::vec(any::<u32>(), 0..20), text in ".{0,40}", maybe: Option<u16>) {
            let value = Sample { number, flag, list, text, maybe };
            prop_assert_eq!(decode::<Sample>(&encode(&value)).unwrap(), value);
        }

        #[test]
        fn what_decodes_re_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = decode::<Sample>(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
