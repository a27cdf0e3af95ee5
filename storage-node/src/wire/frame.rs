//! One call or answer as bytes on a connection.
//!
//! ```text
//! length 4 LE (of all that follows, at most 16 + CALL_BYTES_MAX)
//! correlation 8 LE | kind 2 LE | flags 2 LE | deadline 4 LE (milliseconds, calls only) | body
//! ```
//! Flags: 1 = an answer; 2 = the kind is unknown here; 4 = not executed, too many calls wait.
//! The format's version is agreed in the handshake (see [`super::handshake`]).

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::LengthDelimitedCodec;

use super::CALL_BYTES_MAX;

/// Header bytes behind the length.
pub(super) const HEADER_BYTES: usize = 16;

/// Bodies up to this size are copied beside their header, so that many small frames make one contiguous write.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The frame is an answer.
pub(super) const ANSWER: u16 = 1;
/// The answerer does not know the kind of call.
pub(super) const UNKNOWN: u16 = 2;
/// The answerer had no room for the call and did not execute it.
pub(super) const BUSY: u16 = 4;

/// One call or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Chosen by the caller; the answer repeats it.
    pub(super) correlation: u64,
    /// Number of the [`super::CallKind`].
    pub(super) kind: u16,
    /// See above.
    pub(super) flags: u16,
    /// How long the caller waits.
    pub(super) deadline_ms: u32,
    /// What the services say to each other.
    pub(super) body: Bytes,
}

impl Frame {
    /// Reads what follows the length; `None` when it is shorter than a header.
    pub(super) fn decode(mut bytes: BytesMut) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let mut header = bytes.split_to(HEADER_BYTES);
        Some(Self {
            correlation: header.get_u64_le(),
            kind: header.get_u16_le(),
            flags: header.get_u16_le(),
            deadline_ms: header.get_u32_le(),
            body: bytes.freeze(),
        })
    }
}

/// Cuts a stream of bytes into frames and refuses oversized ones before they are read.
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_type::<u32>()
        .max_frame_length(HEADER_BYTES + CALL_BYTES_MAX)
        .new_codec()
}

/// Frames on their way into one write.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    ready: VecDeque<Bytes>,
    small: BytesMut,
}

impl FrameQueue {
    /// Appends a frame.
    pub(super) fn push(&mut self, frame: &Frame) {
        let length = u32::try_from(HEADER_BYTES + frame.body.len()).expect("bodies are at most CALL_BYTES_MAX");
        self.small.put_u32_le(length);
        self.small.put_u64_le(frame.correlation);
        self.small.put_u16_le(frame.kind);
        self.small.put_u16_le(frame.flags);
        self.small.put_u32_le(frame.deadline_ms);
        if frame.body.len() <= COPY_BYTES_MAX {
            self.small.extend_from_slice(&frame.body);
        } else {
            self.close_small();
            self.ready.push_back(frame.body.clone());
        }
    }

    /// Must be called once before the queue is written.
    pub(super) fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.ready.push_back(self.small.split().freeze());
        }
    }
}

impl Buf for FrameQueue {
    fn remaining(&self) -> usize {
        self.ready.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.ready.front().map_or(&[], |bytes| bytes)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.ready) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let front = self.ready.front_mut().expect("never advanced beyond what remains");
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.ready.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::codec::Decoder;

    use super::*;

    #[test]
    fn frames_of_all_sizes_survive_the_way() {
        let frames: Vec<Frame> = [0, 1, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 3 * COPY_BYTES_MAX]
            .iter()
            .enumerate()
            .map(|(at, &len)| Frame {
                correlation: at as u64 + 5,
                kind: 16,
                flags: ANSWER,
                deadline_ms: 9,
                body: vec![at as u8; len].into(),
            })
            .collect();
        let mut queue = FrameQueue::default();
        frames.iter().for_each(|frame| queue.push(frame));
        queue.close_small();
        let mut wire = BytesMut::new();
        while queue.has_remaining() {
            let part = queue.chunk().len().min(1000);
            wire.extend_from_slice(&queue.chunk()[..part]);
            queue.advance(part);
        }
        let mut codec = codec();
        for frame in frames {
            let bytes = codec.decode(&mut wire).unwrap().unwrap();
            assert_eq!(Frame::decode(bytes), Some(frame));
        }
        assert!(wire.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
        let mut wire = BytesMut::from(&(u32::MAX).to_le_bytes()[..]);
        assert!(codec().decode(&mut wire).is_err());
        assert_eq!(Frame::decode(BytesMut::from(&[0; 15][..])), None);
    }
}
