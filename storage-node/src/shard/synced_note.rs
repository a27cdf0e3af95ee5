//! The side file in which a node notes how far its store is known to be synced (DUR-5).
//!
//! ```text
//! file `synced` = slot 0 | slot 1, 128 bytes each; the one that is not synced yet is written
//! slot = "HALOSYNC" | version u16 | cluster u128 | node u64 | incarnation u128 | counter u64 | sequence u64
//!        | zeros | CRC-64 of all before it
//! ```
//! The valid slot with the larger counter speaks. A slot is written after every sync and never names more than that
//! sync covered, so the note is never ahead of the store. The file itself is synced at most every
//! [`NOTE_SYNC_INTERVAL`]: a lost or cut write-ahead log is noticed exactly while the machine ran on, and after a power
//! cut up to that interval late.
//!
//! It lies beside the database's folder, so that an emptied database is noticed too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{ClusterId, NodeId};
use tokio::time::Instant;

use super::identity::StoreIdentity;
use crate::device::{Disk, DiskFile};

/// How often the note is synced at most.
pub(crate) const NOTE_SYNC_INTERVAL: Duration = Duration::from_millis(500);

const SLOT_BYTES: usize = 128;
/// The file's name.
const NAME: &str = "synced";
const MAGIC: &[u8; 8] = b"HALOSYNC";
const NOTE_FORMAT: u16 = 1;

/// What the side file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) identity: StoreIdentity,
    /// Everything up to this sequence number was synced.
    pub(crate) sequence: u64,
    counter: u64,
}

/// The open side file.
pub(crate) struct SyncedNote {
    /// None for a store in memory.
    file: Option<Arc<dyn DiskFile>>,
    noted: Noted,
    /// The slot whose note is synced; only the other one is written, so that a power cut can tear one note at most.
    kept: u64,
    synced_at: Instant,
    dirty: bool,
}

impl SyncedNote {
    /// Reads the note in `folder`; `None` when there is none, or none that is whole.
    pub(crate) fn read(folder: &dyn Disk) -> io::Result<Option<Noted>> {
        Ok(Self::newest(folder)?.map(|(_, noted)| noted))
    }

    /// The slot that speaks, and what it says.
    fn newest(folder: &dyn Disk) -> io::Result<Option<(u64, Noted)>> {
        let bytes = match folder.open(NAME) {
            Ok(file) => file.read_at(0, 2 * SLOT_BYTES)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok((0..)
            .zip(bytes.chunks_exact(SLOT_BYTES))
            .filter_map(|(slot, bytes)| Some((slot, Noted::decode(bytes)?)))
            .max_by_key(|(_, noted)| noted.counter))
    }

    /// Writes a note for `identity` and syncs it and its folder, so that it exists from now on.
    pub(crate) fn create(folder: &dyn Disk, identity: StoreIdentity, sequence: u64) -> io::Result<Self> {
        let newest = Self::newest(folder)?;
        let before = newest.map_or(0, |(_, noted)| noted.counter);
        let slot = newest.map_or(0, |(slot, _)| 1 - slot);
        let file = match folder.open(NAME) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => folder.create(NAME)?,
            other => other?,
        };
        let noted = Noted {
            identity,
            sequence,
            counter: before + 1,
        };
        file.write_at(slot * SLOT_BYTES as u64, &[&noted.encode()])?;
        file.sync()?;
        folder.sync_dir()?;
        Ok(Self {
            file: Some(file),
            noted,
            kept: slot,
            synced_at: Instant::now(),
            dirty: false,
        })
    }

    /// A note that is written nowhere, for a store in memory or one that is being built.
    pub(crate) fn nowhere(identity: StoreIdentity) -> Self {
        let noted = Noted {
            identity,
            sequence: 0,
            counter: 0,
        };
        Self {
            file: None,
            noted,
            kept: 0,
            synced_at: Instant::now(),
            dirty: false,
        }
    }

    /// Notes that everything up to `sequence` is synced. Call it only after the sync returned.
    pub(crate) fn synced(&mut self, sequence: u64) {
        let Some(file) = &self.file else { return };
        if sequence <= self.noted.sequence {
            return;
        }
        self.noted.sequence = sequence;
        self.noted.counter += 1;
        let slot = 1 - self.kept;
        if let Err(e) = file.write_at(slot * SLOT_BYTES as u64, &[&self.noted.encode()]) {
            tracing::warn!(error = %e, "the note of what is synced was not written");
            return;
        }
        self.dirty = true;
        if self.synced_at.elapsed() >= NOTE_SYNC_INTERVAL {
            self.sync();
        }
    }

    /// Makes the last note durable; called when the writer ends.
    pub(crate) fn close(&mut self) {
        self.sync();
    }

    fn sync(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.dirty) else {
            return;
        };
        match file.sync() {
            Ok(()) => self.kept = 1 - self.kept,
            Err(e) => tracing::warn!(error = %e, "the note of what is synced was not synced"),
        }
        self.synced_at = Instant::now();
        self.dirty = false;
    }
}

impl Noted {
    #[cfg(test)]
    pub(crate) fn test(identity: StoreIdentity, sequence: u64) -> Self {
        Self {
            identity,
            sequence,
            counter: 1,
        }
    }

    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..10].copy_from_slice(&NOTE_FORMAT.to_le_bytes());
        slot[10..26].copy_from_slice(&self.identity.cluster.0.to_le_bytes());
        slot[26..34].copy_from_slice(&self.identity.node.0.to_le_bytes());
        slot[34..50].copy_from_slice(&self.identity.incarnation.to_le_bytes());
        slot[50..58].copy_from_slice(&self.counter.to_le_bytes());
        slot[58..66].copy_from_slice(&self.sequence.to_le_bytes());
        let sum = checksum(&slot[..SLOT_BYTES - 8]);
        slot[SLOT_BYTES - 8..].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8]) -> Option<Self> {
        let slot: &[u8; SLOT_BYTES] = slot.try_into().ok()?;
        let (body, sum) = slot.split_at(SLOT_BYTES - 8);
        if &body[..8] != MAGIC || body[8..10] != NOTE_FORMAT.to_le_bytes() || sum != checksum(body).to_le_bytes() {
            return None;
        }
        let u64_at = |at: usize| body[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let u128_at = |at: usize| body[at..at + 16].try_into().map(u128::from_le_bytes).ok();
        let identity = StoreIdentity {
            cluster: ClusterId(u128_at(10)?),
            node: NodeId(u64_at(26)?),
            incarnation: u128_at(34)?,
        };
        Some(Self {
            identity,
            counter: u64_at(50)?,
            sequence: u64_at(58)?,
        })
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

#[cfg(test)]
#[path = "synced_note_tests.rs"]
mod tests;
