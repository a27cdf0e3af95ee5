//! The changes a batch has made so far, laid over the rows it began with: later commands of the batch read their own
//! predecessors' writes before anything reaches the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{Family, ReadRows, RowChange, RowsError, Visit};

type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// A base and the unwritten changes over it.
pub struct Overlay<'a, R: ReadRows + ?Sized> {
    base: &'a R,
    changes: [Changes; Family::ALL.len()],
}

impl<'a, R: ReadRows + ?Sized> Overlay<'a, R> {
    /// Nothing changed yet.
    #[must_use]
    pub fn new(base: &'a R) -> Self {
        Self {
            base,
            changes: Default::default(),
        }
    }

    /// Writes a row.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Bytes) {
        self.changes[family as usize].insert(key, Some(value));
    }

    /// Removes a row.
    pub fn remove(&mut self, family: Family, key: Vec<u8>) {
        self.changes[family as usize].insert(key, None);
    }

    /// Everything changed, each row once, in order of family and key.
    #[must_use]
    pub fn into_changes(self) -> Vec<RowChange> {
        let mut all = Vec::with_capacity(self.changes.iter().map(BTreeMap::len).sum());
        for (family, changes) in Family::ALL.into_iter().zip(self.changes) {
            all.extend(changes.into_iter().map(|(key, value)| RowChange { family, key, value }));
        }
        all
    }
}

impl<R: ReadRows + ?Sized> ReadRows for Overlay<'_, R> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        match self.changes[family as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(family, key),
        }
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), RowsError> {
        let changes = &self.changes[family as usize];
        if changes.is_empty() {
            return self.base.scan(family, from, until, visit);
        }
        let mut merge = Merge {
            changes,
            next: Bound::Included(from.to_vec()),
            visit,
            stopped: false,
        };
        self.base
            .scan(family, from, until, &mut |key, value| merge.base_row(key, value))?;
        if !merge.stopped {
            merge.changes_before(until);
        }
        Ok(())
    }
}

/// A scan of base and changes at once. `next` bounds from below what may still be visited.
struct Merge<'a> {
    changes: &'a Changes,
    next: Bound<Vec<u8>>,
    visit: &'a mut dyn FnMut(&[u8], &[u8]) -> Visit,
    stopped: bool,
}

impl Merge<'_> {
    /// Visits the changed rows that come before a row of the base, and then that row, unless it was changed itself.
    fn base_row(&mut self, key: &[u8], value: &[u8]) -> Visit {
        self.changes_before(Some(key));
        if self.stopped {
            return Visit::Stop;
        }
        match &self.next {
            Bound::Included(next) if next.as_slice() > key => return Visit::Seek(next.clone()),
            _ => {}
        }
        match self.changes.get(key) {
            Some(Some(changed)) => self.visit(key, changed),
            Some(None) => self.next = Bound::Excluded(key.to_vec()),
            None => self.visit(key, value),
        }
        match &self.next {
            _ if self.stopped => Visit::Stop,
            Bound::Included(target) => Visit::Seek(target.clone()),
            _ => Visit::Next,
        }
    }

    /// Visits the changed rows from `next` on whose key is less than `until`.
    fn changes_before(&mut self, until: Option<&[u8]>) {
        let changes = self.changes;
        'seek: while !self.stopped {
            let lower = self.next.as_ref().map(Vec::as_slice);
            for (key, value) in changes.range::<[u8], _>((lower, Bound::Unbounded)) {
                if until.is_some_and(|until| key.as_slice() >= until) {
                    return;
                }
                let Some(value) = value else { continue };
                self.visit(key, value);
                if self.stopped || matches!(self.next, Bound::Included(_)) {
                    continue 'seek;
                }
            }
            return;
        }
    }

    fn visit(&mut self, key: &[u8], value: &[u8]) {
        match (self.visit)(key, value) {
            Visit::Next => self.next = Bound::Excluded(key.to_vec()),
            Visit::Seek(target) => {
                debug_assert!(target.as_slice() > key, "a seek goes forward");
                self.next = Bound::Included(target);
            }
            Visit::Stop => self.stopped = true,
        }
    }
}

#[cfg(test)]
mod tests;
