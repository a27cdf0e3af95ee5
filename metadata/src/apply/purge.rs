//! Forgetting what no decision can need any more: a few rows per command, so that no entry is slow.

use crate::REQUEST_WINDOW_MS;
use crate::ids::MultipartId;
use crate::keys;
use crate::read;
use crate::rows::{Family, ReadRows, RowsError, Visit};

use super::shard::Shard;
use super::uploads::forgotten;

/// Rows of each kind forgotten at most, for each command of a batch: twice what a command adds, so that a backlog ends.
pub(crate) const ROWS_PER_COMMAND: usize = 2;

/// Forgets requests outside their window, condemned streams whose age says the same (DUR-3), and completed uploads.
pub(crate) fn purge(shard: &mut Shard<'_>, commands: usize) -> Result<(), RowsError> {
    let (now_ms, limit) = (shard.now_ms(), commands * ROWS_PER_COMMAND);
    let floor = std::mem::take(&mut shard.counters.requests_floor);
    let old = |name: &[u8]| keys::request_of(name).map(|id| id.made_ms().saturating_add(REQUEST_WINDOW_MS) < now_ms);
    shard.counters.requests_floor = forget(shard, Family::Requests, floor, None, limit, &old)?;

    let floor = std::mem::take(&mut shard.counters.condemned_floor);
    let old = |name: &[u8]| keys::write_of(name).map(|write| read::outlived(write, now_ms));
    shard.counters.condemned_floor = forget(shard, Family::Condemned, floor, None, limit, &old)?;

    purge_completed(shard, limit)
}

fn purge_completed(shard: &mut Shard<'_>, limit: usize) -> Result<(), RowsError> {
    let now_ms = shard.now_ms();
    let first = keys::completed_at(0, MultipartId(0));
    let floor = std::mem::take(&mut shard.counters.completed_floor).max(first);
    let mut ids = Vec::new();
    let until = keys::after_prefix(&floor[..1]);
    shard.rows.scan(
        Family::Uploads,
        &floor,
        until.as_deref(),
        &mut |name, _| match keys::parts_of_completed_at(name) {
            Some((at_ms, id)) if forgotten(at_ms, now_ms) && ids.len() < limit => {
                ids.push(id);
                Visit::Next
            }
            _ => Visit::Stop,
        },
    )?;
    for id in &ids {
        shard.rows.remove(Family::Uploads, keys::completed(*id));
    }
    let old = |name: &[u8]| keys::parts_of_completed_at(name).map(|(at_ms, _)| forgotten(at_ms, now_ms));
    shard.counters.completed_floor = forget(shard, Family::Uploads, floor, until.as_deref(), limit, &old)?;
    Ok(())
}

/// Removes up to `limit` rows from `floor` on while they are `old`; answers the next floor.
fn forget(
    shard: &mut Shard<'_>,
    family: Family,
    floor: Vec<u8>,
    until: Option<&[u8]>,
    limit: usize,
    old: &dyn Fn(&[u8]) -> Option<bool>,
) -> Result<Vec<u8>, RowsError> {
    let mut names = Vec::new();
    shard.rows.scan(family, &floor, until, &mut |name, _| {
        if names.len() == limit || old(name) != Some(true) {
            return Visit::Stop;
        }
        names.push(name.to_vec());
        Visit::Next
    })?;
    let next = names.last().map_or(floor, |last| keys::just_after(last.clone()));
    for name in names {
        shard.rows.remove(family, name);
    }
    Ok(next)
}
