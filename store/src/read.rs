//! From an opened object to a stream of verified bytes.
//!
//! A range is cut into slices; a few are fetched ahead of the one that is sent, as long as the readers' pool has memory
//! that nobody waits for. Only the slice that is next waits for memory, so a slow client holds little and a full pool
//! delays readers but never stops them. Bytes on their way to the client keep their share of the pool.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use metadata::ids::MultipartId;
use metadata::model::{Body as BodyPlace, PartRow, Stream};
use storage_node::client::{chunk_key, chunk_len};
use storage_node::device::FRAME_BYTES;
use tokio_util::task::AbortOnDropHandle;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::fetch::Slice;
use crate::object::ObjectReader;
use crate::pool::Share;
use crate::request::BodyStream;
use crate::store::Store;

/// Part rows of a multipart object fetched at once.
const PARTS_PAGE: usize = 64;

/// Bytes of a stream that are still to be read.
#[derive(Clone, Debug)]
struct Segment {
    stream: Stream,
    range: Range<u64>,
}

/// What a body consists of.
enum Source {
    /// At most one stream.
    One(Option<Segment>),
    /// Parts of a multipart object.
    Parts(PartsSource),
}

struct PartsSource {
    upload: MultipartId,
    /// Numbers of the parts wanted and the bytes of each.
    wanted: VecDeque<(u16, Range<u64>)>,
    /// Rows fetched for the parts at the front of `wanted`.
    rows: VecDeque<PartRow>,
}

/// A body on its way out.
struct Reading {
    store: Store,
    cx: RequestContext,
    bucket: Bucket,
    source: Source,
    current: Option<Segment>,
    next: Option<Slice>,
    fetching: VecDeque<AbortOnDropHandle<Result<Bytes, StoreError>>>,
}

impl ObjectReader {
    /// The bytes `range` of the object; what lies beyond its end is cut off. The bytes are read when the stream is
    /// polled, and then ahead of it. After an error the stream ends: a body is cut, never continued with other bytes.
    #[must_use]
    pub fn read(self, range: Range<u64>) -> BodyStream {
        let size = self.head.object.size;
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Box::pin(futures::stream::empty());
        }
        let source = match &self.head.object.body {
            BodyPlace::Inline => return inline(self.inline, &range, size),
            BodyPlace::Stream(stream) => Source::One(Some(Segment {
                stream: stream.clone(),
                range,
            })),
            BodyPlace::Manifest(upload) => {
                let parts = self.manifest.iter().flat_map(|manifest| &manifest.parts);
                Source::Parts(PartsSource {
                    upload: *upload,
                    wanted: overlapping(parts.copied(), &range),
                    rows: VecDeque::new(),
                })
            }
        };
        let reading = Reading {
            store: self.store,
            cx: self.cx,
            bucket: self.bucket,
            source,
            current: None,
            next: None,
            fetching: VecDeque::new(),
        };
        Box::pin(futures::stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.advance().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

fn inline(bytes: Option<Bytes>, range: &Range<u64>, size: u64) -> BodyStream {
    let bytes = bytes.filter(|bytes| bytes.len() as u64 == size);
    let bytes = bytes.ok_or_else(|| StoreError::Internal("an inline object came without its bytes".into()));
    // An inline object's size fits a usize, and the range lies within it.
    let range = range.start as usize..range.end as usize;
    Box::pin(futures::stream::iter([bytes.map(|bytes| bytes.slice(range))]))
}

/// The parts that overlap `range`, and the bytes wanted of each.
fn overlapping(parts: impl Iterator<Item = (u16, u64)>, range: &Range<u64>) -> VecDeque<(u16, Range<u64>)> {
    let mut wanted = VecDeque::new();
    let mut start = 0;
    for (number, size) in parts {
        let within = range.start.max(start)..range.end.min(start + size);
        if !within.is_empty() {
            wanted.push_back((number, within.start - start..within.end - start));
        }
        start += size;
    }
    wanted
}

impl Reading {
    /// The next bytes of the body.
    async fn advance(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.fetch_ahead().await?;
        let Some(first) = self.fetching.pop_front() else {
            return Ok(None);
        };
        let bytes = first
            .await
            .map_err(|_| StoreError::Internal("a reading task stopped".into()))??;
        Ok(Some(bytes))
    }

    async fn fetch_ahead(&mut self) -> Result<(), StoreError> {
        while self.fetching.len() <= self.store.inner.options.read_ahead {
            let slice = match self.next.take() {
                Some(slice) => slice,
                None => match self.next_slice().await? {
                    Some(slice) => slice,
                    None => return Ok(()),
                },
            };
            let Some(memory) = self.memory(&slice).await? else {
                self.next = Some(slice);
                return Ok(());
            };
            let (store, cx, bucket) = (self.store.clone(), self.cx.clone(), self.bucket.clone());
            self.fetching.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                let bytes = store.fetch(&cx, &bucket, &slice).await?;
                Ok(memory.attach(bytes))
            })));
        }
        Ok(())
    }

    /// Memory for a slice: waited for when the slice is next, taken only when it is free for one read ahead.
    async fn memory(&self, slice: &Slice) -> Result<Option<Share>, StoreError> {
        let pool = &self.store.inner.read_pool;
        let bytes = match self.store.inner.code(slice.policy) {
            // Whole frames are read.
            None => slice.range.len() + FRAME_BYTES,
            // Of each fragment; and what comes is joined, or decoded from k of them.
            Some(code) => 2 * slice.range.len() + code.data() * FRAME_BYTES,
        };
        if self.fetching.is_empty() {
            return pool
                .acquire(bytes, self.store.inner.options.pool_wait_begun)
                .await
                .map(Some);
        }
        Ok(pool.try_acquire(bytes))
    }

    async fn next_slice(&mut self) -> Result<Option<Slice>, StoreError> {
        loop {
            if let Some(segment) = &mut self.current
                && let Some(slice) = segment.cut(self.store.slice_bytes(&segment.stream))
            {
                return Ok(Some(slice));
            }
            self.current = match &mut self.source {
                Source::One(segment) => segment.take(),
                Source::Parts(_) => self.next_part().await?,
            };
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }

    async fn next_part(&mut self) -> Result<Option<Segment>, StoreError> {
        let Source::Parts(parts) = &mut self.source else {
            return Ok(None);
        };
        let Some((number, range)) = parts.wanted.pop_front() else {
            return Ok(None);
        };
        if parts.rows.is_empty() {
            let after = number.saturating_sub(1);
            let limit = PARTS_PAGE.min(parts.wanted.len() + 1);
            let (rows, _) = self
                .store
                .parts_page(&self.cx, &self.bucket, parts.upload, after, limit)
                .await?;
            parts.rows = rows.into();
        }
        match parts.rows.pop_front() {
            Some(row) if row.number == number => Ok(Some(Segment {
                stream: row.stream,
                range,
            })),
            // The object was deleted while it was read.
            _ => Err(StoreError::NoSuchKey),
        }
    }
}

impl Store {
    /// The most bytes of one slice: a whole chunk of an erasure coded stream, so that all its data fragments are read at
    /// once and none is read twice when one of them is missing.
    fn slice_bytes(&self, stream: &Stream) -> u32 {
        match self.inner.code(stream.policy) {
            None => self.inner.options.read_slice_bytes,
            Some(_) => stream.chunk_bytes.max(1),
        }
    }
}

impl Segment {
    /// Takes the next slice off the front: at most `slice_bytes`, within one chunk.
    fn cut(&mut self, slice_bytes: u32) -> Option<Slice> {
        if self.range.is_empty() {
            return None;
        }
        let chunk_bytes = u64::from(self.stream.chunk_bytes.max(1));
        let chunk = u32::try_from(self.range.start / chunk_bytes).ok()?;
        let chunk_start = u64::from(chunk) * chunk_bytes;
        let chunk_len = chunk_len(&self.stream, chunk);
        // All three lie within one chunk, whose length is a u32.
        let start = (self.range.start - chunk_start) as u32;
        let chunk_end = (self.range.end - chunk_start).min(u64::from(chunk_len)) as u32;
        // Slices end at multiples of their size, so that a frame is read once.
        let slice_end = (start / slice_bytes + 1).saturating_mul(slice_bytes).min(chunk_end);
        if slice_end <= start {
            return None;
        }
        self.range.start = chunk_start + u64::from(slice_end);
        let key = chunk_key(&self.stream, chunk);
        Some(Slice {
            key,
            chunk_len,
            range: start..slice_end,
            policy: self.stream.policy,
            ring_version: self.stream.ring_version,
        })
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
