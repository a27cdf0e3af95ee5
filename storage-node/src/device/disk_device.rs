//! The real device: the async face of segments and index.
//!
//! ```text
//! put, remove --(bounded queue)--> one writer thread: takes all that waits, one write, one sync, index, answers
//! read, stat, list, digest ------> blocking pool, a bounded number at once
//! reclaim_step, scrub_step ------> called by their own slow loops; reclaim's copies go through the same writer
//! ```

use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use clock::{Dice, WallClock};
use metadata::model::PolicyId;
use rocksdb::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::blob::{Blob, BlobHeader, BlobKey, BlobSlice};
use super::core::{Core, Parts};
use super::disk::{Disk, RealDisk};
use super::error::DeviceError;
use super::index::Index;
use super::options::DeviceOptions;
use super::reclaim::{self, Hand, ReclaimReport};
use super::record::{Identity, Place, blob_disk_bytes};
use super::recovery::{self, OpenReport};
use super::rocks_index::RocksIndex;
use super::scrub::{self, ScrubReport};
use super::store::{BlobStore, Digest, Purpose, REMOVE_BATCH, Usage};
use super::writer::{Committed, Moved, Op, Writer};
use crate::threads::{self, Labour};

/// Operations that one sync may cover.
const GROUP_OPS_MAX: usize = 1024;
/// Removes that may wait for the writer; they have places of their own, so that a queue full of puts holds up none.
const REMOVES_WAITING_MAX: usize = 64;
/// Attempts of one put to find out whether the copy that lies here is good.
const PUT_TURNS: usize = 3;
/// The folder of the index inside the device's.
const INDEX: &str = "index";

/// One open device. Cheap to clone; the folder is free again when [`DiskDevice::close`] has returned and the last clone
/// is gone.
#[derive(Clone)]
pub struct DiskDevice {
    core: Arc<Core>,
    jobs: mpsc::UnboundedSender<Job>,
    waiting_blobs: Arc<Semaphore>,
    waiting_bytes: Arc<Semaphore>,
    waiting_removes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    reclaiming: Arc<Semaphore>,
    /// Last, because the thread ends when `jobs` is gone.
    _thread: Arc<threads::Running>,
}

type Reply<T> = oneshot::Sender<Result<T, DeviceError>>;

/// What the writer thread is asked. The queue's bounds are the permits that travel with the jobs.
enum Job {
    Commit {
        op: Op,
        bytes: usize,
        reply: Reply<Committed>,
        _permits: Vec<OwnedSemaphorePermit>,
    },
    Retire {
        segment: u64,
        reply: Reply<()>,
    },
    Close {
        reply: Reply<()>,
    },
}

impl DiskDevice {
    /// Opens the device in `dir` (made when missing). Blocks for as long as replaying takes.
    ///
    /// A folder of another cluster or device, one with foreign files, one in use, or an empty one that must not be
    /// formatted is [`DeviceError::Refused`] with a sentence for the operator.
    pub fn open(
        dir: &Path,
        identity: Identity,
        options: DeviceOptions,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        cache: Option<&Cache>,
    ) -> Result<(Self, OpenReport), DeviceError> {
        let disk: Arc<dyn Disk> = Arc::new(open_folder(dir)?);
        Self::open_on_disk(disk, dir, identity, options, clock, dice, cache)
    }

    /// As [`Self::open`], with the segments on a disk of the caller's (a slow or failing one), the index in `dir`.
    pub fn open_on_disk(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: DeviceOptions,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        cache: Option<&Cache>,
    ) -> Result<(Self, OpenReport), DeviceError> {
        let open = || RocksIndex::open(&dir.join(INDEX), identity.cluster, cache);
        let index = open().map_err(|error| DeviceError::Out(error.to_string()))?;
        Self::open_parts(
            Parts {
                disk,
                index: Arc::new(index),
                clock,
                dice,
            },
            identity,
            options,
        )
    }

    /// Opens a device made of any parts.
    pub fn open_parts(
        parts: Parts,
        identity: Identity,
        options: DeviceOptions,
    ) -> Result<(Self, OpenReport), DeviceError> {
        let (writer, report) = recovery::open(parts, identity, options)?;
        let core = Arc::clone(&writer.core);
        let options = core.options;
        let (jobs, queue) = mpsc::unbounded_channel();
        let thread = threads::start(&format!("device-{}", identity.device), write_loop(writer, queue));
        let thread = thread.map_err(|error| DeviceError::Out(format!("starting the writer: {error}")))?;
        let device = Self {
            core,
            jobs,
            waiting_blobs: Arc::new(Semaphore::new(options.queue_blobs)),
            waiting_bytes: Arc::new(Semaphore::new(options.queue_bytes)),
            waiting_removes: Arc::new(Semaphore::new(REMOVES_WAITING_MAX)),
            reads: Arc::new(Semaphore::new(options.reads_at_once)),
            reclaiming: Arc::new(Semaphore::new(1)),
            _thread: Arc::new(thread),
        };
        Ok((device, report))
    }

    /// Throws the index of a stopped device away and builds it again from the segments. Blocks; the node must not run.
    pub fn rebuild_index(
        dir: &Path,
        identity: Identity,
        options: DeviceOptions,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
    ) -> Result<OpenReport, DeviceError> {
        let disk: Arc<dyn Disk> = Arc::new(open_folder(dir)?);
        let failed = |error: super::index::IndexError| DeviceError::Out(error.to_string());
        // RocksDB's own lock keeps a running node's index from being cleared.
        let index = RocksIndex::open(&dir.join(INDEX), identity.cluster, None).map_err(failed)?;
        index.clear().map_err(failed)?;
        let parts = Parts {
            disk,
            index: Arc::new(index),
            clock,
            dice,
        };
        let (mut writer, report) = recovery::open(parts, identity, options)?;
        writer.close()?;
        Ok(report)
    }

    /// Reclaims one segment if one is worth it. One at a time; its copies pass through the queue of the writer.
    pub async fn reclaim_step(&self) -> Result<ReclaimReport, DeviceError> {
        let turn = Arc::clone(&self.reclaiming).acquire_owned().await.map_err(closed)?;
        let device = self.clone();
        let step = async move {
            let _turn = turn;
            let core = Arc::clone(&device.core);
            reclaim::step(&core, &mut QueueHand { device }).await
        };
        threads::blocking_steps(step)
            .await
            .map_err(|error| DeviceError::Io(error.to_string()))?
    }

    /// Proves the blobs behind `after` until `bytes_max` bytes were read; the caller sets the pace.
    pub async fn scrub_step(&self, after: Option<BlobKey>, bytes_max: u64) -> Result<ScrubReport, DeviceError> {
        self.blocking(move |core| scrub::step(core, after, bytes_max)).await
    }

    /// Stops the writer cleanly and makes the device answer [`DeviceError::Out`] from now on.
    pub async fn close(&self) -> Result<(), DeviceError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Close { reply }).map_err(closed)?;
        answer.await.map_err(closed)?
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Core) -> Result<T, DeviceError> + Send + 'static,
    ) -> Result<T, DeviceError> {
        let permit = Arc::clone(&self.reads).acquire_owned().await.map_err(closed)?;
        let core = Arc::clone(&self.core);
        let call = move || {
            let _permit = permit;
            call(&core)
        };
        threads::blocking(call)
            .await
            .map_err(|error| DeviceError::Io(error.to_string()))?
    }

    async fn commit(&self, op: Op, bytes: usize, permits: Vec<OwnedSemaphorePermit>) -> Result<Committed, DeviceError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job::Commit {
                op,
                bytes,
                reply,
                _permits: permits,
            })
            .map_err(closed)?;
        answer.await.map_err(closed)?
    }

    async fn put_turn(&self, blob: &Arc<Blob>, over: Option<Place>) -> Result<Committed, DeviceError> {
        let bytes = blob_disk_bytes(blob.header.len);
        let slot = Arc::clone(&self.waiting_blobs).acquire_owned().await.map_err(closed)?;
        let room = bytes.min(self.core.options.queue_bytes as u32);
        let room = Arc::clone(&self.waiting_bytes)
            .acquire_many_owned(room)
            .await
            .map_err(closed)?;
        self.commit(
            Op::Put {
                blob: Arc::clone(blob),
                over,
            },
            bytes as usize,
            vec![slot, room],
        )
        .await
    }
}

#[async_trait]
impl BlobStore for DiskDevice {
    async fn put(&self, blob: Blob) -> Result<(), DeviceError> {
        self.core.status.check_writable()?;
        blob.check()?;
        if blob.header.cluster != self.core.identity.cluster {
            return Err(DeviceError::ForeignCluster);
        }
        let blob = Arc::new(blob);
        let mut over = None;
        for _ in 0..PUT_TURNS {
            match self.put_turn(&blob, over).await? {
                Committed::Done => return Ok(()),
                Committed::Exists(entry) => {
                    // The answer promises readable bytes (DUR-1): what lies here is proven first, or replaced.
                    let key = blob.key;
                    match self.blocking(move |core| core.read_verified(key)).await {
                        Ok(_) => return Ok(()),
                        Err(DeviceError::Corrupt(_) | DeviceError::Io(_)) => over = Some(entry.place),
                        Err(DeviceError::NotFound) => over = None,
                        Err(other) => return Err(other),
                    }
                }
            }
        }
        Err(DeviceError::Io(
            "the copy that lies here changes faster than it can be checked".into(),
        ))
    }

    async fn read(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError> {
        self.blocking(move |core| core.read(key, &range, Purpose::Serve)).await
    }

    async fn read_for_upkeep(&self, key: BlobKey, range: Range<u32>) -> Result<BlobSlice, DeviceError> {
        self.blocking(move |core| core.read(key, &range, Purpose::Upkeep)).await
    }

    async fn stat(&self, key: BlobKey) -> Result<Option<BlobHeader>, DeviceError> {
        let found = self
            .blocking(move |core| core.status.check_readable().and_then(|()| core.entry(&key)))
            .await?;
        Ok(found.map(|entry| entry.header))
    }

    async fn remove(&self, keys: Vec<BlobKey>) -> Result<(), DeviceError> {
        for keys in keys.chunks(REMOVE_BATCH) {
            let slot = Arc::clone(&self.waiting_removes)
                .acquire_owned()
                .await
                .map_err(closed)?;
            let bytes = keys.len() * super::record::HEAD_BYTES;
            self.commit(Op::Remove { keys: keys.to_vec() }, bytes, vec![slot])
                .await?;
        }
        Ok(())
    }

    async fn list(
        &self,
        after: Option<BlobKey>,
        until_placement: u64,
        limit: usize,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, DeviceError> {
        self.blocking(move |core| core.list(after, until_placement, limit))
            .await
    }

    async fn digest(&self, placements: RangeInclusive<u64>, policy: PolicyId) -> Result<Digest, DeviceError> {
        self.blocking(move |core| core.digest(&placements, policy)).await
    }

    fn usage(&self) -> Usage {
        self.core.usage()
    }
}

/// Reclaim's hand on the writer thread.
struct QueueHand {
    device: DiskDevice,
}

#[async_trait]
impl Hand for QueueHand {
    async fn move_records(&mut self, records: Vec<Moved>) -> Result<(), DeviceError> {
        let bytes = records.iter().map(|moved| moved.record.disk_bytes() as usize).sum();
        let (reply, answer) = oneshot::channel();
        let job = Job::Commit {
            op: Op::Move { records },
            bytes,
            reply,
            _permits: Vec::new(),
        };
        self.device.jobs.send(job).map_err(closed)?;
        answer.await.map_err(closed)?.map(|_| ())
    }

    async fn retire(&mut self, segment: u64) -> Result<(), DeviceError> {
        let (reply, answer) = oneshot::channel();
        self.device.jobs.send(Job::Retire { segment, reply }).map_err(closed)?;
        answer.await.map_err(closed)?
    }
}

fn closed<E>(_: E) -> DeviceError {
    DeviceError::Out("it was closed".into())
}

fn open_folder(dir: &Path) -> Result<RealDisk, DeviceError> {
    RealDisk::open(dir).map_err(|error| {
        DeviceError::Refused(format!(
            "the device folder {} cannot be used: {error}; make it, or mount its disk",
            dir.display()
        ))
    })
}

/// The writer thread: takes what waits, in turns, until it is closed or the last handle is gone.
async fn write_loop(mut writer: Writer, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut carried = None;
    loop {
        let job = match carried.take() {
            Some(job) => Some(job),
            None => queue.recv().await,
        };
        let Some(job) = job else { break };
        threads::labour(Labour::DeviceSync).await;
        match job {
            Job::Retire { segment, reply } => drop(reply.send(writer.retire(segment))),
            Job::Close { reply } => {
                let ended = writer.close();
                writer.core.status.out("it was closed");
                queue.close();
                drop(writer);
                // The folder's lock goes with the last reader; the answer says that nothing is written any more.
                drop(reply.send(ended));
                return;
            }
            job => carried = commit_group(&mut writer, job, &mut queue),
        }
    }
    if let Err(error) = writer.close() {
        tracing::warn!(%error, "the device was not closed cleanly");
    }
}

/// Commits `first` and what waits behind it, up to the bounds of a group or the first job of another kind, which is
/// returned.
fn commit_group(writer: &mut Writer, first: Job, queue: &mut mpsc::UnboundedReceiver<Job>) -> Option<Job> {
    let (mut ops, mut replies, mut permits, mut total) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let bytes_max = writer
        .core
        .options
        .group_bytes
        .min(writer.core.options.segment_bytes as usize);
    let mut next = Some(first);
    while let Some(job) = next.take() {
        match job {
            Job::Commit { bytes, .. } if !ops.is_empty() && total + bytes > bytes_max => {
                next = Some(job);
                break;
            }
            Job::Commit {
                op,
                bytes,
                reply,
                _permits,
            } => {
                ops.push(op);
                replies.push(reply);
                permits.push(_permits);
                total += bytes;
            }
            other => {
                next = Some(other);
                break;
            }
        }
        if ops.len() < GROUP_OPS_MAX {
            next = queue.try_recv().ok();
        }
    }
    let core = Arc::clone(&writer.core);
    *core.at_disk_since.lock() = Some(std::time::Instant::now());
    let answers = writer.commit(&ops);
    *core.at_disk_since.lock() = None;
    drop((ops, permits));
    for (reply, answer) in replies.into_iter().zip(answers) {
        // A caller that went away does not mind: its write is done all the same.
        drop(reply.send(answer));
    }
    next
}
