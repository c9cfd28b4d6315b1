//! Writing JSON as java-tron's `JsonFormat` does: fields with default values are left out, bytes are hex, and with
//! `visible` addresses are base58check and texts kept as bytes are texts.

use serde_json::{Map, Value};

use crate::address;

/// An object in the making.
#[derive(Debug)]
pub(crate) struct Out {
    map: Map<String, Value>,
    visible: bool,
}

impl Out {
    pub(crate) fn new(visible: bool) -> Self {
        Self { map: Map::new(), visible }
    }

    /// Left out if 0.
    pub(crate) fn int(mut self, name: &str, value: i64) -> Self {
        if value != 0 {
            self.map.insert(name.to_owned(), Value::from(value));
        }
        self
    }

    /// Left out if 0.
    pub(crate) fn uint(mut self, name: &str, value: u64) -> Self {
        if value != 0 {
            self.map.insert(name.to_owned(), Value::from(value));
        }
        self
    }

    /// Left out if false.
    pub(crate) fn flag(mut self, name: &str, value: bool) -> Self {
        if value {
            self.map.insert(name.to_owned(), Value::Bool(true));
        }
        self
    }

    /// Left out if empty.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.map.insert(name.to_owned(), Value::from(value));
        }
        self
    }

    /// Hex; left out if empty.
    pub(crate) fn hex(mut self, name: &str, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.map.insert(name.to_owned(), Value::from(hex::encode(value)));
        }
        self
    }

    /// Bytes that hold a text: the text with `visible`, else hex; left out if empty.
    pub(crate) fn name_bytes(self, name: &str, value: &[u8]) -> Self {
        if self.visible { self.text(name, &String::from_utf8_lossy(value)) } else { self.hex(name, value) }
    }

    /// 21 bytes: base58check with `visible`, else hex; left out if empty.
    pub(crate) fn address(self, name: &str, value: &[u8]) -> Self {
        match address::from_wire(value) {
            Ok(address) if self.visible => self.text(name, &address::to_base58(address)),
            _ => self.hex(name, value),
        }
    }

    /// Always there.
    pub(crate) fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.map.insert(name.to_owned(), value.into());
        self
    }

    /// Left out if empty.
    pub(crate) fn list(mut self, name: &str, values: Vec<Value>) -> Self {
        if !values.is_empty() {
            self.map.insert(name.to_owned(), Value::Array(values));
        }
        self
    }

    pub(crate) fn build(self) -> Value {
        Value::Object(self.map)
    }
}
