//! Snapshots of a shard: a read view of the store, streamed in bounded parts, filled into a new generation.
//!
//! ```text
//! sender                                    receiver
//! view; Begin { vote, applied }        ->   an empty generation beside the live one
//! Rows { number, rows } ...            ->   rows written unsynced
//! End { parts, hash }                  ->   count and hash verified; openraft installs: one synced switch
//! ```
//! Nothing is ever built ahead: the state machine itself is durable, so "the current snapshot" is whatever is applied
//! when a transfer begins, and a snapshot costs no disk. A node sends one at a time.
//!
//! Knows: parts and generations. Must not know: sockets.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use metadata::rows::Visit;
use openraft::SnapshotMeta;
use serde::{Deserialize, Serialize};

use super::layout;
use super::shard_rows;
use super::state::ShardState;
use super::store::{ReadPurpose, ReadSpaces, Space, SpaceRow, StoreFailed};
use super::types::{Applied, Vote};

/// Rows of one part, in bytes of keys and values (and at least one row).
pub(crate) const PART_BYTES: usize = 512 * 1024;

/// What openraft passes around as a snapshot.
#[derive(Debug, Default)]
pub(crate) struct SnapshotData(pub(crate) Source);

/// Where a snapshot's rows are.
#[derive(Default)]
pub(crate) enum Source {
    /// Nowhere yet.
    #[default]
    Empty,
    /// In a replica's live rows, to be read when it is sent.
    Live(Arc<ShardState>),
    /// Received: complete in a generation of this node that waits for its switch.
    Received {
        /// Which.
        generation: u32,
        /// What it contains.
        applied: Applied,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Live(_) => "Live",
            Self::Received { .. } => "Received",
        })
    }
}

/// One message of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The first.
    Begin {
        /// The sender's vote as leader.
        vote: Vote,
        /// What the rows contain.
        applied: Applied,
    },
    /// Some rows.
    Rows {
        /// Counts from 0.
        number: u32,
        /// The rows, keyed as in the store but without the generation.
        rows: Vec<PartRow>,
    },
    /// The last.
    End {
        /// How many parts of rows there were.
        parts: u32,
        /// BLAKE3 over all rows.
        hash: [u8; 32],
    },
}

/// One row in a [`Part`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    space: u8,
    key: Bytes,
    value: Bytes,
}

/// Reads a shard's live rows from one view and hands them to `send` part by part, until it returns `false`.
///
/// # Errors
/// When the store fails.
pub(crate) fn read_parts(
    state: &ShardState,
    vote: Vote,
    send: &mut dyn FnMut(Part) -> bool,
) -> Result<(), StoreFailed> {
    let mut outcome = Ok(());
    state.store.with_view(ReadPurpose::Bulk, &mut |view| {
        outcome = read_view(state, view, vote, send)
    });
    outcome
}

pub(crate) fn read_view(
    state: &ShardState,
    view: &dyn ReadSpaces,
    vote: Vote,
    send: &mut dyn FnMut(Part) -> bool,
) -> Result<(), StoreFailed> {
    let applied = shard_rows::applied(view, state.shard)?;
    let generation = shard_rows::generations(view, state.shard)?.live;
    let prefix = layout::generation(state.shard, generation);
    let end = layout::after(&prefix);
    if !send(Part::Begin { vote, applied }) {
        return Ok(());
    }
    let mut parts = Parts {
        send,
        hasher: PartsHash::default(),
        number: 0,
        rows: Vec::new(),
        bytes: 0,
        open: true,
    };
    for space in layout::ROW_SPACES {
        view.scan(space, &prefix, &end, &mut |key, value| {
            parts.row(space, &key[prefix.len()..], value)
        })?;
    }
    parts.flush();
    if parts.open {
        let last = Part::End {
            parts: parts.number,
            hash: parts.hasher.finish(),
        };
        (parts.send)(last);
    }
    Ok(())
}

/// Collects rows into parts.
struct Parts<'a> {
    send: &'a mut dyn FnMut(Part) -> bool,
    hasher: PartsHash,
    number: u32,
    rows: Vec<PartRow>,
    bytes: usize,
    open: bool,
}

impl Parts<'_> {
    fn row(&mut self, space: Space, key: &[u8], value: &[u8]) -> Visit {
        let row = PartRow {
            space: space as u8,
            key: Bytes::copy_from_slice(key),
            value: Bytes::copy_from_slice(value),
        };
        self.hasher.row(&row);
        self.bytes += key.len() + value.len();
        self.rows.push(row);
        if self.bytes >= PART_BYTES {
            self.flush();
        }
        if self.open { Visit::Next } else { Visit::Stop }
    }

    fn flush(&mut self) {
        if self.rows.is_empty() || !self.open {
            return;
        }
        let rows = std::mem::take(&mut self.rows);
        self.open = (self.send)(Part::Rows {
            number: self.number,
            rows,
        });
        self.number += 1;
        self.bytes = 0;
    }
}

/// BLAKE3 over the rows of a transfer.
#[derive(Default)]
struct PartsHash(blake3::Hasher);

impl PartsHash {
    fn row(&mut self, row: &PartRow) {
        self.0
            .update(&[row.space])
            .update(&(row.key.len() as u64).to_le_bytes())
            .update(&row.key);
        self.0
            .update(&(row.value.len() as u64).to_le_bytes())
            .update(&row.value);
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// A transfer being received: the generation it fills and what came so far.
pub(crate) struct Receiving {
    state: Arc<ShardState>,
    applied: Applied,
    generation: u32,
    parts: u32,
    hasher: PartsHash,
}

/// Why a transfer was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveFault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFailed),
    /// A part is missing, twice there, or damaged: the sender starts again.
    #[error("the snapshot came damaged: {0}")]
    Damaged(&'static str),
}

impl Receiving {
    /// Begins an empty generation.
    pub(crate) fn begin(state: Arc<ShardState>, applied: Applied) -> Result<Self, ReceiveFault> {
        let generation = state.begin_generation()?;
        Ok(Self {
            state,
            applied,
            generation,
            parts: 0,
            hasher: PartsHash::default(),
        })
    }

    /// Takes a part of rows.
    pub(crate) fn rows(&mut self, number: u32, rows: Vec<PartRow>) -> Result<(), ReceiveFault> {
        if number.checked_add(1) == Some(self.parts) {
            // Its answer was lost and it was sent again.
            return Ok(());
        }
        if number != self.parts {
            return Err(ReceiveFault::Damaged("a part is out of order"));
        }
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            self.hasher.row(&row);
            let space = Space::from_number(row.space).filter(|space| layout::ROW_SPACES.contains(space));
            let space = space.ok_or(ReceiveFault::Damaged("a row of no shard's space"))?;
            changes.push(SpaceRow {
                space,
                key: row.key.to_vec(),
                value: Some(row.value),
            });
        }
        self.state.fill_generation(self.generation, changes)?;
        self.parts += 1;
        Ok(())
    }

    /// Verifies that all is there; the generation is then ready to be switched to.
    pub(crate) fn end(&self, parts: u32, hash: [u8; 32]) -> Result<SnapshotData, ReceiveFault> {
        if parts != self.parts || hash != self.hasher.finish() {
            return Err(ReceiveFault::Damaged("it is incomplete"));
        }
        Ok(SnapshotData(Source::Received {
            generation: self.generation,
            applied: self.applied.clone(),
        }))
    }

    /// What the snapshot contains, as openraft wants to know it.
    pub(crate) fn meta(&self) -> SnapshotMeta<u64, openraft::EmptyNode> {
        meta(self.state.shard.0, &self.applied)
    }

    /// Removes what was received.
    pub(crate) fn give_up(&self) -> Result<(), StoreFailed> {
        self.state.give_up_generation(self.generation)
    }
}

/// The description of a snapshot of `applied`.
pub(crate) fn meta(shard: u64, applied: &Applied) -> SnapshotMeta<u64, openraft::EmptyNode> {
    let (term, index) = applied.last.map_or((0, 0), |last| (last.leader_id.term, last.index));
    SnapshotMeta {
        last_log_id: applied.last,
        last_membership: applied.membership.clone(),
        snapshot_id: format!("{shard}-{term}-{index}"),
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
