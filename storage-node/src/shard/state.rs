//! A shard's rows and how far they have come: applying entries, switching generations.
//!
//! STATE-1  Rows and the applied log id change in one write, so a restart applies each later entry exactly once.
//! STATE-2  Only entries that Raft has committed get here; only one call at a time changes a shard (openraft's worker).
//!
//! Everything here blocks on the store and runs on the pools' threads. Knows: rows, generations, digests. Must not
//! know: the network, leaders.

use std::collections::VecDeque;
use std::sync::Arc;

use metadata::apply::{ShardKind, apply_batch};
use metadata::codec::decode_batch;
use metadata::ids::ShardId;
use metadata::rows::{Overlay, RowChange};
use openraft::EntryPayload;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::feed::SystemFeed;
use super::layout;
use super::shard_rows::{ShardRows, applied, generations, space_row};
use super::store::{RowStore, Space, SpaceRow, StoreFailed, WriteSet};
use super::types::{Applied, Entry, Generations, LogId, Membership, Replies, to_value};
use super::writer::{Durability, Writer};

/// The digest is kept at every log index that this divides, for comparison with other replicas.
pub(crate) const DIGEST_EVERY: u64 = 256;
/// How many of them are kept.
const DIGESTS_MAX: usize = 16;

/// One shard's applied state, shared by its state machine, its readers and its snapshots.
pub(crate) struct ShardState {
    pub(crate) shard: ShardId,
    pub(crate) store: Arc<dyn RowStore>,
    pub(crate) writer: Writer,
    pub(crate) feed: Option<Arc<SystemFeed>>,
    applied: Mutex<Applied>,
    generations: Mutex<Generations>,
    digests: Mutex<VecDeque<(u64, [u8; 32])>>,
    applied_next: watch::Sender<u64>,
}

impl ShardState {
    /// Reads where the shard stands and removes dead generations. Blocks on the store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn open(
        shard: ShardId,
        store: Arc<dyn RowStore>,
        writer: Writer,
        feed: Option<Arc<SystemFeed>>,
    ) -> Result<Self, StoreFailed> {
        let applied = applied(store.as_ref(), shard)?;
        let generations = generations(store.as_ref(), shard)?;
        if let Some(feed) = &feed {
            feed.restart_at(applied.last.map(|last| last.index));
        }
        let state = Self {
            shard,
            store,
            writer,
            feed,
            applied_next: watch::Sender::new(applied.next_index()),
            applied: Mutex::new(applied),
            generations: Mutex::new(generations),
            digests: Mutex::new(VecDeque::new()),
        };
        state.remove_dead_generations()?;
        Ok(state)
    }

    /// The index after the last applied entry, as it grows.
    pub(crate) fn applied_next(&self) -> watch::Receiver<u64> {
        self.applied_next.subscribe()
    }

    /// The index after the last applied entry, now.
    pub(crate) fn next_index(&self) -> u64 {
        *self.applied_next.borrow()
    }

    /// What is applied now.
    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// The last digest taken at a multiple of [`DIGEST_EVERY`].
    pub(crate) fn last_digest(&self) -> Option<(u64, [u8; 32])> {
        self.digests.lock().back().copied()
    }

    /// Whether another replica's digest differs from ours at the same index; `false` when we have none there.
    pub(crate) fn deviates_from(&self, other: (u64, [u8; 32])) -> bool {
        self.digests
            .lock()
            .iter()
            .any(|(index, digest)| *index == other.0 && *digest != other.1)
    }

    /// Applies committed entries in order and returns one [`Replies`] for each.
    ///
    /// # Errors
    /// When the store fails, or an entry does not decode: then nothing of these entries was applied.
    pub(crate) fn apply(&self, entries: Vec<Entry>) -> Result<Vec<Replies>, StoreFailed> {
        let mut applied = self.applied();
        let generation = self.generations.lock().live;
        let rows = ShardRows::new(self.store.as_ref(), self.shard, generation);
        let mut overlay = Overlay::new(&rows);
        let mut replies = Vec::with_capacity(entries.len());
        let mut digests = Vec::new();
        let mut fed = Vec::new();
        for entry in entries {
            let log_id = entry.log_id;
            let (answer, changes) = decide(&overlay, self.kind(), entry, &mut applied.membership)?;
            applied.digest = digest(applied.digest, log_id.index, &changes);
            applied.last = Some(log_id);
            if log_id.index.is_multiple_of(DIGEST_EVERY) {
                digests.push((log_id.index, applied.digest));
            }
            if self.feed.is_some() {
                fed.push((log_id.index, changes.clone()));
            }
            lay(&mut overlay, changes);
            replies.push(answer);
        }
        let prefix = layout::generation(self.shard, generation);
        let mut set = WriteSet::new();
        overlay
            .into_changes()
            .into_iter()
            .for_each(|change| set.push(space_row(&prefix, change)));
        set.put(Space::State, layout::applied(self.shard), to_value(&applied));
        self.store.write(&set)?;
        self.note_applied(applied, digests);
        if let Some(feed) = &self.feed {
            fed.into_iter().for_each(|(index, changes)| feed.push(index, changes));
        }
        Ok(replies)
    }

    fn note_applied(&self, applied: Applied, new: Vec<(u64, [u8; 32])>) {
        let mut digests = self.digests.lock();
        digests.extend(new);
        while digests.len() > DIGESTS_MAX {
            digests.pop_front();
        }
        drop(digests);
        let next = applied.next_index();
        *self.applied.lock() = applied;
        self.applied_next.send_replace(next);
    }

    /// Begins an empty generation beside the live one and returns its number. It counts as dead until it is switched
    /// to, so that a crash leaves nothing behind for long.
    pub(crate) fn begin_generation(&self) -> Result<u32, StoreFailed> {
        let mut generations = self.generations.lock();
        let number = generations.unused();
        generations.dead.push(number);
        self.store.write(&self.generations_row(&generations))?;
        Ok(number)
    }

    /// Writes rows, keyed as in the store but without the generation's prefix, into a generation that is not live.
    pub(crate) fn fill_generation(&self, number: u32, rows: Vec<SpaceRow>) -> Result<(), StoreFailed> {
        let prefix = layout::generation(self.shard, number);
        let mut set = WriteSet::new();
        for row in rows {
            set.push(SpaceRow {
                key: [prefix.as_slice(), &row.key].concat(),
                ..row
            });
        }
        self.store.write(&set)
    }

    /// Makes `number` the live generation, as of `applied`, and the log purged up to there: one synced batch. The old
    /// generation's rows are dead from then on.
    pub(crate) async fn switch_to(&self, number: u32, applied: Applied) -> Result<(), StoreFailed> {
        let mut next = self.generations.lock().clone();
        next.dead.retain(|dead| *dead != number);
        next.dead.push(std::mem::replace(&mut next.live, number));
        let mut set = self.generations_row(&next);
        set.put(Space::State, layout::applied(self.shard), to_value(&applied));
        if let Some(last) = &applied.last {
            set.put(Space::State, layout::purged(self.shard), to_value::<LogId>(last));
        }
        self.writer.write(set, Durability::Synced).await?;
        *self.generations.lock() = next;
        self.digests.lock().clear();
        if let Some(feed) = &self.feed {
            feed.restart_at(applied.last.map(|last| last.index));
        }
        self.note_applied(applied, Vec::new());
        Ok(())
    }

    /// Gives a generation up that was being filled.
    pub(crate) fn give_up_generation(&self, number: u32) -> Result<(), StoreFailed> {
        if self.generations.lock().live == number {
            return Ok(());
        }
        self.remove_generation(number)
    }

    /// Removes what no view needs any more.
    pub(crate) fn remove_dead_generations(&self) -> Result<(), StoreFailed> {
        let dead = self.generations.lock().dead.clone();
        dead.into_iter().try_for_each(|number| self.remove_generation(number))
    }

    fn remove_generation(&self, number: u32) -> Result<(), StoreFailed> {
        let prefix = layout::generation(self.shard, number);
        let end = layout::after(&prefix);
        for space in layout::ROW_SPACES {
            self.store.drop_range(space, &prefix, &end)?;
        }
        let mut generations = self.generations.lock();
        generations.dead.retain(|dead| *dead != number);
        self.store.write(&self.generations_row(&generations))
    }

    fn generations_row(&self, generations: &Generations) -> WriteSet {
        let mut set = WriteSet::new();
        set.put(Space::State, layout::generations(self.shard), to_value(generations));
        set
    }

    fn kind(&self) -> ShardKind {
        if self.shard == ShardId::SYSTEM {
            ShardKind::System
        } else {
            ShardKind::Keys
        }
    }
}

/// What one entry answers and changes.
fn decide(
    rows: &Overlay<'_, ShardRows<'_>>,
    kind: ShardKind,
    entry: Entry,
    membership: &mut Membership,
) -> Result<(Replies, Vec<RowChange>), StoreFailed> {
    match entry.payload {
        EntryPayload::Blank => Ok((Replies::default(), Vec::new())),
        EntryPayload::Membership(members) => {
            *membership = Membership::new(Some(entry.log_id), members);
            Ok((Replies::default(), Vec::new()))
        }
        EntryPayload::Normal(packed) => {
            let failed = |reason: String| StoreFailed {
                doing: "applying an entry",
                reason,
            };
            let batch = decode_batch(&packed.0).map_err(|e| failed(e.to_string()))?;
            let (replies, changes) = apply_batch(rows, &batch, kind).map_err(|e| failed(e.to_string()))?;
            Ok((Replies(replies), changes))
        }
    }
}

fn lay(overlay: &mut Overlay<'_, ShardRows<'_>>, changes: Vec<RowChange>) {
    for RowChange { family, key, value } in changes {
        match value {
            Some(value) => overlay.put(family, key, value),
            None => overlay.remove(family, key),
        }
    }
}

/// The digest after an entry: of the digest before, the entry's index and its changes in order.
fn digest(before: [u8; 32], index: u64, changes: &[RowChange]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before).update(&index.to_le_bytes());
    for change in changes {
        let value_length = change.value.as_ref().map_or(u64::MAX, |value| value.len() as u64);
        hasher
            .update(&[change.family as u8])
            .update(&(change.key.len() as u64).to_le_bytes())
            .update(&change.key);
        hasher
            .update(&value_length.to_le_bytes())
            .update(change.value.as_deref().unwrap_or_default());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
