//! Cuts a body into chunks, and holds it to its declared length.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use storage_node::device::Pieces;

use crate::error::StoreError;
use crate::request::{Body, BodyStream};

/// Pieces of at least this many bytes are passed on as they came; smaller ones are gathered in a buffer, so that a body
/// in tiny pieces costs no more memory than its bytes.
const WHOLE_PIECE_BYTES: usize = 16 * 1024;
/// The size of such a buffer.
const GATHER_BYTES: usize = 64 * 1024;

/// Where the bytes come from.
pub(crate) enum Input {
    /// A client.
    Client(Body),
    /// Another object of the cluster.
    Copy(BodyStream),
}

impl Input {
    async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        match self {
            Self::Client(body) => body.next().await.map(|piece| piece.map_err(StoreError::from)),
            Self::Copy(body) => body.next().await,
        }
    }
}

/// A body that is being cut.
pub(crate) struct Cutter {
    input: Input,
    declared: Option<u64>,
    bytes_max: u64,
    /// What came with the last chunk and belongs to the next one.
    rest: Bytes,
    /// Bytes that came in, `rest` included.
    taken: u64,
    ended: bool,
}

impl Cutter {
    /// # Errors
    /// [`StoreError::EntityTooLarge`] when the declared length is above `bytes_max`.
    pub(crate) fn new(input: Input, declared: Option<u64>, bytes_max: u64) -> Result<Self, StoreError> {
        if declared.is_some_and(|length| length > bytes_max) {
            return Err(StoreError::EntityTooLarge);
        }
        Ok(Self {
            input,
            declared,
            bytes_max,
            rest: Bytes::new(),
            taken: 0,
            ended: false,
        })
    }

    /// True when the last byte was given out and the body ended as it should.
    pub(crate) fn ended(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// The most bytes the next chunk can have.
    pub(crate) fn upper_bound(&self, chunk_bytes: usize) -> usize {
        let left = self
            .declared
            .map(|length| length.saturating_sub(self.taken) + self.rest.len() as u64);
        left.map_or(chunk_bytes, |left| {
            usize::try_from(left).unwrap_or(usize::MAX).min(chunk_bytes)
        })
    }

    /// The next chunk: exactly `chunk_bytes`, or less at the body's end. The chunk that completes the declared length
    /// is given out only after the body ended there without an error, because trailers may still refuse it.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`], [`StoreError::EntityTooLarge`], and the body's own.
    pub(crate) async fn chunk(&mut self, chunk_bytes: usize) -> Result<Pieces, StoreError> {
        let mut gathered = Gathered::new(self.upper_bound(chunk_bytes));
        let rest = std::mem::take(&mut self.rest);
        self.give(rest, &mut gathered, chunk_bytes);
        while !self.ended && (gathered.len() < chunk_bytes || self.complete()) {
            match self.input.next().await {
                Some(piece) => {
                    let piece = piece?;
                    self.count(piece.len())?;
                    self.give(piece, &mut gathered, chunk_bytes);
                }
                None => self.end()?,
            }
        }
        Ok(gathered.finish())
    }

    /// True when all declared bytes came in, so that only the body's end may follow.
    fn complete(&self) -> bool {
        self.declared == Some(self.taken)
    }

    fn count(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.taken += bytes as u64;
        if self.declared.is_some_and(|length| self.taken > length) {
            return Err(StoreError::IncompleteBody);
        }
        if self.taken > self.bytes_max {
            return Err(StoreError::EntityTooLarge);
        }
        Ok(())
    }

    fn give(&mut self, mut piece: Bytes, gathered: &mut Gathered, chunk_bytes: usize) {
        let room = chunk_bytes.saturating_sub(gathered.len());
        if piece.len() > room {
            self.rest = piece.split_off(room);
        }
        gathered.push(piece);
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.ended = true;
        match self.declared {
            Some(length) if length != self.taken => Err(StoreError::IncompleteBody),
            _ => Ok(()),
        }
    }
}

/// A chunk that is being filled.
struct Gathered {
    pieces: Pieces,
    small: BytesMut,
    bytes_max: usize,
}

impl Gathered {
    fn new(bytes_max: usize) -> Self {
        Self {
            pieces: Pieces::default(),
            small: BytesMut::new(),
            bytes_max,
        }
    }

    fn len(&self) -> usize {
        self.pieces.len() + self.small.len()
    }

    fn push(&mut self, piece: Bytes) {
        if piece.len() >= WHOLE_PIECE_BYTES {
            self.close_small();
            self.pieces.push(piece);
            return;
        }
        if self.small.len() + piece.len() > GATHER_BYTES {
            self.close_small();
        }
        if self.small.capacity() == 0 && !piece.is_empty() {
            self.small.reserve(
                GATHER_BYTES
                    .min(self.bytes_max.saturating_sub(self.pieces.len()))
                    .max(piece.len()),
            );
        }
        self.small.extend_from_slice(&piece);
    }

    fn close_small(&mut self) {
        self.pieces.push(std::mem::take(&mut self.small).freeze());
    }

    fn finish(mut self) -> Pieces {
        self.close_small();
        self.pieces
    }
}

#[cfg(test)]
#[path = "cutter_tests.rs"]
mod tests;
