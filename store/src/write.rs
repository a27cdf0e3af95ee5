//! From a body to a stored stream.
//!
//! ```text
//!  chunk n+1      chunk n                         chunk n-1
//!  being read     BLAKE3, CRCs -> to the devices  quorum reached, laggards go on
//!                 MD5 ... (beside it)
//! ```
//! Memory for a chunk is taken from the writers' pool before its first byte is read, so that bodies wait for memory and
//! not memory for bodies (MEM-1).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use metadata::command::Command;
use metadata::ids::{DeviceId, WriteId};
use metadata::model::{ChecksumAlgorithm, Stored, Stream};
use metadata::reply::{Done, Refusal};
use storage_node::client::chunk_key;
use storage_node::device::{BlobHeader, Pieces};
use storage_node::erasure::Code;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::bucket::Bucket;
use crate::chunk_write::{ChunkWrite, Phase, Progress};
use crate::context::RequestContext;
use crate::cutter::{Cutter, Input};
use crate::error::StoreError;
use crate::hashing::DigestChain;
use crate::metrics::{SHORT_CHUNKS, WRITTEN_BYTES};
use crate::placement::Placement;
use crate::pool::Share;
use crate::request::Digests;
use crate::short::ShortList;
use crate::store::Store;
use crate::unfinished::Unfinished;

/// What to make of a body.
pub(crate) struct BodySpec {
    /// Its declared length.
    pub(crate) length: Option<u64>,
    /// Digests beside MD5.
    pub(crate) digests: Vec<ChecksumAlgorithm>,
    /// Bodies up to this length are not written to devices; `None` writes all of them.
    pub(crate) inline_max: Option<usize>,
}

/// A body that came in whole.
pub(crate) struct Written {
    pub(crate) digests: Digests,
    pub(crate) place: Place,
}

/// Where it is.
pub(crate) enum Place {
    /// Here: small enough for the shard.
    Inline(Bytes),
    /// Synced on a write quorum, and taken back unless it is committed.
    Stored(Stored, Unfinished),
}

impl Store {
    /// Takes a body in and stores it. Nothing of it is visible yet.
    pub(crate) async fn write_body(
        &self,
        bucket: &Bucket,
        spec: &BodySpec,
        input: Input,
    ) -> Result<Written, StoreError> {
        let options = &self.inner.options;
        let chunk_bytes = options.chunk_bytes as usize;
        let code = self.inner.code(bucket.info.policy);
        let mut cutter = Cutter::new(input, spec.length, options.body_bytes_max)?;
        let mut wait = options.pool_wait;
        let mut writer: Option<StreamWriter> = None;
        while !cutter.ended() {
            let upper_bound = with_parity(code, cutter.upper_bound(chunk_bytes));
            let mut memory = self.inner.write_pool.acquire(upper_bound, wait).await?;
            wait = options.pool_wait_begun;
            let chunk = cutter.chunk(chunk_bytes).await?;
            memory.shrink(with_parity(code, chunk.len()));
            let memory = Arc::new(memory);
            if writer.is_none() && spec.inline_max.is_some_and(|max| chunk.len() <= max) && cutter.ended() {
                return self.inline(spec, &chunk, memory).await;
            }
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(StreamWriter::new(self, bucket, &spec.digests)?),
            };
            if !chunk.is_empty() {
                writer.push(chunk, memory).await?;
            }
        }
        match writer {
            Some(writer) => writer.finish().await,
            None => StreamWriter::new(self, bucket, &spec.digests)?.finish().await,
        }
    }

    async fn inline(&self, spec: &BodySpec, body: &Pieces, memory: Arc<Share>) -> Result<Written, StoreError> {
        let mut digests = DigestChain::new(self.inner.hash_threads.clone(), &spec.digests);
        digests.feed(body.clone(), memory).await?;
        metrics::counter!(WRITTEN_BYTES).increment(body.len() as u64);
        Ok(Written {
            digests: digests.finish().await?,
            place: Place::Inline(body.to_bytes()),
        })
    }

    /// Proposes the command that makes a stored stream visible. Once proposed it runs to its end, also when the caller
    /// goes away. A refusal takes the stream back; an unknown outcome leaves it alone. A stream whose ring was retired
    /// is placed again.
    pub(crate) async fn commit(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        command: Command,
        unfinished: Unfinished,
    ) -> Result<Done, StoreError> {
        let (store, cx, shard) = (self.clone(), cx.clone(), bucket.info.shard);
        let committing = tokio::spawn(async move {
            let outcome = store.propose_placed(&cx, shard, command).await;
            match &outcome {
                // A reply that was forgotten may hide behind this one: the outcome is unknown.
                Ok(Err(Refusal::TooOld)) | Ok(Ok(_)) | Err(_) => unfinished.disarm(),
                Ok(Err(_)) => drop(unfinished),
            }
            outcome
        });
        let outcome = committing
            .await
            .map_err(|_| StoreError::Internal("the commit's task stopped".into()))?;
        outcome?.map_err(|refusal| self.refused(bucket, refusal))
    }
}

/// A stream that is being written.
struct StreamWriter {
    store: Store,
    header: BlobHeader,
    placement: Arc<Placement>,
    unfinished: Unfinished,
    stream: Stream,
    digests: DigestChain,
    next_chunk: u32,
    /// Chunks before this one are settled and left `writing`.
    accounted: u32,
    /// Chunks in order, those at the front that are settled are moved to `short`.
    writing: VecDeque<watch::Receiver<Progress>>,
    short: ShortList,
}

impl StreamWriter {
    fn new(store: &Store, bucket: &Bucket, digests: &[ChecksumAlgorithm]) -> Result<Self, StoreError> {
        let inner = &store.inner;
        let options = &inner.options;
        let placement = inner.placement(bucket.info.policy)?;
        let written_ms = inner.clock.now_ms();
        let write = WriteId::new(written_ms, inner.dice.u128());
        let (policy, ring_version) = (bucket.info.policy, placement.ring_version());
        let header = BlobHeader {
            cluster: options.cluster,
            shard: bucket.info.shard,
            bucket: bucket.info.id,
            len: 0,
            blake3: [0; 32],
            written_ms,
        };
        Ok(Self {
            header,
            unfinished: Unfinished::new(
                write,
                options.chunk_bytes,
                inner.planes.data.clone(),
                inner.removals.clone(),
            ),
            stream: Stream {
                write,
                size: 0,
                chunk_bytes: options.chunk_bytes,
                policy,
                ring_version,
            },
            digests: DigestChain::new(inner.hash_threads.clone(), digests),
            next_chunk: 0,
            accounted: 0,
            writing: VecDeque::new(),
            short: ShortList::default(),
            placement,
            store: store.clone(),
        })
    }

    /// Begins the next chunk; waits while too many are on their way to their quorum.
    async fn push(&mut self, chunk: Pieces, memory: Arc<Share>) -> Result<(), StoreError> {
        self.digests.feed(chunk.clone(), memory.clone()).await?;
        let in_flight_max = self.store.inner.options.chunks_in_flight.max(1);
        while self.in_flight()? >= in_flight_max {
            let first_open = self
                .writing
                .iter_mut()
                .find(|progress| progress.borrow().phase == Phase::Open);
            if let Some(progress) = first_open {
                reached(progress).await?;
            }
        }
        self.settle_front()?;
        self.stream.size += chunk.len() as u64;
        let key = chunk_key(&self.stream, self.next_chunk);
        self.next_chunk += 1;
        let header = BlobHeader {
            len: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
            ..self.header
        };
        let (progress, watching) = watch::channel(Progress::default());
        self.writing.push_back(watching);
        let inner = &self.store.inner;
        let started = self.unfinished.started.clone();
        let hash_threads = inner.hash_threads.clone();
        let write = ChunkWrite {
            data: inner.planes.data.clone(),
            placement: self.placement.clone(),
            started: started.clone(),
            laggards: inner.laggard_pool.clone(),
            times: (&inner.options).into(),
            progress,
        };
        started.tasks.spawn(async move {
            let pieces = match write.placement.code() {
                None => hash_threads.seal(key, header, chunk).await.map(|blob| vec![blob]),
                Some(code) => hash_threads.seal_fragments(code, key, header, chunk).await,
            };
            // Without blobs the sender is dropped, which the writer sees as an internal error.
            if let Ok(pieces) = pieces {
                write.run(pieces, memory).await;
            }
        });
        Ok(())
    }

    /// Waits for every chunk's quorum, gives the laggards a moment, and says what lacks copies.
    async fn finish(mut self) -> Result<Written, StoreError> {
        for progress in &mut self.writing {
            reached(progress).await?;
        }
        let patience = Instant::now() + self.store.inner.options.laggard_grace;
        for progress in &mut self.writing {
            // An error here is the end of the patience, or of the chunk's task, which has its quorum.
            let _ = timeout_at(patience, progress.wait_for(|progress| progress.settled)).await;
        }
        while let Some(progress) = self.writing.pop_front() {
            let stored = progress.borrow().stored.clone();
            self.account(&stored)?;
        }
        let digests = self.digests.finish().await?;
        metrics::counter!(WRITTEN_BYTES).increment(self.stream.size);
        let stored = Stored {
            stream: self.stream,
            short: self.short.finish(),
        };
        Ok(Written {
            digests,
            place: Place::Stored(stored, self.unfinished),
        })
    }

    /// Chunks without a quorum yet.
    fn in_flight(&self) -> Result<usize, StoreError> {
        let mut open = 0;
        for progress in &self.writing {
            match &progress.borrow().phase {
                Phase::Open => open += 1,
                Phase::Reached => {}
                Phase::Failed(why) => return Err(StoreError::Unavailable(why.clone())),
            }
        }
        Ok(open)
    }

    fn settle_front(&mut self) -> Result<(), StoreError> {
        while let Some(front) = self.writing.front() {
            let progress = front.borrow();
            if !(progress.settled && progress.phase == Phase::Reached) {
                break;
            }
            let stored = progress.stored.clone();
            drop(progress);
            self.writing.pop_front();
            self.account(&stored)?;
        }
        Ok(())
    }

    /// Notes who has the oldest chunk that is not accounted for yet.
    fn account(&mut self, stored: &[(u8, DeviceId)]) -> Result<(), StoreError> {
        if !self.placement.is_quorum(stored) {
            return Err(StoreError::Internal(
                "DUR-1: a chunk was to be committed without its quorum".into(),
            ));
        }
        let chunk = self.accounted;
        self.accounted += 1;
        if !self.placement.is_whole(chunk_key(&self.stream, chunk), stored) {
            metrics::counter!(SHORT_CHUNKS).increment(1);
            self.short
                .note(chunk, stored.iter().map(|(_, device)| *device).collect());
        }
        Ok(())
    }
}

/// The memory of a chunk of `bytes` with its parity.
fn with_parity(code: Option<Code>, bytes: usize) -> usize {
    code.map_or(bytes, |code| {
        let len = u32::try_from(bytes).unwrap_or(u32::MAX);
        code.fragments() * code.fragment_len(len) as usize
    })
}

/// Waits until the chunk is synced on its quorum.
async fn reached(progress: &mut watch::Receiver<Progress>) -> Result<(), StoreError> {
    let decided = progress.wait_for(|progress| progress.phase != Phase::Open).await;
    let decided = decided.map_err(|_| StoreError::Internal("a chunk's task stopped".into()))?;
    match &decided.phase {
        Phase::Failed(why) => Err(StoreError::Unavailable(why.clone())),
        Phase::Open | Phase::Reached => Ok(()),
    }
}
