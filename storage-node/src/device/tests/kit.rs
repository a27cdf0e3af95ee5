//! A device on a disk in memory, and the model that it is compared with.

use std::collections::BTreeMap;
use std::sync::Arc;

use clock::{Dice, ManualClock, SeededDice};
use metadata::ids::{ClusterId, DeviceId};

use crate::device::blob::{Blob, BlobKey};
use crate::device::conformance::sample_blob;
use crate::device::core::{Core, Parts};
use crate::device::error::DeviceError;
use crate::device::index::{Index, MapIndex};
use crate::device::memory_disk::MemoryDisk;
use crate::device::options::DeviceOptions;
use crate::device::reclaim::{self, Hand, ReclaimReport};
use crate::device::record::{Identity, blob_disk_bytes};
use crate::device::recovery::{self, OpenReport};
use crate::device::store::DeviceState;
use crate::device::writer::{Committed, Moved, Op, Writer};

pub(super) const CLUSTER: ClusterId = ClusterId(0xc1);
pub(super) const IDENTITY: Identity = Identity {
    cluster: CLUSTER,
    device: DeviceId(4),
};

/// Small segments, so that a short test sees many.
pub(super) fn options() -> DeviceOptions {
    DeviceOptions {
        segment_bytes: 40 << 10,
        reserve_bytes: 9 << 10,
        reclaim_gain_permille: 200,
        ..DeviceOptions::default()
    }
}

/// The blob that key number `n` always stands for. Most are small, some have several frames.
pub(super) fn blob(n: u64) -> Blob {
    let len = match n % 8 {
        0 => 0,
        7 => 70_000,
        _ => (n as usize * 977) % 6000,
    };
    sample_blob(CLUSTER, n % 3, u128::from(n), len, n as u8)
}

pub(super) struct DirectHand<'a>(pub(super) &'a mut Writer);

#[async_trait::async_trait]
impl Hand for DirectHand<'_> {
    async fn move_records(&mut self, records: Vec<Moved>) -> Result<(), DeviceError> {
        self.0.commit(&[Op::Move { records }]).remove(0).map(|_| ())
    }

    async fn retire(&mut self, segment: u64) -> Result<(), DeviceError> {
        self.0.retire(segment)
    }
}

/// Disk and index: what outlives a process.
pub(super) struct World {
    pub(super) disk: MemoryDisk,
    pub(super) index: Arc<MapIndex>,
    pub(super) dice: Arc<SeededDice>,
    pub(super) options: DeviceOptions,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let disk = MemoryDisk::default();
        Self {
            disk,
            index: Arc::default(),
            dice: Arc::new(SeededDice::new(seed)),
            options: options(),
        }
    }

    pub(super) fn open(&self) -> Result<(Writer, OpenReport), DeviceError> {
        let parts = Parts {
            disk: Arc::new(self.disk.clone()),
            index: Arc::clone(&self.index) as Arc<dyn Index>,
            clock: Arc::new(ManualClock::at(1)),
            dice: Arc::clone(&self.dice) as Arc<dyn Dice>,
        };
        recovery::open(parts, IDENTITY, self.options)
    }

    /// What a power cut at this moment may leave.
    pub(super) fn after_power_cut(&self) -> Self {
        let kept = self.draw(self.index.unsynced() + 1);
        Self {
            disk: self.disk.after_power_cut(&*self.dice),
            index: Arc::new(self.index.after_power_cut(kept)),
            dice: Arc::clone(&self.dice),
            options: self.options,
        }
    }

    /// The same disk with an empty index.
    pub(super) fn without_index(&self) -> Self {
        Self {
            disk: self.disk.clone(),
            index: Arc::default(),
            dice: Arc::clone(&self.dice),
            options: self.options,
        }
    }

    pub(super) fn draw(&self, below: usize) -> usize {
        (self.dice.u64() % below.max(1) as u64) as usize
    }
}

/// What is known about a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Present,
    Absent,
    /// An operation was not answered with success: either is right.
    Either,
}

/// The promises so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(pub(super) BTreeMap<u64, Known>);

impl Model {
    fn of(&self, n: u64) -> Known {
        self.0.get(&n).copied().unwrap_or(Known::Absent)
    }

    fn put(&mut self, n: u64, done: bool) {
        let next = match (done, self.of(n)) {
            (true, _) | (false, Known::Present) => Known::Present,
            (false, _) => Known::Either,
        };
        self.0.insert(n, next);
    }

    fn remove(&mut self, n: u64, done: bool) {
        let next = match (done, self.of(n)) {
            (true, _) | (false, Known::Absent) => Known::Absent,
            (false, _) => Known::Either,
        };
        self.0.insert(n, next);
    }

    /// Compares, and learns: what an open device shows is synced, so it must stay.
    pub(super) fn check(&mut self, core: &Core, context: &str) {
        for (n, known) in &mut self.0 {
            let blob = blob(*n);
            let seen = match core.read_verified(blob.key) {
                Ok(slice) => {
                    assert_eq!(
                        slice.payload,
                        blob.payload.to_bytes(),
                        "INT-1 {context}: wrong bytes of {n}"
                    );
                    Known::Present
                }
                Err(DeviceError::NotFound) => Known::Absent,
                Err(error) => panic!("DUR-4 {context}: blob {n} ({known:?}): {error}"),
            };
            assert!(
                *known == Known::Either || *known == seen,
                "DUR-1/3 {context}: blob {n} is {seen:?}, not {known:?}"
            );
            *known = seen;
        }
        let listed = core.list(None, u64::MAX, 10_000).unwrap().len();
        let present = self.0.values().filter(|known| **known == Known::Present).count();
        assert_eq!(listed, present, "{context}: the list shows something else");
    }
}

/// One step of a random life.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Group(Vec<(u64, bool)>),
    Reclaim,
}

impl Step {
    /// A group of puts and removes over `keys` keys, or a reclaim.
    pub(super) fn random(dice: &dyn Dice, keys: u64) -> Self {
        if dice.u64().is_multiple_of(6) {
            return Self::Reclaim;
        }
        let count = 1 + dice.u64() % 5;
        Self::Group((0..count).map(|_| (dice.u64() % keys, dice.u64() % 5 < 3)).collect())
    }

    pub(super) fn run(&self, writer: &mut Writer, model: &mut Model) {
        match self {
            Self::Reclaim => {
                // A failure is the writer's to remember; nothing is promised by reclaim.
                let _ = reclaim(writer);
            }
            Self::Group(changes) => {
                let ops: Vec<Op> = changes.iter().map(|(n, put)| op(*n, *put)).collect();
                let answers = writer.commit(&ops);
                for ((n, put), answer) in changes.iter().zip(answers) {
                    match put {
                        true => model.put(*n, answer.is_ok()),
                        false => model.remove(*n, answer.is_ok()),
                    }
                }
            }
        }
    }
}

pub(super) fn op(n: u64, put: bool) -> Op {
    match put {
        true => Op::Put {
            blob: Arc::new(blob(n)),
            over: None,
        },
        false => Op::Remove {
            keys: vec![blob(n).key],
        },
    }
}

pub(super) fn put(writer: &mut Writer, n: u64) -> Result<Committed, DeviceError> {
    writer.commit(&[op(n, true)]).remove(0)
}

pub(super) fn remove(writer: &mut Writer, n: u64) -> Result<Committed, DeviceError> {
    writer.commit(&[op(n, false)]).remove(0)
}

pub(super) fn reclaim(writer: &mut Writer) -> Result<ReclaimReport, DeviceError> {
    let core = Arc::clone(&writer.core);
    futures::executor::block_on(reclaim::step(&core, &mut DirectHand(writer)))
}

/// Fills the current segment with blobs `from..` until another one is begun; returns the next number.
pub(super) fn fill_segment(writer: &mut Writer, mut from: u64) -> u64 {
    let begun = writer.active.as_ref().map(|active| active.segment);
    while writer.active.as_ref().map(|active| active.segment) == begun {
        put(writer, from).unwrap();
        from += 1;
    }
    from
}

/// Recounts the books from the index (DUR-2 rests on them).
pub(super) fn audit(core: &Core, context: &str) {
    let mut living: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (_, entry) in core
        .parts
        .index
        .scan(std::ops::Bound::Unbounded, u64::MAX, usize::MAX)
        .unwrap()
    {
        let count = living.entry(entry.place.segment).or_default();
        count.0 += 1;
        count.1 += u64::from(blob_disk_bytes(entry.header.len));
    }
    let books = core.books.lock();
    for (segment, row) in books.rows() {
        let want = living.remove(segment).unwrap_or_default();
        assert_eq!(
            (row.live_blobs, row.live_bytes),
            want,
            "{context}: books of segment {segment}"
        );
    }
    assert!(living.is_empty(), "{context}: entries without a segment: {living:?}");
}

pub(super) fn is_ok(core: &Core) -> bool {
    core.status.get().0 == DeviceState::Ok
}

pub(super) fn key(n: u64) -> BlobKey {
    blob(n).key
}
