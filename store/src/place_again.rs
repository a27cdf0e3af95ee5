//! A commit whose ring was retired while the body came in (DESIGN §3.4): the copies are placed again by the live ring,
//! and the commit is repeated.
//!
//! Nothing is sent a second time that lies well enough: when the devices that have a chunk are a write quorum by the new
//! ring too (DUR-1), the commit names them, and what its primaries lack goes through the shard's `short` queue. Else the
//! chunk is copied to its new primaries first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use metadata::command::{Command, NewBody};
use metadata::ids::{DeviceId, ShardId};
use metadata::model::{PolicyId, Stored, Stream};
use metadata::reply::{Refusal, Reply};
use storage_node::client::{PlaneError, chunk_key, chunk_len};
use storage_node::device::{Blob, BlobKey, Pieces};
use storage_node::erasure::{Code, CodeError};
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
        let holders: Vec<Result<Vec<(u8, DeviceId)>, String>> = holders.collect().await;
        let mut short = ShortList::default();
        for (chunk, holders) in (0..).zip(holders) {
            let holders = holders?;
            if !placement.is_whole(chunk_key(&stream, chunk), &holders) {
                short.note(chunk, holders.into_iter().map(|(_, device)| device).collect());
            }
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

    /// The devices that have a chunk or a fragment of it, a write quorum by the live ring.
    async fn chunk_again(
        &self,
        placement: &Placement,
        stored: &Stored,
        chunk: u32,
    ) -> Result<Vec<(u8, DeviceId)>, String> {
        let key = chunk_key(&stored.stream, chunk);
        let len = placement.piece_len(chunk_len(&stored.stream, chunk));
        let listed = stored.short.iter();
        let listed = listed.filter(|short| (short.first..short.first + short.count).contains(&chunk));
        let mut asked = placement.primaries(key.placement);
        asked.extend(placement.leaving(key.placement));
        asked.extend(listed.flat_map(|short| short.devices.iter().copied()));
        let pieces = placement.pieces(key);
        let mut holders = self.holders(&asked, &pieces, len).await;
        if different(&holders) < placement.code().map_or(1, Code::data) {
            // The ring that placed it is gone from here already.
            asked.extend(placement.handoffs(key.placement));
            asked.extend(placement.others(&asked.clone()));
            holders = self.holders(&asked, &pieces, len).await;
        }
        if placement.is_quorum(&holders) {
            return Ok(holders);
        }
        let blobs = match placement.code() {
            None => vec![self.read_whole(&holders, key, len).await?],
            Some(code) => self.read_fragments(code, &holders, &pieces, len).await?,
        };
        let before = holders.clone();
        for (number, blob) in (0_u8..).zip(blobs) {
            let primaries = placement.primaries(blob.key).into_iter();
            for device in primaries.filter(|device| !before.contains(&(number, *device))) {
                let deadline = self.inner.options.write_deadline;
                match self.inner.planes.data.put_blob(device, blob.clone(), deadline).await {
                    Ok(()) => holders.push((number, device)),
                    Err(error) => tracing::debug!(%device, %error, "a chunk could not be placed again here"),
                }
            }
        }
        if placement.is_quorum(&holders) {
            Ok(holders)
        } else {
            Err("a chunk could not be placed again on a write quorum of the live ring".to_owned())
        }
    }

    /// Which of `asked` have which of `pieces`, each of `len` bytes.
    async fn holders(&self, asked: &[DeviceId], pieces: &[BlobKey], len: u32) -> Vec<(u8, DeviceId)> {
        let data = &self.inner.planes.data;
        let deadline = self.inner.options.read_deadline;
        let mut unique = asked.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let both = unique.into_iter().flat_map(|device| {
            (0_u8..)
                .zip(pieces)
                .map(move |(number, piece)| (number, *piece, device))
        });
        let asks = both.map(|(number, piece, device)| async move {
            let found = data.stat_blob(device, piece, deadline).await;
            found
                .is_ok_and(|header| header.is_some_and(|header| header.len == len))
                .then_some((number, device))
        });
        futures::future::join_all(asks).await.into_iter().flatten().collect()
    }

    /// The chunk from the first good copy (INT-1).
    async fn read_whole(&self, holders: &[(u8, DeviceId)], key: BlobKey, len: u32) -> Result<Blob, String> {
        let mut why = "no device has a chunk".to_owned();
        for (_, device) in holders {
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

    /// All fragments of a chunk, from any good ones (INT-1).
    async fn read_fragments(
        &self,
        code: Code,
        holders: &[(u8, DeviceId)],
        pieces: &[BlobKey],
        len: u32,
    ) -> Result<Vec<Blob>, String> {
        let (mut known, mut header, mut why) = (BTreeMap::new(), None, "too few devices have fragments".to_owned());
        for (number, piece) in (0_u8..).zip(pieces) {
            let having: Vec<_> = holders.iter().filter(|(held, _)| *held == number).copied().collect();
            if known.len() == code.data() || having.is_empty() {
                continue;
            }
            match self.read_whole(&having, *piece, len).await {
                Ok(blob) => {
                    header = Some(blob.header);
                    known.insert(number, blob.payload.to_bytes());
                }
                Err(error) => why = error,
            }
        }
        let header = header.filter(|_| known.len() == code.data()).ok_or(why)?;
        let coding = move || {
            let data = code.rebuild_data(&known)?;
            let chunk = data.into_values().collect::<Pieces>();
            Ok::<_, CodeError>(code.split(&chunk))
        };
        let fragments = storage_node::threads::blocking(coding)
            .await
            .map_err(|e| e.to_string())?;
        let fragments = fragments.map_err(|e| e.to_string())?;
        Ok(pieces
            .iter()
            .zip(fragments)
            .map(|(piece, bytes)| Blob::seal(*piece, header, bytes))
            .collect())
    }
}

/// How many different pieces there are.
fn different(holders: &[(u8, DeviceId)]) -> usize {
    holders
        .iter()
        .map(|(number, _)| *number)
        .collect::<BTreeSet<u8>>()
        .len()
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
