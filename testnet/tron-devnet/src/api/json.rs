//! Writing JSON as java-tron's `JsonFormat` does: fields with default values are left out, bytes are hex, and with
//! `visible` addresses are base58check and texts kept as bytes are texts.

use serde_json::{Map, Value};

/// How a client wants values printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Addresses in base58check and texts as texts; hex without.
    pub(crate) visible: bool,
    /// 64-bit integers as texts, so that JavaScript keeps every digit (`int64_as_string`).
    pub(crate) longs_as_texts: bool,
}

impl Style {
    /// A field of type `int64`.
    pub(crate) fn long(self, value: i64) -> Value {
        if self.longs_as_texts { Value::from(value.to_string()) } else { Value::from(value) }
    }

    /// A field of type `bytes` that holds an address, of whatever length.
    pub(crate) fn address(self, value: &[u8]) -> Value {
        let printed = if self.visible { bs58::encode(value).with_check().into_string() } else { hex::encode(value) };
        Value::from(printed)
    }

    /// A field of type `bytes` that holds a text.
    pub(crate) fn name(self, value: &[u8]) -> Value {
        Value::from(if self.visible { String::from_utf8_lossy(value).into_owned() } else { hex::encode(value) })
    }
}

/// An object in the making.
#[derive(Debug)]
pub(crate) struct Out {
    map: Map<String, Value>,
    style: Style,
}

impl Out {
    pub(crate) fn new(style: Style) -> Self {
        Self { map: Map::new(), style }
    }

    /// Always there.
    pub(crate) fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.map.insert(name.to_owned(), value.into());
        self
    }

    fn value_unless(self, is_default: bool, name: &str, value: impl Into<Value>) -> Self {
        if is_default { self } else { self.value(name, value) }
    }

    /// `int64`; left out if 0.
    pub(crate) fn long(self, name: &str, value: u64) -> Self {
        let printed = self.style.long(i64::try_from(value).unwrap_or(i64::MAX));
        self.value_unless(value == 0, name, printed)
    }

    /// Left out if false.
    pub(crate) fn flag(self, name: &str, value: bool) -> Self {
        self.value_unless(!value, name, value)
    }

    /// Left out if empty.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.value_unless(value.is_empty(), name, value)
    }

    /// Hex; left out if empty.
    pub(crate) fn hex(self, name: &str, value: &[u8]) -> Self {
        self.text(name, &hex::encode(value))
    }

    /// Bytes that hold a text; left out if empty.
    pub(crate) fn name(self, name: &str, value: &[u8]) -> Self {
        let printed = self.style.name(value);
        self.value_unless(value.is_empty(), name, printed)
    }

    /// Bytes that hold an address; left out if empty.
    pub(crate) fn address(self, name: &str, value: &[u8]) -> Self {
        let printed = self.style.address(value);
        self.value_unless(value.is_empty(), name, printed)
    }

    /// Left out if empty.
    pub(crate) fn list(self, name: &str, values: Vec<Value>) -> Self {
        self.value_unless(values.is_empty(), name, values)
    }

    pub(crate) fn build(self) -> Value {
        Value::Object(self.map)
    }
}
