//! Rows in memory: for tests, simulation, and as the base of reference runs.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{Family, ReadRows, RowChange, RowsError, Visit};

/// One ordered map per family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRows {
    families: [BTreeMap<Vec<u8>, Bytes>; Family::ALL.len()],
}

impl MemoryRows {
    /// No rows at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes what a batch changed.
    pub fn write(&mut self, changes: impl IntoIterator<Item = RowChange>) {
        for change in changes {
            let family = &mut self.families[change.family as usize];
            match change.value {
                Some(value) => family.insert(change.key, value),
                None => family.remove(&change.key),
            };
        }
    }

    /// All rows of a family in order.
    pub fn family(&self, family: Family) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.families[family as usize]
            .iter()
            .map(|(key, value)| (key.as_slice(), value))
    }
}

impl ReadRows for MemoryRows {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        Ok(self.families[family as usize].get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), RowsError> {
        let rows = &self.families[family as usize];
        let mut start = from.to_vec();
        'seek: loop {
            for (key, value) in rows.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded)) {
                if until.is_some_and(|until| key.as_slice() >= until) {
                    return Ok(());
                }
                match visit(key, value) {
                    Visit::Next => {}
                    Visit::Stop => return Ok(()),
                    Visit::Seek(target) => {
                        debug_assert!(target > *key, "a seek goes forward");
                        start = target;
                        continue 'seek;
                    }
                }
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
