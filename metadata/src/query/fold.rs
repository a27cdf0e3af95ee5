//! What the three listings share: prefix, delimiter, and where a page begins.
//!
//! A listing walks the rows of a family in key order. A key that has the delimiter after the prefix is folded into its
//! common prefix, and the walk jumps to the first row behind all keys with that prefix: a folded million costs one seek.

use crate::model::Key;

/// The most bytes of rows one page reads: a page of large rows is shorter than its limit.
pub(super) const PAGE_BYTES_MAX: usize = 4 << 20;

/// Prefix and delimiter of a listing.
pub(super) struct Fold<'a> {
    prefix: &'a [u8],
    delimiter: Option<&'a [u8]>,
}

/// Where a page begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first key with the listing's prefix.
    Prefix,
    /// Behind all keys with this common prefix, which was shown on an earlier page.
    BehindPrefix(Key),
    /// Behind this key (or inside its versions or uploads).
    Behind(Key),
    /// Nowhere: all keys with the prefix are behind.
    Nothing,
}

impl<'a> Fold<'a> {
    pub(super) fn new(prefix: &'a [u8], delimiter: Option<&'a Key>) -> Self {
        Self {
            prefix,
            delimiter: delimiter.map(Vec::as_slice).filter(|delimiter| !delimiter.is_empty()),
        }
    }

    /// The common prefix a key is folded into.
    pub(super) fn common_prefix<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let at = match delimiter {
            [byte] => rest.iter().position(|other| other == byte),
            _ => rest.windows(delimiter.len()).position(|window| window == delimiter),
        }?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }

    /// Where a page after `after` begins. A common prefix that contains `after` is skipped as a whole, because a page
    /// that ended inside it has shown it.
    pub(super) fn start(&self, after: Option<&Key>) -> Start {
        let Some(after) = after else { return Start::Prefix };
        if !after.starts_with(self.prefix) {
            return if after.as_slice() < self.prefix {
                Start::Prefix
            } else {
                Start::Nothing
            };
        }
        match self.common_prefix(after) {
            Some(shown) => Start::BehindPrefix(shown.to_vec()),
            None => Start::Behind(after.clone()),
        }
    }
}

/// The room left on a page.
pub(super) struct Room {
    entries: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: limit,
            bytes: PAGE_BYTES_MAX,
        }
    }

    /// Takes room for one entry or common prefix; false when the page is full.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.entries == 0 || self.bytes == 0 {
            return false;
        }
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}
