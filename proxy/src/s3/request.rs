//! What travels beside a request: a ticket from its first byte on, a caller once its signature is verified.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use identity::AccessKey;
use identity::policy::Action;
use s3s::{Body, S3Request, S3Result, TrailingHeaders};
use store::{RequestContext, RequestId};

use super::conditions::Conditions;
use super::copy_source::SourceName;
use super::errors::error;
use super::range::ByteRange;
use crate::http::Summary;

/// One request, for its id, its log line and its metrics.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The id that the client is told and the store's commands derive from.
    pub(crate) id: RequestId,
    /// Why the body broke off, when a layer of ours saw it.
    pub(crate) body_fault: OnceLock<&'static str>,
    /// The operation, once known.
    pub(crate) operation: OnceLock<&'static str>,
    /// The project, once verified.
    pub(crate) project: OnceLock<String>,
    /// The error code that was answered.
    pub(crate) error: OnceLock<String>,
    /// Body bytes taken from the client.
    pub(crate) bytes_in: AtomicU64,
}

impl Ticket {
    /// A ticket for a new request.
    pub(crate) fn new(id: RequestId) -> Self {
        Self {
            id,
            body_fault: OnceLock::new(),
            operation: OnceLock::new(),
            project: OnceLock::new(),
            error: OnceLock::new(),
            bytes_in: AtomicU64::new(0),
        }
    }
}

/// A body of unknown length (`Transfer-Encoding: chunked`). s3s verifies signatures only of bodies whose length it knows,
/// so it is led past the verifying service, and its digest is checked here.
#[derive(Clone)]
pub(crate) struct Unmeasured(Arc<Mutex<Option<Body>>>);

impl Unmeasured {
    /// Keeps a body.
    pub(crate) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// Gives the body back, once.
    pub(crate) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request whose signature was verified: who asks, and the headers that are read here instead of by s3s.
pub(crate) struct Caller {
    /// The request.
    pub(crate) ticket: Arc<Ticket>,
    /// The store's view of it.
    pub(crate) cx: RequestContext,
    /// What it was signed with: whom the policy table is asked about.
    pub(crate) key: Arc<AccessKey>,
    /// What the policy table was asked for.
    pub(crate) action: OnceLock<Action>,
    /// `x-amz-expected-bucket-owner`.
    pub(crate) expected_owner: Option<String>,
    /// `x-amz-source-expected-bucket-owner`.
    pub(crate) expected_source_owner: Option<String>,
    /// `Range`, when it is one.
    pub(crate) range: Option<ByteRange>,
    /// `If-*`.
    pub(crate) conditions: Conditions,
    /// `x-amz-copy-source`.
    pub(crate) copy_source: Option<SourceName>,
    /// `x-amz-copy-source-if-*`.
    pub(crate) copy_conditions: Conditions,
    /// `Expires`, as it came.
    pub(crate) expires: Option<String>,
    /// `response-*`, as headers.
    pub(crate) overrides: http::HeaderMap,
    /// Trailers of an aws-chunked body, once it was read.
    pub(crate) trailers: Option<TrailingHeaders>,
    /// The payload's SHA-256, when s3s could not check it (a body of unknown length).
    pub(crate) payload: Option<[u8; 32]>,
    /// The host the client spoke to, for `Location`.
    pub(crate) host: String,
}

impl Caller {
    /// The caller of a request that came through `interpret`, and notes the operation on its ticket.
    pub(crate) fn of<T>(request: &S3Request<T>, operation: &'static str) -> S3Result<Arc<Self>> {
        let caller = request
            .extensions
            .get::<Arc<Self>>()
            .ok_or_else(|| error("InternalError"))?;
        let _ = caller.ticket.operation.set(operation);
        Ok(Arc::clone(caller))
    }

    /// Who acts.
    pub(crate) fn project(&self) -> &str {
        &self.cx.project
    }

    /// The project's name, for answers that show one.
    pub(crate) fn display_name(&self) -> &str {
        &self.key.display_name
    }

    /// Refuses an operation whose action the policy does not grant the caller in their own project, and remembers it for
    /// the buckets it is about.
    pub(crate) fn permit<T>(request: &S3Request<T>, action: Action) -> S3Result<()> {
        let caller = request
            .extensions
            .get::<Arc<Self>>()
            .ok_or_else(|| error("InternalError"))?;
        let _ = caller.action.set(action);
        caller.allow(action, caller.project())
    }

    /// Refuses unless the policy grants an action in a project.
    pub(crate) fn allow(&self, action: Action, project: &str) -> S3Result<()> {
        if self.key.may(action, project) {
            Ok(())
        } else {
            Err(error("AccessDenied"))
        }
    }
}

/// What a log line tells of a request.
pub(crate) fn summary(ticket: &Ticket) -> Summary {
    Summary {
        id: ticket.id.to_string(),
        operation: ticket.operation.get().copied().unwrap_or("-"),
        project: ticket.project.get().cloned(),
        error: ticket.error.get().cloned(),
        bytes_in: ticket.bytes_in.load(std::sync::atomic::Ordering::Relaxed),
    }
}
