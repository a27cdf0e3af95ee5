//! What the log says of streams: whether they live, lack copies, or wait to be reclaimed.

use crate::PAGE_MAX;
use crate::command::ReclaimKey;
use crate::ids::WriteId;
use crate::keys;
use crate::model::{RefRow, ShortChunks};
use crate::read;
use crate::rows::{Family, ReadRows, RowsError};
use crate::values::ShortRow;

use super::{Life, ShortFound};

pub(super) fn lives(rows: &dyn ReadRows, writes: &[WriteId]) -> Result<Vec<Life>, RowsError> {
    let time_ms = read::counters(rows)?.time_ms;
    writes.iter().map(|write| read::life(rows, *write, time_ms)).collect()
}

pub(super) fn short(rows: &dyn ReadRows, limit: usize) -> Result<Vec<ShortFound>, RowsError> {
    let mut ranges: Vec<(WriteId, u32, ShortRow)> = Vec::new();
    if limit > 0 {
        let (from, until) = (keys::SHORT_BY_URGENCY, keys::after_prefix(keys::SHORT_BY_URGENCY));
        read::each(rows, Family::Short, from, until.as_deref(), |name, row| {
            let (_, write, first) = keys::parts_of_short(name).ok_or_else(|| read::misnamed(Family::Short, name))?;
            ranges.push((write, first, row));
            Ok(ranges.len() < limit)
        })?;
    }
    let mut found = Vec::with_capacity(ranges.len());
    for (write, first, row) in ranges {
        // A stream's end drops its ranges in the same entry, so the row is there.
        if let Some(RefRow { stream, bucket, .. }) = read::reference(rows, write)? {
            found.push(ShortFound {
                stream,
                bucket,
                first,
                count: row.count,
                devices: row.devices,
            });
        }
    }
    Ok(found)
}

pub(super) fn short_of(rows: &dyn ReadRows, write: WriteId) -> Result<Vec<ShortChunks>, RowsError> {
    let from = keys::short_of(write, 0);
    let until = keys::short_of(write, u32::MAX);
    let mut found = Vec::new();
    read::each(rows, Family::Short, &from, Some(&until), |name, row: ShortRow| {
        let first = keys::first_of_short(name).ok_or_else(|| read::misnamed(Family::Short, name))?;
        found.push(ShortChunks {
            first,
            count: row.count,
            devices: row.devices,
        });
        Ok(found.len() < PAGE_MAX)
    })?;
    Ok(found)
}

pub(super) fn reclaim(
    rows: &dyn ReadRows,
    until_ms: u64,
    limit: usize,
) -> Result<Vec<(ReclaimKey, RefRow)>, RowsError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let from = keys::reclaim(ReclaimKey {
        since_ms: 0,
        write: WriteId(0),
    });
    let until = match until_ms.checked_add(1) {
        Some(since_ms) => Some(keys::reclaim(ReclaimKey {
            since_ms,
            write: WriteId(0),
        })),
        None => keys::after_prefix(&from[..1]),
    };
    read::each(rows, Family::Reclaim, &from, until.as_deref(), |name, row: RefRow| {
        let entry = keys::reclaim_of(name).ok_or_else(|| read::misnamed(Family::Reclaim, name))?;
        found.push((entry, row));
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

pub(super) fn refs(rows: &dyn ReadRows, after: Option<WriteId>, limit: usize) -> Result<Vec<RefRow>, RowsError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let from = after.map_or_else(Vec::new, |write| keys::just_after(keys::write(write)));
    read::each(rows, Family::Refs, &from, None, |_, row| {
        found.push(row);
        Ok(found.len() < limit)
    })?;
    Ok(found)
}
