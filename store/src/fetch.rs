//! Reads one slice of one chunk from the nearest good copy.
//!
//! Aim: one device's time for the reader, spread load for the cluster, and never a bad byte (INT-1).
//! 1. A replica in this process is read first, then primaries whose node is thought to be up, in an order that depends
//!    on the chunk, then the other primaries, then handoffs, then every other device of the ring. While the ring changes,
//!    primaries of both rings come first, then those of the new one, then those of the one before, and behind the
//!    handoffs the holders that the shard has on record.
//! 2. A copy that fails, is absent or does not verify is followed by the next at once; one that is slow gets company
//!    after the hedge delay. The first good one wins.
//! 3. When all have failed and one could not be reached, the bytes may still be there: not available. When all have
//!    answered, the shard is asked whether the stream still lives: a deleted one is gone, a live one is lost.
//!
//! Erasure coded chunks are read by `fragments`.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metadata::ids::DeviceId;
use metadata::query::{Found, Life, Query};
use storage_node::client::{BlobError, DataPlane};
use storage_node::device::{BlobKey, BlobSlice};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::findings::Finding;
use crate::metrics::{ABSENT_COPIES, CORRUPT_COPIES, HEDGED_READS, LOST_READS, READ_BYTES};
use crate::placement::Placement;
use crate::store::Store;

/// Copies of one slice asked at once.
const ASKED_AT_ONCE: usize = 3;

/// A part of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) key: BlobKey,
    /// The chunk's length in bytes.
    pub(crate) chunk_len: u32,
    /// The bytes wanted, within the chunk and not empty.
    pub(crate) range: Range<u32>,
    pub(crate) policy: metadata::model::PolicyId,
    /// The ring that placed it; a reader that knows only older ones waits a moment.
    pub(crate) ring_version: u64,
}

/// What was learned about copies on the way.
#[derive(Default)]
pub(crate) struct Learned {
    pub(crate) bad: Vec<DeviceId>,
    unreachable: Option<BlobError>,
}

impl Store {
    /// The slice's bytes, verified.
    pub(crate) async fn fetch(&self, cx: &RequestContext, bucket: &Bucket, slice: &Slice) -> Result<Bytes, StoreError> {
        let mut placement = self.placement_since(slice.policy, slice.ring_version).await?;
        loop {
            let outcome = match placement.code() {
                None => self.fetch_placed(cx, bucket, slice, &placement).await,
                Some(code) => self.fetch_fragments(cx, bucket, slice, &placement, code).await,
            };
            let now = self.inner.placement(slice.policy)?;
            // A ring that came meanwhile may have moved what was looked for.
            if !matches!(outcome, Err(StoreError::Lost)) || now.ring_version() == placement.ring_version() {
                return outcome;
            }
            placement = now;
        }
    }

    async fn fetch_placed(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        slice: &Slice,
        placement: &Arc<Placement>,
    ) -> Result<Bytes, StoreError> {
        let data = &self.inner.planes.data;
        let mut sources = Sources::new(placement, &**data, slice.key);
        let mut learned = Learned::default();
        let mut asked = FuturesUnordered::new();
        asked.extend(sources.next().map(|device| self.ask(device, slice)));
        let hedge_delay = self.inner.options.hedge_delay;
        let mut hedge = pin!(tokio::time::sleep(hedge_delay));
        loop {
            if asked.is_empty() {
                return self
                    .none_is_good(cx, bucket, placement, slice, learned, &sources.known)
                    .await;
            }
            tokio::select! {
                Some((device, answer)) = asked.next() => match answer {
                    Ok(bytes) => {
                        metrics::counter!(READ_BYTES).increment(bytes.len() as u64);
                        if !learned.bad.is_empty() {
                            self.tell_bad(bucket, placement, slice, learned.bad, Some(device));
                        }
                        return Ok(bytes);
                    }
                    Err(error) => {
                        learned.note(device, error, placement, slice.key);
                        if let Some(device) = sources.next() {
                            asked.push(self.ask(device, slice));
                        }
                    }
                },
                () = &mut hedge, if asked.len() < ASKED_AT_ONCE => {
                    hedge.as_mut().reset(Instant::now() + hedge_delay);
                    if let Some(device) = sources.next() {
                        metrics::counter!(HEDGED_READS).increment(1);
                        asked.push(self.ask(device, slice));
                    }
                }
            }
        }
    }

    pub(crate) async fn ask(&self, device: DeviceId, slice: &Slice) -> (DeviceId, Result<Bytes, BlobError>) {
        let deadline = self.inner.options.read_deadline;
        let answer = self
            .inner
            .planes
            .data
            .read_blob(device, slice.key, slice.range.clone(), deadline)
            .await;
        (device, answer.and_then(|found| verified(device, slice, &found)))
    }

    /// Has the chunk's bad copies repaired; `good` served it.
    pub(crate) fn tell_bad(
        &self,
        bucket: &Bucket,
        placement: &Arc<Placement>,
        slice: &Slice,
        bad: Vec<DeviceId>,
        good: Option<DeviceId>,
    ) {
        let (shard, placement) = (bucket.info.shard, placement.clone());
        self.inner.findings.tell(Finding {
            shard,
            placement,
            key: slice.key,
            len: slice.chunk_len,
            bad,
            good,
        });
    }

    async fn none_is_good(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        placement: &Arc<Placement>,
        slice: &Slice,
        learned: Learned,
        asked: &[DeviceId],
    ) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.ask_recorded(cx, bucket, slice, asked).await {
            return Ok(bytes);
        }
        Err(self.no_good_copy(cx, bucket, placement, slice, learned).await)
    }

    /// Why nothing could be read after everybody was asked.
    pub(crate) async fn no_good_copy(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        placement: &Arc<Placement>,
        slice: &Slice,
        learned: Learned,
    ) -> StoreError {
        if let Some(error) = learned.unreachable {
            return StoreError::Unavailable(error.to_string());
        }
        let query = Query::Lives {
            writes: vec![slice.key.id.write],
        };
        match self.query(cx, bucket.info.shard, query).await {
            Ok(Found::Lives(lives)) if lives.first() == Some(&Life::Referenced) => {
                metrics::counter!(LOST_READS).increment(1);
                tracing::error!(blob = %slice.key.id, bucket = %bucket.info.id, "no good copy of a chunk is left");
                self.tell_bad(bucket, placement, slice, learned.bad, None);
                StoreError::Lost
            }
            // Deleted while it was read.
            Ok(_) => StoreError::NoSuchKey,
            Err(error) => error,
        }
    }

    /// The bytes from a holder that the shard has on record and nobody asked yet: the exceptions to the ring.
    async fn ask_recorded(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        slice: &Slice,
        asked: &[DeviceId],
    ) -> Option<Bytes> {
        let recorded = self.recorded(cx, bucket, slice).await;
        for device in recorded.into_iter().filter(|device| !asked.contains(device)) {
            if let (_, Ok(bytes)) = self.ask(device, slice).await {
                return Some(bytes);
            }
        }
        None
    }

    /// The holders of a chunk that the shard has on record.
    pub(crate) async fn recorded(&self, cx: &RequestContext, bucket: &Bucket, slice: &Slice) -> Vec<DeviceId> {
        let (write, chunk) = (slice.key.id.write, slice.key.id.number());
        let found = self.query(cx, bucket.info.shard, Query::ShortOf { write }).await;
        let Ok(Found::ShortOf(ranges)) = found else {
            return Vec::new();
        };
        let range = ranges
            .into_iter()
            .find(|range| (range.first..range.first + range.count).contains(&chunk));
        range.map(|range| range.devices).unwrap_or_default()
    }
}

impl Learned {
    pub(crate) fn note(&mut self, device: DeviceId, error: BlobError, placement: &Placement, key: BlobKey) {
        match error {
            BlobError::Corrupt(_) | BlobError::BadFrames(_) => {
                metrics::counter!(CORRUPT_COPIES).increment(1);
                tracing::warn!(%device, blob = %key.id, "a damaged copy was met and not served");
                self.bad.push(device);
            }
            BlobError::Absent(_) => {
                // A device that the ring has just named may still wait for its copy.
                if placement.owes(device, key) {
                    metrics::counter!(ABSENT_COPIES).increment(1);
                    self.bad.push(device);
                }
            }
            BlobError::Refused(..) | BlobError::Unreachable(..) => self.unreachable = Some(error),
        }
    }
}

/// INT-1: the bytes asked for, if the device sent the right blob and every frame verifies.
fn verified(device: DeviceId, slice: &Slice, found: &BlobSlice) -> Result<Bytes, BlobError> {
    let right = found.key == slice.key && found.header.len == slice.chunk_len && found.verify().is_ok();
    let bytes = if right {
        found.bytes(slice.range.clone())
    } else {
        Bytes::new()
    };
    if bytes.len() == slice.range.len() {
        Ok(bytes)
    } else {
        Err(BlobError::Corrupt(device))
    }
}

/// The devices to ask, best first. Each stage is made when the one before is used up.
struct Sources<'a> {
    placement: &'a Arc<Placement>,
    data: &'a dyn DataPlane,
    key: BlobKey,
    /// Given out or in `ready`.
    known: Vec<DeviceId>,
    ready: std::vec::IntoIter<DeviceId>,
    stage: Stage,
}

enum Stage {
    Primaries,
    /// Those of the ring before.
    Before,
    Handoffs,
    Others,
}

impl<'a> Sources<'a> {
    fn new(placement: &'a Arc<Placement>, data: &'a dyn DataPlane, key: BlobKey) -> Self {
        let mut primaries = placement.primaries(key.placement);
        let turn = usize::try_from(key.placement % primaries.len().max(1) as u64).unwrap_or(0);
        primaries.rotate_left(turn);
        // Before locality: a new primary may not have its copies yet, and asking it in vain costs a round.
        let awaited = |device: &DeviceId| !placement.owes(*device, key.placement);
        primaries.sort_by_key(|device| (awaited(device), !data.local(*device), !data.writable(*device)));
        Self {
            placement,
            data,
            key,
            known: primaries.clone(),
            ready: primaries.into_iter(),
            stage: Stage::Primaries,
        }
    }

    fn next(&mut self) -> Option<DeviceId> {
        loop {
            if let Some(device) = self.ready.next() {
                return Some(device);
            }
            let mut more = match self.stage {
                Stage::Primaries => {
                    self.stage = Stage::Before;
                    self.placement.leaving(self.key.placement)
                }
                Stage::Before => {
                    self.stage = Stage::Handoffs;
                    let mut handoffs = self.placement.handoffs(self.key.placement);
                    handoffs.retain(|device| !self.known.contains(device));
                    handoffs
                }
                Stage::Handoffs => {
                    self.stage = Stage::Others;
                    self.placement.others(&self.known)
                }
                Stage::Others => return None,
            };
            more.sort_by_key(|device| !self.data.local(*device));
            self.known.extend(&more);
            self.ready = more.into_iter();
        }
    }
}
