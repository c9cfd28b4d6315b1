//! Protobuf messages by their description instead of by a Rust type: on the wire, and printed as JSON.
//!
//! The HTTP API speaks of many more messages than the chain carries out, and of all of them in the same way. A [`Schema`]
//! says what a message is made of; reading one from JSON is [`super::parse`]'s. Fields that a schema does not have are
//! skipped, as java-tron's `JsonFormat` does not print them either.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::Style;

/// What a message is made of.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Without the package.
    pub(crate) name: &'static str,
    /// In the order of their numbers.
    pub(crate) fields: &'static [Field],
}

/// A field: number, name, and what it holds.
#[derive(Debug)]
pub(crate) struct Field(pub(crate) u32, pub(crate) &'static str, pub(crate) Kind);

/// What a field holds, in the protocol's types; three kinds of `bytes` differ only in JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Int32,
    Int64,
    Bool,
    Text,
    /// Hex in JSON.
    Bytes,
    /// Base58check in JSON, if visible.
    Address,
    /// A text in JSON, if visible.
    Name,
    Enum(&'static Enum),
    Message(&'static Schema),
    /// Any number of them.
    Many(&'static Kind),
}

/// Full name, and the values with their names.
#[derive(Debug)]
pub(crate) struct Enum(pub(crate) &'static str, pub(crate) &'static [(i32, &'static str)]);

/// What a field has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    /// Integers, booleans and enums.
    Int(i64),
    /// Bytes and texts.
    Bytes(Vec<u8>),
    Message(Message),
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    schema: &'static Schema,
    fields: BTreeMap<u32, Vec<Datum>>,
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.fields == other.fields
    }
}

/// Bytes are no message; in the words of the Java library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error(
        "While parsing a protocol message, the input ended unexpectedly in the middle of a field.  This could mean \
         either that the input has been truncated or that an embedded message misreported its own length."
    )]
    Truncated,
    #[error("CodedInputStream encountered a malformed varint.")]
    Varint,
    #[error("Protocol message contained an invalid tag (zero).")]
    Tag,
    #[error("Protocol message tag had invalid wire type.")]
    WireType,
    #[error("Protocol message had invalid UTF-8.")]
    Utf8,
}

impl Schema {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.1 == name)
    }
}

impl Kind {
    /// What one of them is, if there can be many.
    pub(crate) fn one(self) -> Self {
        if let Self::Many(kind) = self { *kind } else { self }
    }
}

impl Enum {
    /// The name of a value; a made-up one for a value without.
    fn name_of(&self, number: i64) -> String {
        let known = self.1.iter().find(|(value, _)| i64::from(*value) == number);
        let short = self.0.rsplit('.').next().unwrap_or(self.0);
        known.map_or_else(|| format!("UNKNOWN_ENUM_VALUE_{short}_{number}"), |(_, name)| (*name).to_owned())
    }
}

impl Message {
    pub(crate) fn new(schema: &'static Schema) -> Self {
        Self { schema, fields: BTreeMap::new() }
    }

    /// Gives a field a value, or one more if it can have many.
    pub(crate) fn put(&mut self, field: &Field, datum: Datum) {
        let data = self.fields.entry(field.0).or_default();
        if !matches!(field.2, Kind::Many(_)) {
            data.clear();
        }
        data.push(datum);
    }

    fn all(&self, name: &str) -> &[Datum] {
        self.schema.field(name).and_then(|field| self.fields.get(&field.0)).map_or(&[], Vec::as_slice)
    }

    /// 0 without.
    pub(crate) fn int(&self, name: &str) -> i64 {
        if let [Datum::Int(value), ..] = self.all(name) { *value } else { 0 }
    }

    /// Bytes or a text; empty without.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        if let [Datum::Bytes(value), ..] = self.all(name) { value } else { &[] }
    }

    /// All bytes of a field.
    pub(crate) fn each_bytes(&self, name: &str) -> impl Iterator<Item = &Vec<u8>> {
        self.all(name).iter().filter_map(|datum| if let Datum::Bytes(value) = datum { Some(value) } else { None })
    }

    /// A message inside.
    pub(crate) fn message(&self, name: &str) -> Option<&Self> {
        self.messages(name).next()
    }

    /// All messages of a field.
    pub(crate) fn messages(&self, name: &str) -> impl DoubleEndedIterator<Item = &Self> {
        self.all(name).iter().filter_map(|datum| if let Datum::Message(value) = datum { Some(value) } else { None })
    }

    /// On the wire: fields in the order of their numbers, defaults left out.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.schema.fields {
            for datum in self.fields.get(&field.0).into_iter().flatten() {
                let is_many = matches!(field.2, Kind::Many(_));
                match datum {
                    Datum::Int(0) if !is_many => {}
                    Datum::Int(value) => {
                        put_varint(&mut out, u64::from(field.0) << 3);
                        put_varint(&mut out, value.cast_unsigned());
                    }
                    Datum::Bytes(bytes) if bytes.is_empty() && !is_many => {}
                    Datum::Bytes(bytes) => put_bytes(&mut out, field.0, bytes),
                    Datum::Message(message) => put_bytes(&mut out, field.0, &message.encode()),
                }
            }
        }
        out
    }

    /// Reads the wire.
    pub(crate) fn decode(schema: &'static Schema, mut wire: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self::new(schema);
        while !wire.is_empty() {
            let tag = take_varint(&mut wire)?;
            let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0).ok_or(Malformed::Tag)?;
            let field = schema.fields.iter().find(|field| field.0 == number);
            match tag & 7 {
                0 => {
                    let value = take_varint(&mut wire)?;
                    if let Some(field) = field
                        && let Some(value) = narrow(field.2.one(), value)
                    {
                        message.put(field, Datum::Int(value));
                    }
                }
                2 => {
                    let length = usize::try_from(take_varint(&mut wire)?).unwrap_or(usize::MAX);
                    let bytes = take(&mut wire, length)?;
                    let Some(field) = field else { continue };
                    match field.2.one() {
                        Kind::Message(schema) => message.put(field, Datum::Message(Self::decode(schema, bytes)?)),
                        Kind::Text if std::str::from_utf8(bytes).is_err() => return Err(Malformed::Utf8),
                        Kind::Text | Kind::Bytes | Kind::Address | Kind::Name => {
                            message.put(field, Datum::Bytes(bytes.to_vec()));
                        }
                        Kind::Int32 | Kind::Int64 | Kind::Bool | Kind::Enum(_) | Kind::Many(_) => {}
                    }
                }
                1 => drop(take(&mut wire, 8)?),
                5 => drop(take(&mut wire, 4)?),
                _ => return Err(Malformed::WireType),
            }
        }
        Ok(message)
    }

    /// As JSON; defaults left out.
    pub(crate) fn print(&self, style: Style) -> Value {
        let mut map = Map::new();
        for Field(number, name, kind) in self.schema.fields {
            let Some(data) = self.fields.get(number) else { continue };
            let value = match (kind, data.as_slice()) {
                (Kind::Many(kind), data) => data.iter().map(|datum| print(**kind, datum, style)).collect(),
                (_, [Datum::Int(0)]) => continue,
                (_, [Datum::Bytes(bytes)]) if bytes.is_empty() => continue,
                (kind, [.., datum]) => print(*kind, datum, style),
                (_, []) => continue,
            };
            map.insert((*name).to_owned(), value);
        }
        Value::Object(map)
    }
}

fn print(kind: Kind, datum: &Datum, style: Style) -> Value {
    match (kind, datum) {
        (Kind::Int64, Datum::Int(value)) => style.long(*value),
        (Kind::Bool, Datum::Int(value)) => Value::from(*value != 0),
        (Kind::Enum(values), Datum::Int(value)) => Value::from(values.name_of(*value)),
        (_, Datum::Int(value)) => Value::from(*value),
        (Kind::Text, Datum::Bytes(bytes)) => Value::from(String::from_utf8_lossy(bytes)),
        (Kind::Address, Datum::Bytes(bytes)) => style.address(bytes),
        (Kind::Name, Datum::Bytes(bytes)) => style.name(bytes),
        (_, Datum::Bytes(bytes)) => Value::from(hex::encode(bytes)),
        (_, Datum::Message(message)) => message.print(style),
    }
}

/// What a varint says in a field of this kind; none if such a field is no varint.
fn narrow(kind: Kind, value: u64) -> Option<i64> {
    let value = value.cast_signed();
    match kind {
        Kind::Int64 => Some(value),
        Kind::Bool => Some(i64::from(value != 0)),
        Kind::Int32 | Kind::Enum(_) => {
            let [a, b, c, d, ..] = value.to_le_bytes();
            Some(i64::from(i32::from_le_bytes([a, b, c, d])))
        }
        Kind::Text | Kind::Bytes | Kind::Address | Kind::Name | Kind::Message(_) | Kind::Many(_) => None,
    }
}

fn take<'a>(wire: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = wire.split_at_checked(length).ok_or(Malformed::Truncated)?;
    *wire = rest;
    Ok(taken)
}

fn take_varint(wire: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *take(wire, 1)?.first().ok_or(Malformed::Truncated)?;
        // The tenth byte's high bits do not count, as in Java.
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed::Varint)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
