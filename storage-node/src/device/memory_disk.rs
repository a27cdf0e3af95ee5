//! A disk in memory that knows synced from unsynced: the crash model of DESIGN §8.
//!
//! A power cut keeps everything synced. Of the rest any of this may happen, drawn from dice: nothing survives;
//! everything; a prefix of the writes with the last one torn at any byte; each 4 KiB page in any of the states it went
//! through, torn at any byte, with the file's length from any moment. Files made or removed since the last sync of the
//! folder may be missing or back again, however well they were synced themselves.
//!
//! A failed sync behaves as Linux' page cache does: some pages reached the disk, all of them count as clean, reads go on
//! showing what was written. Part of the tests, not of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use clock::Dice;
use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

const PAGE: usize = 4096;

/// A folder in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Cell>,
    /// The folder as the last sync of it left it.
    durable: BTreeMap<String, Cell>,
    /// Changing operations so far.
    ops: u64,
    /// The operation during which the power goes.
    power_cut_at: Option<u64>,
    /// Syncs that will fail.
    failing_syncs: u64,
    /// Bytes all files together may have.
    capacity: Option<u64>,
    locked: bool,
    /// Seeds what a failed sync leaves.
    failures: u64,
}

type Cell = Arc<Mutex<Content>>;

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    /// What the file looked like after each change since the last sync; the last is what reads show.
    since: Vec<Vec<u8>>,
    /// What reads show when a failed sync lost something and nothing was changed since.
    clean: Option<Vec<u8>>,
    /// Pages that a failed sync lost: reads show them, no later sync writes them unless they are written again.
    lost: BTreeSet<usize>,
}

impl Content {
    fn now(&self) -> &Vec<u8> {
        self.since.last().or(self.clean.as_ref()).unwrap_or(&self.durable)
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut image = self.now().clone();
        let end = offset + bytes.len();
        image.resize(image.len().max(end), 0);
        image[offset..end].copy_from_slice(bytes);
        self.since.push(image);
        self.lost
            .retain(|page| page * PAGE >= end || (page + 1) * PAGE <= offset);
    }

    fn truncate(&mut self, len: usize) {
        let mut image = self.now().clone();
        image.resize(len, 0);
        self.since.push(image);
        self.lost.retain(|page| page * PAGE < len);
    }

    fn sync(&mut self) {
        let synced = self.without_lost(self.now().clone());
        self.clean = (!self.lost.is_empty()).then(|| self.now().clone());
        self.durable = synced;
        self.since.clear();
    }

    /// Some pages reach the disk; all of them count as clean.
    fn fail_sync(&mut self, dice: &dyn Dice) {
        let now = self.now().clone();
        let durable = self.after_cut(dice);
        let differs = |page: &usize| durable.chunks(PAGE).nth(*page) != now.chunks(PAGE).nth(*page);
        let lost = (0..now.len().div_ceil(PAGE)).filter(differs).collect();
        *self = Self {
            durable,
            since: Vec::new(),
            clean: Some(now),
            lost,
        };
    }

    /// An image of the file in which lost pages are as the disk has them.
    fn without_lost(&self, mut image: Vec<u8>) -> Vec<u8> {
        for page in &self.lost {
            let end = ((page + 1) * PAGE).min(image.len());
            for (at, byte) in image.iter_mut().enumerate().take(end).skip(page * PAGE) {
                *byte = self.durable.get(at).copied().unwrap_or(0);
            }
        }
        image
    }

    /// What the disk may hold after a power cut.
    fn after_cut(&self, dice: &dyn Dice) -> Vec<u8> {
        let last = self.since.len();
        if last == 0 {
            return self.durable.clone();
        }
        let image = match dice.u64() % 4 {
            0 => self.durable.clone(),
            1 => self.now().clone(),
            2 => {
                let n = draw(dice, last);
                torn(self.image(n), self.image(n + 1), dice)
            }
            _ => self.pages_at_random(dice),
        };
        self.without_lost(image)
    }

    /// The state after `n` changes.
    fn image(&self, n: usize) -> &[u8] {
        if n == 0 { &self.durable } else { &self.since[n - 1] }
    }

    fn pages_at_random(&self, dice: &dyn Dice) -> Vec<u8> {
        let len = self.image(draw(dice, self.since.len() + 1)).len();
        let mut result = vec![0; len];
        for (n, page) in result.chunks_mut(PAGE).enumerate() {
            let old = draw(dice, self.since.len() + 1);
            let new = (old + draw(dice, 2)).min(self.since.len());
            let tear = n * PAGE + draw(dice, page.len() + 1);
            for (at, byte) in page.iter_mut().enumerate() {
                let at = n * PAGE + at;
                let image = self.image(if at < tear { new } else { old });
                *byte = image.get(at).copied().unwrap_or(0);
            }
        }
        result
    }
}

/// `new` up to a random byte among those that differ, `old` behind it.
fn torn(old: &[u8], new: &[u8], dice: &dyn Dice) -> Vec<u8> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let cut = same + draw(dice, new.len().max(same) - same + 1);
    let mut result = new[..cut.min(new.len())].to_vec();
    if let Some(rest) = old.get(cut..) {
        result.extend_from_slice(rest);
    }
    result
}

fn draw(dice: &dyn Dice, below: usize) -> usize {
    (dice.u64() % below.max(1) as u64) as usize
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl State {
    /// Counts a changing operation; `Ok(true)` when the power goes during it.
    fn tick(&mut self) -> io::Result<bool> {
        self.ops += 1;
        match self.power_cut_at {
            Some(at) if self.ops > at => Err(power_is_off()),
            Some(at) => Ok(self.ops == at),
            None => Ok(false),
        }
    }

    fn check_power(&self) -> io::Result<()> {
        match self.power_cut_at {
            Some(at) if self.ops >= at => Err(power_is_off()),
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.files.values().map(|cell| cell.lock().now().len() as u64).sum()
    }
}

impl MemoryDisk {
    /// Changing operations (writes, syncs, creations, removals, cuts) so far.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state.lock().ops
    }

    /// The power goes during changing operation number `at` (counted from 1); nothing works afterwards.
    pub fn cut_power_at(&self, at: u64) {
        self.state.lock().power_cut_at = Some(at);
    }

    /// The next `n` syncs of files fail.
    pub fn fail_syncs(&self, n: u64) {
        self.state.lock().failing_syncs = n;
    }

    /// Limits what all files together may hold.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = Some(bytes);
    }

    /// A disk with what a power cut at this moment may have left.
    #[must_use]
    pub fn after_power_cut(&self, dice: &dyn Dice) -> Self {
        let state = self.state.lock();
        let names: BTreeSet<&String> = state.files.keys().chain(state.durable.keys()).collect();
        let mut files = BTreeMap::new();
        let keep_names = dice.u64() % 3;
        for name in names {
            let (now, durable) = (state.files.get(name), state.durable.get(name));
            let cell = match (now, durable, keep_names) {
                (Some(cell), Some(_), _) => Some(cell),
                (_, durable, 0) => durable,
                (now, _, 1) => now,
                (now, durable, _) => now.or(durable).filter(|_| dice.u64().is_multiple_of(2)),
            };
            if let Some(cell) = cell {
                let durable = cell.lock().after_cut(dice);
                files.insert(
                    name.clone(),
                    Arc::new(Mutex::new(Content {
                        durable,
                        ..Content::default()
                    })),
                );
            }
        }
        let state = State {
            durable: files.clone(),
            files,
            capacity: state.capacity,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The names and lengths of all files.
    #[must_use]
    pub fn lengths(&self) -> BTreeMap<String, usize> {
        self.state
            .lock()
            .files
            .iter()
            .map(|(name, cell)| (name.clone(), cell.lock().now().len()))
            .collect()
    }

    /// The bytes of a file, as reads show them.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().files.get(name).map(|cell| cell.lock().now().clone())
    }

    /// Rot: changes synced bytes behind everyone's back.
    pub fn rot(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        if let Some(cell) = self.state.lock().files.get(name) {
            let mut content = cell.lock();
            change(&mut content.durable);
            content.since.iter_mut().for_each(&change);
            content.clean.iter_mut().for_each(&change);
        }
    }

    /// Puts a file into the folder, synced.
    pub fn plant(&self, name: &str, bytes: &[u8]) {
        let cell = Arc::new(Mutex::new(Content {
            durable: bytes.to_vec(),
            ..Content::default()
        }));
        let mut state = self.state.lock();
        state.files.insert(name.to_owned(), Arc::clone(&cell));
        state.durable.insert(name.to_owned(), cell);
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(state.files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let cut = state.tick()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let cell = Cell::default();
        state.files.insert(name.to_owned(), Arc::clone(&cell));
        if cut {
            Err(power_is_off())
        } else {
            Ok(Arc::new(MemoryFile {
                disk: self.clone(),
                cell,
            }))
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        state.check_power()?;
        let cell = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            cell: Arc::clone(cell),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let cut = state.tick()?;
        state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.tick()? {
            return Err(power_is_off());
        }
        state.durable = state.files.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state
            .capacity
            .map_or(1 << 40, |capacity| capacity.saturating_sub(state.used())))
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

struct Unlock(MemoryDisk);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state.lock().locked = false;
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    cell: Cell,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.cell.lock().now().len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.state.lock().check_power()?;
        let content = self.cell.lock();
        let bytes = content.now();
        let start = (offset as usize).min(bytes.len());
        Ok(bytes[start..(start + len).min(bytes.len())].to_vec())
    }

    fn write_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let cut = state.tick()?;
        let mut bytes = slices.concat();
        let offset = offset as usize;
        let grown = (offset + bytes.len()).saturating_sub(self.cell.lock().now().len()) as u64;
        let room = state
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        let full = grown > room;
        if full {
            bytes.truncate(bytes.len() - (grown - room) as usize);
        }
        self.cell.lock().write(offset, &bytes);
        match (cut, full) {
            (true, _) => Err(power_is_off()),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.tick()? {
            return Err(power_is_off());
        }
        let mut content = self.cell.lock();
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            state.failures += 1;
            content.fail_sync(&clock::SeededDice::new(state.failures));
            return Err(io::Error::other("input/output error"));
        }
        content.sync();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let cut = state.tick()?;
        self.cell.lock().truncate(len as usize);
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let cut = state.tick()?;
        let now = self.cell.lock().now().len() as u64;
        let room = state
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        if len.saturating_sub(now) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if len > now {
            self.cell.lock().truncate(len as usize);
        }
        if cut { Err(power_is_off()) } else { Ok(()) }
    }
}
