//! The body of a PUT on its way from s3s to the store.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::StdError;
use s3s::dto::StreamingBlob;
use store::BodyError;

use super::errors::message;
use super::request::Ticket;
use crate::http::Stalled;

/// A body for the store. The last piece is handed on only after the stream has ended well: s3s finds a wrong signature
/// of the payload or of the last chunk after the last byte, and a reader that counts bytes would not wait for that.
pub(crate) fn body(stream: Option<StreamingBlob>, ticket: Arc<Ticket>) -> store::Body {
    match stream {
        Some(stream) => Box::pin(Held {
            stream,
            ticket,
            held: None,
            ended: false,
        }),
        None => futures::stream::empty().boxed(),
    }
}

struct Held {
    stream: StreamingBlob,
    ticket: Arc<Ticket>,
    held: Option<Bytes>,
    ended: bool,
}

impl Stream for Held {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(self.held.take().map(Ok));
            }
            match ready!(self.stream.poll_next_unpin(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.ticket.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    if let Some(earlier) = self.held.replace(bytes) {
                        return Poll::Ready(Some(Ok(earlier)));
                    }
                }
                Some(Err(error)) => {
                    self.held = None;
                    self.ended = true;
                    return Poll::Ready(Some(Err(body_error(&error, &self.ticket))));
                }
                None => self.ended = true,
            }
        }
    }
}

/// Why a body broke off, in S3's words. Layers of ours leave their code on the ticket; s3s's error types are private, so
/// their names are looked for in their text.
pub(crate) fn body_error(error: &StdError, ticket: &Ticket) -> BodyError {
    let code = ticket.body_fault.get().copied().unwrap_or_else(|| {
        if stalled(error) {
            return "RequestTimeout";
        }
        let text = error.to_string();
        let known = [
            ("SignatureMismatch", "SignatureDoesNotMatch"),
            ("Sha256Mismatch", "XAmzContentSHA256Mismatch"),
            ("LengthMismatch", "IncompleteBody"),
            ("TrailersTooLarge", "MalformedTrailerError"),
            ("TooManyTrailerHeaders", "MalformedTrailerError"),
            ("ChunkMetaTooLarge", "InvalidChunkSizeError"),
        ];
        known
            .iter()
            .find(|(name, _)| text.contains(name))
            .map_or("IncompleteBody", |(_, code)| code)
    });
    BodyError {
        code,
        message: message(code).to_owned(),
    }
}

fn stalled(error: &StdError) -> bool {
    let first: &(dyn std::error::Error + 'static) = error.as_ref();
    std::iter::successors(Some(first), |cause| cause.source()).any(|cause| cause.is::<Stalled>())
}
