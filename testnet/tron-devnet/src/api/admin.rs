//! `/admin/*`: what TronBox asks its own runtime environment (TRE) for, the funded accounts, and what clients asked. For programs
//! on this machine only: the accounts' keys are those that the network prints when it starts, but whoever else reaches its port
//! has no use for them.

use std::fmt::Write as _;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use crate::address;
use crate::chain::resource::TRX;

const TEXT: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];

/// None if there is no such call; 403 unless the request is from here, and not of a page in a browser.
pub(super) fn respond(shared: &Shared, name: &str, is_from_here: bool) -> Option<Response> {
    let answer: fn(&Shared) -> Response = match name {
        "accounts" => as_text,
        "accounts-json" => as_json,
        "requests" => requests,
        _ => return None,
    };
    if !is_from_here {
        let error = json!({ "Error": "this is shown to programs on this machine only" });
        return Some((StatusCode::FORBIDDEN, super::print_json(&error)).into_response());
    }
    Some(answer(shared))
}

/// What each client asked since the network was started, beside `/admin`, `/devnet` and `/healthcheck`, and how many blocks there
/// are now.
fn requests(shared: &Shared) -> Response {
    let blocks = shared.node.chain().head().number();
    super::print_json(&json!({ "now": shared.node.now(), "blocks": blocks, "clients": shared.requests.get() }))
}

/// There is no mnemonic: the keys come from a seed of another kind.
fn as_json(shared: &Shared) -> Response {
    let keys: Vec<_> = shared.accounts.iter().map(|wallet| hex::encode(wallet.secret())).collect();
    super::print_json(&json!({ "privateKeys": keys, "more": [] }))
}

/// With what each has now.
fn as_text(shared: &Shared) -> Response {
    let mut text = String::from("Available Accounts\n==================\n\n");
    let chain = shared.node.chain();
    // Writing to a string cannot fail.
    for (i, wallet) in shared.accounts.iter().enumerate() {
        let trx = chain.head().balance(wallet.address()) / TRX;
        let _ = writeln!(text, "({i}) {} ({trx} TRX)", address::to_base58(wallet.address()));
    }
    text.push_str("\nPrivate Keys\n==================\n\n");
    for (i, wallet) in shared.accounts.iter().enumerate() {
        let _ = writeln!(text, "({i}) {}", hex::encode(wallet.secret()));
    }
    (TEXT, text).into_response()
}
