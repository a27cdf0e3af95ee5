//! What readers find out about copies, told to the shard that queues the repair (`MarkShort`).
//!
//! A reader meets one bad copy; what the shard is told replaces what it knew of the chunk. So before telling, the
//! devices that may hold it are asked, in the background, what they have.
//!
//! Telling is best effort: it never delays a reader, it is bounded, and the same chunk is told once in a while only.
//! Scrub and the nodes' comparison of digests find what is not told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, WallClock};
use metadata::command::Command;
use metadata::ids::{BlobId, DeviceId, RequestId, ShardId};
use quick_cache::sync::Cache;
use storage_node::client::Planes;
use storage_node::device::BlobKey;
use tokio::sync::Semaphore;

use crate::metrics::UNTOLD_FINDINGS;
use crate::placement::Placement;

/// Findings on their way to shards at once.
const TELLING_AT_ONCE: usize = 16;
/// Chunks remembered as told.
const TOLD_MAX: usize = 4096;
/// After this time a chunk is told again: it may have been repaired and damaged anew.
const TOLD_FOR_MS: u64 = 60_000;
/// How long a device may take to say what it has, and the shard to note it.
const TELLING_DEADLINE: Duration = Duration::from_secs(5);

/// Tells shards about chunks that lack copies. Clones share the bounds.
#[derive(Clone)]
pub(crate) struct Findings {
    planes: Planes,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    turns: Arc<Semaphore>,
    told_ms: Arc<Cache<BlobId, u64>>,
}

/// A chunk of which a bad copy was met.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) shard: ShardId,
    pub(crate) placement: Arc<Placement>,
    pub(crate) key: BlobKey,
    /// The chunk's length in bytes.
    pub(crate) len: u32,
    /// Devices whose copy is damaged or absent.
    pub(crate) bad: Vec<DeviceId>,
    /// The device that served it; `None` when none could.
    pub(crate) good: Option<DeviceId>,
}

impl Findings {
    pub(crate) fn new(planes: Planes, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>) -> Self {
        let turns = Arc::new(Semaphore::new(TELLING_AT_ONCE));
        Self {
            planes,
            clock,
            dice,
            turns,
            told_ms: Arc::new(Cache::new(TOLD_MAX)),
        }
    }

    /// Tells the shard who holds the chunk, in the background. Must be called inside a runtime.
    pub(crate) fn tell(&self, finding: Finding) {
        let (blob, now_ms) = (finding.key.id, self.clock.now_ms());
        if self
            .told_ms
            .get(&blob)
            .is_some_and(|told| now_ms < told.saturating_add(TOLD_FOR_MS))
        {
            return;
        }
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            metrics::counter!(UNTOLD_FINDINGS).increment(1);
            return;
        };
        self.told_ms.insert(blob, now_ms);
        let request = RequestId::new(now_ms, self.dice.u128());
        let findings = self.clone();
        tokio::spawn(async move {
            let devices = findings.holders(&finding).await;
            let command = Command::MarkShort {
                write: blob.write,
                first: blob.number(),
                count: 1,
                devices,
            };
            let told = findings
                .planes
                .metadata
                .propose(finding.shard, request, command, TELLING_DEADLINE)
                .await;
            if let Err(error) = told {
                tracing::debug!(%blob, %error, "a finding could not be told");
                findings.told_ms.remove(&blob);
            }
            drop(turn);
        });
    }

    /// The devices that say they have the chunk, without those known to be wrong.
    async fn holders(&self, finding: &Finding) -> Vec<DeviceId> {
        let place = finding.key.placement;
        if finding.placement.code().is_some() {
            return self.fragment_holders(finding).await;
        }
        let mut asked = finding.placement.primaries(place);
        asked.extend(finding.placement.leaving(place));
        asked.extend(finding.placement.handoffs(place));
        asked.sort_unstable();
        asked.dedup();
        let mut holders: Vec<DeviceId> = finding.good.into_iter().collect();
        for device in asked {
            if finding.bad.contains(&device) || finding.good == Some(device) {
                continue;
            }
            let found = self.planes.data.stat_blob(device, finding.key, TELLING_DEADLINE).await;
            if found.is_ok_and(|header| header.is_some_and(|header| header.len == finding.len)) {
                holders.push(device);
            }
        }
        holders.sort_unstable();
        holders
    }

    /// The devices that say they have the fragment that belongs there, without those known to be wrong.
    async fn fragment_holders(&self, finding: &Finding) -> Vec<DeviceId> {
        let placement = &finding.placement;
        let len = placement.piece_len(finding.len);
        let homes = placement.pieces(finding.key).into_iter().flat_map(|piece| {
            let leaving = placement.leaving(piece);
            placement
                .primaries(piece)
                .into_iter()
                .chain(leaving)
                .map(move |home| (piece, home))
        });
        let homes = homes.filter(|(_, home)| !finding.bad.contains(home));
        let asks = homes.map(|(piece, home)| async move {
            let found = self.planes.data.stat_blob(home, piece, TELLING_DEADLINE).await;
            found
                .is_ok_and(|header| header.is_some_and(|header| header.len == len))
                .then_some(home)
        });
        let mut holders: Vec<DeviceId> = futures::future::join_all(asks).await.into_iter().flatten().collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Findings").finish_non_exhaustive()
    }
}
