//! How a key's versions move between families.
//!
//! ```text
//! latest is an object:   Current(key) = it      Versions(key) = all older versions and markers, newest first
//! latest is a marker:    Current(key) absent    Versions(key) = the marker, then all older ones
//! no version:            neither
//! Nulls(key) = where in Versions the null version or null marker stands; absent when it is the current object or none
//! ```
//! A key has at most one null version or marker. Everything that leaves `Current` or `Versions` releases its bytes.

use crate::ids::BucketId;
use crate::keys;
use crate::model::{MarkerRow, ObjectRow, VersionRow, Versioning};
use crate::read;
use crate::rows::{Family, RowsError};
use crate::values::NullRow;

use super::shard::Shard;
use super::{changes, streams};

/// Makes way for a new latest version: `current` becomes noncurrent, or ends when the newcomer replaces the null
/// version. Afterwards the key has no row in `Current`.
pub(crate) fn hide_latest(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    current: Option<ObjectRow>,
    versioning: Versioning,
) -> Result<(), RowsError> {
    let replaces_null = versioning != Versioning::Enabled;
    match current {
        Some(object) if object.null && replaces_null => return end_current(shard, bucket, key, &object),
        Some(object) => hide_current(shard, bucket, key, object)?,
        None => {}
    }
    // A bucket whose versioning was never on has no noncurrent versions to look for.
    if versioning == Versioning::Suspended {
        end_noncurrent_null(shard, bucket, key)?;
    }
    Ok(())
}

/// Makes an object the current one. The place must be free (see [`hide_latest`]).
pub(crate) fn set_current(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    object: &ObjectRow,
) -> Result<(), RowsError> {
    shard.put(Family::Current, keys::current(bucket, key), object);
    let totals = shard.totals_mut(bucket)?;
    totals.objects += 1;
    totals.bytes += object.size;
    changes::written(shard, bucket, key)
}

/// Adds a delete marker. The place of the latest must be free.
pub(crate) fn add_marker(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    marker: MarkerRow,
) -> Result<(), RowsError> {
    add_noncurrent(shard, bucket, key, &VersionRow::Marker(marker))
}

/// Ends the current object: its row and its bytes.
pub(crate) fn end_current(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    object: &ObjectRow,
) -> Result<(), RowsError> {
    take_current(shard, bucket, key, object)?;
    streams::release(shard, bucket, key, object)
}

/// Ends a noncurrent version or marker: its row and its bytes.
pub(crate) fn end_noncurrent(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    row: &VersionRow,
) -> Result<(), RowsError> {
    take_noncurrent(shard, bucket, key, row)?;
    match row {
        VersionRow::Object(object) => streams::release(shard, bucket, key, object),
        VersionRow::Marker(_) => Ok(()),
    }
}

/// After the latest version ended: when the newest that remains is an object, it becomes the current one.
pub(crate) fn promote(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8]) -> Result<(), RowsError> {
    let newest = read::newest_noncurrent(&shard.rows, bucket, key)?;
    if let Some(row @ VersionRow::Object(_)) = newest {
        take_noncurrent(shard, bucket, key, &row)?;
        if let VersionRow::Object(object) = row {
            set_current(shard, bucket, key, &object)?;
        }
    }
    Ok(())
}

fn hide_current(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], object: ObjectRow) -> Result<(), RowsError> {
    take_current(shard, bucket, key, &object)?;
    add_noncurrent(shard, bucket, key, &VersionRow::Object(object))
}

fn end_noncurrent_null(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8]) -> Result<(), RowsError> {
    let Some(seq) = read::null_row(&shard.rows, bucket, key)? else {
        return Ok(());
    };
    let row_key = keys::version(bucket, key, seq);
    match read::get(&shard.rows, Family::Versions, &row_key)? {
        Some(row) => end_noncurrent(shard, bucket, key, &row),
        None => Err(read::damaged(
            Family::Nulls,
            &row_key,
            &"it names a version that is not there",
        )),
    }
}

fn add_noncurrent(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], row: &VersionRow) -> Result<(), RowsError> {
    shard.put(Family::Versions, keys::version(bucket, key, row.seq()), row);
    if row.is_null() {
        shard.put(
            Family::Nulls,
            keys::versions_of(bucket, key),
            &NullRow { seq: row.seq() },
        );
    }
    let totals = shard.totals_mut(bucket)?;
    totals.noncurrent += 1;
    totals.noncurrent_bytes += size_of_version(row);
    Ok(())
}

fn take_current(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], object: &ObjectRow) -> Result<(), RowsError> {
    shard.rows.remove(Family::Current, keys::current(bucket, key));
    let totals = shard.totals_mut(bucket)?;
    totals.objects -= 1;
    totals.bytes -= object.size;
    Ok(())
}

fn take_noncurrent(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], row: &VersionRow) -> Result<(), RowsError> {
    shard
        .rows
        .remove(Family::Versions, keys::version(bucket, key, row.seq()));
    if row.is_null() {
        shard.rows.remove(Family::Nulls, keys::versions_of(bucket, key));
    }
    let totals = shard.totals_mut(bucket)?;
    totals.noncurrent -= 1;
    totals.noncurrent_bytes -= size_of_version(row);
    Ok(())
}

fn size_of_version(row: &VersionRow) -> u64 {
    match row {
        VersionRow::Object(object) => object.size,
        VersionRow::Marker(_) => 0,
    }
}
