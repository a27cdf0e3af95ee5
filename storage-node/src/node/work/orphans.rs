//! Blobs that nothing refers to, and copies on devices where they do not belong (DUR-3).
//!
//! Each node walks its own devices slowly and asks, in batches, the shard that a blob's header names:
//! - referenced, and this device is a primary: left; not a primary: dropped once all primaries have it;
//! - ending: left, the reclaim queue sees to it after the delay;
//! - condemned or unknown: collected. At the end of the walk the shard is told to condemn the collected streams, and only
//!   those it confirms are removed: a commit that names them is refused from then on, so the age limit is about cost only.
//!
//! When more than 1 % of a device looks unreferenced the walk removes nothing and asks the operator: a wrong or restored
//! metadata store must not empty the devices.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metadata::command::Command;
use metadata::ids::{DeviceId, ShardId, WriteId};
use metadata::query::{Found, Life, Query};
use metadata::reply::Done;

use super::Workshop;
use super::mend::Held;
use crate::client::{MetadataPlane, Standing};
use crate::device::{BlobHeader, BlobKey, BlobStore};
use crate::shard::{RESTORED_KEY, RESTORED_TABLE};

/// Blobs looked at in one step.
const PAGE: usize = 500;
/// Streams asked about or condemned in one call.
const STREAMS_PER_CALL: usize = 256;
/// This many unreferenced blobs never stop a walk: 1 % of a small device is nothing.
const UNREFERENCED_MIN: u64 = 200;
/// Collected blobs of one walk; the rest is found by the next one.
const COLLECTED_MAX: usize = 200_000;

/// Walks over this node's devices, again and again.
pub(super) async fn run(workshop: Workshop) {
    loop {
        for (device, store) in workshop.devices.set().all() {
            let name = format!("orphans of device {device}");
            match walk(&workshop, device, &store, &name).await {
                Ok(removed) => workshop.board.done(&name, removed),
                Err(why) => workshop.board.failed(&name, why),
            }
        }
        tokio::time::sleep(workshop.options.orphan_interval).await;
    }
}

/// What to do with one blob. Plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Leave,
    /// Nothing refers to it.
    Unreferenced,
    /// It lives, and this device may not be where it belongs.
    CheckPlace,
}

/// Decides from what the log says. Plain function.
fn judge(life: Life, is_primary: bool) -> Verdict {
    match (life, is_primary) {
        (Life::Unknown | Life::Condemned, _) => Verdict::Unreferenced,
        (Life::Referenced, false) => Verdict::CheckPlace,
        (Life::Referenced, true) | (Life::Ending, _) => Verdict::Leave,
    }
}

/// Whether a walk that found so many unreferenced blobs must stop and ask. Plain function.
fn must_ask(unreferenced: u64, blobs: u64) -> bool {
    unreferenced > (blobs / 100).max(UNREFERENCED_MIN)
}

async fn walk(workshop: &Workshop, device: DeviceId, store: &Arc<dyn BlobStore>, name: &str) -> Result<u64, String> {
    let approved = workshop.approvals.take(device);
    let blobs = store.usage().blobs;
    if !approved && metadata_was_restored(workshop).await? {
        return Ok(ask_after_restore(workshop, device, name));
    }
    let mut after = None;
    let (mut looked, mut removed) = (0_u64, 0_u64);
    let mut collected: Vec<(ShardId, BlobKey)> = Vec::new();
    loop {
        let page = store.list(after, u64::MAX, PAGE).await.map_err(|e| e.to_string())?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        looked += page.len() as u64;
        let now_ms = workshop.clock.now_ms();
        let grace = workshop.options.orphan_grace_ms;
        let old = page
            .into_iter()
            .filter(|(_, header)| header.written_ms.saturating_add(grace) <= now_ms);
        let lives = ask_lives(workshop, old.collect()).await;
        for (key, header, life) in lives {
            let Some(live) = workshop.rings_for(key) else {
                return Err(format!("the ring of policy {} is not known yet", key.id.policy().0));
            };
            // By the ring before counts too: such a copy may be the only one (REB-1).
            match judge(life, live.standing(device, key) != Standing::Stranger) {
                Verdict::Leave => {}
                Verdict::Unreferenced if collected.len() < COLLECTED_MAX => collected.push((header.shard, key)),
                Verdict::Unreferenced => {}
                Verdict::CheckPlace => {
                    removed += u64::from(check_place(workshop, device, store, key, header).await?);
                }
            }
        }
        if !approved && must_ask(collected.len() as u64, blobs) {
            return Ok(stop_and_ask(workshop, device, name, collected.len(), blobs, removed));
        }
        workshop.board.state(
            name,
            format!("looked at {looked} of {blobs}, {} unreferenced", collected.len()),
        );
        tokio::time::sleep(workshop.options.orphan_pause).await;
    }
    removed += condemn_and_remove(workshop, store, collected).await?;
    workshop.board.change(name, |line| line.asks = None);
    workshop
        .board
        .state(name, format!("looked at {looked} blobs, removed {removed}"));
    Ok(removed)
}

fn stop_and_ask(workshop: &Workshop, device: DeviceId, name: &str, found: usize, blobs: u64, removed: u64) -> u64 {
    let asks = format!(
        "at least {found} of {blobs} blobs look unreferenced and nothing was removed: check that the metadata is whole \
         and newest, then approve with `halo admin device approve-orphans {device}`"
    );
    tracing::error!(%device, found, blobs, "too much looks unreferenced; orphan collection stops and asks");
    workshop.board.change(name, |line| line.asks = Some(asks));
    workshop.board.state(name, "stopped");
    removed
}

/// Restored metadata does not know what was written after its backup; nothing of that is an orphan until an operator has
/// looked.
async fn metadata_was_restored(workshop: &Workshop) -> Result<bool, String> {
    let query = Query::GetRecord {
        table: RESTORED_TABLE.to_owned(),
        key: RESTORED_KEY.to_owned(),
    };
    match workshop.ask(ShardId::SYSTEM, query).await? {
        Found::Record(record) => Ok(record.is_some()),
        _ => Err("the system shard's answer has the wrong kind".to_owned()),
    }
}

fn ask_after_restore(workshop: &Workshop, device: DeviceId, name: &str) -> u64 {
    let asks = format!(
        "the metadata was restored from a backup and nothing is collected: check that all is there, then run `halo admin \
         metadata accept`, or `halo admin device approve-orphans {device}` for one walk over this device"
    );
    workshop.board.change(name, |line| line.asks = Some(asks));
    workshop.board.state(name, "stopped");
    0
}

/// What the shards say of the blobs' streams; blobs of shards that do not answer, or do not exist, are left out.
async fn ask_lives(workshop: &Workshop, page: Vec<(BlobKey, BlobHeader)>) -> Vec<(BlobKey, BlobHeader, Life)> {
    let mut by_shard: BTreeMap<ShardId, Vec<(BlobKey, BlobHeader)>> = BTreeMap::new();
    for (key, header) in page {
        if (1..=workshop.client.key_shards()).contains(&header.shard.0) {
            by_shard.entry(header.shard).or_default().push((key, header));
        }
    }
    let mut known = Vec::new();
    for (shard, blobs) in by_shard {
        let writes: HashSet<WriteId> = blobs.iter().map(|(key, _)| key.id.write).collect();
        let writes: Vec<WriteId> = writes.into_iter().collect();
        let mut lives: HashMap<WriteId, Life> = HashMap::new();
        for writes in writes.chunks(STREAMS_PER_CALL) {
            if let Ok(Found::Lives(found)) = workshop
                .ask(
                    shard,
                    Query::Lives {
                        writes: writes.to_vec(),
                    },
                )
                .await
            {
                lives.extend(writes.iter().copied().zip(found));
            }
        }
        let say = |(key, header): (BlobKey, BlobHeader)| Some((key, header, *lives.get(&key.id.write)?));
        known.extend(blobs.into_iter().filter_map(say));
    }
    known
}

/// A living blob on a device that is no primary: dropped when all primaries have it, reported as short when not.
async fn check_place(
    workshop: &Workshop,
    device: DeviceId,
    store: &Arc<dyn BlobStore>,
    key: BlobKey,
    header: BlobHeader,
) -> Result<bool, String> {
    let Some(live) = workshop.rings_for(key) else {
        return Ok(false);
    };
    let seen = workshop.survey(&live, key, &[device]).await;
    let primaries: Vec<_> = seen.iter().filter(|seen| seen.primary).collect();
    if primaries.iter().all(|seen| seen.held == Held::Yes) {
        store.remove(vec![key]).await.map_err(|e| e.to_string())?;
        return Ok(true);
    }
    if primaries.iter().any(|seen| seen.held == Held::No) {
        let devices = workshop.holders(&live, key, &[device]).await;
        let (write, first) = (key.id.write, key.id.number());
        workshop
            .tell(
                header.shard,
                Command::MarkShort {
                    write,
                    first,
                    count: 1,
                    devices,
                },
            )
            .await?;
    }
    Ok(false)
}

async fn condemn_and_remove(
    workshop: &Workshop,
    store: &Arc<dyn BlobStore>,
    collected: Vec<(ShardId, BlobKey)>,
) -> Result<u64, String> {
    let mut by_shard: BTreeMap<ShardId, BTreeMap<WriteId, Vec<BlobKey>>> = BTreeMap::new();
    for (shard, key) in collected {
        by_shard
            .entry(shard)
            .or_default()
            .entry(key.id.write)
            .or_default()
            .push(key);
    }
    let mut removed = 0;
    for (shard, streams) in by_shard {
        let writes: Vec<WriteId> = streams.keys().copied().collect();
        for writes in writes.chunks(STREAMS_PER_CALL) {
            let told = workshop
                .tell(
                    shard,
                    Command::Condemn {
                        writes: writes.to_vec(),
                    },
                )
                .await?;
            let Done::Condemned(condemned) = told else { continue };
            let keys: Vec<BlobKey> = condemned
                .iter()
                .filter_map(|write| streams.get(write))
                .flatten()
                .copied()
                .collect();
            removed += keys.len() as u64;
            store.remove(keys).await.map_err(|e| e.to_string())?;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dur_3_only_what_the_log_does_not_refer_to_is_collected() {
        assert_eq!(judge(Life::Unknown, true), Verdict::Unreferenced);
        assert_eq!(judge(Life::Condemned, false), Verdict::Unreferenced);
        assert_eq!(judge(Life::Referenced, true), Verdict::Leave);
        assert_eq!(judge(Life::Referenced, false), Verdict::CheckPlace);
        assert_eq!(judge(Life::Ending, true), Verdict::Leave);
        assert_eq!(judge(Life::Ending, false), Verdict::Leave);
    }

    #[test]
    fn dur_3_more_than_one_percent_stops_and_asks() {
        assert!(!must_ask(200, 10));
        assert!(must_ask(201, 10));
        assert!(!must_ask(10_000, 1_000_000));
        assert!(must_ask(10_001, 1_000_000));
    }
}
