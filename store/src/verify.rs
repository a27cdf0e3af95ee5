//! An independent count: every version of a bucket against what the devices hold, a page at a time, so that the caller
//! sets the pace and may go on where it was (HEAL-1).
//!
//! Nothing is believed but the object's own rows and the devices' own answers: neither the `short` queues nor the repair.

use futures::StreamExt;
use metadata::ids::{DeviceId, Seq};
use metadata::model::{Body, Key, ObjectRow, Stream};
use metadata::query::{Found, ListVersions, Query, VersionFound};
use storage_node::client::{chunk_key, chunk_len};
use storage_node::device::BlobKey;
use storage_node::erasure::Code;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::locate::{CopyState, LocateDepth};
use crate::placement::Placement;
use crate::store::{Store, unexpected};

/// Part rows fetched at once.
const PARTS_PAGE: usize = 64;
/// Chunks looked at at once.
const CHUNKS_AT_ONCE: usize = 8;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyAfter {
    /// The last key looked at.
    pub key: Key,
    /// Its last version looked at.
    pub version: Seq,
}

/// What one page found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions looked at.
    pub versions: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// Good copies or fragments found.
    pub copies: u64,
    /// Versions that are not whole.
    pub problems: Vec<NotWhole>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<VerifyAfter>,
}

/// A version that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotWhole {
    /// Its key.
    pub key: Key,
    /// Its version; `None` for the null version.
    pub version: Option<Seq>,
    /// The worst of its chunks.
    pub kind: Lack,
    /// How many of its chunks are not whole.
    pub chunks: u64,
}

/// What is wrong with a chunk, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A device did not say.
    Unknown,
    /// It has fewer copies or fragments than the ring asks for.
    Short,
    /// It has none, or too few fragments to be read.
    Lost,
}

impl Lack {
    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Short => "short",
            Self::Lost => "lost",
        }
    }
}

/// Judges one chunk: `replicas` copies are wanted. Plain function.
fn judge(states: &[CopyState], replicas: usize) -> (u64, Option<Lack>) {
    let good = states.iter().filter(|state| **state == CopyState::Ok).count();
    let silent = states.contains(&CopyState::Unreachable);
    let lack = match good {
        _ if good >= replicas => None,
        _ if silent => Some(Lack::Unknown),
        0 => Some(Lack::Lost),
        _ => Some(Lack::Short),
    };
    (good as u64, lack)
}

impl Store {
    /// Looks at up to `limit` versions behind `after`.
    ///
    /// # Errors
    /// When the shard is not available, or the bucket is gone.
    pub async fn verify(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        after: Option<VerifyAfter>,
        limit: usize,
        depth: LocateDepth,
    ) -> Result<Verified, StoreError> {
        let (after_key, after_version) = after.map_or((None, None), |after| (Some(after.key), Some(after.version)));
        let list = ListVersions {
            bucket: bucket.info.id,
            after: after_key,
            after_version,
            limit,
            ..ListVersions::default()
        };
        let Found::Versions(page) = self.ask_bucket(cx, bucket, Query::ListVersions(list)).await? else {
            return Err(unexpected("ListVersions"));
        };
        let mut verified = Verified::default();
        let mut last = None;
        for (key, found) in page.entries {
            let seq = match found {
                VersionFound::Marker { marker, .. } => marker.seq,
                VersionFound::Object { object, .. } => {
                    self.verify_object(cx, bucket, &key, &object, depth, &mut verified)
                        .await?;
                    object.seq
                }
            };
            verified.versions += 1;
            last = Some(VerifyAfter { key, version: seq });
        }
        verified.next = last.filter(|_| page.more);
        Ok(verified)
    }

    async fn verify_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        object: &ObjectRow,
        depth: LocateDepth,
        verified: &mut Verified,
    ) -> Result<(), StoreError> {
        let mut worst: Option<(Lack, u64)> = None;
        let mut note = |lacks: Vec<Lack>| {
            if let Some(kind) = lacks.iter().max() {
                let (before, chunks) = worst.unwrap_or((*kind, 0));
                worst = Some((before.max(*kind), chunks + lacks.len() as u64));
            }
        };
        match &object.body {
            Body::Inline => {}
            Body::Stream(stream) => note(self.verify_stream(stream, depth, verified).await?),
            Body::Manifest(upload) => {
                let (mut after, mut more) = (0, true);
                while more {
                    let parts;
                    (parts, more) = self.parts_page(cx, bucket, *upload, after, PARTS_PAGE).await?;
                    let Some(last) = parts.last() else { break };
                    after = last.number;
                    for part in &parts {
                        note(self.verify_stream(&part.stream, depth, verified).await?);
                    }
                }
            }
        }
        if let Some((kind, chunks)) = worst {
            verified.problems.push(NotWhole {
                key: key.to_vec(),
                version: (!object.null).then_some(object.seq),
                kind,
                chunks,
            });
        }
        Ok(())
    }

    async fn verify_stream(
        &self,
        stream: &Stream,
        depth: LocateDepth,
        verified: &mut Verified,
    ) -> Result<Vec<Lack>, StoreError> {
        let placement = self.placement_since(stream.policy, stream.ring_version).await?;
        let chunks = futures::stream::iter(0..stream.chunks())
            .map(|chunk| self.verify_chunk(&placement, stream, chunk, depth))
            .buffered(CHUNKS_AT_ONCE);
        let judged: Vec<(u64, Option<Lack>)> = chunks.collect().await;
        verified.chunks += judged.len() as u64;
        verified.copies += judged.iter().map(|(copies, _)| copies).sum::<u64>();
        Ok(judged.into_iter().filter_map(|(_, lack)| lack).collect())
    }

    /// Asks the primaries; when they are not enough, everybody else who may have the chunk.
    async fn verify_chunk(
        &self,
        placement: &Placement,
        stream: &Stream,
        chunk: u32,
        depth: LocateDepth,
    ) -> (u64, Option<Lack>) {
        if let Some(code) = placement.code() {
            return self.verify_fragments(code, placement, stream, chunk, depth).await;
        }
        let (key, len) = (chunk_key(stream, chunk), chunk_len(stream, chunk));
        let primaries = placement.primaries(key.placement);
        let mut states = Vec::with_capacity(primaries.len());
        for device in &primaries {
            states.push(self.copy_state(*device, key, len, depth).await);
        }
        let (copies, lack) = judge(&states, primaries.len());
        if lack.is_none() {
            return (copies, None);
        }
        let mut others = placement.leaving(key.placement);
        others.extend(placement.others(&[&primaries[..], &others[..]].concat()));
        for device in others {
            states.push(self.copy_state(device, key, len, depth).await);
        }
        judge(&states, primaries.len())
    }

    /// Asks the home of each fragment; for those that are not there, everybody else who may have them.
    async fn verify_fragments(
        &self,
        code: Code,
        placement: &Placement,
        stream: &Stream,
        chunk: u32,
        depth: LocateDepth,
    ) -> (u64, Option<Lack>) {
        let len = placement.piece_len(chunk_len(stream, chunk));
        let mut states = Vec::with_capacity(code.fragments());
        for piece in placement.pieces(chunk_key(stream, chunk)) {
            let mut homes = placement.primaries(piece);
            homes.extend(placement.leaving(piece));
            let mut best = self.best_state(&homes, piece, len, depth).await;
            if best != CopyState::Ok {
                let others = placement.others(&homes);
                best = better(best, self.best_state(&others, piece, len, depth).await);
            }
            states.push(best);
        }
        judge_fragments(&states, code)
    }

    async fn best_state(&self, devices: &[DeviceId], piece: BlobKey, len: u32, depth: LocateDepth) -> CopyState {
        let mut best = CopyState::Absent;
        for device in devices {
            best = better(best, self.copy_state(*device, piece, len, depth).await);
            if best == CopyState::Ok {
                break;
            }
        }
        best
    }
}

/// What is known of a fragment after one more device has answered. Plain function.
fn better(before: CopyState, now: CopyState) -> CopyState {
    let rank = |state| match state {
        CopyState::Absent => 0,
        CopyState::Corrupt => 1,
        CopyState::Unreachable => 2,
        CopyState::Ok => 3,
    };
    if rank(now) > rank(before) { now } else { before }
}

/// Judges one chunk by the best that is known of each of its fragments. Plain function.
fn judge_fragments(states: &[CopyState], code: Code) -> (u64, Option<Lack>) {
    let good = states.iter().filter(|state| **state == CopyState::Ok).count();
    let lack = match good {
        _ if good >= code.fragments() => None,
        _ if states.contains(&CopyState::Unreachable) => Some(Lack::Unknown),
        _ if good < code.data() => Some(Lack::Lost),
        _ => Some(Lack::Short),
    };
    (good as u64, lack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CopyState::{Absent, Corrupt, Ok, Unreachable};

    #[test]
    fn heal_1_nothing_is_whole_or_lost_while_somebody_is_silent() {
        assert_eq!(judge(&[Ok, Ok, Ok], 3), (3, None));
        assert_eq!(judge(&[Ok, Ok, Absent], 3), (2, Some(Lack::Short)));
        assert_eq!(judge(&[Absent, Corrupt, Absent], 3), (0, Some(Lack::Lost)));
        assert_eq!(judge(&[Absent, Unreachable, Absent], 3), (0, Some(Lack::Unknown)));
        assert_eq!(judge(&[Ok, Unreachable, Ok], 3), (2, Some(Lack::Unknown)));
        // On its way to a new place: as many copies as wanted, wherever they are.
        assert_eq!(judge(&[Ok, Ok, Absent, Ok], 3), (3, None));
    }

    #[test]
    fn heal_1_a_chunk_is_lost_when_fewer_fragments_are_left_than_it_takes() {
        let code = Code::new(2, 1).unwrap();
        assert_eq!(judge_fragments(&[Ok, Ok, Ok], code), (3, None));
        assert_eq!(judge_fragments(&[Ok, Absent, Ok], code), (2, Some(Lack::Short)));
        assert_eq!(judge_fragments(&[Ok, Absent, Corrupt], code), (1, Some(Lack::Lost)));
        assert_eq!(
            judge_fragments(&[Ok, Unreachable, Absent], code),
            (1, Some(Lack::Unknown))
        );
        assert_eq!(better(better(Absent, Unreachable), Ok), Ok);
        assert_eq!(better(Unreachable, Absent), Unreachable);
    }
}
