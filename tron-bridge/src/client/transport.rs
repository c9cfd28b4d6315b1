//! One request to one endpoint: time-out, size cap, status, and the error shapes that come with status 200.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::reply::Problem;

/// Longest wait taken from a `Retry-After` header.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Longest part of a body that an error shows.
const EXCERPT_CHARS: usize = 160;

/// A request: path below the endpoint, JSON body, and the most bytes an answer may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) path: &'static str,
    pub(super) body: &'a Value,
    pub(super) max_bytes: usize,
}

/// Sends `call` and returns the body of an answer with status 200.
pub(super) async fn post(endpoint: &Endpoint, call: Call<'_>) -> Result<Vec<u8>, ClientError> {
    let Endpoint { http, url: base, label, .. } = endpoint;
    let transport = |source: reqwest::Error| ClientError::Transport {
        endpoint: label.into(),
        call: call.path,
        source: source.without_url(),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), call.path));
    let request = http.post(url).header(CONTENT_TYPE, "application/json").body(call.body.to_string());
    let response = request.send().await.map_err(transport)?;
    let status = response.status();
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::FORBIDDEN {
        let retry_after = retry_after(response.headers());
        return Err(ClientError::Limited { endpoint: label.into(), status: status.as_u16(), retry_after });
    }
    let body = read_capped(response, call.max_bytes).await.map_err(transport)?;
    let Some(body) = body else {
        return Err(ClientError::TooLarge { endpoint: label.into(), call: call.path, limit: call.max_bytes });
    };
    if status != StatusCode::OK {
        let (status, excerpt) = (status.as_u16(), excerpt(&body));
        return Err(ClientError::Status { endpoint: label.into(), call: call.path, status, excerpt });
    }
    Ok(body)
}

/// The body, or `None` as soon as it is longer than `max_bytes`.
async fn read_capped(mut response: Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// The fields in which a node reports an error, and nothing else of the body.
#[derive(Deserialize)]
struct ErrorFields {
    #[serde(rename = "Error")]
    error: Option<Value>,
    result: Option<Value>,
    code: Option<Value>,
    message: Option<Value>,
}

/// Refuses HTML and bare text.
pub(super) fn check_is_json(label: &str, call: &'static str, body: &[u8]) -> Result<(), ClientError> {
    let looks_like_json = body.trim_ascii_start().first().is_some_and(|b| matches!(b, b'{' | b'['));
    if looks_like_json {
        return Ok(());
    }
    Err(ClientError::NotJson { endpoint: label.into(), call, excerpt: excerpt(body) })
}

/// Refuses a body that is not JSON or reports an error in one of the known shapes.
fn check_errors(label: &str, call: &'static str, body: &[u8]) -> Result<(), ClientError> {
    let endpoint = || label.to_owned();
    check_is_json(label, call, body)?;
    if body.trim_ascii_start().starts_with(b"[") {
        return Ok(());
    }
    let fields: ErrorFields = parse(label, call, body)?;
    if let Some(error) = fields.error {
        return Err(ClientError::Node { endpoint: endpoint(), call, message: text(&error) });
    }
    let (refused, code, message) = match &fields.result {
        Some(Value::Bool(ok)) => (!ok, fields.code, fields.message),
        Some(Value::Object(nested)) => {
            let code = nested.get("code").filter(|c| *c != "SUCCESS").cloned();
            let is_ok = nested.get("result") == Some(&Value::Bool(true));
            (!is_ok || code.is_some(), code, nested.get("message").cloned())
        }
        _ => (fields.code.is_some() && fields.message.is_some(), fields.code, fields.message),
    };
    if refused {
        let code = code.as_ref().map(text).unwrap_or_default();
        let message = message.as_ref().map(text).map(|m| readable(&m)).unwrap_or_default();
        return Err(ClientError::Refused { endpoint: endpoint(), call, code, message });
    }
    Ok(())
}

/// Reads a body that is no error.
pub(super) fn read<T, R: serde::de::DeserializeOwned>(
    label: &str,
    call: &'static str,
    body: &[u8],
    read: impl Fn(R) -> Result<T, Problem>,
) -> Result<T, ClientError> {
    check_errors(label, call, body)?;
    let reply = parse(label, call, body)?;
    read(reply).map_err(|problem| ClientError::Content { endpoint: label.into(), call, problem })
}

/// Parses a body into `T`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    label: &str,
    call: &'static str,
    body: &[u8],
) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|source| ClientError::Shape { endpoint: label.into(), call, source })
}

/// A message that may come in hex, as text without control characters.
pub(super) fn readable(message: &str) -> String {
    let decoded = hex::decode(message).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    clean(decoded.as_deref().unwrap_or(message))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| clean(&value.to_string()), clean)
}

fn excerpt(body: &[u8]) -> String {
    let start = body.get(..EXCERPT_CHARS.saturating_mul(4)).unwrap_or(body);
    clean(&String::from_utf8_lossy(start))
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), ClientError> {
        check_errors("http://node", "/wallet/x", body.as_bytes())
    }

    fn refused(body: &str) -> (String, String) {
        match check(body) {
            Err(ClientError::Refused { code, message, .. }) => (code, message),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn the_four_error_shapes_are_found() {
        let hex = hex::encode("Contract validate error : balance is not sufficient.");
        let flat = format!(r#"{{"result":false,"code":"CONTRACT_VALIDATE_ERROR","message":"{hex}"}}"#);
        let expected = "Contract validate error : balance is not sufficient.";
        assert_eq!(refused(&flat), ("CONTRACT_VALIDATE_ERROR".into(), expected.into()));
        let nested = format!(r#"{{"result":{{"code":"CONTRACT_VALIDATE_ERROR","message":"{hex}"}}}}"#);
        assert_eq!(refused(&nested), ("CONTRACT_VALIDATE_ERROR".into(), expected.into()));
        let no_result = r#"{"code":"SIGERROR","txid":"00","message":"Validate signature error"}"#;
        assert_eq!(refused(no_result), ("SIGERROR".into(), "Validate signature error".into()));
        let error = check(r#"{"Error":"class java.lang.NullPointerException : null"}"#).unwrap_err();
        assert!(matches!(&error, ClientError::Node { message, .. } if message.contains("NullPointer")), "{error}");
        for text in ["this API is closed because this node is a lite fullnode", "<html><body>502</body></html>", ""] {
            assert!(matches!(check(text), Err(ClientError::NotJson { .. })), "{text}");
        }
    }

    #[test]
    fn good_answers_pass() {
        check("{}").unwrap();
        check(r#"{"result":{"result":true},"constant_result":["00"]}"#).unwrap();
        check(r#"{"result":{"result":true,"code":"SUCCESS"}}"#).unwrap();
        // A failed transaction's info says so in a field of the same name.
        check(r#"{"id":"00","result":"FAILED","resMessage":"524556455254"}"#).unwrap();
        check(r#"{"result":true,"txid":"00"}"#).unwrap();
        check(r#"[{"id":"00","result":"FAILED"}]"#).unwrap();
    }

    #[test]
    fn torn_json_is_a_shape_error() {
        assert!(matches!(check(r#"{"result":tru"#), Err(ClientError::Shape { .. })));
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let error = check(&format!("oops\n\x1b[31m{}", "x".repeat(10_000))).unwrap_err();
        let ClientError::NotJson { excerpt, .. } = error else { panic!("{error}") };
        assert!(excerpt.starts_with("oops  [31mxx") && excerpt.chars().count() == EXCERPT_CHARS, "{excerpt}");
        assert_eq!(readable("not hex"), "not hex");
        assert_eq!(readable("cafe"), "cafe", "bytes that are no text stay hex");
    }
}
