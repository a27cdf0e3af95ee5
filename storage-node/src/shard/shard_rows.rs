//! A shard's rows as `metadata` reads them: families of one generation, inside the spaces of the store.

use bytes::Bytes;
use metadata::ids::ShardId;
use metadata::rows::{Family, ReadRows, RowChange, RowsError, Visit};

use super::layout;
use super::store::{ReadSpaces, SpaceRow, StoreFailed};
use super::types::{Applied, Generations, from_value};

/// One generation of one shard, in a view or in the store itself.
pub(crate) struct ShardRows<'a> {
    spaces: &'a dyn ReadSpaces,
    prefix: [u8; 12],
}

impl<'a> ShardRows<'a> {
    pub(crate) fn new(spaces: &'a dyn ReadSpaces, shard: ShardId, generation: u32) -> Self {
        Self {
            spaces,
            prefix: layout::generation(shard, generation),
        }
    }

    /// The generation that was live when the view was taken; looked up inside the view, so that a switch or a removal
    /// at this moment cannot show half a shard.
    pub(crate) fn live(spaces: &'a dyn ReadSpaces, shard: ShardId) -> Result<Self, StoreFailed> {
        Ok(Self::new(spaces, shard, generations(spaces, shard)?.live))
    }
}

/// The generations of a shard; a shard never seen has generation 0, empty.
pub(crate) fn generations(spaces: &dyn ReadSpaces, shard: ShardId) -> Result<Generations, StoreFailed> {
    let found = spaces.get(super::store::Space::State, &layout::generations(shard))?;
    found.map_or_else(|| Ok(Generations::default()), |bytes| from_value(&bytes))
}

/// What a shard has applied.
pub(crate) fn applied(spaces: &dyn ReadSpaces, shard: ShardId) -> Result<Applied, StoreFailed> {
    let found = spaces.get(super::store::Space::State, &layout::applied(shard))?;
    found.map_or_else(|| Ok(Applied::default()), |bytes| from_value(&bytes))
}

/// A change of a family's row, as a change of the store's.
pub(crate) fn space_row(prefix: &[u8; 12], change: RowChange) -> SpaceRow {
    let RowChange { family, key, value } = change;
    SpaceRow {
        space: layout::space_of(family),
        key: layout::row(prefix, family, &key),
        value,
    }
}

impl ReadRows for ShardRows<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, RowsError> {
        let found = self
            .spaces
            .get(layout::space_of(family), &layout::row(&self.prefix, family, key));
        found.map_err(|e| RowsError(e.to_string()))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), RowsError> {
        let prefix = layout::family_prefix(&self.prefix, family);
        let with_prefix = |key: &[u8]| [prefix.as_slice(), key].concat();
        let end = until.map_or_else(|| layout::after(&prefix), with_prefix);
        let skipped = prefix.len();
        let mut inner = |key: &[u8], value: &[u8]| match visit(&key[skipped..], value) {
            Visit::Seek(target) => Visit::Seek(with_prefix(&target)),
            other => other,
        };
        let scanned = self
            .spaces
            .scan(layout::space_of(family), &with_prefix(from), &end, &mut inner);
        scanned.map_err(|e| RowsError(e.to_string()))
    }
}
