//! The queues of chunks that lack copies (HEAL-1): fewest copies first, several at once, until they are empty.
//!
//! A chunk whose missing device is down is passed over without asking anybody; when the node answers again, the next
//! look (at most [`WorkOptions::idle_pause`](crate::node::WorkOptions) and the memory of the failure later) repairs it.
//! A handoff's copy is removed only after every primary has proven its own and the shard has taken note of that.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt;
use metadata::command::Command;
use metadata::ids::{DeviceId, ShardId, WriteId};
use metadata::query::{Found, Query, ShortFound};
use tokio::time::Instant;

use super::mend::{Mended, retry_pause};
use super::{BLOB_DEADLINE, Workshop};
use crate::client::{DataPlane, Standing, chunk_key};
use crate::device::BlobKey;

const NAME: &str = "short queue";
/// Ranges asked for at first.
const PAGE_MIN: usize = 128;
/// Ranges asked for at the most, when those at the queue's head cannot be repaired just now.
const PAGE_MAX: usize = 32_768;
/// Chunks repaired in one turn, so that more urgent ones that come in are seen soon.
const CHUNKS_PER_TURN: usize = 512;
/// Ranges remembered as not repairable just now.
const STUCK_MAX: usize = 65_536;
/// The longest pause before one of them is tried again.
const STUCK_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Works on the queues of the shards this node leads.
pub(super) async fn run(workshop: Workshop) {
    let mut queue = ShortQueue {
        workshop,
        stuck: HashMap::new(),
        pages: HashMap::new(),
    };
    loop {
        let mut progress = false;
        for shard in queue.workshop.led_key_shards() {
            progress |= queue.turn(shard).await;
        }
        if !progress {
            tokio::time::sleep(queue.workshop.options.idle_pause).await;
        }
    }
}

struct ShortQueue {
    workshop: Workshop,
    stuck: HashMap<(WriteId, u32), Stuck>,
    pages: HashMap<ShardId, usize>,
}

#[derive(Clone, Copy)]
struct Stuck {
    failures: u32,
    until: Instant,
}

impl ShortQueue {
    /// One page of one shard; true when something was repaired.
    async fn turn(&mut self, shard: ShardId) -> bool {
        let limit = *self.pages.entry(shard).or_insert(PAGE_MIN);
        let board = self.workshop.board.clone();
        let found = match self.workshop.ask(shard, Query::Short { limit }).await {
            Ok(Found::Short(found)) => found,
            Ok(_) => return false,
            Err(why) => {
                board.failed(NAME, why);
                return false;
            }
        };
        let full = found.len() >= limit;
        let mut ready: Vec<ShortFound> = self.ready(found);
        // The shard counts holders; of fragments it takes some to have anything.
        ready.sort_by_key(|range| {
            let needed = self
                .workshop
                .rings_of(&range.stream)
                .map_or(1, |live| live.pieces_needed());
            range.devices.len().saturating_sub(needed)
        });
        let work = cut(ready, CHUNKS_PER_TURN);
        let mended = self.mend_all(shard, work).await;
        let next = if mended > 0 || !full {
            PAGE_MIN
        } else {
            (limit * 2).min(PAGE_MAX)
        };
        self.pages.insert(shard, next);
        board.done(NAME, mended);
        mended > 0
    }

    /// Leaves out what cannot be repaired just now, without asking anybody.
    fn ready(&mut self, found: Vec<ShortFound>) -> Vec<ShortFound> {
        let now = Instant::now();
        self.stuck.retain(|_, stuck| stuck.until + STUCK_PAUSE_MAX > now);
        let mut passed = 0_u64;
        let ready: Vec<ShortFound> = found
            .into_iter()
            .filter(|range| {
                let waits = self
                    .stuck
                    .get(&(range.stream.write, range.first))
                    .is_some_and(|stuck| now < stuck.until);
                let ready = !waits && self.has_a_target(range);
                passed += u64::from(!ready);
                ready
            })
            .collect();
        let state = match (ready.len(), passed) {
            (0, 0) => "empty".to_owned(),
            (0, passed) => format!("{passed} ranges wait for devices that do not answer"),
            (ready, passed) => format!("repairing {ready} ranges, {passed} wait"),
        };
        self.workshop.board.state(NAME, state);
        ready
    }

    /// False when every primary that is not named as a holder is thought to be down.
    fn has_a_target(&self, range: &ShortFound) -> bool {
        let Some(live) = self.workshop.rings_of(&range.stream) else {
            return false;
        };
        let key = chunk_key(&range.stream, range.first);
        let lacking: Vec<DeviceId> = live
            .primaries(key)
            .into_iter()
            .filter(|device| !range.devices.contains(device))
            .collect();
        lacking.is_empty() || lacking.iter().any(|device| self.workshop.client.writable(*device))
    }

    async fn mend_all(&mut self, shard: ShardId, ranges: Vec<ShortFound>) -> u64 {
        let workshop = &self.workshop;
        let mut chunks = Vec::new();
        for (at, range) in ranges.iter().enumerate() {
            chunks.extend((range.first..range.first + range.count).map(|chunk| (at, chunk)));
        }
        let mending = futures::stream::iter(chunks).map(|(at, chunk)| mend_one(workshop, &ranges[at], chunk));
        let outcomes: Vec<(WriteId, u32, u32, Mended)> = mending
            .buffer_unordered(workshop.options.repairs_at_once.max(1))
            .collect()
            .await;

        let mut done: BTreeMap<WriteId, Vec<u32>> = BTreeMap::new();
        let mut surplus: BTreeMap<WriteId, Vec<(DeviceId, BlobKey)>> = BTreeMap::new();
        for (write, first, chunk, outcome) in outcomes {
            match outcome {
                Mended::Whole { surplus: extra } => {
                    done.entry(write).or_default().push(chunk);
                    if !extra.is_empty() {
                        surplus.entry(write).or_default().extend(extra);
                    }
                }
                Mended::Short(why) => self.put_off(write, first, &why),
                Mended::Lost => {
                    self.put_off(write, first, "no device has a good copy");
                    self.report_lost(shard, write, chunk).await;
                }
            }
        }
        let mut mended = 0;
        for (write, chunks) in done {
            let clears = runs(chunks).into_iter().map(|(first, count)| {
                let told = self.workshop.tell(shard, Command::ClearShort { write, first, count });
                async move { told.await.map(|_| u64::from(count)) }
            });
            let mut all_noted = true;
            for cleared in futures::future::join_all(clears).await {
                match cleared {
                    Ok(count) => mended += count,
                    Err(why) => {
                        all_noted = false;
                        self.workshop.board.failed(NAME, why);
                    }
                }
            }
            if let Some(extra) = surplus.remove(&write).filter(|_| all_noted) {
                self.drop_surplus(&ranges, write, extra).await;
            }
        }
        mended
    }

    fn put_off(&mut self, write: WriteId, first: u32, why: &str) {
        self.workshop.board.failed(NAME, why);
        if self.stuck.len() >= STUCK_MAX {
            return;
        }
        let stuck = self.stuck.entry((write, first)).or_insert(Stuck {
            failures: 0,
            until: Instant::now(),
        });
        stuck.until = Instant::now() + retry_pause(stuck.failures, STUCK_PAUSE_MAX);
        stuck.failures += 1;
    }

    /// Says that no copy is known, so that the shard counts the chunk as lost until one turns up.
    async fn report_lost(&self, shard: ShardId, write: WriteId, chunk: u32) {
        tracing::error!(%write, chunk, "no device has a good copy of this chunk");
        let command = Command::MarkShort {
            write,
            first: chunk,
            count: 1,
            devices: Vec::new(),
        };
        if let Err(why) = self.workshop.tell(shard, command).await {
            self.workshop.board.failed(NAME, why);
        }
    }

    /// Removes copies on devices that are no primaries. All primaries have proven theirs and the log knows it (DUR-3).
    async fn drop_surplus(&self, ranges: &[ShortFound], write: WriteId, extra: Vec<(DeviceId, BlobKey)>) {
        let Some(range) = ranges.iter().find(|range| range.stream.write == write) else {
            return;
        };
        let Some(live) = self.workshop.rings_of(&range.stream) else {
            return;
        };
        let mut keys: BTreeMap<DeviceId, Vec<BlobKey>> = BTreeMap::new();
        for (device, key) in extra {
            // A ring that came meanwhile may have made a primary of it, and one that is leaving keeps its copies (REB-1).
            if live.standing(device, key) == Standing::Stranger {
                keys.entry(device).or_default().push(key);
            }
        }
        for (device, keys) in keys {
            if let Err(why) = self.workshop.client.remove_blobs(device, keys, BLOB_DEADLINE).await {
                // The collector finds it later.
                self.workshop.board.failed(NAME, why);
            }
        }
    }
}

async fn mend_one(workshop: &Workshop, range: &ShortFound, chunk: u32) -> (WriteId, u32, u32, Mended) {
    (
        range.stream.write,
        range.first,
        chunk,
        workshop.mend(&range.stream, chunk, &range.devices).await,
    )
}

/// The first ranges that have at most `chunks` chunks together; a longer one is cut. Plain function.
fn cut(ranges: Vec<ShortFound>, mut chunks: usize) -> Vec<ShortFound> {
    let mut taken = Vec::new();
    for mut range in ranges {
        if chunks == 0 {
            break;
        }
        range.count = range.count.min(u32::try_from(chunks).unwrap_or(u32::MAX));
        chunks -= range.count as usize;
        taken.push(range);
    }
    taken
}

/// Consecutive numbers as (first, count). Plain function.
pub(super) fn runs(mut numbers: Vec<u32>) -> Vec<(u32, u32)> {
    numbers.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            Some((first, count)) if number < *first + *count => {}
            _ => runs.push((number, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use metadata::ids::BucketId;
    use metadata::model::{PolicyId, Stream};

    use super::*;

    fn range(write: u128, first: u32, count: u32) -> ShortFound {
        let stream = Stream {
            write: WriteId(write),
            size: 1 << 30,
            chunk_bytes: 1,
            policy: PolicyId(0),
            ring_version: 1,
        };
        ShortFound {
            stream,
            bucket: BucketId(1),
            first,
            count,
            devices: Vec::new(),
        }
    }

    #[test]
    fn runs_are_maximal_and_count_no_number_twice() {
        assert_eq!(runs(vec![5, 1, 2, 7, 6, 2]), [(1, 2), (5, 3)]);
        assert_eq!(runs(Vec::new()), []);
    }

    #[test]
    fn a_turn_takes_a_bounded_number_of_chunks_from_the_head() {
        let taken = cut(vec![range(1, 0, 3), range(2, 4, 10), range(3, 0, 1)], 5);
        assert_eq!(taken, [range(1, 0, 3), range(2, 4, 2)]);
    }
}
