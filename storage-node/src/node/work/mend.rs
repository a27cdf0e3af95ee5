//! Repairing one chunk: who has it, who should, copy, prove. Chunks in fragments are mended by `fragments`.

use std::time::Duration;

use futures::future::join_all;
use metadata::ids::DeviceId;
use metadata::model::Stream;

use super::{ASK_DEADLINE, BLOB_DEADLINE, Workshop, handoffs};
use crate::client::{BlobError, DataPlane, LiveRings, chunk_key, chunk_len};
use crate::device::{Blob, BlobKey};

/// Devices beyond primaries and known holders that are asked for a chunk nobody else has.
const SEARCHED_MAX: usize = 64;

/// What a device says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It believes to have it.
    Yes,
    /// It has not.
    No,
    /// It did not say.
    Unknown,
}

/// One device's part in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) device: DeviceId,
    /// It should hold the chunk.
    pub(super) primary: bool,
    /// The shard's queue names it as a holder.
    pub(super) listed: bool,
    pub(super) held: Held,
}

/// What to do about one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Devices to copy from, best first.
    pub(super) sources: Vec<DeviceId>,
    /// Primaries that lack the chunk.
    pub(super) targets: Vec<DeviceId>,
    /// Primaries that claim to have it although the queue does not name them: a laggard's late success, or rot.
    pub(super) doubted: Vec<DeviceId>,
    /// Primaries that did not say.
    pub(super) waiting: Vec<DeviceId>,
    /// Others that have a copy; not needed once all primaries have one.
    pub(super) surplus: Vec<DeviceId>,
}

/// Decides. Plain function.
pub(super) fn plan(seen: &[Seen]) -> Plan {
    let mut plan = Plan::default();
    let mut unlisted = Vec::new();
    for Seen {
        device,
        primary,
        listed,
        held,
    } in seen.iter().copied()
    {
        match held {
            Held::Yes if listed => plan.sources.push(device),
            Held::Yes => unlisted.push(device),
            Held::No if primary => plan.targets.push(device),
            Held::Unknown if primary => plan.waiting.push(device),
            Held::No | Held::Unknown => {}
        }
        if held == Held::Yes && primary && !listed {
            plan.doubted.push(device);
        }
        if held == Held::Yes && !primary {
            plan.surplus.push(device);
        }
    }
    plan.sources.extend(unlisted);
    plan
}

/// How the repair of a chunk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// All primaries have proven copies, or their fragments; these other devices have blobs too many.
    Whole { surplus: Vec<(DeviceId, BlobKey)> },
    /// Not yet; says why.
    Short(String),
    /// Every device that might have a copy answered, and none has a good one.
    Lost,
}

impl Workshop {
    /// Asks primaries, those of the ring before, and listed holders about a chunk, and, when none of them has it, all
    /// other devices.
    ///
    /// A fragment's key asks for that fragment only.
    pub(super) async fn survey(&self, live: &LiveRings, key: BlobKey, listed: &[DeviceId]) -> Vec<Seen> {
        let primaries = live.primaries(key);
        let mut first = primaries.clone();
        first.extend(live.leaving(key));
        let unlisted = first.clone();
        first.extend(listed.iter().filter(|device| !unlisted.contains(device)));
        let mut seen = self.ask_all(key, &first, &primaries, listed).await;
        if !seen.iter().any(|seen| seen.held == Held::Yes) {
            let others = handoffs(&live.current.ring, key.placement, SEARCHED_MAX);
            let others: Vec<DeviceId> = others.into_iter().filter(|device| !first.contains(device)).collect();
            seen.extend(self.ask_all(key, &others, &primaries, listed).await);
        }
        seen
    }

    /// The devices that have a chunk, or fragments of it, as the shard's queue shall name them.
    pub(super) async fn holders(&self, live: &LiveRings, key: BlobKey, listed: &[DeviceId]) -> Vec<DeviceId> {
        if live.code.is_some() {
            return self.stripe(live, key, listed).await.holders();
        }
        let seen = self.survey(live, key, listed).await;
        let holding = seen.iter().filter(|seen| seen.held == Held::Yes);
        holding.map(|seen| seen.device).collect()
    }

    async fn ask_all(
        &self,
        key: BlobKey,
        devices: &[DeviceId],
        primaries: &[DeviceId],
        listed: &[DeviceId],
    ) -> Vec<Seen> {
        let ask = |device: &DeviceId| {
            let device = *device;
            async move {
                let held = match self.client.stat_blob(device, key, ASK_DEADLINE).await {
                    Ok(Some(_)) => Held::Yes,
                    Ok(None) | Err(BlobError::Absent(_)) => Held::No,
                    Err(_) => Held::Unknown,
                };
                Seen {
                    device,
                    primary: primaries.contains(&device),
                    listed: listed.contains(&device),
                    held,
                }
            }
        };
        join_all(devices.iter().map(ask)).await
    }

    /// Brings one chunk to all its primaries.
    pub(super) async fn mend(&self, stream: &Stream, chunk: u32, listed: &[DeviceId]) -> Mended {
        let Some(live) = self.rings_of(stream) else {
            return Mended::Short("its ring is not known".to_owned());
        };
        let key = chunk_key(stream, chunk);
        if let Some(code) = live.code {
            let length = chunk_len(stream, chunk);
            return self.mend_fragments(&live, code, key, length, listed).await;
        }
        let seen = self.survey(&live, key, listed).await;
        let mut plan = plan(&seen);
        let length = chunk_len(stream, chunk);
        let mut search = Search::default();
        self.settle_doubts(&mut plan, key, length, &mut search).await;
        search.unknown |= !plan.waiting.is_empty() || seen.iter().any(|seen| seen.held == Held::Unknown);
        if !plan.targets.is_empty() {
            self.find_good(&plan.sources, key, length, &mut search).await;
            let Some(blob) = search.good else {
                return search.in_vain();
            };
            let puts = plan
                .targets
                .iter()
                .map(|target| self.client.put_blob(*target, blob.clone(), BLOB_DEADLINE));
            if let Some(error) = join_all(puts).await.into_iter().find_map(Result::err) {
                return Mended::Short(error.to_string());
            }
        }
        match plan.waiting.first() {
            Some(device) => Mended::Short(format!("device {device} does not answer")),
            None => Mended::Whole {
                surplus: plan.surplus.into_iter().map(|device| (device, key)).collect(),
            },
        }
    }

    /// Reads what doubted primaries hold: a good copy stays, a damaged one is replaced.
    async fn settle_doubts(&self, plan: &mut Plan, key: BlobKey, length: u32, search: &mut Search) {
        for device in std::mem::take(&mut plan.doubted) {
            match self.fetch(device, key, length).await {
                Ok(blob) => search.good = Some(blob),
                Err(Fetch::Bad(error)) => {
                    search.why = error;
                    plan.sources.retain(|source| *source != device);
                    plan.targets.push(device);
                }
                Err(Fetch::Unknown(error)) => {
                    search.why = error;
                    plan.waiting.push(device);
                }
            }
        }
    }

    /// Reads sources until one is good, unless a good copy was read before.
    async fn find_good(&self, sources: &[DeviceId], key: BlobKey, length: u32, search: &mut Search) {
        for source in sources {
            if search.good.is_some() {
                return;
            }
            match self.fetch(*source, key, length).await {
                Ok(blob) => search.good = Some(blob),
                Err(Fetch::Bad(error)) => search.why = error,
                Err(Fetch::Unknown(error)) => {
                    search.unknown = true;
                    search.why = error;
                }
            }
        }
    }

    /// Reads a whole chunk and proves it: frames, length and BLAKE3 (INT-1).
    pub(super) async fn fetch(&self, device: DeviceId, key: BlobKey, length: u32) -> Result<Blob, Fetch> {
        let read = self.client.read_for_upkeep(device, key, 0..length, BLOB_DEADLINE);
        let slice = match read.await {
            Ok(slice) => slice,
            Err(e @ (BlobError::Corrupt(_) | BlobError::Absent(_))) => return Err(Fetch::Bad(e.to_string())),
            Err(e) => return Err(Fetch::Unknown(e.to_string())),
        };
        let whole = slice.header.len == length && slice.first_frame == 0 && slice.payload.len() == length as usize;
        if !whole || slice.verify().is_err() {
            return Err(Fetch::Bad(format!("device {device} holds a damaged copy")));
        }
        // Hashing 4 MiB takes a millisecond or two: too long for a worker thread of the runtime.
        let payload = slice.payload.clone();
        let hash = crate::threads::blocking(move || *blake3::hash(&payload).as_bytes()).await;
        if hash.ok() != Some(slice.header.blake3) {
            return Err(Fetch::Bad(format!("device {device} holds a copy whose hash differs")));
        }
        Ok(Blob {
            key,
            header: slice.header,
            frame_crcs: slice.frame_crcs,
            payload: slice.payload.into(),
        })
    }
}

/// The search for one good copy of a chunk.
#[derive(Default)]
struct Search {
    good: Option<Blob>,
    /// Why the last copy tried was not good.
    why: String,
    /// Somebody who may have a copy did not say.
    unknown: bool,
}

impl Search {
    fn in_vain(self) -> Mended {
        if self.unknown {
            Mended::Short(format!("no good copy was reached: {}", self.why))
        } else {
            Mended::Lost
        }
    }
}

/// Why a copy could not be used.
pub(super) enum Fetch {
    /// It is damaged or not there.
    Bad(String),
    /// The device did not say.
    Unknown(String),
}

/// A pause that doubles with every failure in a row up to its bound. Plain function.
pub(super) fn retry_pause(failures: u32, longest: Duration) -> Duration {
    Duration::from_millis(500)
        .saturating_mul(1 << failures.min(16))
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(device: u32, primary: bool, listed: bool, held: Held) -> Seen {
        Seen {
            device: DeviceId(device),
            primary,
            listed,
            held,
        }
    }

    fn ids(devices: &[u32]) -> Vec<DeviceId> {
        devices.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn heal_1_a_returned_primary_gets_its_copy_from_a_listed_holder_and_the_handoff_becomes_surplus() {
        let plan = plan(&[
            seen(1, true, true, Held::Yes),
            seen(2, true, true, Held::Yes),
            seen(3, true, false, Held::No),
            seen(4, false, true, Held::Yes),
        ]);
        assert_eq!(plan.sources, ids(&[1, 2, 4]));
        assert_eq!(plan.targets, ids(&[3]));
        assert_eq!(plan.surplus, ids(&[4]));
        assert!(plan.doubted.is_empty() && plan.waiting.is_empty());
    }

    #[test]
    fn int_1_a_primary_the_queue_does_not_name_is_doubted_and_read_last() {
        let plan = plan(&[
            seen(1, true, false, Held::Yes),
            seen(2, true, true, Held::Yes),
            seen(3, true, false, Held::Unknown),
        ]);
        assert_eq!(plan.sources, ids(&[2, 1]));
        assert_eq!(plan.doubted, ids(&[1]));
        assert_eq!(plan.waiting, ids(&[3]));
    }

    #[test]
    fn a_holder_that_is_no_primary_and_has_nothing_needs_nothing() {
        assert_eq!(
            plan(&[seen(9, false, true, Held::No), seen(8, false, true, Held::Unknown)]),
            Plan::default()
        );
    }

    #[test]
    fn pauses_are_bounded() {
        let longest = Duration::from_secs(5);
        assert_eq!(retry_pause(0, longest), Duration::from_millis(500));
        assert_eq!(retry_pause(u32::MAX, longest), longest);
    }
}
