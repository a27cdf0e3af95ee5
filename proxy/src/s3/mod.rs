//! The S3 edge, on `s3s`.
//!
//! ```text
//! request -> edge      request id, CORS preflight, access log
//!         -> guard     the signature's shape: everything that must be signed is (SEC-1); dates, mechanisms
//!         -> chunked   frames of aws-chunked bodies: bounded, complete, of the promised length
//!         -> s3s       the signature itself (first s3s service: it only verifies, see `auth`)
//!         -> interpret admission; what we do not implement is refused (CON-3); headers that s3s reads more strictly
//!                      than AWS are taken out and read here; small bodies are read and verified
//!         -> s3s       path and query to operation, XML in and out (second s3s service)
//!         -> service   one method per operation: identity's policy table first, then the module of its subject -> store
//! form                 a browser's form instead: its policy is verified, and it goes on as a PUT at `interpret`
//! answer <- answer     error documents completed (request id, resource), HEAD and 304 without bodies
//! ```
//! Two s3s services because s3s looks at a request only once, from signature to operation, and leaves no place between
//! the two where a verified request could be corrected: a signed header cannot be changed before the first and must
//! not be seen by the second.

mod answer;
mod auth;
mod buckets;
mod checksums;
mod chunked;
mod conditions;
mod copy;
mod copy_source;
mod cors;
mod deletes;
mod edge;
mod errors;
mod form;
mod form_policy;
mod form_post;
mod guard;
mod host;
mod interpret;
mod keepalive;
mod list;
mod multipart;
mod names;
mod objects;
mod parts;
mod public_access;
mod query;
mod range;
mod read;
mod refuse;
mod request;
mod service;
mod signed;
mod small_body;
mod tagging;
mod unconfigured;
mod upload;
mod versions;

use std::time::Duration;

pub use edge::{EdgeBody, S3Edge};
pub use service::OPERATIONS;

use crate::http::AdmissionOptions;

/// What the parsers of untrusted text do, for fuzzers: each takes bytes, must neither panic nor hang, and tells what
/// became of them.
pub mod fuzzing {
    pub use super::chunked::fuzz as chunked_frames;
    pub use super::copy_source::fuzz as copy_source;
    pub use super::form::fuzz as form;
    pub use super::form_policy::fuzz as form_policy;
    pub use super::guard::fuzz as guard;
    pub use super::range::fuzz as range;
    pub use super::tagging::fuzz as tagging_header;
}

/// Settings of an [`S3Edge`].
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The region that the cluster says it is. Scopes of signatures may name any (clients rarely know it).
    pub region: String,
    /// Domains under which `bucket.domain` names a bucket (virtual-hosted style), without port, lower case.
    pub domains: Vec<String>,
    /// Whether signature version 2 is accepted. Off by default: it does not cover the query or the payload.
    pub sigv2: bool,
    /// The largest XML document a request may carry, in bytes.
    pub document_bytes_max: usize,
    /// How long a metadata round, or the first byte of a body, may take.
    pub deadline: Duration,
    /// How long a client may be silent in the middle of its body.
    pub body_idle: Duration,
    /// A Copy or Complete that takes longer begins to answer, so that the client does not hang up.
    pub keepalive_after: Duration,
    /// The time between two spaces of such an answer.
    pub keepalive_every: Duration,
    /// How many requests and bytes are worked on at once.
    pub admission: AdmissionOptions,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            domains: Vec::new(),
            sigv2: false,
            document_bytes_max: 8 << 20,
            deadline: Duration::from_secs(20),
            body_idle: Duration::from_secs(30),
            keepalive_after: Duration::from_secs(10),
            keepalive_every: Duration::from_secs(5),
            admission: AdmissionOptions::default(),
        }
    }
}
