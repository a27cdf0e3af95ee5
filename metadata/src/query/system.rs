//! Pages of bucket names and records (system shard).

use crate::ids::BucketId;
use crate::keys;
use crate::model::{BucketInfo, Record};
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::Found;
use super::fold::Room;

pub(super) fn list_buckets(
    rows: &dyn ReadRows,
    project: &str,
    after: Option<&str>,
    prefix: &str,
    limit: usize,
) -> Result<Found, RowsError> {
    let all = keys::bucket_by_name(project, prefix);
    let from = match after {
        Some(after) => all.clone().max(keys::just_after(keys::bucket_by_name(project, after))),
        None => all.clone(),
    };
    let mut ids: Vec<BucketId> = Vec::new();
    let more = page(
        rows,
        Family::Names,
        &from,
        keys::after_prefix(&all),
        limit,
        |_: &[u8], id| {
            ids.push(id);
            Ok(())
        },
    )?;
    let mut buckets = Vec::with_capacity(ids.len());
    for id in ids {
        buckets.extend(read::bucket_by_id(rows, id)?);
    }
    Ok(Found::Buckets { buckets, more })
}

pub(super) fn all_buckets(rows: &dyn ReadRows, after: Option<BucketId>, limit: usize) -> Result<Found, RowsError> {
    let first = keys::bucket_by_id(BucketId(0));
    let from = after.map_or_else(|| first.clone(), |id| keys::just_after(keys::bucket_by_id(id)));
    let mut buckets: Vec<BucketInfo> = Vec::new();
    let more = page(
        rows,
        Family::Names,
        &from,
        keys::after_prefix(&first[..1]),
        limit,
        |_: &[u8], info| {
            buckets.push(info);
            Ok(())
        },
    )?;
    Ok(Found::Buckets { buckets, more })
}

pub(super) fn record(rows: &dyn ReadRows, table: &str, key: &str) -> Result<Option<Record>, RowsError> {
    read::get(rows, Family::Records, &keys::record(table, key))
}

pub(super) fn list_records(
    rows: &dyn ReadRows,
    table: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Found, RowsError> {
    let all = keys::record(table, "");
    let from = after.map_or_else(|| all.clone(), |after| keys::just_after(keys::record(table, after)));
    let mut records: Vec<(String, Record)> = Vec::new();
    let more = page(
        rows,
        Family::Records,
        &from,
        keys::after_prefix(&all),
        limit,
        |name: &[u8], record| {
            let key = std::str::from_utf8(&name[all.len()..]).map_err(|_| read::misnamed(Family::Records, name))?;
            records.push((key.to_owned(), record));
            Ok(())
        },
    )?;
    Ok(Found::Records { records, more })
}

/// Visits at most `limit` rows, and fewer when they are large; answers whether there are more.
fn page<T: serde::de::DeserializeOwned>(
    rows: &dyn ReadRows,
    family: Family,
    from: &[u8],
    until: Option<Vec<u8>>,
    limit: usize,
    mut visit: impl FnMut(&[u8], T) -> Result<(), RowsError>,
) -> Result<bool, RowsError> {
    if limit == 0 {
        return Ok(false);
    }
    let (mut room, mut more, mut fault) = (Room::new(limit), false, None);
    rows.scan(family, from, until.as_deref(), &mut |name, value| {
        if !room.take(name.len() + value.len()) {
            more = true;
            return Visit::Stop;
        }
        match read::decode(family, name, value).and_then(|row| visit(name, row)) {
            Ok(()) => Visit::Next,
            Err(error) => {
                fault = Some(error);
                Visit::Stop
            }
        }
    })?;
    fault.map_or(Ok(more), Err)
}
