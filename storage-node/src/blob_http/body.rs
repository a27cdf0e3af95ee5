//! A body of known length in ready-made pieces: nothing is copied between the pieces and the socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The pieces, and what is held until the last of them was taken.
#[derive(Debug, Default)]
pub(super) struct PieceBody {
    pieces: VecDeque<Bytes>,
    left: u64,
    /// Bytes of a pool that are given back when the body is gone.
    held: Option<OwnedSemaphorePermit>,
}

impl PieceBody {
    pub(super) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            pieces,
            left,
            held: None,
        }
    }

    /// Keeps `permit` until the body is gone.
    pub(super) fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.held = Some(permit);
        self
    }
}

impl Body for PieceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
