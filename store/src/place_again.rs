//! A commit whose ring was retired while the body came in (DESIGN §3.4): the copies are placed again by the live ring,
//! and the commit is repeated.
//!
//! Nothing is sent a second time that lies well enough: when the devices that have a chunk are a write quorum by the new
//! ring too (DUR-1), the commit names them, and what its primaries lack goes through the shard's `short` queue. Else the
//! chunk is copied to its new primaries first.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use metadata::command::{Command, NewBody};
use metadata::ids::{DeviceId, ShardId};
use metadata::model::{PolicyId, Stored, Stream};
use metadata::reply::{Refusal, Reply};
use storage_node::client::{PlaneError, chunk_key, chunk_len};
use storage_node::device::{Blob, BlobKey};
use tokio::time::Instant;

use crate::context::RequestContext;
use crate::error::StoreError;
use crate::metrics::PLACED_AGAIN;
use crate::placement::Placement;
use crate::short::ShortList;
use crate::store::Store;

/// How often one commit is placed again: rings do not change twice within one request but by accident.
const TRIES_MAX: usize = 3;
/// The pause between looks for the ring that a fence asks for.
const RING_PAUSE: Duration = Duration::from_millis(20);
/// How long this process may take to learn of that ring: its copy of the system shard is at most two seconds behind.
const RING_WAIT: Duration = Duration::from_secs(5);
/// Chunks looked after at once.
const CHUNKS_AT_ONCE: usize = 8;

impl Store {
    /// Has a commit executed; a stream whose ring was retired is placed again.
    pub(crate) async fn propose_placed(
        &self,
        cx: &RequestContext,
        shard: ShardId,
        mut command: Command,
    ) -> Result<Reply, PlaneError> {
        let metadata = &self.inner.planes.metadata;
        for _ in 0..TRIES_MAX {
            let request = cx.next_command(self.inner.clock.now_ms());
            let reply = metadata.propose(shard, request, command.clone(), cx.deadline).await?;
            let Err(Refusal::RingRetired { fence }) = reply else {
                return Ok(reply);
            };
            let Some(stored) = stored_of(&mut command) else {
                return Ok(reply);
            };
            metrics::counter!(PLACED_AGAIN).increment(1);
            match self.place_again(stored, fence).await {
                Ok(again) => *stored = again,
                Err(reason) => return Err(PlaneError::Unavailable { shard, reason }),
            }
        }
        let reason = "the ring changed again and again".to_owned();
        Err(PlaneError::Unavailable { shard, reason })
    }

    async fn place_again(&self, stored: &Stored, fence: u64) -> Result<Stored, String> {
        let placement = self
            .placement_since(stored.stream.policy, fence)
            .await
            .map_err(|e| e.to_string())?;
        if placement.ring_version() < fence {
            return Err(format!("this process does not know ring {fence} yet"));
        }
        let stream = Stream {
            ring_version: placement.ring_version(),
            ..stored.stream.clone()
        };
        let holders = futures::stream::iter(0..stream.chunks())
            .map(|chunk| self.chunk_again(&placement, stored, chunk))
            .buffered(CHUNKS_AT_ONCE);
        let holders: Vec<Result<Vec<DeviceId>, String>> = holders.collect().await;
        let mut short = ShortList::default();
        for (chunk, holders) in (0..).zip(holders) {
            let primaries = placement.primaries(chunk_key(&stream, chunk).placement);
            short.note(chunk, &primaries, holders?);
        }
        let short = short.finish();
        Ok(Stored { stream, short })
    }

    /// The live rings; waits a moment when they are older than `ring_version`, which somebody has used already.
    pub(crate) async fn placement_since(
        &self,
        policy: PolicyId,
        ring_version: u64,
    ) -> Result<Arc<Placement>, StoreError> {
        let until = Instant::now() + RING_WAIT;
        loop {
            let placement = self.inner.placement(policy)?;
            if placement.ring_version() >= ring_version || Instant::now() >= until {
                return Ok(placement);
            }
            tokio::time::sleep(RING_PAUSE).await;
        }
    }

    /// The devices that have a chunk, a write quorum by the live ring.
    async fn chunk_again(&self, placement: &Placement, stored: &Stored, chunk: u32) -> Result<Vec<DeviceId>, String> {
        let (key, len) = (chunk_key(&stored.stream, chunk), chunk_len(&stored.stream, chunk));
        let primaries = placement.primaries(key.placement);
        let listed = stored.short.iter();
        let listed = listed.filter(|short| (short.first..short.first + short.count).contains(&chunk));
        let mut asked = primaries.clone();
        asked.extend(placement.leaving(key.placement));
        asked.extend(listed.flat_map(|short| short.devices.iter().copied()));
        let mut holders = self.holders(&asked, key, len).await;
        if holders.is_empty() {
            // The ring that placed it is gone from here already.
            asked.extend(placement.handoffs(key.placement));
            asked.extend(placement.others(&asked.clone()));
            holders = self.holders(&asked, key, len).await;
        }
        if placement.is_quorum(&holders) {
            return Ok(holders);
        }
        let blob = self.read_whole(&holders, key, len).await?;
        let before = holders.clone();
        for device in primaries.into_iter().filter(|device| !before.contains(device)) {
            let deadline = self.inner.options.write_deadline;
            match self.inner.planes.data.put_blob(device, blob.clone(), deadline).await {
                Ok(()) => holders.push(device),
                Err(error) => tracing::debug!(%device, %error, "a chunk could not be placed again here"),
            }
        }
        if placement.is_quorum(&holders) {
            Ok(holders)
        } else {
            Err("a chunk could not be placed again on a write quorum of the live ring".to_owned())
        }
    }

    /// Which of `asked` have the whole chunk.
    async fn holders(&self, asked: &[DeviceId], key: BlobKey, len: u32) -> Vec<DeviceId> {
        let data = &self.inner.planes.data;
        let deadline = self.inner.options.read_deadline;
        let mut unique = asked.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let asks = unique.into_iter().map(|device| async move {
            let found = data.stat_blob(device, key, deadline).await;
            found
                .is_ok_and(|header| header.is_some_and(|header| header.len == len))
                .then_some(device)
        });
        futures::future::join_all(asks).await.into_iter().flatten().collect()
    }

    /// The chunk from the first good copy (INT-1).
    async fn read_whole(&self, holders: &[DeviceId], key: BlobKey, len: u32) -> Result<Blob, String> {
        let mut why = "no device has a chunk".to_owned();
        for device in holders {
            let deadline = self.inner.options.read_deadline;
            match self.inner.planes.data.read_blob(*device, key, 0..len, deadline).await {
                Ok(slice) if slice.payload.len() == len as usize && slice.verify().is_ok() => {
                    return Ok(Blob {
                        key,
                        header: slice.header,
                        frame_crcs: slice.frame_crcs,
                        payload: slice.payload.into(),
                    });
                }
                Ok(_) => why = format!("device {device} holds a damaged copy"),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }
}

/// The stream that a commit names.
fn stored_of(command: &mut Command) -> Option<&mut Stored> {
    match command {
        Command::PutObject { object, .. } => match &mut object.body {
            NewBody::Stored(stored) => Some(stored),
            NewBody::Inline(_) => None,
        },
        Command::CommitPart { stored, .. } => Some(stored),
        _ => None,
    }
}

#[cfg(test)]
#[path = "place_again_tests.rs"]
mod tests;
