//! The one definition of a fixed-length byte string: hex for people, raw bytes (no length) in the codec.
//!
//! To serde each is a newtype, which adds no byte, so that whoever traces a layout sees its name.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not a fixed-length byte string in the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {problem}")]
pub struct ParseBytesError {
    /// Which id or key was expected.
    pub kind: &'static str,
    /// What is wrong with the text.
    pub problem: String,
}

pub(crate) fn parse_hex<const N: usize>(kind: &'static str, text: &str) -> Result<[u8; N], ParseBytesError> {
    let fail = |problem| ParseBytesError { kind, problem };
    let digits = text.len();
    if digits != 2 * N {
        return Err(fail(format!("expected {} hex digits, found {digits}", 2 * N)));
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|e| fail(e.to_string()))?;
    Ok(bytes)
}

/// Bytes in a word. The codec writes integers little-endian with a fixed width, so eight bytes as one word are the
/// same eight bytes, and most of a block is ids: this makes its hash several times cheaper.
const WORD: usize = 8;

/// `N` bytes without a length.
struct Raw<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Raw<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N / WORD + N % WORD)?;
        let (words, rest) = self.0.as_chunks::<WORD>();
        for word in words {
            tuple.serialize_element(&u64::from_le_bytes(*word))?;
        }
        for byte in rest {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Raw<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = Raw<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw<N>, A::Error> {
                let mut bytes = [0; N];
                let missing = || A::Error::custom("bytes are missing");
                let (words, rest) = bytes.as_chunks_mut::<WORD>();
                for word in words {
                    *word = seq.next_element::<u64>()?.ok_or_else(missing)?.to_le_bytes();
                }
                for byte in rest {
                    *byte = seq.next_element()?.ok_or_else(missing)?;
                }
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_tuple(N / WORD + N % WORD, Bytes)
    }
}

/// Writes the `N` bytes of a value of this name without a length.
pub(crate) fn serialize<const N: usize, S: Serializer>(
    name: &'static str,
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(name, &Raw(*bytes))
}

/// Reads `N` bytes written by [`serialize`].
pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
    name: &'static str,
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    struct Newtype<const N: usize>;
    impl<'de, const N: usize> Visitor<'de> for Newtype<N> {
        type Value = [u8; N];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }
        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<[u8; N], D::Error> {
            Raw::deserialize(deserializer).map(|raw| raw.0)
        }
    }
    deserializer.deserialize_newtype_struct(name, Newtype)
}

/// Reads a value from its text form with `FromStr`.
pub(crate) fn deserialize_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
    D: Deserializer<'de>,
{
    let text = <std::borrow::Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

/// Defines a newtype over `[u8; N]` whose text form is lower-case hex.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $n]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $n]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0
            }

            /// The first four bytes in hex, for logs and tables.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::ParseBytesError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::bytes::parse_hex(stringify!($name), text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    $crate::bytes::serialize(stringify!($name), &self.0, serializer)
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    $crate::bytes::deserialize_text(deserializer)
                } else {
                    $crate::bytes::deserialize(stringify!($name), deserializer).map(Self)
                }
            }
        }
    };
}
pub(crate) use hex_bytes;
