//! What faults do to requests and answers.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Shared, print_json};
use crate::faults::Plan;

const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";

/// Before a call is carried out; an answer means that it is not.
pub(super) async fn before(shared: &Shared, plan: &Plan) -> Option<Response> {
    if plan.delay_ms > 0 {
        tokio::select! {
            () = shared.stop.cancelled() => return Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
            () = tokio::time::sleep(Duration::from_millis(plan.delay_ms)) => {}
        }
    }
    let status = plan.status.and_then(|status| StatusCode::from_u16(status).ok());
    let page = ([(header::CONTENT_TYPE, "text/html")], PAGE);
    match (status, plan.html) {
        (None, false) => None,
        (Some(status), false) => Some((status, "refused by a fault").into_response()),
        (status, true) => Some((status.unwrap_or(StatusCode::OK), page).into_response()),
    }
}

/// After it was carried out.
pub(super) async fn after(shared: &Shared, plan: &Plan, name: &str, mut value: Value) -> Response {
    if plan.broadcast_timeout && name.starts_with("broadcast") {
        shared.stop.cancelled().await;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if plan.lie_receipt && name.starts_with("gettransactioninfo") {
        lie(&mut value);
    }
    if plan.mutate {
        mutate(&mut value);
    }
    print_json(&value)
}

/// Turns the result of a contract call around, wherever the value has one.
fn lie(value: &mut Value) {
    if let Value::Array(items) = value {
        return items.iter_mut().for_each(lie);
    }
    let Some(info) = value.as_object_mut() else { return };
    let Some(result) = info.get_mut("receipt").and_then(|r| r.get_mut("result")) else { return };
    if result == "SUCCESS" {
        *result = Value::from("REVERT");
        info.insert("result".to_owned(), Value::from("FAILED"));
    } else {
        *result = Value::from("SUCCESS");
        info.remove("result");
    }
}

/// Changes one digit of every hexadecimal text of 16 digits and more.
fn mutate(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mutate),
        Value::Object(map) => map.values_mut().for_each(mutate),
        Value::String(text) if text.len() >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            let last = text.pop();
            text.push(if last == Some('0') { '1' } else { '0' });
        }
        _ => {}
    }
}
