//! XML documents of requests: read whole within a bound, and verified, before s3s parses them. s3s verifies neither
//! Content-MD5 nor `x-amz-checksum-*`.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, Method};
use s3s::{Body, S3Result};

use super::checksums::Promise;
use super::errors::{error, error_with, invalid_request};
use super::query::Query;
use super::request::Caller;
use super::upload::body_error;

/// Whether the request's body is a document (and not an object's bytes).
pub(crate) fn is_document(method: &Method, has_key: bool, query: &Query) -> bool {
    match *method {
        Method::PUT if has_key => ["acl", "tagging", "retention", "legal-hold"]
            .iter()
            .any(|name| query.has(name)),
        Method::PUT | Method::POST => true,
        _ => false,
    }
}

/// Whether a document must come with a digest (AWS: DeleteObjects).
fn needs_digest(method: &Method, has_key: bool, query: &Query) -> bool {
    *method == Method::POST && !has_key && query.has("delete")
}

/// A request that carries a document.
pub(crate) struct Document<'a> {
    /// Its method.
    pub(crate) method: &'a Method,
    /// Whether it names a key.
    pub(crate) has_key: bool,
    /// Its query.
    pub(crate) query: &'a Query,
}

impl Document<'_> {
    /// Reads and verifies the document, of at most `max` bytes.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        caller: &Caller,
        max: usize,
    ) -> S3Result<Bytes> {
        let ticket = &caller.ticket;
        let of_object = *self.method == Method::POST && self.query.has("uploadId");
        let promise = if of_object {
            // The checksum in a Complete's header is the object's, not the document's.
            Promise::of_document(headers)?
        } else {
            Promise::of(headers)?
        };
        let promise = promise.with_payload(caller.payload);
        if needs_digest(self.method, self.has_key, self.query) && !promise.is_any() {
            return Err(invalid_request(
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
            ));
        }
        let declared = headers.get(http::header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > max as u64) {
            return Err(error("MaxMessageLengthExceeded"));
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|cause| {
                let fault = body_error(&cause, ticket);
                error_with(fault.code, fault.message)
            })?;
            if bytes.len() + piece.len() > max {
                return Err(error("MaxMessageLengthExceeded"));
            }
            ticket.bytes_in.fetch_add(piece.len() as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&piece);
        }
        if declared.is_some_and(|length| length != bytes.len() as u64) {
            return Err(error("IncompleteBody"));
        }
        promise
            .check_bytes(&bytes, caller.trailers.as_ref())
            .map_err(|rejected| error(rejected.0))?;
        Ok(bytes.freeze())
    }
}
