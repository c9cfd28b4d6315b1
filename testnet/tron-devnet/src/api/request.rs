//! What a client asks: the parameters of a query string, a form or a JSON body, as one object.
//!
//! java-tron reads parameters in two ways, and so does this. [`Request::read`] reads a whole message and is strict; the
//! others read one parameter and are lenient: absent or null is the default, and numbers may be quoted.

use serde_json::{Map, Value};

use super::decode;
use super::json::Style;
use super::message::{Malformed, Message, Schema};
use super::parse;

/// Largest body, in bytes, as a full node's `maxMessageSize`.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// Parameters of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// JSON; may be empty.
    text: String,
    map: Map<String, Value>,
    is_query: bool,
    style: Style,
    /// As the URL alone says; a few calls do not look into the body.
    url_style: Style,
}

/// A request that cannot be understood. Printed as `{"Error": "CLASS : MESSAGE"}`, with the class that java-tron throws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

impl BadRequest {
    pub(crate) fn new(class: &'static str, message: impl std::fmt::Display) -> Self {
        Self { class, message: message.to_string() }
    }

    pub(crate) fn json(message: impl std::fmt::Display) -> Self {
        Self::new("com.alibaba.fastjson.JSONException", message)
    }

    pub(crate) fn format(message: impl std::fmt::Display) -> Self {
        Self::new("org.tron.core.services.http.JsonFormat$ParseException", message)
    }

    /// Something that must be there is not.
    pub(crate) fn null() -> Self {
        Self::new("java.lang.NullPointerException", "null")
    }

    /// `text` is no number.
    pub(crate) fn number(text: &str) -> Self {
        Self::new("java.lang.NumberFormatException", format_args!("For input string: \"{text}\""))
    }

    pub(crate) fn hex() -> Self {
        Self::new(
            "org.bouncycastle.util.encoders.DecoderException",
            "exception decoding Hex string: invalid characters encountered in Hex string",
        )
    }

    pub(crate) fn too_big() -> Self {
        Self::new("java.lang.Exception", format_args!("body size is too big, the limit is {MAX_BODY}"))
    }

    pub(crate) fn too_slow() -> Self {
        Self::new("java.lang.Exception", "the body did not arrive in time")
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::json!({ "Error": self.to_string() })
    }
}

impl std::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "class {} : {}", self.class, self.message)
    }
}

impl From<Malformed> for BadRequest {
    fn from(malformed: Malformed) -> Self {
        Self::new("com.google.protobuf.InvalidProtocolBufferException", malformed)
    }
}

impl Request {
    /// From the query string of a GET.
    pub(crate) fn from_query(query: &str) -> Self {
        let map = pairs(query);
        let style = Style { visible: is_true(map.get("visible")), longs_as_texts: is_true(map.get("int64_as_string")) };
        Self { text: Value::Object(map.clone()).to_string(), map, is_query: true, style, url_style: style }
    }

    /// From the body of a POST: JSON, or what a form says. The body may be empty; few calls like that.
    pub(crate) fn from_body(body: &[u8], is_form: bool, query: &str) -> Result<Self, BadRequest> {
        let visible = |map: &Map<String, Value>| Style { visible: is_true(map.get("visible")), ..Style::default() };
        let url_style = visible(&pairs(query));
        let mut text = String::from_utf8_lossy(body).into_owned();
        if text.trim().is_empty() {
            return Ok(Self { url_style, ..Self::default() });
        }
        let map = match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => return Err(BadRequest::null()),
            Ok(_) => return Err(BadRequest::json("can not cast to JSONObject.")),
            Err(_) if is_form => {
                let map = pairs(&text);
                text = Value::Object(map.clone()).to_string();
                map
            }
            Err(e) => return Err(BadRequest::json(e)),
        };
        Ok(Self { text, style: visible(&map), map, is_query: false, url_style })
    }

    /// All of it as a message; unknown parameters do not matter.
    pub(crate) fn read(&self, schema: &'static Schema) -> Result<Message, BadRequest> {
        parse::read(&self.text, schema, self.style.visible, self.is_query)
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// How to print the answer of a call that does not look into the body.
    pub(crate) fn url_style(&self) -> Style {
        self.url_style
    }

    /// None if null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.map.clone())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        is_true(self.map.get(name))
    }

    /// Empty if absent; what is no text is printed.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.get(name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => print(other),
        }
    }

    /// 0 if absent. What has nothing behind its point counts as an integer.
    pub(crate) fn long(&self, name: &str) -> Result<i64, BadRequest> {
        let text = self.text(name);
        if self.get(name).is_none() {
            return Ok(0);
        }
        if let Ok(value) = text.parse() {
            return Ok(value);
        }
        let value =
            text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| BadRequest::number(&text))?;
        let inexact = || BadRequest::new("java.lang.ArithmeticException", "Rounding necessary");
        let whole = (value.fract() == 0.0).then(|| format!("{value:.0}").parse().ok()).flatten();
        whole.ok_or_else(inexact)
    }

    /// Bytes in hex; empty if absent.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, BadRequest> {
        decode::hex(&self.text(name)).ok_or_else(BadRequest::hex)
    }

    /// Bytes in hex, or an address in base58check if visible; empty if absent, or if its checksum is wrong.
    pub(crate) fn address(&self, name: &str) -> Result<Vec<u8>, BadRequest> {
        if !self.style.visible {
            return self.bytes(name);
        }
        let address = decode::base58(&self.text(name));
        address.map(Option::unwrap_or_default).map_err(|why| BadRequest::new("java.lang.IllegalArgumentException", why))
    }
}

/// JSON as fastjson prints it: fields that are null are left out.
pub(crate) fn print(value: &Value) -> String {
    fn without_nulls(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
            }
            Value::Array(items) => items.iter().map(without_nulls).collect(),
            other => other.clone(),
        }
    }
    without_nulls(value).to_string()
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The parameters of a query string or form; of several with the same name the first.
fn pairs(query: &str) -> Map<String, Value> {
    let mut map = Map::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        map.entry(decode_percent(name)).or_insert_with(|| Value::from(decode_percent(value)));
    }
    map
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
                    bytes.push(high << 4 | low);
                    rest = after;
                } else {
                    bytes.push(b'%');
                }
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::schema;
    use super::*;

    fn post(body: &str) -> Request {
        Request::from_body(body.as_bytes(), false, "").unwrap()
    }

    #[test]
    fn query_and_json_say_the_same() {
        let query = Request::from_query("num=7&visible=true&name=a%20b+c%2&num=8");
        assert_eq!(query.read(&schema::NUMBER).unwrap().int("num"), 7);
        assert_eq!(query.long("num").unwrap(), 7);
        assert!(query.style().visible);
        assert_eq!(query.text("name"), "a b c%2");
        let json = post(r#"{"num": 7, "visible": true, "other": null}"#);
        assert_eq!(json.read(&schema::NUMBER).unwrap().int("num"), 7);
        assert!(json.style().visible && !json.url_style().visible);
        assert!(json.get("other").is_none());
    }

    #[test]
    fn forms_are_forms_only_if_they_say_so() {
        assert!(Request::from_body(b"value=00&visible=true", false, "").is_err());
        let form = Request::from_body(b"value=0a&visible=true", true, "").unwrap();
        assert_eq!(form.read(&schema::BYTES).unwrap().bytes("value"), [10]);
        assert!(form.style().visible);
        // A form has only texts, and a message wants numbers.
        assert!(Request::from_body(b"num=7", true, "").unwrap().read(&schema::NUMBER).is_err());
        // What curl sends without being told otherwise.
        assert_eq!(Request::from_body(br#"{"num": 7}"#, true, "").unwrap().long("num").unwrap(), 7);
    }

    #[test]
    fn wrong_shapes_are_errors_not_defaults() {
        let refused = |body: &[u8]| Request::from_body(body, false, "").unwrap_err();
        assert_eq!(refused(b"[1]"), BadRequest::json("can not cast to JSONObject."));
        assert_eq!(refused(b"null"), BadRequest::null());
        assert_eq!(refused(b"{").class, "com.alibaba.fastjson.JSONException");
        assert_eq!(refused(&[0xff, 0xfe]).class, "com.alibaba.fastjson.JSONException");
        let request = post(r#"{"num": {}, "hex": "zz", "float": 1.5}"#);
        assert_eq!(request.long("num").unwrap_err(), BadRequest::number("{}"));
        assert_eq!(request.long("float").unwrap_err().message, "Rounding necessary");
        assert_eq!(post(r#"{"n": 1e9}"#).long("n").unwrap(), 1_000_000_000);
        assert!(post(r#"{"n": 1e300}"#).long("n").is_err() && post(r#"{"n": "inf"}"#).long("n").is_err());
        assert!(request.bytes("hex").is_err());
        assert_eq!(post("").read(&schema::NUMBER).unwrap_err(), BadRequest::format("1:1: Expected \"{\"."));
    }
}
