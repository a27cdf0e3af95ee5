//! The body of a PUT: one block of random bytes, sent as often as the size asks for, never copied.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use clock::Dice;
use hyper::body::{Body, Frame, SizeHint};

/// The block that is repeated.
const BLOCK_BYTES: usize = 1024 * 1024;

/// A body of known length.
#[derive(Clone, Debug)]
pub struct Payload {
    block: Bytes,
    left: u64,
}

impl Payload {
    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            block: Bytes::new(),
            left: 0,
        }
    }

    /// A given body.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self {
            left: bytes.len() as u64,
            block: bytes,
        }
    }

    /// A random body of `size` bytes; clones share the block.
    #[must_use]
    pub fn random(size: u64, dice: &dyn Dice) -> Self {
        let block = usize::try_from(size).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let mut bytes = vec![0; block];
        dice.fill(&mut bytes);
        Self {
            block: Bytes::from(bytes),
            left: size,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.left
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.block.len());
        self.left -= take as u64;
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..take)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SeededDice;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_longer_than_its_block_has_its_exact_length() {
        let size = 2 * BLOCK_BYTES as u64 + 17;
        let payload = Payload::random(size, &SeededDice::new(1));
        assert_eq!(payload.size_hint().exact(), Some(size));
        let sent = payload.collect().await.expect("infallible").to_bytes();
        assert_eq!(sent.len() as u64, size);
    }
}
