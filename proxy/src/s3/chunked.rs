//! The frames of `aws-chunked` bodies, in front of s3s.
//!
//! ```text
//! chunk   = size in hex [";chunk-signature=" 64 hex] CRLF  bytes  CRLF
//! body    = chunk* "0" [";chunk-signature=" …] CRLF [trailer lines] CRLF
//! ```
//! s3s keeps a whole chunk in memory before it hands on its first byte, and some clients send one chunk per object, of
//! gigabytes; it also takes a body that ends before its last chunk. So (MEM-1): unsigned chunks are cut into the pieces
//! in which they arrive; signed ones, which cannot be cut, are bounded; and a body must have exactly the promised
//! length and its end. Signatures stay s3s's business: signed bytes pass unchanged.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use s3s::StdError;

use super::request::Ticket;

/// The largest signed chunk in bytes; clients send 64 KiB to 1 MiB.
const SIGNED_CHUNK_BYTES_MAX: u64 = 16 << 20;
/// The longest line before a chunk, in bytes.
const LINE_BYTES_MAX: usize = 512;
/// The longest trailer, in bytes.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// What the guard found in the headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    /// Whether chunks are signed, and so pass unchanged.
    pub(crate) signed: bool,
    /// Whether a trailer follows the last chunk.
    pub(crate) trailer: bool,
    /// Bytes promised, without framing.
    pub(crate) decoded: u64,
}

/// Where in a body we are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the line before a chunk.
    Line(Vec<u8>),
    /// In a chunk's bytes.
    Data(u64),
    /// In the CRLF after a chunk; so many bytes of it were seen.
    AfterData(u8),
    /// After the last chunk; so many bytes of the trailer were seen.
    Trailer(usize),
}

impl Place {
    fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "a line",
            Self::Data(_) => "data",
            Self::AfterData(_) => "the end of a chunk",
            Self::Trailer(_) => "the trailer",
        }
    }
}

/// Reads frames; decides, and does no I/O.
#[derive(Debug)]
struct Frames {
    framing: Framing,
    place: Place,
    seen: u64,
}

/// The S3 code of what is wrong with a body.
type Fault = &'static str;

impl Frames {
    fn new(framing: Framing) -> Self {
        Self {
            framing,
            place: Place::Line(Vec::new()),
            seen: 0,
        }
    }

    /// Takes one piece of the body; adds what s3s shall see to `out`.
    fn take(&mut self, mut piece: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        if self.framing.signed {
            let mut rest = piece.clone();
            while rest.has_remaining() {
                self.step(&mut rest, &mut VecDeque::new())?;
            }
            out.push_back(piece);
            return Ok(());
        }
        while piece.has_remaining() {
            self.step(&mut piece, out)?;
        }
        Ok(())
    }

    /// One step: up to the next border within the piece.
    fn step(&mut self, piece: &mut Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        match &mut self.place {
            Place::Line(line) => {
                let end = piece.iter().position(|b| *b == b'\n').map_or(piece.len(), |at| at + 1);
                if line.len() + end > LINE_BYTES_MAX {
                    return Err("InvalidChunkSizeError");
                }
                line.extend_from_slice(&piece.split_to(end));
                if line.ends_with(b"\n") {
                    let size = chunk_size(line).ok_or("InvalidChunkSizeError")?;
                    self.begin(size, out)?;
                }
            }
            Place::Data(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                let data = piece.split_to(count);
                *left -= count as u64;
                if *left == 0 {
                    self.place = Place::AfterData(0);
                }
                if !self.framing.signed {
                    out.push_back(Bytes::from(format!("{:x}\r\n", data.len())));
                    out.push_back(data);
                    out.push_back(Bytes::from_static(b"\r\n"));
                }
            }
            Place::AfterData(seen) => {
                let expected = b"\r\n"[usize::from(*seen)];
                if piece.get_u8() != expected {
                    return Err("InvalidChunkSizeError");
                }
                *seen += 1;
                if *seen == 2 {
                    self.place = Place::Line(Vec::new());
                }
            }
            Place::Trailer(seen) => {
                *seen += piece.len();
                let allowed = if self.framing.trailer { TRAILER_BYTES_MAX } else { 2 };
                if *seen > allowed {
                    return Err("MalformedTrailerError");
                }
                out.push_back(std::mem::take(piece));
            }
        }
        Ok(())
    }

    /// Begins a chunk of `size` bytes.
    fn begin(&mut self, size: u64, out: &mut VecDeque<Bytes>) -> Result<(), Fault> {
        self.seen = self.seen.saturating_add(size);
        if self.seen > self.framing.decoded {
            return Err("IncompleteBody");
        }
        if self.framing.signed && size > SIGNED_CHUNK_BYTES_MAX {
            return Err("InvalidChunkSizeError");
        }
        if size == 0 {
            self.place = Place::Trailer(0);
            out.push_back(Bytes::from_static(b"0\r\n"));
        } else {
            self.place = Place::Data(size);
        }
        Ok(())
    }

    /// The body ended: was it whole?
    fn end(&self) -> Result<(), Fault> {
        let whole = matches!(self.place, Place::Trailer(_)) && self.seen == self.framing.decoded;
        if whole { Ok(()) } else { Err("IncompleteBody") }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let size = line.split(|b| *b == b';').next()?;
    if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

/// A body whose frames are checked while it passes.
pub(crate) struct Chunked<S> {
    inner: S,
    frames: Frames,
    out: VecDeque<Bytes>,
    ended: bool,
    ticket: Arc<Ticket>,
}

impl<S> Chunked<S> {
    /// Checks the frames of `inner`; a fault's code is left on the ticket.
    pub(crate) fn new(inner: S, framing: Framing, ticket: Arc<Ticket>) -> Self {
        Self {
            inner,
            frames: Frames::new(framing),
            out: VecDeque::new(),
            ended: false,
            ticket,
        }
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Bytes, StdError>>> {
        self.ended = true;
        self.out.clear();
        let _ = self.ticket.body_fault.set(fault);
        Poll::Ready(Some(Err(format!("aws-chunked body: {fault}").into())))
    }
}

impl<S: Stream<Item = Result<Bytes, StdError>> + Unpin> Stream for Chunked<S> {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let this = &mut *self;
            match ready!(this.inner.poll_next_unpin(cx)) {
                Some(Ok(piece)) => {
                    if let Err(fault) = this.frames.take(piece, &mut this.out) {
                        return this.fail(fault);
                    }
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => match this.frames.end() {
                    Ok(()) => this.ended = true,
                    Err(fault) => return this.fail(fault),
                },
            }
        }
    }
}

/// For the fuzzer: the first byte chooses the framing, the rest is a body in pieces.
pub fn fuzz(bytes: &[u8]) -> String {
    let Some((first, rest)) = bytes.split_first() else {
        return "nothing".to_owned();
    };
    let framing = Framing {
        signed: first & 1 == 1,
        trailer: first & 2 == 2,
        decoded: u64::from(first >> 2),
    };
    let mut frames = Frames::new(framing);
    let mut out = VecDeque::new();
    for piece in rest.chunks(usize::from(first % 7) + 1) {
        if let Err(fault) = frames.take(Bytes::copy_from_slice(piece), &mut out) {
            return format!("{fault} in {}", frames.place.name());
        }
    }
    if frames.end().is_ok() {
        assert_eq!(frames.seen, framing.decoded, "a whole body has the promised length");
        let passed: usize = out.iter().map(Bytes::len).sum();
        assert!(!framing.signed || passed == rest.len(), "signed bytes pass unchanged");
        return format!("whole, trailer: {}", framing.trailer);
    }
    format!("ended in {}", frames.place.name())
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
