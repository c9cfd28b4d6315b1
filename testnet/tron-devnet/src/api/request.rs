//! What a client asks: the parameters of a query string, a form or a JSON body, as one object.
//!
//! Field readers accept what a full node accepts: absent or null is the default, numbers may come as texts, and an
//! address is hex, or base58check with `visible`.

use revm::primitives::{Address, B256};
use serde_json::{Map, Value};

use crate::address;

/// Largest body, in bytes, as a full node's `maxMessageSize`.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// Parameters of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    map: Map<String, Value>,
}

/// A request that cannot be understood. Printed as `{"Error": "CLASS : MESSAGE"}`, with the class that java-tron throws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

impl BadRequest {
    pub(crate) fn json(message: impl std::fmt::Display) -> Self {
        Self { class: "com.alibaba.fastjson.JSONException", message: message.to_string() }
    }

    pub(crate) fn format(message: impl std::fmt::Display) -> Self {
        Self { class: "org.tron.core.services.http.JsonFormat$ParseException", message: message.to_string() }
    }

    pub(crate) fn parameter(message: impl std::fmt::Display) -> Self {
        Self { class: "java.security.InvalidParameterException", message: message.to_string() }
    }

    pub(crate) fn protobuf(message: impl std::fmt::Display) -> Self {
        Self { class: "com.google.protobuf.InvalidProtocolBufferException", message: message.to_string() }
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::json!({ "Error": format!("class {} : {}", self.class, self.message) })
    }
}

impl Request {
    /// From the query string of a GET.
    pub(crate) fn from_query(query: &str) -> Self {
        let mut map = Map::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.insert(decode_percent(name), Value::from(decode_percent(value)));
        }
        Self { map }
    }

    /// From the body of a POST: JSON, whatever the content type says, or a form; an empty body has no parameters.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, BadRequest> {
        let text = std::str::from_utf8(body).map_err(BadRequest::json)?.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self { map }),
            Ok(_) => Err(BadRequest::json("syntax error, expect {")),
            Err(_) if !text.starts_with('{') && text.contains('=') => Ok(Self::from_query(text)),
            Err(e) => Err(BadRequest::json(e)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.map.clone())
    }

    /// The same with another value for one parameter.
    pub(crate) fn with(&self, name: &str, value: Value) -> Self {
        let mut map = self.map.clone();
        map.insert(name.to_owned(), value);
        Self { map }
    }

    /// Addresses in base58check and texts as texts.
    pub(crate) fn visible(&self) -> bool {
        self.flag("visible")
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// Empty if absent.
    pub(crate) fn text(&self, name: &str) -> Result<String, BadRequest> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(other) => Err(BadRequest::format(format_args!("1:1: INVALID {name}: {other}"))),
        }
    }

    /// 0 if absent.
    pub(crate) fn int(&self, name: &str) -> Result<i64, BadRequest> {
        let bad = |value: &Value| BadRequest::format(format_args!("1:1: Couldn't parse integer: {name}: {value}"));
        match self.get(name) {
            None => Ok(0),
            Some(value @ Value::Number(number)) => number.as_i64().ok_or_else(|| bad(value)),
            Some(value @ Value::String(text)) => text.trim().parse().map_err(|_| bad(value)),
            Some(value) => Err(bad(value)),
        }
    }

    /// Bytes in hex; empty if absent.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, BadRequest> {
        let text = self.text(name)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        hex::decode(digits).map_err(|_| BadRequest::format(format_args!("1:1: INVALID hex String: {name}")))
    }

    /// The 21 bytes of an address; empty if absent.
    pub(crate) fn address_bytes(&self, name: &str) -> Result<Vec<u8>, BadRequest> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        if self.visible() {
            return address::from_base58(&text)
                .map(|a| address::to_wire(a).to_vec())
                .map_err(|_| BadRequest::format(format_args!("1:1: INVALID base58 String, {text}")));
        }
        self.bytes(name)
    }

    /// An address; none if absent or not one.
    pub(crate) fn address(&self, name: &str) -> Result<Option<Address>, BadRequest> {
        Ok(address::from_wire(&self.address_bytes(name)?).ok())
    }

    /// 32 bytes in hex; none if absent or of another length.
    pub(crate) fn hash(&self, name: &str) -> Result<Option<B256>, BadRequest> {
        Ok(B256::try_from(self.bytes(name)?.as_slice()).ok())
    }

    /// An object inside, with this one's `visible`.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, BadRequest> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(self.inner(map))),
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Object(map)) => Ok(Some(self.inner(&map))),
                _ => Err(BadRequest::json(format_args!("{name} is not an object"))),
            },
            Some(_) => Err(BadRequest::json(format_args!("{name} is not an object"))),
        }
    }

    /// The objects of an array inside, or the one object in its place; none if absent.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, BadRequest> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Object(map)) => Ok(vec![self.inner(map)]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| match item {
                    Value::Object(map) => Ok(self.inner(map)),
                    _ => Err(BadRequest::json(format_args!("{name} holds something else than objects"))),
                })
                .collect(),
            Some(_) => Err(BadRequest::json(format_args!("{name} is not an array"))),
        }
    }

    fn inner(&self, map: &Map<String, Value>) -> Self {
        let mut map = map.clone();
        map.insert("visible".to_owned(), Value::Bool(self.visible()));
        Self { map }
    }
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let code = tail
                    .get(..2)
                    .and_then(|d| std::str::from_utf8(d).ok())
                    .and_then(|d| u8::from_str_radix(d, 16).ok());
                match code {
                    Some(code) => {
                        bytes.push(code);
                        rest = tail.get(2..).unwrap_or_default();
                    }
                    None => bytes.push(b'%'),
                }
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn query_form_and_json_say_the_same() {
        let query = Request::from_query("num=7&visible=true&name=a%20b+c%2");
        assert_eq!(query.int("num").unwrap(), 7);
        assert!(query.visible());
        assert_eq!(query.text("name").unwrap(), "a b c%2");
        let form = Request::from_body(b"num=7&visible=true").unwrap();
        let json = Request::from_body(br#"{"num": 7, "visible": true, "other": null}"#).unwrap();
        assert_eq!(form.int("num").unwrap(), json.int("num").unwrap());
        assert!(json.get("other").is_none());
    }

    #[test]
    fn wrong_shapes_are_errors_not_defaults() {
        assert!(Request::from_body(b"[1]").is_err());
        assert!(Request::from_body(b"{").is_err());
        assert!(Request::from_body(&[0xff, 0xfe]).is_err());
        let request = Request::from_body(br#"{"num": {}, "hex": "zz", "list": [1]}"#).unwrap();
        assert!(request.int("num").is_err());
        assert!(request.bytes("hex").is_err());
        assert!(request.objects("list").is_err());
    }
}
