//! Background work: repair, reclaim, collection, checks. Each kind is one loop with a plain decision, a status line, a
//! throttle and bounded batches.
//!
//! Work on a shard's queue is done by the node that leads the shard, so exactly one place works on it; a node that loses
//! the lead stops at its next step, and what two nodes might do at once is safe to do twice. Work on a device is done by
//! the node that has it. Nothing here removes a blob without the metadata log's word (DUR-3).

mod buckets;
mod departed;
mod fragments;
mod lost_devices;
mod mend;
mod missing;
pub mod moving;
mod orphans;
mod reclaim;
pub mod repair;
pub mod scrub;
mod seats;
mod short_queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clock::WallClock;
use metadata::command::Command;
use metadata::ids::{DeviceId, NodeId, ShardId, WriteId};
use metadata::model::{PolicyId, Stream};
use metadata::query::{Found, Life, Query};
use metadata::reply::Done;
use parking_lot::Mutex;
use ring::Ring;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::config::WorkOptions;
use super::open_devices::OpenDevices;
use crate::client::{ClusterClient, DataPlane, LiveRings, MetadataPlane};
use crate::device::{BlobHeader, BlobKey};
use crate::shard::Shards;

/// How long a shard may take for one step of background work.
const SHARD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a device may take to answer a question.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Streams asked about in one call.
const STREAMS_PER_CALL: usize = 256;
/// How long a device may take to store, read or remove a batch.
const BLOB_DEADLINE: Duration = Duration::from_secs(30);

/// Everything the loops work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) node: NodeId,
    pub(crate) client: ClusterClient,
    pub(crate) shards: Shards,
    pub(crate) devices: Arc<OpenDevices>,
    pub(crate) board: WorkBoard,
    pub(crate) approvals: Approvals,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) options: WorkOptions,
}

/// Starts every loop; they end with `stop`.
pub(crate) fn start(workshop: &Workshop, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    fn run(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(work).await;
        })
    }
    vec![
        run(stop, short_queue::run(workshop.clone())),
        run(stop, reclaim::run(workshop.clone())),
        run(stop, orphans::run(workshop.clone())),
        run(stop, missing::run(workshop.clone())),
        run(stop, buckets::run(workshop.clone())),
        run(stop, scrub::run(workshop.clone())),
        run(stop, scrub::run_segments(workshop.clone())),
        run(stop, moving::run(workshop.clone())),
        run(stop, moving::conduct(workshop.clone())),
        run(stop, repair::run(workshop.clone())),
        run(stop, seats::run(workshop.clone())),
        run(stop, departed::run(workshop.clone())),
        run(stop, lost_devices::run(workshop.clone())),
    ]
}

/// Runs a task for each open device of this node and each policy. A task that ended is begun again: its device was closed,
/// and may be opened anew.
async fn per_device<T>(workshop: &Workshop, task: impl Fn(Workshop, DeviceId, PolicyId) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let mut tasks: JoinSet<(DeviceId, PolicyId)> = JoinSet::new();
    let mut running: BTreeSet<(DeviceId, PolicyId)> = BTreeSet::new();
    loop {
        let policies = workshop.client.placed_policies();
        for (device, _) in workshop.devices.set().all() {
            for policy in policies.iter().copied() {
                if running.insert((device, policy)) {
                    let task = task(workshop.clone(), device, policy);
                    tasks.spawn(async move {
                        task.await;
                        (device, policy)
                    });
                }
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            // A task that panicked is not begun again: its device waits for the next start.
            if let Ok(which) = ended {
                running.remove(&which);
            }
        }
        tokio::time::sleep(workshop.options.idle_pause).await;
    }
}

/// One kind of work as an operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkLine {
    /// Which.
    pub name: String,
    /// What it is doing, in one line.
    pub state: String,
    /// Things done since the node started.
    pub done: u64,
    /// Things that failed and will be tried again.
    pub failed: u64,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// Set while it waits for an operator: what to do.
    pub asks: Option<String>,
}

/// The status lines of all work. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct WorkBoard(Arc<Mutex<BTreeMap<String, WorkLine>>>);

impl WorkBoard {
    pub(crate) fn lines(&self) -> Vec<WorkLine> {
        self.0.lock().values().cloned().collect()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut WorkLine)) {
        let mut lines = self.0.lock();
        let line = lines.entry(name.to_owned()).or_default();
        name.clone_into(&mut line.name);
        change(line);
    }

    fn state(&self, name: &str, state: impl Into<String>) {
        self.change(name, |line| line.state = state.into());
    }

    fn done(&self, name: &str, count: u64) {
        self.change(name, |line| line.done += count);
    }

    fn failed(&self, name: &str, why: impl std::fmt::Display) {
        tracing::debug!(work = name, %why, "background work failed and will be tried again");
        self.change(name, |line| {
            line.failed += 1;
            line.last_error = Some(why.to_string());
        });
    }
}

/// Devices whose next walk an operator has approved to remove more than it would without asking. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Approvals(Arc<Mutex<BTreeSet<DeviceId>>>);

impl Approvals {
    pub(crate) fn approve(&self, device: DeviceId) {
        self.0.lock().insert(device);
    }

    fn take(&self, device: DeviceId) -> bool {
        self.0.lock().remove(&device)
    }
}

impl Workshop {
    /// The key shards this node leads just now.
    fn led_key_shards(&self) -> Vec<ShardId> {
        (1..=self.client.key_shards())
            .map(ShardId)
            .filter(|shard| self.leads(*shard))
            .collect()
    }

    fn leads(&self, shard: ShardId) -> bool {
        self.shards.leader(shard) == Some(self.node)
    }

    /// Asks a shard; the text of a failure is for the status line.
    async fn ask(&self, shard: ShardId, query: Query) -> Result<Found, String> {
        let answer = self
            .client
            .query(shard, query, SHARD_DEADLINE)
            .await
            .map_err(|e| e.to_string())?;
        answer.map_err(|refusal| refusal.to_string())
    }

    async fn tell(&self, shard: ShardId, command: Command) -> Result<Done, String> {
        let request = self.client.request_id();
        let reply = self
            .client
            .propose(shard, request, command, SHARD_DEADLINE)
            .await
            .map_err(|e| e.to_string())?;
        reply.map_err(|refusal| refusal.to_string())
    }

    /// What the shards say of the streams of blobs, asked in batches of the shards that the blobs' headers name. A shard
    /// that does not answer is an error: nothing is guessed.
    async fn lives(
        &self,
        blobs: impl Iterator<Item = (&BlobKey, &BlobHeader)>,
    ) -> Result<HashMap<WriteId, Life>, String> {
        let mut by_shard: BTreeMap<ShardId, BTreeSet<WriteId>> = BTreeMap::new();
        for (key, header) in blobs {
            by_shard.entry(header.shard).or_default().insert(key.id.write);
        }
        let mut lives = HashMap::new();
        for (shard, writes) in by_shard {
            let writes: Vec<WriteId> = writes.into_iter().collect();
            for writes in writes.chunks(STREAMS_PER_CALL) {
                let query = Query::Lives {
                    writes: writes.to_vec(),
                };
                let Found::Lives(found) = self.ask(shard, query).await? else {
                    return Err(format!("shard {shard} gave an answer of another kind"));
                };
                lives.extend(writes.iter().copied().zip(found));
            }
        }
        Ok(lives)
    }

    fn rings_of(&self, stream: &Stream) -> Option<Arc<LiveRings>> {
        self.client.rings(stream.policy)
    }

    /// The rings that place a blob.
    fn rings_for(&self, key: BlobKey) -> Option<Arc<LiveRings>> {
        self.client.rings(key.id.policy())
    }
}

/// The first `limit` devices that stand in for those that should hold the blobs with this placement hash.
fn handoffs(ring: &Ring, placement: u64, limit: usize) -> Vec<DeviceId> {
    ring.handoffs(ring.partition_of(placement))
        .take(limit)
        .map(|device| DeviceId(device.0))
        .collect()
}
