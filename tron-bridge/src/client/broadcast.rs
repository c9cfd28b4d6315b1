//! What a node's answer to a broadcast means.
//!
//! No answer of a node proves that a transaction is or is not included: only solidified blocks do. Source of the codes: `GrpcAPI.Return.response_code` and `Wallet.broadcastTransaction` of
//! java-tron.

use serde::Deserialize;

use super::error::ClientError;
use super::transport::{parse, readable};
use lucid_types::id::TxId;

/// A broadcast's result, from the best to the worst news.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BroadcastOutcome {
    /// The node took it and passed it on.
    Accepted,
    /// The node has seen it before. Proves nothing: it may have refused it then.
    Duplicate,
    /// The node cannot say: send the same bytes again.
    Retry(Answer),
    /// As things stand the network refuses these bytes: mend what it says and build a new transaction. These may still be
    /// included until they expire.
    Rebuild(Answer),
    /// The signatures are wrong: a bug or a changed permission. Stop and tell a person.
    Bug(Answer),
}

/// A node's code and words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// Name of the protocol's response code.
    pub code: String,
    /// The node's words.
    pub message: String,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "Error")]
    error: Option<String>,
    #[serde(default)]
    result: bool,
    code: Option<String>,
    message: Option<String>,
    txid: Option<String>,
}

/// Judges the body of an answer to `broadcasthex` of the transaction `tx_id`.
pub(super) fn judge(
    label: &str,
    call: &'static str,
    body: &[u8],
    tx_id: &TxId,
) -> Result<BroadcastOutcome, ClientError> {
    let reply: Reply = parse(label, call, body)?;
    if let Some(message) = reply.error {
        return Err(ClientError::Node { endpoint: label.into(), call, message: readable(&message) });
    }
    let id = reply.txid.unwrap_or_default();
    if !id.is_empty() && !id.eq_ignore_ascii_case(&tx_id.to_string()) {
        let problem = format!("the answer names the transaction {}, not {tx_id}", readable(&id));
        return Err(ClientError::Content { endpoint: label.into(), call, problem });
    }
    let code = reply.code.unwrap_or_default();
    if reply.result {
        return Ok(BroadcastOutcome::Accepted);
    }
    let message = readable(&reply.message.unwrap_or_default());
    Ok(of_code(code, message))
}

fn of_code(code: String, message: String) -> BroadcastOutcome {
    let answer = Answer { code, message };
    match answer.code.as_str() {
        "DUP_TRANSACTION_ERROR" => BroadcastOutcome::Duplicate,
        "SIGERROR" => BroadcastOutcome::Bug(answer),
        "TAPOS_ERROR"
        | "TRANSACTION_EXPIRATION_ERROR"
        | "CONTRACT_VALIDATE_ERROR"
        | "CONTRACT_EXE_ERROR"
        | "BANDWITH_ERROR"
        | "TOO_BIG_TRANSACTION_ERROR" => BroadcastOutcome::Rebuild(answer),
        // SERVER_BUSY, NO_CONNECTION, NOT_ENOUGH_EFFECTIVE_CONNECTION, BLOCK_UNSOLIDIFIED, OTHER_ERROR, and codes of
        // a later protocol: sending the same bytes again does no harm.
        _ => BroadcastOutcome::Retry(answer),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const ID: TxId = TxId::from_bytes([0xab; 32]);

    fn outcome(body: &str) -> BroadcastOutcome {
        judge("n", "/wallet/broadcasthex", body.as_bytes(), &ID).unwrap()
    }

    #[test]
    fn every_code_has_its_class() {
        let accepted = format!(r#"{{"result":true,"code":"SUCCESS","message":"","transaction":"{{}}","txid":"{ID}"}}"#);
        assert_eq!(outcome(&accepted), BroadcastOutcome::Accepted);
        for (codes, class) in [
            (vec!["DUP_TRANSACTION_ERROR"], 1),
            (
                vec![
                    "SERVER_BUSY",
                    "NO_CONNECTION",
                    "NOT_ENOUGH_EFFECTIVE_CONNECTION",
                    "BLOCK_UNSOLIDIFIED",
                    "OTHER_ERROR",
                    "SOMETHING_NEW",
                    "",
                ],
                2,
            ),
            (
                vec![
                    "TAPOS_ERROR",
                    "TRANSACTION_EXPIRATION_ERROR",
                    "CONTRACT_VALIDATE_ERROR",
                    "CONTRACT_EXE_ERROR",
                    "BANDWITH_ERROR",
                    "TOO_BIG_TRANSACTION_ERROR",
                ],
                3,
            ),
            (vec!["SIGERROR"], 4),
        ] {
            for code in codes {
                let message = hex::encode("why");
                let body = format!(r#"{{"result":false,"code":"{code}","message":"{message}"}}"#);
                let (found, answer) = match outcome(&body) {
                    BroadcastOutcome::Accepted => (0, None),
                    BroadcastOutcome::Duplicate => (1, None),
                    BroadcastOutcome::Retry(a) => (2, Some(a)),
                    BroadcastOutcome::Rebuild(a) => (3, Some(a)),
                    BroadcastOutcome::Bug(a) => (4, Some(a)),
                };
                assert_eq!(found, class, "{code}");
                assert!(answer.is_none_or(|a| a.code == code && a.message == "why"));
            }
        }
    }

    #[test]
    fn an_answer_about_another_transaction_is_refused() {
        let body = format!(r#"{{"result":true,"txid":"{}"}}"#, "00".repeat(32));
        let error = judge("n", "c", body.as_bytes(), &ID).unwrap_err();
        assert!(matches!(error, ClientError::Content { .. }), "{error}");
    }

    #[test]
    fn a_servlets_exception_is_an_error_that_passes() {
        let body = r#"{"Error":"class java.lang.IllegalAccessException : lack of computing resources"}"#;
        let error = judge("n", "c", body.as_bytes(), &ID).unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("lack of computing resources"), "{error}");
    }
}
