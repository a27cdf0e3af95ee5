//! Copies and Completes that take long: the answer begins before the work ends, so that the client does not hang up.
//!
//! ```text
//! at once   nothing; what ends within `Timing::after` is answered with its own status and headers
//! later     200, `<?xml …?>`, a space every `Timing::every`, and at last the document, an error's as well
//! ```
//! That is AWS's own way; clients look for an error inside the 200.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::{Body, S3Error, S3Result, StdError};
use tokio::time::{Interval, MissedTickBehavior};

use super::answer;
use super::errors::error;
use super::request::Ticket;

/// The first line of every document.
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// When an answer begins without its end being known, and how it is kept going.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// So long the true answer is waited for.
    pub(crate) after: Duration,
    /// The time between two spaces.
    pub(crate) every: Duration,
}

type Answer = Pin<Box<dyn Future<Output = S3Result<Response<Body>>> + Send>>;

/// Answers with what `work` gives, or begins to answer when it takes long.
pub(crate) async fn answer(
    work: impl Future<Output = S3Result<Response<Body>>> + Send + 'static,
    timing: &Timing,
    ticket: &Arc<Ticket>,
) -> S3Result<Response<Body>> {
    let mut work: Answer = Box::pin(work);
    if let Ok(done) = tokio::time::timeout(timing.after, &mut work).await {
        return done;
    }
    let mut interval = tokio::time::interval(timing.every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Waiting {
        work,
        interval,
        begun: false,
        ended: false,
        ticket: ticket.clone(),
    };
    let mut response = Response::new(Body::http_body_unsync(StreamBody::new(stream)));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

struct Waiting {
    work: Answer,
    interval: Interval,
    begun: bool,
    ended: bool,
    ticket: Arc<Ticket>,
}

impl Stream for Waiting {
    type Item = Result<Frame<Bytes>, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !self.begun {
            self.begun = true;
            self.interval.reset();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(DECLARATION.as_bytes())))));
        }
        if let Poll::Ready(done) = self.work.as_mut().poll(cx) {
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::data(document(done, &self.ticket)))));
        }
        match self.interval.poll_tick(cx) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" "))))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The document without its declaration.
fn document(done: S3Result<Response<Body>>, ticket: &Ticket) -> Bytes {
    let response = done.unwrap_or_else(|cause: S3Error| {
        let internal = || Response::new(Body::empty());
        cause.to_http_response().unwrap_or_else(|_| internal())
    });
    let failed = response.status().as_u16() >= 400;
    let Some(bytes) = response.into_body().bytes() else {
        tracing::error!("a document was not in memory");
        return answer::error_document(&error("InternalError"), "", ticket);
    };
    let bytes = if failed {
        answer::completed(&bytes, "", ticket)
    } else {
        bytes
    };
    match bytes.strip_prefix(DECLARATION.as_bytes()) {
        Some(rest) => bytes.slice_ref(rest.trim_ascii_start()),
        None => bytes,
    }
}

#[cfg(test)]
#[path = "keepalive_tests.rs"]
mod tests;
