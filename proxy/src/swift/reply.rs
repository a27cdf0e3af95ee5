//! Answers in the making, and refusals as answers that cut a handler short.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use store::{BodyStream, StoreError};

/// An answer: its head, and where its bytes come from.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Content,
}

/// The bytes of an answer.
pub(crate) enum Content {
    /// None.
    Empty,
    /// In memory.
    Whole(Bytes),
    /// On their way, of known or unknown length.
    Stream(BodyStream, Option<u64>),
}

/// A refusal. Boxed, because it travels through every `?`.
pub(crate) type Refused = Box<Reply>;
/// What a handler answers.
pub(crate) type Answer = Result<Reply, Refused>;

impl Reply {
    /// An answer without bytes.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Content::Empty,
        }
    }

    /// An answer with text of a type.
    pub(crate) fn text(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Self {
        let mut reply = Self::new(status);
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        reply.body = Content::Whole(text.into());
        reply
    }

    /// Sets a header; a value that no header can carry is left out.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        put(&mut self.headers, name, value);
    }

    /// As [`Self::set`], in a chain.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.set(name, value);
        self
    }

    /// The length that the head tells, when it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.body {
            Content::Empty => {
                let told = self.headers.get(CONTENT_LENGTH);
                told.and_then(|length| length.to_str().ok()?.parse().ok()).or(Some(0))
            }
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Stream(_, length) => *length,
        }
    }
}

/// Sets a header; a name or value that no header can carry is left out.
pub(crate) fn put(headers: &mut HeaderMap, name: &str, value: impl AsRef<[u8]>) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_ref()),
    ) {
        headers.insert(name, value);
    }
}

const HTML: &str = "text/html; charset=UTF-8";
/// The type of texts for people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// The type of JSON documents.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// A refusal with the page that browsers and old clients show for its status.
pub(crate) fn refuse(status: StatusCode) -> Refused {
    let title = status.canonical_reason().unwrap_or("Error");
    let text = explanation(status);
    let page = format!("<html><h1>{title}</h1><p>{text}</p></html>");
    Box::new(Reply::text(status, HTML, page))
}

/// A refusal that says why in words of its own.
pub(crate) fn refuse_with(status: StatusCode, why: impl Into<String>) -> Refused {
    Box::new(Reply::text(status, TEXT, why.into()))
}

/// 400 with a reason.
pub(crate) fn bad_request(why: impl Into<String>) -> Refused {
    refuse_with(StatusCode::BAD_REQUEST, why)
}

/// 404.
pub(crate) fn not_found() -> Refused {
    refuse(StatusCode::NOT_FOUND)
}

/// What the page of a status says below its title.
pub(crate) fn explanation(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        401 => "This server could not verify that you are authorized to access the document you requested.",
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        405 => "The method is not allowed for this resource.",
        406 => "The resource is not available in a format acceptable to your browser.",
        408 => "The server has waited too long for the request to be sent by the client.",
        409 => "There was a conflict when trying to complete your request.",
        411 => "Content-Length header required.",
        412 => "A precondition for this request was not met.",
        413 => "The body of your request was too large for this server.",
        416 => "The Range requested is not available.",
        422 => "Unable to process the contained instructions",
        499 => "Client was disconnected during request.",
        501 => "The requested method is not implemented by this server.",
        503 => "The server is currently unavailable. Please try again at a later time.",
        507 => "There was not enough space to save the resource.",
        _ => "",
    }
}

/// The one table from the store's errors to Swift's statuses.
pub(crate) fn from_store(error: StoreError) -> Refused {
    match error {
        StoreError::NoSuchBucket
        | StoreError::NoSuchKey
        | StoreError::NoSuchVersion
        | StoreError::DeleteMarker { .. }
        | StoreError::NoSuchUpload => not_found(),
        StoreError::PreconditionFailed => refuse(StatusCode::PRECONDITION_FAILED),
        StoreError::BucketNotEmpty | StoreError::BucketBusy | StoreError::BucketTaken => refuse(StatusCode::CONFLICT),
        StoreError::RecordConflict { .. } | StoreError::InvalidState(_) => refuse(StatusCode::CONFLICT),
        StoreError::EntityTooLarge => refuse(StatusCode::PAYLOAD_TOO_LARGE),
        StoreError::InvalidRange => refuse(StatusCode::RANGE_NOT_SATISFIABLE),
        StoreError::IncompleteBody => refuse(client_gone()),
        StoreError::BadDigest | StoreError::Rejected(_) => refuse(StatusCode::UNPROCESSABLE_ENTITY),
        StoreError::Body(error) => body_failed(error.code),
        StoreError::SlowDown => Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE).with("retry-after", "1")),
        StoreError::Unavailable(_) => refuse(StatusCode::SERVICE_UNAVAILABLE),
        other => {
            tracing::error!(error = %other, "a request failed");
            refuse(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The status of a body that broke off under one of our codes.
fn body_failed(code: &str) -> Refused {
    match code {
        STALLED => refuse(StatusCode::REQUEST_TIMEOUT),
        TOO_LARGE => refuse(StatusCode::PAYLOAD_TOO_LARGE),
        SEGMENT_FAILED => refuse(StatusCode::CONFLICT),
        _ => refuse(client_gone()),
    }
}

/// The client was silent for too long.
pub(crate) const STALLED: &str = "stalled";
/// The body is longer than it may be.
pub(crate) const TOO_LARGE: &str = "too-large";
/// A segment of a large object could not be read.
pub(crate) const SEGMENT_FAILED: &str = "segment-failed";
/// The client's connection ended within the body.
pub(crate) const BROKEN: &str = "broken";

/// 499: the client went away in the middle of its body.
pub(crate) fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("three digits make a status")
}
