//! Answers: documents, empty ones, and refusals in Keystone's form.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// Seconds after which a client that met a full queue may come back.
const RETRY_AFTER_S: u64 = 1;

/// What a handler answers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    /// `X-Subject-Token`, of a token just made or looked at.
    pub(crate) subject: Option<String>,
}

impl Answer {
    /// 200 with a document.
    pub(crate) fn ok(body: Value) -> Self {
        Self::of(StatusCode::OK, body)
    }

    /// 201 with a document.
    pub(crate) fn created(body: Value) -> Self {
        Self::of(StatusCode::CREATED, body)
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
            subject: None,
        }
    }

    pub(crate) fn of(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            subject: None,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => json_response(self.status, &body),
            None => self.status.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("X-Auth-Token"));
        if let Some(Ok(token)) = self.subject.map(HeaderValue::try_from) {
            headers.insert("x-subject-token", token);
        }
        response
    }
}

/// A refusal as a response; `base` is where the service is reached.
pub(crate) fn refuse(refusal: &Refusal, base: &str) -> Response {
    let (status, title) = status_of(refusal);
    if let Refusal::Internal(cause) = refusal {
        tracing::error!(%cause, "a request to identity failed");
    }
    let body = json!({ "error": { "code": status.as_u16(), "message": refusal.to_string(), "title": title } });
    let mut response = json_response(status, &body);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("X-Auth-Token"));
    if status == StatusCode::UNAUTHORIZED
        && let Ok(challenge) = HeaderValue::try_from(format!("Keystone uri=\"{base}/v3\""))
    {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn status_of(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::BadRequest(_) => (StatusCode::BAD_REQUEST, "Bad Request"),
        Refusal::Unauthorized | Refusal::PasswordUnusable(_) => (StatusCode::UNAUTHORIZED, "Unauthorized"),
        Refusal::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
        Refusal::NotFound(_) => (StatusCode::NOT_FOUND, "Not Found"),
        Refusal::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        Refusal::Conflict(_) => (StatusCode::CONFLICT, "Conflict"),
        Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Refusal::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    }
}
