//! The durable queue of chunks that lack copies (HEAL-1).
//!
//! Ranges of one stream never overlap. Each stands twice: in the order of urgency for the repairer, and by stream, so
//! that a stream's end drops its ranges without a search. A stream has no more ranges than chunks.

use crate::ids::{DeviceId, WriteId};
use crate::keys;
use crate::model::Stored;
use crate::read;
use crate::reply::Done;
use crate::rows::{Family, RowsError};
use crate::values::ShortRow;

use super::shard::{Fault, Shard};

/// The largest number of devices named with a range.
pub(crate) const DEVICES_MAX: usize = 64;

/// Checks the ranges a commit names: ascending, apart, inside the stream.
pub(crate) fn check(stored: &Stored) -> Result<(), Fault> {
    let chunks = u64::from(stored.stream.chunks());
    let mut end = 0;
    for range in &stored.short {
        let first = u64::from(range.first);
        if range.count == 0 || first < end || first + u64::from(range.count) > chunks {
            return Err(Fault::invalid("short chunks overlap or lie outside the stream"));
        }
        if range.devices.len() > DEVICES_MAX {
            return Err(Fault::invalid("too many devices hold one chunk"));
        }
        end = first + u64::from(range.count);
    }
    Ok(())
}

/// Notes what is known now of some chunks of a live stream, instead of what was known before.
pub(crate) fn mark(
    shard: &mut Shard<'_>,
    write: WriteId,
    first: u32,
    count: u32,
    devices: &[DeviceId],
) -> Result<Done, Fault> {
    if devices.len() > DEVICES_MAX {
        return Err(Fault::invalid("too many devices hold one chunk"));
    }
    // A stream that ended meanwhile needs no copies.
    if check_range(shard, write, first, count)? {
        carve(shard, write, first, first + count)?;
        insert(shard, write, first, count, devices.to_vec());
    }
    Ok(Done::Ok)
}

/// Notes that some chunks have all their copies.
pub(crate) fn clear(shard: &mut Shard<'_>, write: WriteId, first: u32, count: u32) -> Result<Done, Fault> {
    if check_range(shard, write, first, count)? {
        carve(shard, write, first, first + count)?;
    }
    Ok(Done::Ok)
}

/// False when the stream is not live.
fn check_range(shard: &Shard<'_>, write: WriteId, first: u32, count: u32) -> Result<bool, Fault> {
    let Some(row) = read::reference(&shard.rows, write)? else {
        return Ok(false);
    };
    if count == 0 || u64::from(first) + u64::from(count) > u64::from(row.stream.chunks()) {
        return Err(Fault::invalid("short chunks lie outside the stream"));
    }
    Ok(true)
}

/// Adds a range where there is none.
pub(crate) fn insert(shard: &mut Shard<'_>, write: WriteId, first: u32, count: u32, devices: Vec<DeviceId>) {
    let row = ShortRow { count, devices };
    shard.put(Family::Short, keys::short(copies(&row), write, first), &row);
    shard.put(Family::Short, keys::short_of(write, first), &row);
    shard.counters.short_chunks += u64::from(count);
    if row.devices.is_empty() {
        shard.counters.lost_chunks += u64::from(count);
    }
}

/// Drops all ranges of a stream.
pub(crate) fn clear_stream(shard: &mut Shard<'_>, write: WriteId) -> Result<(), RowsError> {
    carve(shard, write, 0, u32::MAX)
}

/// Takes the chunks `first..end` out of the stream's ranges.
fn carve(shard: &mut Shard<'_>, write: WriteId, first: u32, end: u32) -> Result<(), RowsError> {
    let mut overlapping: Vec<(u32, ShortRow)> = Vec::new();
    let (from, until) = (keys::short_of(write, 0), keys::short_of(write, end));
    read::each(
        &shard.rows,
        Family::Short,
        &from,
        Some(&until),
        |name, row: ShortRow| {
            let start = keys::first_of_short(name).ok_or_else(|| read::misnamed(Family::Short, name))?;
            if start + row.count > first {
                overlapping.push((start, row));
            }
            Ok(true)
        },
    )?;
    for (start, row) in overlapping {
        let row_end = start + row.count;
        remove(shard, write, start, &row);
        if start < first {
            insert(shard, write, start, first - start, row.devices.clone());
        }
        if row_end > end {
            insert(shard, write, end, row_end - end, row.devices);
        }
    }
    Ok(())
}

fn remove(shard: &mut Shard<'_>, write: WriteId, first: u32, row: &ShortRow) {
    shard.rows.remove(Family::Short, keys::short(copies(row), write, first));
    shard.rows.remove(Family::Short, keys::short_of(write, first));
    shard.counters.short_chunks -= u64::from(row.count);
    if row.devices.is_empty() {
        shard.counters.lost_chunks -= u64::from(row.count);
    }
}

fn copies(row: &ShortRow) -> u8 {
    u8::try_from(row.devices.len()).unwrap_or(u8::MAX)
}
