//! Removing the blobs of streams that nothing refers to any more (DESIGN §3.2, DUR-3).
//!
//! The shard's `reclaim` queue is the log's word. An entry becomes due when the reclaim delay has passed by shard time,
//! so that slow readers end first. Its blobs are removed on all primaries and on the first handoffs; the entry is
//! dropped when every primary has confirmed.
//!
//! A primary that is down keeps the entry in the queue until `reclaim_patience_ms`; then it is dropped all the same. That
//! is safe: dropping an entry condemns the stream for good, no commit can name it again, and what is left on the device
//! is an orphan that its node asks about and removes. Only space is at stake, never a blob that lives.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use metadata::command::{Command, ReclaimKey};
use metadata::ids::{DeviceId, ShardId, WriteId};
use metadata::model::RefRow;
use metadata::query::{Found, Query};
use tokio::time::Instant;

use super::{BLOB_DEADLINE, Workshop, handoffs};
use crate::client::{DataPlane, chunk_key};
use crate::device::BlobKey;
use crate::erasure::Code;

const NAME: &str = "reclaim";
/// Entries asked for at first.
const PAGE_MIN: usize = 256;
/// Entries asked for at the most, when those at the head wait for a device.
const PAGE_MAX: usize = 32_768;
/// Blobs removed in one turn, counted once for each device.
const BLOBS_PER_TURN: usize = 16_384;
/// Entries whose drop travels in one command.
const DROPS_PER_COMMAND: usize = 256;
/// Entries remembered as waiting for a device.
const WAITING_MAX: usize = 65_536;
/// How long such an entry is left alone.
const WAITING_PAUSE: Duration = Duration::from_secs(30);
/// Handoffs that are told, for each replica.
const HANDOFFS_PER_REPLICA: usize = 2;

/// Works on the queues of the shards this node leads.
pub(super) async fn run(workshop: Workshop) {
    let mut reclaim = Reclaim {
        workshop,
        waiting: HashMap::new(),
        pages: HashMap::new(),
    };
    loop {
        let mut progress = false;
        for shard in reclaim.workshop.led_key_shards() {
            match reclaim.turn(shard).await {
                Ok(dropped) => {
                    progress |= dropped > 0;
                    reclaim.workshop.board.done(NAME, dropped);
                }
                Err(why) => reclaim.workshop.board.failed(NAME, why),
            }
        }
        if !progress {
            reclaim.workshop.board.state(
                NAME,
                format!("idle, {} entries wait for a device", reclaim.waiting.len()),
            );
            tokio::time::sleep(reclaim.workshop.options.idle_pause).await;
        }
    }
}

struct Reclaim {
    workshop: Workshop,
    /// Entries whose blobs are gone from every device that answers.
    waiting: HashMap<WriteId, Instant>,
    pages: HashMap<ShardId, usize>,
}

/// The keys to remove on each device, and which of the devices must confirm.
#[derive(Default)]
struct Removal {
    keys: BTreeMap<DeviceId, Vec<BlobKey>>,
    must_confirm: BTreeMap<WriteId, Vec<DeviceId>>,
}

impl Reclaim {
    async fn turn(&mut self, shard: ShardId) -> Result<u64, String> {
        let Found::Summary(summary) = self.workshop.ask(shard, Query::Summary).await? else {
            return Ok(0);
        };
        if summary.reclaim_streams == 0 {
            return Ok(0);
        }
        let options = self.workshop.options;
        let until_ms = summary.time_ms.saturating_sub(options.reclaim_delay_ms);
        let limit = *self.pages.entry(shard).or_insert(PAGE_MIN);
        let found = match self.workshop.ask(shard, Query::Reclaim { until_ms, limit }).await? {
            Found::Reclaim(found) => found,
            _ => return Ok(0),
        };
        let full = found.len() >= limit;
        let now = Instant::now();
        self.waiting.retain(|_, until| now < *until);
        let due: Vec<(ReclaimKey, RefRow)> = found
            .into_iter()
            .filter(|(key, _)| !self.waiting.contains_key(&key.write))
            .collect();
        let (taken, removal) = self.removal(due);
        self.workshop
            .board
            .state(NAME, format!("removing the blobs of {} streams", taken.len()));
        let silent = self.remove(&removal).await;
        let patience = options.reclaim_delay_ms.saturating_add(options.reclaim_patience_ms);
        let mut gone = Vec::new();
        for key in taken {
            let confirmed = removal
                .must_confirm
                .get(&key.write)
                .is_some_and(|all| all.iter().all(|device| !silent.contains(device)));
            if confirmed || summary.time_ms.saturating_sub(key.since_ms) > patience {
                gone.push(key);
            } else if self.waiting.len() < WAITING_MAX {
                self.waiting.insert(key.write, now + WAITING_PAUSE);
            }
        }
        let next = if gone.is_empty() && full {
            (limit * 2).min(PAGE_MAX)
        } else {
            PAGE_MIN
        };
        self.pages.insert(shard, next);
        self.drop_entries(shard, &gone).await
    }

    /// What has to be removed where for the first entries that fit into one turn.
    fn removal(&self, due: Vec<(ReclaimKey, RefRow)>) -> (Vec<ReclaimKey>, Removal) {
        let (mut taken, mut removal, mut blobs) = (Vec::new(), Removal::default(), 0);
        for (key, row) in due {
            // Without its ring nobody can say where the blobs are.
            let Some(live) = self.workshop.rings_of(&row.stream) else {
                continue;
            };
            let ring = &live.current.ring;
            let chunks = row.stream.chunks();
            if !taken.is_empty() && blobs + chunks as usize > BLOBS_PER_TURN {
                break;
            }
            blobs += chunks as usize * live.code.map_or(1, Code::fragments);
            let must = removal.must_confirm.entry(key.write).or_default();
            let pieces = (0..chunks).flat_map(|chunk| live.pieces(chunk_key(&row.stream, chunk)));
            for blob in pieces {
                // Those of the ring before as well: a change under way may have copies at both.
                let mut primaries = live.primaries(blob);
                primaries.extend(live.leaving(blob));
                let mut extra = handoffs(ring, blob.placement, HANDOFFS_PER_REPLICA * ring.replicas());
                // A surplus copy that nobody removes now would be nobody's, and wait for the collector of orphans.
                extra.extend(
                    live.left(blob)
                        .into_iter()
                        .filter(|device| !extra.contains(device))
                        .collect::<Vec<_>>(),
                );
                extra.retain(|device| !primaries.contains(device));
                for device in primaries.iter().chain(&extra) {
                    removal.keys.entry(*device).or_default().push(blob);
                }
                for device in primaries {
                    if !must.contains(&device) {
                        must.push(device);
                    }
                }
            }
            taken.push(key);
        }
        (taken, removal)
    }

    /// Removes on all devices at once; those that did not confirm are returned.
    async fn remove(&self, removal: &Removal) -> Vec<DeviceId> {
        let removes = removal.keys.iter().map(|(device, keys)| async move {
            let removed = self
                .workshop
                .client
                .remove_blobs(*device, keys.clone(), BLOB_DEADLINE)
                .await;
            removed.err().map(|error| (*device, error))
        });
        let failed = futures::future::join_all(removes).await.into_iter().flatten();
        failed
            .map(|(device, error)| {
                self.workshop.board.failed(NAME, error);
                device
            })
            .collect()
    }

    async fn drop_entries(&self, shard: ShardId, gone: &[ReclaimKey]) -> Result<u64, String> {
        for entries in gone.chunks(DROPS_PER_COMMAND) {
            self.workshop
                .tell(
                    shard,
                    Command::Reclaimed {
                        entries: entries.to_vec(),
                    },
                )
                .await?;
        }
        Ok(gone.len() as u64)
    }
}
