//! A disk in memory with an operating system's cache before it: what was written is seen at once, and lost or torn by
//! a power cut unless a sync covered it.
//!
//! A failed sync behaves as Linux' page cache does: some writes reached the disk, all of them count as clean, reads go on
//! showing them, and no later sync writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use storage_node::device::{Disk, DiskFile};

use crate::dice::SimDice;

/// One folder of files; clones share it.
#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    dice: SimDice,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Cell>,
    /// The folder as the last sync of it left it.
    durable: BTreeMap<String, Cell>,
    faults: DiskFaults,
    locked: bool,
}

/// What is wrong with a disk at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskFaults {
    /// Writes fail.
    pub(crate) fail_writes: bool,
    /// Syncs fail.
    pub(crate) fail_syncs: bool,
    /// Reads fail.
    pub(crate) fail_reads: bool,
    /// Bytes all files together may have.
    pub(crate) capacity: Option<u64>,
}

type Cell = Arc<Mutex<Content>>;

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, new) => {
                let end = offset + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(new);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The change cut off at some byte.
    fn torn(&self, dice: &SimDice) -> Self {
        match self {
            Self::Write(offset, new) => {
                let kept = dice.below(new.len() as u64 + 1) as usize;
                Self::Write(*offset, new[..kept].to_vec())
            }
            Self::Length(length) => Self::Length(*length),
        }
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        change.make(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        let Self { durable, pending, .. } = self;
        pending.drain(..).for_each(|change| change.make(durable));
    }

    fn fail_sync(&mut self, dice: &SimDice) {
        let Self { durable, pending, .. } = self;
        let reached = pending.drain(..).filter(|_| dice.chance(500));
        reached.for_each(|change| change.make(durable));
    }

    fn power_cut(&mut self, dice: &SimDice) {
        let pending = std::mem::take(&mut self.pending);
        match dice.below(4) {
            0 => {}
            1 => pending.iter().for_each(|change| change.make(&mut self.durable)),
            2 => {
                let whole = dice.below(pending.len() as u64 + 1) as usize;
                pending[..whole]
                    .iter()
                    .for_each(|change| change.make(&mut self.durable));
                if let Some(last) = pending.get(whole) {
                    last.torn(dice).make(&mut self.durable);
                }
            }
            // In any order, each whole, torn or not at all.
            _ => {
                for change in &pending {
                    match dice.below(3) {
                        0 => change.make(&mut self.durable),
                        1 => change.torn(dice).make(&mut self.durable),
                        _ => {}
                    }
                }
            }
        }
        self.now = self.durable.clone();
    }
}

fn failed() -> io::Error {
    io::Error::other("input/output error")
}

impl SimDisk {
    pub(crate) fn new(dice: SimDice) -> Self {
        Self {
            state: Arc::default(),
            dice,
        }
    }

    pub(crate) fn set_faults(&self, faults: DiskFaults) {
        self.state.lock().faults = faults;
    }

    pub(crate) fn faults(&self) -> DiskFaults {
        self.state.lock().faults
    }

    /// The process that used the disk is gone.
    pub(crate) fn unlock(&self) {
        self.state.lock().locked = false;
    }

    /// The power goes: what was not synced is lost, kept or torn.
    pub(crate) fn power_cut(&self) {
        let mut state = self.state.lock();
        state.locked = false;
        let dice = &self.dice;
        let names = dice.below(3);
        let all: Vec<String> = state.files.keys().chain(state.durable.keys()).cloned().collect();
        let mut files = BTreeMap::new();
        for name in all {
            let (now, durable) = (state.files.get(&name), state.durable.get(&name));
            let kept = match (now, durable, names) {
                (Some(cell), Some(_), _) => Some(cell),
                (_, durable, 0) => durable,
                (now, _, 1) => now,
                (now, durable, _) => now.or(durable).filter(|_| dice.chance(500)),
            };
            if let Some(cell) = kept {
                files.insert(name, Arc::clone(cell));
            }
        }
        files.values().for_each(|cell| cell.lock().power_cut(dice));
        state.durable = files.clone();
        state.files = files;
    }

    /// Everything is gone.
    pub(crate) fn wipe(&self) {
        *self.state.lock() = State::default();
    }

    /// Flips one bit of what lies on the disk; says where, unless there is nothing.
    pub(crate) fn flip_a_bit(&self) -> Option<String> {
        let state = self.state.lock();
        let names: Vec<&String> = state.files.keys().collect();
        let name = (*self.dice.pick(&names)?).clone();
        let mut content = state.files.get(&name)?.lock();
        let at = self.dice.below(content.durable.len() as u64) as usize;
        let bit = 1 << self.dice.below(8);
        *content.durable.get_mut(at)? ^= bit;
        // Only what is clean in the cache would be read from the disk again; the rest is flipped when it is.
        if content.pending.is_empty() && at < content.now.len() {
            content.now[at] ^= bit;
        }
        Some(format!("{name} byte {at}"))
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|cell| cell.lock().now.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        self.faults
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.faults.fail_writes {
            return Err(failed());
        }
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let cell = Cell::default();
        state.files.insert(name.to_owned(), Arc::clone(&cell));
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            cell,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        let cell = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            cell: Arc::clone(cell),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.files.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.faults.fail_syncs {
            return Err(failed());
        }
        state.durable = state.files.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().room().min(1 << 40))
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state.lock();
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(Box::new(Unlock(self.clone())))
    }
}

struct Unlock(SimDisk);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

struct SimFile {
    disk: SimDisk,
    cell: Cell,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.cell.lock().now.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if self.disk.faults().fail_reads {
            return Err(failed());
        }
        let content = self.cell.lock();
        let start = (offset as usize).min(content.now.len());
        Ok(content.now[start..(start + len).min(content.now.len())].to_vec())
    }

    fn write_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        let state = self.disk.state.lock();
        if state.faults.fail_writes {
            return Err(failed());
        }
        let (mut bytes, offset) = (slices.concat(), offset as usize);
        let grown = (offset + bytes.len()).saturating_sub(self.cell.lock().now.len());
        let room = usize::try_from(state.room()).unwrap_or(usize::MAX);
        let full = grown > room;
        if full {
            // A full disk takes the beginning.
            bytes.truncate(bytes.len() - (grown - room).min(bytes.len()));
        }
        self.cell.lock().change(Change::Write(offset, bytes));
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let fails = self.disk.faults().fail_syncs;
        let mut content = self.cell.lock();
        if fails {
            content.fail_sync(&self.disk.dice);
            return Err(failed());
        }
        content.sync();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if self.disk.faults().fail_writes {
            return Err(failed());
        }
        self.cell.lock().change(Change::Length(len as usize));
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let state = self.disk.state.lock();
        let mut content = self.cell.lock();
        let grown = len.saturating_sub(content.now.len() as u64);
        if grown == 0 {
            return Ok(());
        }
        drop(content);
        if grown > state.room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content = self.cell.lock();
        content.change(Change::Length(len as usize));
        Ok(())
    }
}
