//! A body that is not committed yet: what was begun for it, and how it is taken back.
//!
//! Dropping an [`Unfinished`] stops the chunks on their way and removes what they stored. That is safe without asking
//! the metadata log (DUR-3), because the stream was never committed and no longer can be: the one task that could
//! commit it owned the guard. When the outcome of a commit is unknown the guard is disarmed instead, and nothing is
//! removed. Removal is only tidiness: what it misses is an orphan that the nodes condemn and collect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{BlobId, DeviceId, WriteId};
use parking_lot::Mutex;
use storage_node::client::{DataPlane, placement};
use storage_node::device::BlobKey;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::UNFINISHED_BODIES;

/// Bodies taken back at once; what is beyond is left to the collector.
const REMOVALS_AT_ONCE: usize = 64;
/// Blobs named in one removal.
const REMOVAL_BATCH: usize = 1000;
/// How long a device may take to remove a batch.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(10);

/// Bounds the work of taking back. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Removals(Arc<Semaphore>);

impl Removals {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(REMOVALS_AT_ONCE)))
    }
}

/// What was begun for one stream.
#[derive(Debug)]
pub(crate) struct Started {
    write: WriteId,
    chunk_bytes: u32,
    /// Stops the chunks on their way.
    pub(crate) stop: CancellationToken,
    /// The tasks that write them.
    pub(crate) tasks: TaskTracker,
    /// Where blobs were sent, stored or not, by [`BlobId::chunk`]. Four bytes for each copy of a chunk.
    sent: Mutex<BTreeMap<DeviceId, Vec<u32>>>,
}

impl Started {
    /// Notes that `device` may hold a blob of this stream from now on.
    pub(crate) fn note(&self, device: DeviceId, blob: BlobId) {
        self.sent.lock().entry(device).or_default().push(blob.chunk);
    }

    fn key(&self, chunk: u32) -> BlobKey {
        let write = self.write;
        let id = BlobId { write, chunk };
        let placement = placement(write, id.number(), self.chunk_bytes);
        BlobKey { placement, id }
    }
}

/// The guard of a stream that may still be taken back.
pub(crate) struct Unfinished {
    pub(crate) started: Arc<Started>,
    data: Arc<dyn DataPlane>,
    removals: Removals,
    armed: bool,
}

impl Unfinished {
    pub(crate) fn new(write: WriteId, chunk_bytes: u32, data: Arc<dyn DataPlane>, removals: Removals) -> Self {
        let started = Started {
            write,
            chunk_bytes,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            sent: Mutex::default(),
        };
        Self {
            started: Arc::new(started),
            data,
            removals,
            armed: true,
        }
    }

    /// The stream is committed, or may be: nothing is removed, and slow replicas go on.
    pub(crate) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        self.started.stop.cancel();
        self.started.tasks.close();
        let turn = self.removals.0.clone().try_acquire_owned();
        let (Ok(turn), Ok(runtime)) = (turn, Handle::try_current()) else {
            metrics::counter!(UNFINISHED_BODIES, "removal" => "later").increment(1);
            return;
        };
        metrics::counter!(UNFINISHED_BODIES, "removal" => "now").increment(1);
        let (started, data) = (self.started.clone(), self.data.clone());
        runtime.spawn(async move {
            started.tasks.wait().await;
            take_back(&started, &*data).await;
            drop(turn);
        });
    }
}

async fn take_back(started: &Started, data: &dyn DataPlane) {
    let sent = std::mem::take(&mut *started.sent.lock());
    for (device, chunks) in sent {
        for batch in chunks.chunks(REMOVAL_BATCH) {
            let keys = batch.iter().map(|chunk| started.key(*chunk)).collect();
            if let Err(error) = data.remove_blobs(device, keys, REMOVAL_DEADLINE).await {
                tracing::debug!(write = %started.write, %error, "blobs of a broken-off body are left to the collector");
                break;
            }
        }
    }
}
