//! Reading rows as the values they hold; shared by `apply` and the queries.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::ids::{BucketId, MultipartId, Seq, WriteId};
use crate::keys;
use crate::model::{
    Body, BucketConfig, BucketInfo, ManifestRow, MarkerRow, ObjectRow, PartRow, PolicyId, RefRow, Totals, UploadRow,
    UploadState, VersionRow, VersionSelector,
};
use crate::query::Life;
use crate::reply::Refusal;
use crate::rows::{Family, ReadRows, RowsError, Visit};
use crate::values::{CompletedRow, Counters, NullRow};
use crate::{COMPLETED_UPLOAD_MS, PARTS_MAX, STREAM_LIFE_MS};

/// What a row's damaged value becomes: nothing can be decided on it. Of the row's name only the start is told, because
/// keys of objects do not belong into logs.
pub(crate) fn damaged(family: Family, key: &[u8], error: &impl std::fmt::Display) -> RowsError {
    let start = &key[..key.len().min(8)];
    RowsError(format!(
        "row {start:02x?}.. ({} bytes) of {family:?}: {error}",
        key.len()
    ))
}

pub(crate) fn decode<T: DeserializeOwned>(family: Family, key: &[u8], value: &[u8]) -> Result<T, RowsError> {
    codec::decode_row(value).map_err(|error| damaged(family, key, &error))
}

pub(crate) fn get<T: DeserializeOwned>(
    rows: &dyn ReadRows,
    family: Family,
    key: &[u8],
) -> Result<Option<T>, RowsError> {
    rows.get(family, key)?
        .map(|value| decode(family, key, &value))
        .transpose()
}

/// Visits the rows of `from..until` decoded, until `visit` answers false.
pub(crate) fn each<T: DeserializeOwned>(
    rows: &dyn ReadRows,
    family: Family,
    from: &[u8],
    until: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], T) -> Result<bool, RowsError>,
) -> Result<(), RowsError> {
    let mut fault = None;
    rows.scan(
        family,
        from,
        until,
        &mut |key, value| match decode(family, key, value).and_then(|row| visit(key, row)) {
            Ok(true) => Visit::Next,
            Ok(false) => Visit::Stop,
            Err(error) => {
                fault = Some(error);
                Visit::Stop
            }
        },
    )?;
    fault.map_or(Ok(()), Err)
}

/// A row's name that does not have its family's form.
pub(crate) fn misnamed(family: Family, key: &[u8]) -> RowsError {
    damaged(family, key, &"the name does not have the family's form")
}

pub(crate) fn counters(rows: &dyn ReadRows) -> Result<Counters, RowsError> {
    Ok(get(rows, Family::Meta, keys::META)?.unwrap_or_default())
}

/// The oldest ring version whose commits are taken; 0 without a fence.
pub(crate) fn fence(rows: &dyn ReadRows, policy: PolicyId) -> Result<u64, RowsError> {
    Ok(get(rows, Family::Meta, &keys::fence(policy))?.unwrap_or_default())
}

pub(crate) fn bucket_config(rows: &dyn ReadRows, bucket: BucketId) -> Result<BucketConfig, RowsError> {
    Ok(get(rows, Family::Buckets, &keys::bucket_config(bucket))?.unwrap_or_default())
}

pub(crate) fn bucket_totals(rows: &dyn ReadRows, bucket: BucketId) -> Result<Totals, RowsError> {
    Ok(get(rows, Family::Buckets, &keys::bucket_totals(bucket))?.unwrap_or_default())
}

pub(crate) fn current(rows: &dyn ReadRows, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectRow>, RowsError> {
    get(rows, Family::Current, &keys::current(bucket, key))
}

/// When a key was deleted last, where that is kept and it was not written since.
pub(crate) fn deleted_ms(rows: &dyn ReadRows, bucket: BucketId, key: &[u8]) -> Result<Option<u64>, RowsError> {
    get(rows, Family::Changes, &keys::deletion(bucket, key))
}

/// The newest row of `versions` of a key.
pub(crate) fn newest_noncurrent(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
) -> Result<Option<VersionRow>, RowsError> {
    let from = keys::versions_of(bucket, key);
    let until = keys::after_prefix(&from);
    let mut newest = None;
    each(rows, Family::Versions, &from, until.as_deref(), |_, row| {
        newest = Some(row);
        Ok(false)
    })?;
    Ok(newest)
}

pub(crate) fn null_row(rows: &dyn ReadRows, bucket: BucketId, key: &[u8]) -> Result<Option<Seq>, RowsError> {
    let row: Option<NullRow> = get(rows, Family::Nulls, &keys::versions_of(bucket, key))?;
    Ok(row.map(|row| row.seq))
}

/// A version of a key and whether it is the current object.
pub(crate) struct Selected {
    pub(crate) row: VersionRow,
    pub(crate) current: bool,
}

/// Finds the version a request means. For [`VersionSelector::Latest`] that may be a delete marker.
pub(crate) fn select(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
    selector: VersionSelector,
) -> Result<Option<Selected>, RowsError> {
    let current = current(rows, bucket, key)?;
    let meant = |object: &ObjectRow| match selector {
        VersionSelector::Latest => true,
        VersionSelector::Null => object.null,
        VersionSelector::Id(seq) => !object.null && object.seq == seq,
    };
    if let Some(object) = current.filter(meant) {
        return Ok(Some(Selected {
            row: VersionRow::Object(object),
            current: true,
        }));
    }
    let row = match selector {
        VersionSelector::Latest => newest_noncurrent(rows, bucket, key)?,
        VersionSelector::Null => match null_row(rows, bucket, key)? {
            Some(seq) => get(rows, Family::Versions, &keys::version(bucket, key, seq))?,
            None => None,
        },
        VersionSelector::Id(seq) => {
            get(rows, Family::Versions, &keys::version(bucket, key, seq))?.filter(|row: &VersionRow| !row.is_null())
        }
    };
    Ok(row.map(|row| Selected { row, current: false }))
}

/// The bytes of an inline object.
pub(crate) fn inline(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
    object: &ObjectRow,
) -> Result<Option<Bytes>, RowsError> {
    if object.body != Body::Inline {
        return Ok(None);
    }
    if object.size == 0 {
        return Ok(Some(Bytes::new()));
    }
    let row = keys::version(bucket, key, object.seq);
    match rows.get(Family::Inline, &row)? {
        // The first byte is the row format; the bytes follow as they are.
        Some(value) if value.first() == Some(&codec::ROW_FORMAT) && value.len() as u64 == object.size + 1 => {
            Ok(Some(value.slice(1..)))
        }
        Some(_) => Err(damaged(
            Family::Inline,
            &row,
            &"the bytes do not have the object's length",
        )),
        None => Err(damaged(Family::Inline, &row, &"the bytes are missing")),
    }
}

pub(crate) fn manifest(rows: &dyn ReadRows, upload: MultipartId) -> Result<Option<ManifestRow>, RowsError> {
    get(rows, Family::Manifests, &keys::manifest(upload))
}

/// Part rows with numbers above `after`, at most `limit`.
pub(crate) fn parts(
    rows: &dyn ReadRows,
    upload: MultipartId,
    after: u16,
    limit: usize,
) -> Result<Vec<PartRow>, RowsError> {
    let mut found = Vec::new();
    if limit == 0 || after >= PARTS_MAX {
        return Ok(found);
    }
    let until = keys::after_prefix(&keys::manifest(upload));
    each(
        rows,
        Family::Parts,
        &keys::part(upload, after + 1),
        until.as_deref(),
        |_, row| {
            found.push(row);
            Ok(found.len() < limit)
        },
    )?;
    Ok(found)
}

pub(crate) fn open_upload(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
    upload: MultipartId,
) -> Result<Option<UploadRow>, RowsError> {
    get(rows, Family::Uploads, &keys::upload(bucket, key, upload))
}

pub(crate) fn completed_upload(
    rows: &dyn ReadRows,
    bucket: BucketId,
    key: &[u8],
    upload: MultipartId,
    time_ms: u64,
) -> Result<Option<UploadRow>, RowsError> {
    let row: Option<CompletedRow> = get(rows, Family::Uploads, &keys::completed(upload))?;
    let row = row
        .filter(|row| row.bucket == bucket && row.key == key)
        .map(|row| row.upload);
    Ok(row.filter(|upload| match upload.state {
        UploadState::Completed { at_ms, .. } => !forgotten(at_ms, time_ms),
        UploadState::Open => false,
    }))
}

/// True when a completed upload is no longer remembered, whether or not its rows were purged yet.
pub(crate) fn forgotten(at_ms: u64, time_ms: u64) -> bool {
    at_ms.saturating_add(COMPLETED_UPLOAD_MS) < time_ms
}

pub(crate) fn reference(rows: &dyn ReadRows, write: WriteId) -> Result<Option<RefRow>, RowsError> {
    get(rows, Family::Refs, &keys::write(write))
}

/// Since when a stream waits to be reclaimed.
pub(crate) fn ending_since(rows: &dyn ReadRows, write: WriteId) -> Result<Option<u64>, RowsError> {
    get(rows, Family::Reclaim, &keys::reclaim_by_write(write))
}

/// True when a stream is too old to be committed.
pub(crate) fn outlived(write: WriteId, time_ms: u64) -> bool {
    write.made_ms().saturating_add(STREAM_LIFE_MS) < time_ms
}

/// What the log says of a stream (DUR-3).
pub(crate) fn life(rows: &dyn ReadRows, write: WriteId, time_ms: u64) -> Result<Life, RowsError> {
    let name = keys::write(write);
    if rows.get(Family::Refs, &name)?.is_some() {
        return Ok(Life::Referenced);
    }
    if rows.get(Family::Condemned, &name)?.is_some() {
        return Ok(Life::Condemned);
    }
    if ending_since(rows, write)?.is_some() {
        return Ok(Life::Ending);
    }
    Ok(if outlived(write, time_ms) {
        Life::Condemned
    } else {
        Life::Unknown
    })
}

/// Why there is no such object.
pub(crate) fn absent(selector: VersionSelector) -> Refusal {
    match selector {
        VersionSelector::Latest => Refusal::NoSuchKey,
        VersionSelector::Null | VersionSelector::Id(_) => Refusal::NoSuchVersion,
    }
}

/// Why a delete marker is no object.
pub(crate) fn hidden(selector: VersionSelector, marker: &MarkerRow) -> Refusal {
    match selector {
        VersionSelector::Latest => Refusal::Deleted {
            marker: marker.seq,
            null: marker.null,
        },
        VersionSelector::Null | VersionSelector::Id(_) => Refusal::IsDeleteMarker,
    }
}

pub(crate) fn bucket_by_id(rows: &dyn ReadRows, id: BucketId) -> Result<Option<BucketInfo>, RowsError> {
    get(rows, Family::Names, &keys::bucket_by_id(id))
}

pub(crate) fn bucket_named(rows: &dyn ReadRows, project: &str, name: &str) -> Result<Option<BucketInfo>, RowsError> {
    bucket_pointed_to(rows, &keys::bucket_by_name(project, name))
}

pub(crate) fn bucket_globally_named(rows: &dyn ReadRows, name: &str) -> Result<Option<BucketInfo>, RowsError> {
    bucket_pointed_to(rows, &keys::bucket_by_global_name(name))
}

fn bucket_pointed_to(rows: &dyn ReadRows, name: &[u8]) -> Result<Option<BucketInfo>, RowsError> {
    match get(rows, Family::Names, name)? {
        Some(id) => bucket_by_id(rows, id),
        None => Ok(None),
    }
}
