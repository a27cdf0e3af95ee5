//! Request bodies of clients that stop sending, or send so slowly that it is as good as stopping.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// The least that a client sends between two looks, in bytes.
const BYTES_PER_LOOK_MIN: u64 = 1024;

/// The client was silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("client stalled")]
pub struct Stalled;

/// A body that fails when its sender is silent for `idle`, or sends less than a KiB in four times that.
pub struct Stalling<B> {
    inner: B,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    look: Option<(Instant, u64)>,
    failed: bool,
}

impl<B> Stalling<B> {
    /// Watches `inner`.
    #[must_use]
    pub fn new(inner: B, idle: Duration) -> Self {
        Self {
            inner,
            idle,
            silence: Box::pin(tokio::time::sleep(idle)),
            look: None,
            failed: false,
        }
    }

    /// Counts what came; false when it is too little for too long.
    fn keeps_up(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        self.silence.as_mut().reset(now + self.idle);
        let (since, seen) = self.look.unwrap_or((now, 0));
        let seen = seen + bytes as u64;
        if now.duration_since(since) < self.idle * 4 {
            self.look = Some((since, seen));
            return true;
        }
        self.look = Some((now, 0));
        seen >= BYTES_PER_LOOK_MIN
    }
}

impl<B> Body for Stalling<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                if self.keeps_up(bytes) {
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            Poll::Ready(other) => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                if self.silence.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        self.failed = true;
        Poll::Ready(Some(Err(Box::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[path = "stalling_tests.rs"]
mod tests;
