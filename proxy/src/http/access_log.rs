//! One line and one set of numbers per request, when its answer's last byte is gone. No key, token or signature is in
//! them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::admission::Permit;
use super::server::ConnectionInfo;

/// Requests by operation and status.
const REQUESTS: &str = "halo_edge_requests_total";
/// Their durations, to the last byte of the answer.
const SECONDS: &str = "halo_edge_request_seconds";
/// Bytes of bodies taken.
const BYTES_IN: &str = "halo_edge_in_bytes_total";
/// Bytes of bodies given.
const BYTES_OUT: &str = "halo_edge_out_bytes_total";
/// Answers by error code.
const ERRORS: &str = "halo_edge_errors_total";

/// What an edge knows of a request once it is answered.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The request's id.
    pub id: String,
    /// The operation's name.
    pub operation: &'static str,
    /// Whose request it was.
    pub project: Option<String>,
    /// The error code answered.
    pub error: Option<String>,
    /// Body bytes taken from the client.
    pub bytes_in: u64,
}

/// A request's line in the making.
#[derive(Clone, Debug)]
pub struct LogLine {
    began: Instant,
    peer: Option<SocketAddr>,
    method: Method,
    status: StatusCode,
    first_byte: Duration,
    summary: Summary,
}

impl LogLine {
    /// Begins with the request.
    #[must_use]
    pub fn begin<B>(request: &Request<B>) -> Self {
        Self {
            began: Instant::now(),
            peer: request.extensions().get::<ConnectionInfo>().map(|info| info.peer),
            method: request.method().clone(),
            status: StatusCode::OK,
            first_byte: Duration::ZERO,
            summary: Summary::default(),
        }
    }

    /// Goes on with the answer's head.
    #[must_use]
    pub fn answered(self, status: StatusCode, summary: Summary) -> Self {
        Self {
            status,
            summary,
            first_byte: self.began.elapsed(),
            ..self
        }
    }

    fn end(&self, bytes_out: u64, whole: bool) {
        let Summary {
            id,
            operation,
            project,
            error,
            bytes_in,
        } = &self.summary;
        let took = self.began.elapsed();
        let status = self.status.as_u16();
        tracing::info!(
            target: "access",
            request = %id,
            peer = self.peer.map(tracing::field::display),
            method = %self.method,
            operation,
            project = project.as_deref().unwrap_or("-"),
            status,
            error = error.as_deref().unwrap_or("-"),
            bytes_in,
            bytes_out,
            whole,
            first_byte_ms = self.first_byte.as_secs_f64() * 1e3,
            took_ms = took.as_secs_f64() * 1e3,
        );
        metrics::counter!(REQUESTS, "operation" => *operation, "status" => status.to_string()).increment(1);
        metrics::histogram!(SECONDS, "operation" => *operation).record(took.as_secs_f64());
        metrics::counter!(BYTES_IN).increment(*bytes_in);
        metrics::counter!(BYTES_OUT).increment(bytes_out);
        if let Some(code) = error {
            metrics::counter!(ERRORS, "code" => code.clone()).increment(1);
        }
    }
}

/// An answer's body that writes the line when it ends, and holds the request's permit until then.
pub struct Logged<B> {
    inner: B,
    line: LogLine,
    bytes: u64,
    whole: bool,
    _permit: Option<Arc<Permit>>,
}

impl<B> Logged<B> {
    /// Watches `inner`.
    #[must_use]
    pub fn new(inner: B, line: LogLine, permit: Option<Arc<Permit>>) -> Self {
        Self {
            inner,
            line,
            bytes: 0,
            whole: false,
            _permit: permit,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Logged<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let poll = Pin::new(&mut self.inner).poll_frame(cx);
        match &poll {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
                self.whole = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.whole = true,
            _ => {}
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Logged<B> {
    fn drop(&mut self) {
        self.line.end(self.bytes, self.whole);
    }
}
