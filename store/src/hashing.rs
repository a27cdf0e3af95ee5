//! Hashing beside the I/O: large chunks are hashed on blocking threads, no more at once than there are cores.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use metadata::model::ChecksumAlgorithm;
use storage_node::device::{Blob, BlobHeader, BlobKey, FrameHasher, Pieces};
use storage_node::erasure::Code;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::digest::BodyDigests;
use crate::error::StoreError;
use crate::pool::Share;
use crate::request::Digests;

/// Up to this many bytes are hashed where they are: about as long as handing them to a thread takes.
const HASHED_IN_PLACE_BYTES: usize = 32 * 1024;

/// The threads that hash. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct HashThreads {
    free: Arc<Semaphore>,
}

impl HashThreads {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            free: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Runs `job`, which hashes `bytes` bytes.
    async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        if bytes <= HASHED_IN_PLACE_BYTES {
            return Ok(job());
        }
        let stopped = || StoreError::Internal("the hashing threads stopped".into());
        let turn = self.free.acquire().await.map_err(|_| stopped())?;
        let done = storage_node::threads::blocking(job).await.map_err(|_| stopped())?;
        drop(turn);
        Ok(done)
    }

    /// Makes a blob of a chunk: BLAKE3 and the frames' CRCs.
    pub(crate) async fn seal(&self, key: BlobKey, mut header: BlobHeader, payload: Pieces) -> Result<Blob, StoreError> {
        let hashing = move || {
            let (mut hash, mut frames) = (blake3::Hasher::new(), FrameHasher::new(key.id));
            for piece in payload.iter() {
                hash.update(piece);
                frames.update(piece);
            }
            header.len = u32::try_from(payload.len()).expect("a chunk is at most a blob's limit");
            header.blake3 = *hash.finalize().as_bytes();
            Blob {
                key,
                header,
                frame_crcs: frames.finish(),
                payload,
            }
        };
        self.run(header.len as usize, hashing).await
    }

    /// Makes the blobs of a chunk's fragments.
    pub(crate) async fn seal_fragments(
        &self,
        code: Code,
        chunk: BlobKey,
        header: BlobHeader,
        payload: Pieces,
    ) -> Result<Vec<Blob>, StoreError> {
        let coding = move || {
            let fragments = (0_u8..).zip(code.split(&payload));
            fragments
                .map(|(number, bytes)| Blob::seal(chunk.piece(number), header, bytes))
                .collect()
        };
        self.run(header.len as usize, coding).await
    }

    /// Decodes data fragments, or a window of them.
    pub(crate) async fn decode(
        &self,
        code: Code,
        known: BTreeMap<u8, Bytes>,
    ) -> Result<BTreeMap<u8, Bytes>, StoreError> {
        let bytes = known.values().map(Bytes::len).sum();
        let decoded = self.run(bytes, move || code.rebuild_data(&known)).await?;
        decoded.map_err(|error| StoreError::Internal(error.to_string()))
    }
}

/// A body's digests, taken chunk by chunk in order, each chunk while the one before is on its way to the devices.
pub(crate) struct DigestChain {
    threads: HashThreads,
    link: Link,
}

enum Link {
    Idle(Box<BodyDigests>),
    Busy(JoinHandle<Result<Box<BodyDigests>, StoreError>>),
    Broken,
}

impl DigestChain {
    pub(crate) fn new(threads: HashThreads, asked: &[ChecksumAlgorithm]) -> Self {
        Self {
            threads,
            link: Link::Idle(Box::new(BodyDigests::new(asked))),
        }
    }

    /// Takes the next chunk; waits only for the chunk before it. `memory` is held until the chunk is hashed.
    pub(crate) async fn feed(&mut self, chunk: Pieces, memory: Arc<Share>) -> Result<(), StoreError> {
        let mut digests = self.take().await?;
        if chunk.len() <= HASHED_IN_PLACE_BYTES {
            digests.update(&chunk);
            self.link = Link::Idle(digests);
            return Ok(());
        }
        let threads = self.threads.clone();
        self.link = Link::Busy(tokio::spawn(async move {
            let hashing = move || {
                digests.update(&chunk);
                drop((chunk, memory));
                digests
            };
            threads.run(usize::MAX, hashing).await
        }));
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Digests, StoreError> {
        Ok(self.take().await?.finish())
    }

    async fn take(&mut self) -> Result<Box<BodyDigests>, StoreError> {
        match std::mem::replace(&mut self.link, Link::Broken) {
            Link::Idle(digests) => Ok(digests),
            Link::Busy(task) => task
                .await
                .map_err(|_| StoreError::Internal("a hashing task stopped".into()))?,
            Link::Broken => Err(StoreError::Internal("the digests of this body were given up".into())),
        }
    }
}
