//! The slow search for living chunks that lack copies without anybody having noticed: a device that was replaced, a
//! write that was lost, rot found by nobody. What is found goes to the shard's `short` queue, which repairs it.
//!
//! A device that does not answer proves nothing and is passed over; chunks that are in the queue already are left to it.

use std::collections::HashSet;

use futures::future::join_all;
use metadata::command::Command;
use metadata::ids::{DeviceId, ShardId, WriteId};
use metadata::model::Stream;
use metadata::query::{Found, Query};

use super::mend::{Held, Seen};
use super::{ASK_DEADLINE, Workshop};
use crate::client::{LiveRings, MetadataPlane, Standing, chunk_key};
use crate::device::BlobKey;

const NAME: &str = "search for missing copies";
/// Streams looked at in one step.
const STREAMS_PER_STEP: usize = 64;
/// Chunks of one stream looked at in one step.
const CHUNKS_PER_STEP: u32 = 1024;
/// While more ranges than this are known to be short, repair has enough to do and the search rests.
const SHORT_MAX: usize = 10_000;

/// Walks over the streams of the shards this node leads, again and again.
pub(super) async fn run(workshop: Workshop) {
    report_suspects(&workshop).await;
    loop {
        tokio::time::sleep(workshop.options.missing_interval).await;
        for shard in workshop.led_key_shards() {
            match walk(&workshop, shard).await {
                Ok(marked) => workshop.board.done(NAME, marked),
                Err(why) => workshop.board.failed(NAME, why),
            }
        }
    }
}

async fn walk(workshop: &Workshop, shard: ShardId) -> Result<u64, String> {
    let (mut after, mut looked, mut marked) = (None, 0_u64, 0_u64);
    while workshop.leads(shard) {
        let Found::Short(short) = workshop.ask(shard, Query::Short { limit: SHORT_MAX }).await? else {
            break;
        };
        if short.len() >= SHORT_MAX {
            workshop
                .board
                .state(NAME, format!("shard {shard}: resting while repair is busy"));
            break;
        }
        let known: HashSet<WriteId> = short.iter().map(|range| range.stream.write).collect();
        let Found::Refs(streams) = workshop
            .ask(
                shard,
                Query::Refs {
                    after,
                    limit: STREAMS_PER_STEP,
                },
            )
            .await?
        else {
            break;
        };
        let Some(last) = streams.last() else { break };
        after = Some(last.stream.write);
        looked += streams.len() as u64;
        for row in streams.iter().filter(|row| !known.contains(&row.stream.write)) {
            marked += check(workshop, shard, &row.stream).await?;
        }
        workshop.board.state(
            NAME,
            format!("shard {shard}: looked at {looked} streams, marked {marked} chunks"),
        );
        tokio::time::sleep(workshop.options.missing_pause).await;
    }
    Ok(marked)
}

/// Compares one stream with its primaries and marks what they lack.
async fn check(workshop: &Workshop, shard: ShardId, stream: &Stream) -> Result<u64, String> {
    let Some(live) = workshop.rings_of(stream) else {
        return Ok(0);
    };
    let mut marked = 0;
    let mut first = 0;
    while first < stream.chunks() {
        let chunks: Vec<BlobKey> = (first..stream.chunks().min(first + CHUNKS_PER_STEP))
            .map(|chunk| chunk_key(stream, chunk))
            .collect();
        let keys: Vec<BlobKey> = chunks.iter().flat_map(|chunk| live.pieces(*chunk)).collect();
        let seen = look(workshop, &live, &keys).await;
        // Each chunk with what was said of its pieces.
        for (chunk, seen) in chunks.iter().zip(seen.chunks(keys.len() / chunks.len().max(1))) {
            if seen.iter().flatten().any(|seen| seen.held == Held::No) {
                marked += u64::from(mark(workshop, shard, &live, *chunk, seen).await?);
            }
        }
        first += CHUNKS_PER_STEP;
    }
    Ok(marked)
}

/// Marks a chunk of which a piece is missing; false when too little is known to say so.
async fn mark(
    workshop: &Workshop,
    shard: ShardId,
    live: &LiveRings,
    chunk: BlobKey,
    seen: &[Vec<Seen>],
) -> Result<bool, String> {
    let held = |seen: &[Seen]| seen.iter().any(|seen| seen.held == Held::Yes);
    let enough = seen.iter().filter(|piece| held(piece)).count() >= live.pieces_needed();
    let devices = if enough {
        let holding = seen.iter().flatten().filter(|seen| seen.held == Held::Yes);
        holding.map(|seen| seen.device).collect()
    } else {
        // Before "no copy at all" is said, everybody is asked.
        let Some(devices) = everybody(workshop, live, chunk).await else {
            return Ok(false);
        };
        devices
    };
    let command = Command::MarkShort {
        write: chunk.id.write,
        first: chunk.id.number(),
        count: 1,
        devices,
    };
    workshop.tell(shard, command).await?;
    Ok(true)
}

/// Who has a chunk or fragments of it, of all devices; `None` when somebody did not say.
async fn everybody(workshop: &Workshop, live: &LiveRings, chunk: BlobKey) -> Option<Vec<DeviceId>> {
    if live.code.is_some() {
        let stripe = workshop.stripe(live, chunk, &[]).await;
        return stripe.silent.is_empty().then(|| stripe.holders());
    }
    let seen = workshop.survey(live, chunk, &[]).await;
    let silent = seen.iter().any(|seen| seen.held == Held::Unknown);
    let holding = seen.iter().filter(|seen| seen.held == Held::Yes);
    (!silent).then(|| holding.map(|seen| seen.device).collect())
}

/// What the primaries of chunks or fragments say, one call for each device. Those that a change of the ring has just named
/// are not asked: their copies are on the way.
async fn look(workshop: &Workshop, live: &LiveRings, keys: &[BlobKey]) -> Vec<Vec<Seen>> {
    let kept = |key: &BlobKey| {
        let mut primaries = live.primaries(*key);
        primaries.retain(|device| live.standing(*device, *key) == Standing::Kept);
        primaries
    };
    let places: Vec<Vec<DeviceId>> = keys.iter().map(kept).collect();
    let mut devices: Vec<DeviceId> = places.iter().flatten().copied().collect();
    devices.sort_unstable();
    devices.dedup();
    let mut seen = vec![Vec::new(); keys.len()];
    let asks = devices.iter().map(|device| {
        let wanted: Vec<usize> = (0..keys.len()).filter(|at| places[*at].contains(device)).collect();
        async move {
            let asked = wanted.iter().map(|at| keys[*at]).collect();
            let answer = workshop.client.stat_blobs(*device, asked, ASK_DEADLINE).await.ok();
            (*device, wanted, answer)
        }
    });
    for (device, wanted, answer) in join_all(asks).await {
        for (n, at) in wanted.into_iter().enumerate() {
            let held = match answer.as_ref().map(|headers| headers[n].is_some()) {
                Some(true) => Held::Yes,
                Some(false) => Held::No,
                None => Held::Unknown,
            };
            seen[at].push(Seen {
                device,
                primary: true,
                listed: false,
                held,
            });
        }
    }
    seen
}

/// Blobs that recovery of a device could not vouch for: their shards are told at once.
async fn report_suspects(workshop: &Workshop) {
    for (device, keys) in workshop.devices.take_suspects() {
        tracing::warn!(%device, count = keys.len(), "recovery voided records; their blobs are marked for repair");
        for key in keys {
            mark_damaged(workshop, device, key, None).await;
        }
    }
}

/// Notes in its shard that `device` has no good copy of a blob. `hint` is the shard its header names.
pub(super) async fn mark_damaged(workshop: &Workshop, device: DeviceId, key: BlobKey, hint: Option<ShardId>) {
    let all = (1..=workshop.client.key_shards()).map(ShardId);
    let candidates = hint.into_iter().chain(all.filter(|shard| hint != Some(*shard)));
    for shard in candidates {
        let lives = workshop
            .ask(
                shard,
                Query::Lives {
                    writes: vec![key.id.write],
                },
            )
            .await;
        if !matches!(lives, Ok(Found::Lives(lives)) if lives == [metadata::query::Life::Referenced]) {
            continue;
        }
        let Some(live) = workshop.rings_for(key) else {
            return;
        };
        let mut devices = workshop.holders(&live, key, &[]).await;
        devices.retain(|holder| *holder != device);
        let (write, first) = (key.id.write, key.id.number());
        if let Err(why) = workshop
            .tell(
                shard,
                Command::MarkShort {
                    write,
                    first,
                    count: 1,
                    devices,
                },
            )
            .await
        {
            workshop.board.failed(NAME, why);
        }
        return;
    }
}
