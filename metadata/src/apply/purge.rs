//! Forgetting what no decision can need any more: a few rows per command, so that no entry is slow.

use crate::ids::MultipartId;
use crate::keys;
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::shard::Shard;

/// Rows of each kind forgotten at most, for each command of a batch: twice what a command adds, so that a backlog ends.
pub(crate) const ROWS_PER_COMMAND: usize = 2;

/// Forgets requests outside their window, condemned streams whose age says the same (DUR-3), and completed uploads.
pub(crate) fn purge(shard: &mut Shard<'_>, commands: usize) -> Result<(), RowsError> {
    let (now_ms, limit) = (shard.now_ms(), commands * ROWS_PER_COMMAND);
    let floor = shard.counters.requests_floor.clone();
    let old = |name: &[u8]| keys::request_of(name).is_some_and(|id| super::too_old(id, now_ms));
    if let Some(last) = forget(shard, Family::Requests, &floor, None, limit, &old)?.pop() {
        shard.counters.requests_floor = keys::just_after(last);
    }
    let floor = shard.counters.condemned_floor.clone();
    let old = |name: &[u8]| keys::write_of(name).is_some_and(|write| read::outlived(write, now_ms));
    if let Some(last) = forget(shard, Family::Condemned, &floor, None, limit, &old)?.pop() {
        shard.counters.condemned_floor = keys::just_after(last);
    }
    purge_completed(shard, limit)
}

fn purge_completed(shard: &mut Shard<'_>, limit: usize) -> Result<(), RowsError> {
    let now_ms = shard.now_ms();
    let floor = shard
        .counters
        .completed_floor
        .clone()
        .max(keys::completed_at(0, MultipartId(0)));
    let until = keys::after_prefix(&floor[..1]);
    let old = |name: &[u8]| keys::parts_of_completed_at(name).is_some_and(|(at_ms, _)| read::forgotten(at_ms, now_ms));
    let names = forget(shard, Family::Uploads, &floor, until.as_deref(), limit, &old)?;
    for (_, id) in names.iter().filter_map(|name| keys::parts_of_completed_at(name)) {
        shard.rows.remove(Family::Uploads, keys::completed(id));
    }
    if let Some(last) = names.into_iter().next_back() {
        shard.counters.completed_floor = keys::just_after(last);
    }
    Ok(())
}

/// Removes up to `limit` rows from `floor` on while they are `old`; answers their names.
fn forget(
    shard: &mut Shard<'_>,
    family: Family,
    floor: &[u8],
    until: Option<&[u8]>,
    limit: usize,
    old: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<Vec<u8>>, RowsError> {
    let mut names = Vec::new();
    shard.rows.scan(family, floor, until, &mut |name, _| {
        if names.len() == limit || !old(name) {
            return Visit::Stop;
        }
        names.push(name.to_vec());
        Visit::Next
    })?;
    for name in &names {
        shard.rows.remove(family, name.clone());
    }
    Ok(names)
}
