//! A bucket's changes, as they wait to be looked at.

use crate::ids::{BucketId, Seq};
use crate::keys;
use crate::model::{Change, Key};
use crate::read;
use crate::rows::{Family, ReadRows, RowsError};

use super::Found;

/// Keys may be long: a page ends when its keys are this many bytes together.
const PAGE_BYTES: usize = 1 << 20;

pub(super) fn list(
    rows: &dyn ReadRows,
    bucket: BucketId,
    after: Option<Seq>,
    limit: usize,
) -> Result<Found, RowsError> {
    let from = keys::change(bucket, Seq(after.map_or(0, |after| after.0.saturating_add(1))));
    let until = keys::changes_end(bucket);
    let (mut found, mut bytes, mut more): (Vec<(Seq, Key)>, usize, bool) = (Vec::new(), 0, false);
    read::each::<Key>(rows, Family::Changes, &from, Some(&until), |name, key| {
        if found.len() == limit || bytes > PAGE_BYTES {
            more = true;
            return Ok(false);
        }
        let seq = keys::seq_of_change(name).ok_or_else(|| read::misnamed(Family::Changes, name))?;
        bytes += key.len();
        found.push((seq, key));
        Ok(true)
    })?;
    let mut changes = Vec::with_capacity(found.len());
    for (seq, key) in found {
        let deleted_ms = read::deleted_ms(rows, bucket, &key)?;
        changes.push(Change { seq, key, deleted_ms });
    }
    Ok(Found::Changes { changes, more })
}
