//! The store in memory, which knows synced writes from unsynced ones: for simulation and tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use metadata::rows::Visit;
use parking_lot::RwLock;

use super::store::{ReadPurpose, ReadSpaces, RowStore, Space, SpaceRow, StoreFailed, WriteSet};

/// Shared with the views that are being read; a write copies only the maps it changes while somebody reads them.
type Maps = [Arc<BTreeMap<Vec<u8>, Bytes>>; Space::ALL.len()];

/// An ordered store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    rows: Maps,
    durable: Maps,
    unsynced: Vec<Change>,
    sequence: u64,
    durable_sequence: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write(WriteSet),
    Drop(Space, Vec<u8>, Vec<u8>),
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many writes a crash may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.read().unsynced.len()
    }

    /// What a crash leaves: everything synced, and of the writes since the first `kept`.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Self {
        let state = self.state.read();
        let mut rows = state.durable.clone();
        let mut sequence = state.durable_sequence;
        for change in state.unsynced.iter().take(kept) {
            sequence += change.length();
            change.make(&mut rows);
        }
        let state = State {
            durable: rows.clone(),
            rows,
            unsynced: Vec::new(),
            sequence,
            durable_sequence: sequence,
        };
        Self {
            state: RwLock::new(state),
        }
    }
}

impl Change {
    fn make(&self, maps: &mut Maps) {
        match self {
            Self::Write(set) => set.rows().iter().for_each(|row| write_row(maps, row)),
            Self::Drop(space, from, until) => {
                Arc::make_mut(&mut maps[*space as usize]).retain(|key, _| key < from || key >= until);
            }
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Write(set) => set.rows().len() as u64,
            Self::Drop(..) => 1,
        }
    }
}

fn write_row(maps: &mut Maps, row: &SpaceRow) {
    let map = Arc::make_mut(&mut maps[row.space as usize]);
    match &row.value {
        Some(value) => map.insert(row.key.clone(), value.clone()),
        None => map.remove(&row.key),
    };
}

impl State {
    fn change(&mut self, change: Change) {
        self.sequence += change.length();
        change.make(&mut self.rows);
        self.unsynced.push(change);
    }
}

/// The rows as they were at one moment.
struct View(Maps);

impl ReadSpaces for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
        Ok(self.0[space as usize].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed> {
        let rows = &self.0[space as usize];
        let mut next = Bound::Included(from.to_vec());
        loop {
            let lower = next.as_ref().map(Vec::as_slice);
            let Some((key, value)) = rows.range::<[u8], _>((lower, Bound::Unbounded)).next() else {
                return Ok(());
            };
            if key.as_slice() >= until {
                return Ok(());
            }
            next = match visit(key, value) {
                Visit::Next => Bound::Excluded(key.clone()),
                Visit::Seek(target) => Bound::Included(target),
                Visit::Stop => return Ok(()),
            };
        }
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
        let rows = &self.0[space as usize];
        let found = rows
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)))
            .next_back();
        Ok(found.map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl ReadSpaces for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreFailed> {
        Ok(self.state.read().rows[space as usize].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreFailed> {
        View(self.state.read().rows.clone()).scan(space, from, until, visit)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, StoreFailed> {
        View(self.state.read().rows.clone()).last(space, from, until)
    }
}

impl RowStore for MemoryStore {
    fn write(&self, set: &WriteSet) -> Result<(), StoreFailed> {
        self.state.write().change(Change::Write(set.clone()));
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreFailed> {
        let mut state = self.state.write();
        let State { durable, unsynced, .. } = &mut *state;
        unsynced.drain(..).for_each(|change| change.make(durable));
        state.durable_sequence = state.sequence;
        Ok(())
    }

    fn sequence(&self) -> u64 {
        self.state.read().sequence
    }

    fn with_view(&self, _purpose: ReadPurpose, read: &mut dyn FnMut(&dyn ReadSpaces)) {
        let view = View(self.state.read().rows.clone());
        read(&view);
    }

    fn drop_range(&self, space: Space, from: &[u8], until: &[u8]) -> Result<(), StoreFailed> {
        self.state
            .write()
            .change(Change::Drop(space, from.to_vec(), until.to_vec()));
        Ok(())
    }

    fn bytes_between(&self, space: Space, from: &[u8], until: &[u8]) -> u64 {
        let state = self.state.read();
        let rows = state.rows[space as usize].range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)));
        rows.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
