//! What readers find out about copies, told to the shard that queues the repair (`MarkShort`).
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
use storage_node::client::MetadataPlane;
use tokio::sync::Semaphore;

use crate::metrics::UNTOLD_FINDINGS;

/// Findings on their way to shards at once.
const TELLING_AT_ONCE: usize = 16;
/// Chunks remembered as told.
const TOLD_MAX: usize = 4096;
/// After this time a chunk is told again: it may have been repaired and damaged anew.
const TOLD_FOR_MS: u64 = 60_000;
/// How long the shard may take to note a finding.
const TELLING_DEADLINE: Duration = Duration::from_secs(5);

/// Tells shards about chunks that lack copies. Clones share the bounds.
#[derive(Clone)]
pub(crate) struct Findings {
    plane: Arc<dyn MetadataPlane>,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    turns: Arc<Semaphore>,
    told_ms: Arc<Cache<BlobId, u64>>,
}

impl Findings {
    pub(crate) fn new(plane: Arc<dyn MetadataPlane>, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>) -> Self {
        let turns = Arc::new(Semaphore::new(TELLING_AT_ONCE));
        Self {
            plane,
            clock,
            dice,
            turns,
            told_ms: Arc::new(Cache::new(TOLD_MAX)),
        }
    }

    /// Tells `shard` that only `devices` are believed to hold the chunk. Must be called inside a runtime.
    pub(crate) fn tell(&self, shard: ShardId, blob: BlobId, devices: Vec<DeviceId>) {
        let now_ms = self.clock.now_ms();
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
        let (plane, told) = (self.plane.clone(), self.told_ms.clone());
        tokio::spawn(async move {
            let command = Command::MarkShort {
                write: blob.write,
                first: blob.chunk,
                count: 1,
                devices,
            };
            if let Err(error) = plane.propose(shard, request, command, TELLING_DEADLINE).await {
                tracing::debug!(%blob, %error, "a finding could not be told");
                told.remove(&blob);
            }
            drop(turn);
        });
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Findings").finish_non_exhaustive()
    }
}
