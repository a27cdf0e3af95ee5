//! Reads one slice of one erasure coded chunk.
//!
//! 1. The data fragments that the slice lies in are asked for it at their homes: no decoding, no byte more than asked.
//! 2. When one of them is away, damaged or slow, any k fragments give the window of blocks that is missing: others are
//!    asked for it, as many as are needed, one more for each that fails or is slow. The slow ones may still win.
//! 3. Fragments are looked for at their homes first, by the ring before while rings change, then at the holders that the
//!    shard has on record, at handoffs, and everywhere.
//!
//! Every fragment is verified before it is used (INT-1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use metadata::ids::DeviceId;
use storage_node::client::BlobError;
use storage_node::erasure::{BLOCK_BYTES, Code};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::fetch::{Learned, Slice};
use crate::metrics::{DEGRADED_READS, HEDGED_READS, READ_BYTES};
use crate::placement::Placement;
use crate::store::Store;

/// Fragments asked at once beyond those that are needed.
const COMPANY_MAX: usize = 2;

/// A fragment at a device.
type Source = (u8, DeviceId);
/// What came of asking one.
type Asked<'a> = BoxFuture<'a, (Source, Result<Bytes, BlobError>)>;

/// The parts of a slice that came in from data fragments, and those that have not.
struct Parts {
    wanted: Vec<(u8, Range<u32>)>,
    have: BTreeMap<u8, Bytes>,
}

impl Parts {
    fn whole(&self) -> bool {
        self.have.len() == self.wanted.len()
    }

    /// The blocks in which something is missing.
    fn window(&self) -> Range<u32> {
        let missing = || self.wanted.iter().filter(|(number, _)| !self.have.contains_key(number));
        let start = missing().map(|(_, range)| range.start).min().unwrap_or(0);
        let end = missing().map(|(_, range)| range.end).max().unwrap_or(0);
        start / BLOCK_BYTES * BLOCK_BYTES..end.next_multiple_of(BLOCK_BYTES)
    }

    /// What is known of that window already.
    fn within(&self, window: &Range<u32>) -> BTreeMap<u8, Bytes> {
        let covering = |(number, range): &(u8, Range<u32>)| {
            let have = self.have.get(number)?;
            let covers = range.start <= window.start && range.end >= window.end;
            let at = |byte: u32| (byte - range.start) as usize;
            covers.then(|| (*number, have.slice(at(window.start)..at(window.end))))
        };
        self.wanted.iter().filter_map(covering).collect()
    }

    /// Takes decoded windows of data fragments in.
    fn fill(&mut self, window: &Range<u32>, data: &BTreeMap<u8, Bytes>) {
        for (number, range) in &self.wanted {
            if let Some(bytes) = data.get(number).filter(|_| !self.have.contains_key(number)) {
                let at = |byte: u32| (byte - window.start) as usize;
                self.have.insert(*number, bytes.slice(at(range.start)..at(range.end)));
            }
        }
    }

    fn joined(self) -> Bytes {
        let mut have = self.have.into_values();
        match (have.next(), self.wanted.len()) {
            (Some(one), 1) => one,
            (first, _) => {
                let mut bytes = BytesMut::new();
                first
                    .into_iter()
                    .chain(have)
                    .for_each(|part| bytes.extend_from_slice(&part));
                bytes.freeze()
            }
        }
    }
}

/// Who is asked for fragments, best first. Each stage is made when the one before is used up.
struct Sources {
    stage: Stage,
    ready: VecDeque<Source>,
    given: BTreeSet<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Homes,
    /// By the ring before.
    Before,
    Recorded,
    Handoffs,
    Others,
    End,
}

/// One slice being read.
struct Reading<'a> {
    store: &'a Store,
    cx: &'a RequestContext,
    bucket: &'a Bucket,
    placement: &'a Arc<Placement>,
    slice: &'a Slice,
    code: Code,
}

impl Store {
    /// The slice's bytes, verified.
    pub(crate) async fn fetch_fragments(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        slice: &Slice,
        placement: &Arc<Placement>,
        code: Code,
    ) -> Result<Bytes, StoreError> {
        let reading = Reading {
            store: self,
            cx,
            bucket,
            placement,
            slice,
            code,
        };
        let bytes = reading.run().await?;
        metrics::counter!(READ_BYTES).increment(bytes.len() as u64);
        Ok(bytes)
    }
}

impl Reading<'_> {
    async fn run(&self) -> Result<Bytes, StoreError> {
        let mut parts = Parts {
            wanted: self.code.places(self.slice.chunk_len, &self.slice.range),
            have: BTreeMap::new(),
        };
        let (mut learned, mut good) = (Learned::default(), Vec::new());
        let mut direct: FuturesUnordered<Asked<'_>> = FuturesUnordered::new();
        for (number, range) in parts.wanted.clone() {
            // One that is thought to be down is asked when nothing else helps.
            let home = self
                .nearest(number)
                .filter(|home| self.store.inner.planes.data.writable(*home));
            if let Some(home) = home {
                direct.push(Box::pin(self.ask((number, home), range)));
            }
        }
        let mut failed = BTreeSet::new();
        let mut hedge = pin!(tokio::time::sleep(self.store.inner.options.hedge_delay));
        // Also when one has failed: what the others bring is not read twice.
        while !direct.is_empty() {
            tokio::select! {
                Some((source, answer)) = direct.next() => match answer {
                    Ok(bytes) => {
                        good.push(source.1);
                        parts.have.insert(source.0, bytes);
                    }
                    Err(error) => {
                        failed.insert(source);
                        self.note(&mut learned, source, error);
                    }
                },
                () = &mut hedge => {
                    metrics::counter!(HEDGED_READS).increment(1);
                    break;
                }
            }
        }
        if !parts.whole() {
            self.degraded(&mut parts, direct, failed, &mut learned, &mut good)
                .await?;
        }
        if !learned.bad.is_empty() {
            let (bad, good) = (std::mem::take(&mut learned.bad), good.first().copied());
            self.store.tell_bad(self.bucket, self.placement, self.slice, bad, good);
        }
        Ok(parts.joined())
    }

    /// Decodes what is missing from any k fragments, unless what was asked for comes after all.
    async fn degraded(
        &self,
        parts: &mut Parts,
        mut direct: FuturesUnordered<Asked<'_>>,
        failed: BTreeSet<Source>,
        learned: &mut Learned,
        good: &mut Vec<DeviceId>,
    ) -> Result<(), StoreError> {
        metrics::counter!(DEGRADED_READS).increment(1);
        let window = parts.window();
        let mut known = parts.within(&window);
        // One whose answer does not cover the window, or did not come, is asked for all of it.
        let mut sources = self.sources(failed);
        let mut asked: FuturesUnordered<Asked<'_>> = FuturesUnordered::new();
        let mut company = 0;
        let delay = self.store.inner.options.hedge_delay;
        let mut hedge = pin!(tokio::time::sleep(delay));
        while known.len() < self.code.data() && !parts.whole() {
            let wanted = self.code.data() - known.len() + company;
            while asked.len() < wanted {
                let Some(source) = self.next(&mut sources, &known).await else {
                    break;
                };
                asked.push(Box::pin(self.ask(source, window.clone())));
            }
            if asked.is_empty() && direct.is_empty() {
                let learned = std::mem::take(learned);
                return Err(self
                    .store
                    .no_good_copy(self.cx, self.bucket, self.placement, self.slice, learned)
                    .await);
            }
            tokio::select! {
                Some((source, answer)) = direct.next() => match answer {
                    Ok(bytes) => drop(parts.have.insert(source.0, bytes)),
                    Err(error) => {
                        sources.given.insert(source);
                        self.note(learned, source, error);
                    }
                },
                Some((source, answer)) = asked.next() => match answer {
                    Ok(bytes) => {
                        good.push(source.1);
                        known.insert(source.0, bytes);
                    }
                    Err(error) => self.note(learned, source, error),
                },
                () = &mut hedge => {
                    hedge.as_mut().reset(Instant::now() + delay);
                    company = (company + 1).min(COMPANY_MAX);
                }
            }
        }
        if !parts.whole() {
            let data = self.store.inner.hash_threads.decode(self.code, known).await?;
            parts.fill(&window, &data);
        }
        Ok(())
    }

    async fn ask(&self, (number, device): Source, range: Range<u32>) -> (Source, Result<Bytes, BlobError>) {
        let fragment = Slice {
            key: self.slice.key.piece(number),
            chunk_len: self.code.fragment_len(self.slice.chunk_len),
            range,
            ..self.slice.clone()
        };
        let (device, answer) = self.store.ask(device, &fragment).await;
        ((number, device), answer)
    }

    fn note(&self, learned: &mut Learned, (number, device): Source, error: BlobError) {
        learned.note(device, error, self.placement, self.slice.key.piece(number));
    }

    fn home(&self, number: u8) -> Option<DeviceId> {
        let homes = self.placement.primaries(self.slice.key.piece(number));
        homes.first().copied()
    }

    /// Where a fragment surely lies: a home that the ring has just named may still wait for it.
    fn nearest(&self, number: u8) -> Option<DeviceId> {
        let (home, piece) = (self.home(number)?, self.slice.key.piece(number));
        let before = self.placement.leaving(piece);
        let awaited = !self.placement.owes(home, piece);
        Some(before.first().copied().filter(|_| awaited).unwrap_or(home))
    }

    fn sources(&self, given: BTreeSet<Source>) -> Sources {
        let data = &self.store.inner.planes.data;
        let mut homes: Vec<Source> = self.code.numbers().filter_map(|n| Some((n, self.home(n)?))).collect();
        // Data before parity: what is not decoded costs nothing.
        homes.sort_by_key(|(number, home)| (!data.writable(*home), !data.local(*home), *number));
        Sources {
            stage: Stage::Homes,
            ready: homes.into(),
            given,
        }
    }

    /// Who to ask next for a fragment that is not known yet.
    async fn next(&self, sources: &mut Sources, known: &BTreeMap<u8, Bytes>) -> Option<Source> {
        loop {
            while let Some(source) = sources.ready.pop_front() {
                if !known.contains_key(&source.0) && sources.given.insert(source) {
                    return Some(source);
                }
            }
            let pieces = |devices: Vec<DeviceId>| {
                let of = move |device: DeviceId| self.code.numbers().map(move |number| (number, device));
                devices.into_iter().flat_map(of).collect::<VecDeque<Source>>()
            };
            (sources.stage, sources.ready) = match sources.stage {
                Stage::Homes => {
                    let leaving = |number| {
                        let leaving = self.placement.leaving(self.slice.key.piece(number));
                        leaving.into_iter().map(move |device| (number, device))
                    };
                    (Stage::Before, self.code.numbers().flat_map(leaving).collect())
                }
                Stage::Before => {
                    let recorded = self.store.recorded(self.cx, self.bucket, self.slice).await;
                    (Stage::Recorded, pieces(recorded))
                }
                Stage::Recorded => (
                    Stage::Handoffs,
                    pieces(self.placement.handoffs(self.slice.key.placement)),
                ),
                Stage::Handoffs => (Stage::Others, pieces(self.placement.others(&[]))),
                Stage::Others => (Stage::End, VecDeque::new()),
                Stage::End => return None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_covers_what_is_missing_in_whole_blocks_and_what_is_known_of_it_is_used() {
        let mut parts = Parts {
            wanted: vec![(0, 100..256), (1, 0..256), (2, 0..70)],
            have: BTreeMap::new(),
        };
        assert_eq!(parts.window(), 0..256);
        parts.have.insert(1, vec![1; 256].into());
        parts.have.insert(0, vec![0; 156].into());
        assert_eq!(parts.window(), 0..128);
        let known = parts.within(&(0..128));
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [1]);
        let decoded = BTreeMap::from([
            (0, Bytes::from(vec![9; 128])),
            (2, Bytes::from((0..128).collect::<Vec<u8>>())),
        ]);
        parts.fill(&(0..128), &decoded);
        assert!(parts.whole());
        let joined = parts.joined();
        assert_eq!(joined.len(), 156 + 256 + 70);
        assert_eq!((joined[155], joined[156], joined[412], joined[481]), (0, 1, 0, 69));
    }
}
