//! What container sync needs to know of a bucket: which keys changed, and when keys were deleted.
//!
//! A bucket with the document [`BucketConfig::NOTE_CHANGES`] has a queue: each key stands in it at most once, at the place
//! of its last change, so that it is never longer than the bucket has keys and deletions. Whoever looks at the queue reads
//! the key as it is then, and drops the places that it saw.
//!
//! A bucket with [`BucketConfig::KEEP_DELETIONS`] remembers when a key was deleted until it is written again, or for
//! [`DELETION_LIFE_MS`]. A write that was made elsewhere ([`Condition::WrittenAt`]) is taken only when it is newer than
//! what is here, object or deletion. So that this order means something, local writes never take a time that is not later
//! than that of what they replace, even if a write from elsewhere came from a clock that is ahead.

use crate::command::Condition;
use crate::ids::{BucketId, Seq};
use crate::model::{BucketConfig, Key, ObjectRow};
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::{Family, ReadRows, RowsError, Visit};
use crate::{DELETION_LIFE_MS, PAGE_MAX, WRITTEN_AHEAD_MS, keys};

use super::shard::{Fault, Shard};

/// Old deletions forgotten for each one that is noted: twice as many as come, so that a backlog ends.
const FORGOTTEN_AT_ONCE: usize = 2;

fn keeps_deletions(shard: &mut Shard<'_>, bucket: BucketId) -> Result<bool, RowsError> {
    Ok(shard
        .config(bucket)?
        .documents
        .contains_key(BucketConfig::KEEP_DELETIONS))
}

fn notes_changes(shard: &mut Shard<'_>, bucket: BucketId) -> Result<bool, RowsError> {
    Ok(shard.config(bucket)?.documents.contains_key(BucketConfig::NOTE_CHANGES))
}

/// The time that a write or deletion of a key takes; refuses one from elsewhere that is not newer than what is here.
pub(crate) fn time_of(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    current: Option<&ObjectRow>,
    condition: &Condition,
) -> Result<u64, Fault> {
    let now = shard.now_ms();
    let elsewhere = match condition {
        Condition::WrittenAt(at_ms) => Some(*at_ms),
        _ => None,
    };
    if elsewhere.is_none() && !keeps_deletions(shard, bucket)? {
        return Ok(now);
    }
    let deleted = read::deleted_ms(&shard.rows, bucket, key)?;
    let here = current.map(|object| object.modified_ms).max(deleted);
    match (elsewhere, here) {
        (Some(at_ms), _) if at_ms > now.saturating_add(WRITTEN_AHEAD_MS) => {
            Err(Fault::invalid("the write is dated too far ahead"))
        }
        (Some(at_ms), Some(here)) if at_ms <= here => Err(Refusal::PreconditionFailed.into()),
        (Some(at_ms), _) => Ok(at_ms),
        (None, here) => Ok(here.map_or(now, |here| now.max(here + 1))),
    }
}

/// A key has a current object, or another one than before.
pub(crate) fn written(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8]) -> Result<(), RowsError> {
    if keeps_deletions(shard, bucket)? {
        forget_deletion(shard, bucket, key)?;
    }
    if notes_changes(shard, bucket)? {
        note(shard, bucket, key)?;
    }
    Ok(())
}

/// A key has no current object since `at_ms`.
pub(crate) fn deleted(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], at_ms: u64) -> Result<(), RowsError> {
    if keeps_deletions(shard, bucket)? {
        forget_deletion(shard, bucket, key)?;
        if at_ms > shard.now_ms().saturating_sub(DELETION_LIFE_MS) {
            shard.put(Family::Changes, keys::deletion(bucket, key), &at_ms);
            shard.put(Family::Changes, keys::deletion_at(at_ms, bucket, key), &());
        }
        forget_old_deletions(shard)?;
    }
    if notes_changes(shard, bucket)? {
        note(shard, bucket, key)?;
    }
    Ok(())
}

/// Puts a key at the end of the queue.
fn note(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8]) -> Result<(), RowsError> {
    let place = keys::change_of(bucket, key);
    if let Some(seq) = read::get::<Seq>(&shard.rows, Family::Changes, &place)? {
        shard.rows.remove(Family::Changes, keys::change(bucket, seq));
    }
    let seq = shard.next_seq();
    shard.put(Family::Changes, keys::change(bucket, seq), &key.to_vec());
    shard.put(Family::Changes, place, &seq);
    Ok(())
}

fn forget_deletion(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8]) -> Result<(), RowsError> {
    if let Some(at_ms) = read::deleted_ms(&shard.rows, bucket, key)? {
        shard.rows.remove(Family::Changes, keys::deletion(bucket, key));
        shard
            .rows
            .remove(Family::Changes, keys::deletion_at(at_ms, bucket, key));
    }
    Ok(())
}

fn forget_old_deletions(shard: &mut Shard<'_>) -> Result<(), RowsError> {
    let old = shard.now_ms().saturating_sub(DELETION_LIFE_MS);
    let floor: Option<Vec<u8>> = read::get(&shard.rows, Family::Meta, keys::DELETIONS_FLOOR)?;
    let from = floor.unwrap_or_else(|| keys::deletion_at(0, BucketId(0), b""));
    let until = keys::deletion_at(old, BucketId(0), b"");
    let mut names = Vec::new();
    if from < until {
        shard.rows.scan(Family::Changes, &from, Some(&until), &mut |name, _| {
            names.push(name.to_vec());
            if names.len() == FORGOTTEN_AT_ONCE {
                Visit::Stop
            } else {
                Visit::Next
            }
        })?;
    }
    for name in &names {
        let (_, bucket, key) = keys::parts_of_deletion_at(name).ok_or_else(|| read::misnamed(Family::Changes, name))?;
        shard.rows.remove(Family::Changes, keys::deletion(bucket, key));
        shard.rows.remove(Family::Changes, name.clone());
    }
    if let Some(last) = names.pop() {
        shard.put(Family::Meta, keys::DELETIONS_FLOOR.to_vec(), &last);
    }
    Ok(())
}

pub(crate) fn note_all(shard: &mut Shard<'_>, bucket: BucketId, keys: &[Key]) -> Result<Done, Fault> {
    if keys.len() > PAGE_MAX {
        return Err(Fault::invalid("too many keys in one command"));
    }
    for key in keys {
        super::objects::check_key(key)?;
    }
    shard.writable(bucket)?;
    for key in keys {
        if read::get::<Seq>(&shard.rows, Family::Changes, &keys::change_of(bucket, key))?.is_none() {
            note(shard, bucket, key)?;
        }
    }
    Ok(Done::Ok)
}

/// Also in a bucket that is sealed or gone: what it left is dropped this way.
pub(crate) fn forget(shard: &mut Shard<'_>, bucket: BucketId, changes: &[Seq]) -> Result<Done, Fault> {
    if changes.len() > PAGE_MAX {
        return Err(Fault::invalid("too many changes in one command"));
    }
    for seq in changes {
        let name = keys::change(bucket, *seq);
        if let Some(key) = read::get::<Key>(&shard.rows, Family::Changes, &name)? {
            shard.rows.remove(Family::Changes, name);
            shard.rows.remove(Family::Changes, keys::change_of(bucket, &key));
        }
    }
    Ok(Done::Ok)
}
