//! Answers: JSON for what was found, and one shape for everything that went wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::model::{ErrorBody, ErrorDetail};
use super::{ActionError, ViewError};

/// What a handler says when it has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request cannot be understood.
    BadRequest(String),
    /// There is no such thing.
    NotFound(String),
    /// The resource has no such method.
    MethodNotAllowed,
    /// The request is meant for another server.
    OtherHost(String),
    /// The node's state does not allow it.
    Refused(String),
    /// The answer took too long.
    Timeout,
    /// Others are answered first.
    Busy,
    /// The node does not do its work.
    NotReady(String),
    /// The node failed; the reason stands in its log.
    Internal,
}

impl Failure {
    /// Logs the chain of errors and hides it from the caller.
    pub(super) fn internal(error: &ViewError) -> Self {
        tracing::error!(error = error as &dyn std::error::Error, "an API request failed");
        Self::Internal
    }

    fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "bad_request", message),
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "not_found", message),
            Self::MethodNotAllowed => {
                let message = "GET and HEAD read; only commands, signatures and validations are asked for with POST";
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message.to_owned())
            }
            Self::OtherHost(message) => (StatusCode::MISDIRECTED_REQUEST, "other_host", message),
            Self::Refused(message) => (StatusCode::CONFLICT, "refused", message),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout", "the answer took too long".to_owned()),
            Self::Busy => {
                let message = "the node is at a long answer for somebody else; ask again in some seconds";
                (StatusCode::SERVICE_UNAVAILABLE, "busy", message.to_owned())
            }
            Self::NotReady(message) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", message),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the node failed; its log says why".to_owned())
            }
        }
    }
}

impl From<ActionError> for Failure {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Unknown(message) => Self::NotFound(message),
            ActionError::Refused(message) => Self::Refused(message),
            ActionError::Unavailable(message) => Self::NotReady(message),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let retry_after = (code == "busy").then_some([(header::RETRY_AFTER, "5")]);
        let request_id = REQUEST.try_with(|id| id.to_string()).unwrap_or_default();
        let error = ErrorDetail { code: code.to_owned(), message, request_id };
        (status, retry_after, Json(ErrorBody { error })).into_response()
    }
}

static REQUESTS: AtomicU64 = AtomicU64::new(1);

tokio::task_local! {
    static REQUEST: u64;
}

/// Gives every request a number, which its answer carries as `x-request-id` and its log lines as `request`.
pub(super) async fn number(request: Request, next: Next) -> Response {
    let id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path().to_owned();
    let mut response = REQUEST.scope(id, next.run(request)).await;
    tracing::debug!(request = id, path, status = response.status().as_u16(), "api");
    response.headers_mut().insert("x-request-id", HeaderValue::from(id));
    response
}
