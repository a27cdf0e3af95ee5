//! One partition brought to one device: what it lacks of what others have, if the log says that it lives.
//!
//! A difference is only a question (DESIGN §3.5): referenced -> copied; ending, condemned, in flight -> left alone. So a
//! deleted blob that some device still has is never copied back (DUR-3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use metadata::ids::{BlobId, DeviceId, WriteId};
use metadata::model::PolicyId;
use metadata::query::Life;

use super::Pace;
use super::arrivals::Span;
use crate::blob_http::ListCall;
use crate::client::{LiveRings, Spot};
use crate::device::{BlobHeader, BlobKey, BlobStore};
use crate::erasure::Code;
use crate::node::work::fragments::{Gather, Stripe};
use crate::node::work::mend::Fetch;
use crate::node::work::missing::mark_damaged;
use crate::node::work::{BLOB_DEADLINE, Workshop};

/// Keys asked of each device at once.
const PAGE: usize = 500;
/// Chunks of one job that wait for their turn at once; how many travel is the pace's.
const CHUNKS_AT_ONCE: usize = 8;
/// A device fuller than this, in thousandths, receives nothing (DESIGN §3.2: rebalance stops at 85 %).
const FULL_PERMILLE: u64 = 850;

/// What a job works on.
pub(in crate::node::work) struct Job {
    /// The device that receives.
    pub(in crate::node::work) device: DeviceId,
    /// Its store, of this node.
    pub(in crate::node::work) store: Arc<dyn BlobStore>,
    /// The policy whose ring it is about.
    pub(in crate::node::work) policy: PolicyId,
    /// Its rings.
    pub(in crate::node::work) live: Arc<LiveRings>,
    /// The partition's placements.
    pub(in crate::node::work) span: Span,
    /// Who may have the partition.
    pub(in crate::node::work) scope: Scope,
}

/// Who may have a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::work) struct Scope {
    /// Everybody but the device that receives.
    pub(in crate::node::work) sources: Vec<DeviceId>,
    /// Those of them whose answers count, and how many of these must answer.
    pub(in crate::node::work) counted: Vec<DeviceId>,
    /// See `counted`.
    pub(in crate::node::work) needed: usize,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::work) enum Outcome {
    /// The device has all that lives of what the others have.
    Done,
    /// Not yet; says why. It is to be tried again.
    Waits(String),
    /// It was told to stop.
    Interrupted,
}

/// What the jobs of a device have copied.
#[derive(Debug, Default)]
pub(in crate::node::work) struct Copied {
    pub(in crate::node::work) blobs: AtomicU64,
    pub(in crate::node::work) bytes: AtomicU64,
}

/// How a job is carried out.
pub(in crate::node::work) struct Manner<'a> {
    pub(in crate::node::work) pace: &'a Pace,
    /// Bytes that may be sent in a second just now.
    pub(in crate::node::work) rate: &'a (dyn Fn() -> u64 + Send + Sync),
    /// False: stop at the next chunk.
    pub(in crate::node::work) go_on: &'a (dyn Fn() -> bool + Send + Sync),
    pub(in crate::node::work) copied: &'a Copied,
}

/// Brings a partition to a device.
pub(in crate::node::work) async fn bring(workshop: &Workshop, job: &Job, manner: &Manner<'_>) -> Outcome {
    match attempt(workshop, job, manner).await {
        Ok(outcome) => outcome,
        Err(why) => Outcome::Waits(why),
    }
}

async fn attempt(workshop: &Workshop, job: &Job, manner: &Manner<'_>) -> Result<Outcome, String> {
    let span = job.span.first..=job.span.last;
    let own = job.store.digest(span.clone(), job.policy);
    let others = job.scope.sources.iter().map(|source| {
        let asked = workshop
            .client
            .digest_blobs(*source, span.clone(), job.policy, BLOB_DEADLINE);
        async move { (*source, asked.await) }
    });
    let (own, others) = futures::join!(own, join_all(others));
    let own = own.map_err(|e| format!("device {}: {e}", job.device))?;
    let answering: Vec<DeviceId> = others
        .iter()
        .filter(|(_, said)| said.is_ok())
        .map(|(device, _)| *device)
        .collect();
    enough(&job.scope, &answering)?;
    let differs: Vec<DeviceId> = others
        .iter()
        .filter(|(_, said)| said.as_ref().is_ok_and(|digest| *digest != own && digest.blobs > 0))
        .map(|(device, _)| *device)
        .collect();
    if differs.is_empty() {
        return Ok(Outcome::Done);
    }
    let mut after = job.span.before();
    loop {
        let window = window(workshop, job, &differs, after).await?;
        let lacking = living(workshop, window.lacking).await?;
        if !lacking.is_empty() {
            match copy_all(workshop, job, manner, lacking).await? {
                Outcome::Done => {}
                other => return Ok(other),
            }
        }
        match window.next {
            None => return Ok(Outcome::Done),
            Some(_) if !(manner.go_on)() => return Ok(Outcome::Interrupted),
            next => after = next,
        }
    }
}

/// Whether enough of the old holders answer. Plain function.
fn enough(scope: &Scope, answering: &[DeviceId]) -> Result<(), String> {
    let silent: Vec<String> = scope
        .sources
        .iter()
        .filter(|device| !answering.contains(device))
        .map(ToString::to_string)
        .collect();
    let counted = scope.counted.iter().filter(|device| answering.contains(device)).count();
    if counted >= scope.needed {
        Ok(())
    } else {
        Err(format!(
            "{counted} of {} needed holders answer; silent: device {}",
            scope.needed,
            silent.join(", ")
        ))
    }
}

/// A blob that is wanted, and the devices that say they have it, or other fragments of its chunk.
type Lacking = (BlobKey, BlobHeader, Vec<(BlobKey, DeviceId)>);

/// What the device lacks of one page of the others' keys.
struct Window {
    lacking: Vec<Lacking>,
    /// Where the next page begins.
    next: Option<BlobKey>,
}

async fn window(
    workshop: &Workshop,
    job: &Job,
    sources: &[DeviceId],
    after: Option<BlobKey>,
) -> Result<Window, String> {
    let until = job.span.last;
    let call = ListCall {
        after,
        until_placement: until,
        limit: u32::try_from(PAGE).unwrap_or(u32::MAX),
    };
    let pages = sources.iter().map(|source| async move {
        let page = workshop.client.list_blobs(*source, call, BLOB_DEADLINE).await;
        page.map(|page| (*source, page)).map_err(|e| e.to_string())
    });
    let pages: Vec<(DeviceId, Vec<(BlobKey, BlobHeader)>)> =
        join_all(pages).await.into_iter().collect::<Result<_, String>>()?;
    let mut next = horizon(pages.iter().map(|(_, page)| page.iter().map(|(key, _)| *key)));
    if job.live.code.is_some() {
        next = next.map(|next| end_of_streams(next, after));
    }
    let inside = |key: &BlobKey| next.is_none_or(|next| *key <= next);
    // Of chunks in fragments, the device wants its own slot's.
    let own_fragment = job.live.own_spot(job.device, job.span.first).and_then(Spot::fragment);
    let mut held: BTreeMap<BlobKey, (BlobHeader, Vec<(BlobKey, DeviceId)>)> = BTreeMap::new();
    for (source, page) in pages {
        let asked = |key: &BlobKey| inside(key) && key.id.policy() == job.policy;
        for (key, header) in page.into_iter().filter(|(key, _)| asked(key)) {
            let wanted = own_fragment.map_or(key, |number| key.piece(number));
            held.entry(wanted)
                .or_insert_with(|| (header, Vec::new()))
                .1
                .push((key, source));
        }
    }
    let own = own_keys(job, after, next.unwrap_or_else(|| job.span.end())).await?;
    let lacking = held
        .into_iter()
        .filter(|(key, _)| !own.contains(key))
        .map(|(key, (header, holders))| (key, header, holders));
    Ok(Window {
        lacking: lacking.collect(),
        next,
    })
}

/// Up to where all pages are complete: the smallest last key of a full one; `None` when none is full. Plain function.
fn horizon(pages: impl Iterator<Item = impl ExactSizeIterator<Item = BlobKey>>) -> Option<BlobKey> {
    pages
        .filter_map(|page| if page.len() >= PAGE { page.last() } else { None })
        .min()
}

/// The last key before the stream of `next`, when that is behind `after`: the fragments of one chunk lie apart in their
/// stream, and are compared when all of it is in the window. Plain function.
fn end_of_streams(next: BlobKey, after: Option<BlobKey>) -> BlobKey {
    let write = WriteId(next.id.write.0.saturating_sub(1));
    let chunk = u32::MAX;
    let before = BlobKey {
        placement: next.placement,
        id: BlobId { write, chunk },
    };
    // A stream larger than a page is compared in parts: some fragments are copied twice then, none is missed.
    if after.is_some_and(|after| before <= after) {
        next
    } else {
        before
    }
}

/// The device's own keys behind `after`, up to `until`.
async fn own_keys(job: &Job, mut after: Option<BlobKey>, until: BlobKey) -> Result<BTreeSet<BlobKey>, String> {
    let mut own = BTreeSet::new();
    loop {
        let page = job.store.list(after, until.placement, PAGE).await;
        let page = page.map_err(|e| format!("device {}: {e}", job.device))?;
        let Some((last, _)) = page.last() else { return Ok(own) };
        after = Some(*last);
        let full = page.len() >= PAGE;
        let beyond = *last > until;
        own.extend(page.into_iter().map(|(key, _)| key).filter(|key| *key <= until));
        if !full || beyond {
            return Ok(own);
        }
    }
}

/// Those whose streams the log refers to. A shard that does not answer stops the job: nothing is guessed.
async fn living(workshop: &Workshop, lacking: Vec<Lacking>) -> Result<Vec<Lacking>, String> {
    let lives = workshop
        .lives(lacking.iter().map(|(key, header, _)| (key, header)))
        .await?;
    let lives = |key: &BlobKey| lives.get(&key.id.write) == Some(&Life::Referenced);
    Ok(lacking.into_iter().filter(|(key, ..)| lives(key)).collect())
}

async fn copy_all(
    workshop: &Workshop,
    job: &Job,
    manner: &Manner<'_>,
    lacking: Vec<Lacking>,
) -> Result<Outcome, String> {
    let copies = futures::stream::iter(lacking).map(|lacking| copy_one(workshop, job, manner, lacking));
    let mut copies = copies.buffer_unordered(CHUNKS_AT_ONCE);
    let mut outcome = Ok(Outcome::Done);
    // The ones on their way are awaited also when one failed: what they bring is brought.
    while let Some(copied) = copies.next().await {
        match copied {
            Ok(Outcome::Done) => {}
            other if matches!(outcome, Ok(Outcome::Done)) => outcome = other,
            _ => {}
        }
    }
    outcome
}

async fn copy_one(
    workshop: &Workshop,
    job: &Job,
    manner: &Manner<'_>,
    (key, header, holders): Lacking,
) -> Result<Outcome, String> {
    if !(manner.go_on)() {
        return Ok(Outcome::Interrupted);
    }
    if job.store.usage().fill_permille() >= FULL_PERMILLE {
        return Err(format!(
            "device {} is 85 % full: make room, or abort the change",
            job.device
        ));
    }
    let _on_its_way = manner.pace.take(u64::from(header.len), manner.rate).await;
    if !(manner.go_on)() {
        return Ok(Outcome::Interrupted);
    }
    if let Some(code) = job.live.code {
        return rebuild_one(workshop, job, manner, code, (key, header, holders)).await;
    }
    let mut unknown = None;
    let turn = usize::try_from(key.id.write.0 % holders.len().max(1) as u128).unwrap_or(0);
    for at in 0..holders.len() {
        let (_, holder) = holders[(turn + at) % holders.len()];
        match workshop.fetch(holder, key, header.len).await {
            Ok(blob) => {
                // The device verifies every frame before it takes it, and answers after its sync (REB-1).
                let put = job.store.put(blob).await;
                put.map_err(|e| format!("device {}: {e}", job.device))?;
                manner.copied.blobs.fetch_add(1, Ordering::Relaxed);
                manner.copied.bytes.fetch_add(u64::from(header.len), Ordering::Relaxed);
                return Ok(Outcome::Done);
            }
            Err(Fetch::Unknown(why)) => unknown = Some(why),
            Err(Fetch::Bad(_)) => {}
        }
    }
    match unknown {
        Some(why) => Err(why),
        // Removed since it was listed, or damaged everywhere: the shard is asked, and its queue takes over.
        None => {
            mark_damaged(workshop, job.device, key, Some(header.shard)).await;
            Ok(Outcome::Done)
        }
    }
}

/// Brings a fragment: from a device that has it, else rebuilt from others.
async fn rebuild_one(
    workshop: &Workshop,
    job: &Job,
    manner: &Manner<'_>,
    code: Code,
    (key, header, holders): Lacking,
) -> Result<Outcome, String> {
    let mut stripe = Stripe::default();
    for (held, device) in holders {
        if let Some(number) = held.id.fragment() {
            stripe.held.entry(number).or_default().insert(device);
        }
    }
    let same = key
        .id
        .fragment()
        .is_some_and(|number| stripe.held.contains_key(&number));
    if !same && stripe.different() < code.data() {
        // Those whose digests are alike were not listed.
        stripe = workshop.stripe(&job.live, key, &[]).await;
        stripe.without(key.id.fragment().unwrap_or(0), job.device);
    }
    let silent = !stripe.silent.is_empty();
    let mut gather = Gather::new(workshop, code, key.without_fragment(), header.len, stripe);
    match gather.fragment(key.id.fragment().unwrap_or(0)).await {
        Ok(blob) => {
            let put = job.store.put(blob).await;
            put.map_err(|e| format!("device {}: {e}", job.device))?;
            manner.copied.blobs.fetch_add(1, Ordering::Relaxed);
            manner.copied.bytes.fetch_add(u64::from(header.len), Ordering::Relaxed);
            Ok(Outcome::Done)
        }
        Err(Fetch::Unknown(why)) => Err(why),
        Err(Fetch::Bad(why)) if silent => Err(why),
        Err(Fetch::Bad(_)) => {
            mark_damaged(workshop, job.device, key, Some(header.shard)).await;
            Ok(Outcome::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(devices: &[u32]) -> Vec<DeviceId> {
        devices.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn reb_1_half_of_the_old_holders_must_answer() {
        let scope = Scope {
            sources: ids(&[1, 2, 3, 4]),
            counted: ids(&[1, 2, 3]),
            needed: 2,
        };
        assert_eq!(enough(&scope, &ids(&[1, 3])), Ok(()));
        // The new holders are sources, but no witnesses of what was written before.
        assert!(enough(&scope, &ids(&[1, 4])).unwrap_err().contains("device 2, 3"));
    }

    #[test]
    fn a_page_is_complete_up_to_the_smallest_end_of_a_full_one() {
        let key = |chunk: u32| BlobKey {
            placement: 5,
            id: metadata::ids::BlobId {
                write: metadata::ids::WriteId(1),
                chunk,
            },
        };
        let full = |from: u32| (from..from + 500).map(key).collect::<Vec<_>>().into_iter();
        let short = vec![key(1), key(2)].into_iter();
        assert_eq!(horizon([full(0), full(100), short.clone()].into_iter()), Some(key(499)));
        assert_eq!(horizon([short].into_iter()), None);
    }

    #[test]
    fn fragments_are_compared_stream_by_stream() {
        let key = |write: u128, chunk| BlobKey {
            placement: 5,
            id: BlobId {
                write: WriteId(write),
                chunk,
            },
        };
        let end = end_of_streams(key(7, 3), None);
        assert!(end < key(7, 0) && end >= key(6, u32::MAX));
        assert_eq!(end_of_streams(key(7, 3), Some(end)), key(7, 3));
        assert_eq!(end_of_streams(key(7, 3), Some(key(7, 1))), key(7, 3));
    }
}
