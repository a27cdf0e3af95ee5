//! From a shard's rows and a batch of commands to replies and changed rows: the only place where anything is decided.
//!
//! Pure: the same rows and batch give the same replies and changes on every replica. Time is the *shard time*, the
//! largest stamp a leader ever gave, so it never goes back.
//!
//! # Exactly once (CON-1)
//! The reply to every command is kept under its request id. A repeat inside [`REQUEST_WINDOW_MS`] gets the first reply
//! and changes nothing; outside it the command is refused by the age its id carries, whether or not its row was already
//! purged, so purging is about space, never about meaning. An id must be made when the command is first sent, not when
//! the client's body begins: an hour-long PUT would else be too old at its commit.
//!
//! # Why a removed blob is never named by an object (DUR-3)
//! A stream's blobs may be removed only while the shard says [`Life::Condemned`](crate::query::Life::Condemned) of it.
//! 1. Condemned is final. A stream gets its first reference only by a commit that finds it neither condemned nor
//!    ending, so from the entry that condemned it (or ended its last reference) on, no commit succeeds.
//! 2. The verdict may be forgotten only when no commit can come. Forgetting after "24 hours" would be a bet against a
//!    proxy that slept for longer between its last blob and its commit; the request window does not help, because the
//!    sleeper makes a fresh request id when it wakes. So a write id carries the time of its drawing, and a commit of a
//!    stream older than [`STREAM_LIFE_MS`](crate::STREAM_LIFE_MS) of shard time is refused by that age alone. A
//!    condemned row is kept until its stream is that old; then age says the same as the row did. Both times involved,
//!    the id's and the shard's, are the same on every replica, and the shard's only grows: a wrong clock on a proxy
//!    makes its own commits fail (an id from the past) or the row live longer (an id from the future, refused beyond
//!    [`STREAM_AHEAD_MS`](crate::STREAM_AHEAD_MS)), never lets a verdict end early.
//! 3. A stream with references is never condemned; its references are counted in the same entry that makes or ends
//!    them.

mod buckets;
mod changes;
mod conditions;
mod names;
mod objects;
mod purge;
mod records;
mod shard;
mod short;
mod streams;
mod uploads;
mod versions;

#[cfg(test)]
pub(crate) mod tests;

use crate::REQUEST_WINDOW_MS;
use crate::codec;
use crate::command::{Batch, Command, Envelope};
use crate::ids::RequestId;
use crate::keys;
use crate::model::PolicyId;
use crate::read;
use crate::reply::{Done, Refusal, Reply};
use crate::rows::{Family, ReadRows, RowChange, RowsError};

use shard::{Fault, Shard};

pub use conditions::check as check_condition;

/// The largest number of streams, or of reclaim entries, one command may name.
pub const STREAMS_PER_COMMAND_MAX: usize = 10_000;
/// The largest size of an object's or upload's headers, user metadata and tags together, in bytes. AWS's own limits sum
/// up to 8 KiB of headers and 15 KiB of tags.
pub const METADATA_BYTES_MAX: usize = 32 << 10;
/// The largest size of a bucket's documents together, in bytes.
pub const DOCUMENTS_BYTES_MAX: usize = 1 << 20;
/// The largest size of a record's value, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Which commands a shard executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardKind {
    /// Shard 0: bucket names and records.
    System,
    /// Keys of buckets.
    Keys,
}

/// Applies a batch: one reply per command, in order, and the rows that change.
///
/// # Errors
/// When rows cannot be read, or hold what this program cannot decode; then nothing was decided.
pub fn apply_batch(
    rows: &dyn ReadRows,
    batch: &Batch,
    kind: ShardKind,
) -> Result<(Vec<Reply>, Vec<RowChange>), RowsError> {
    let mut shard = Shard::open(rows)?;
    shard.counters.time_ms = shard.counters.time_ms.max(batch.stamp_ms);
    let mut replies = Vec::with_capacity(batch.commands.len());
    for envelope in &batch.commands {
        replies.push(apply_once(&mut shard, envelope, kind)?);
    }
    purge::purge(&mut shard, batch.commands.len())?;
    Ok((replies, shard.into_changes()))
}

fn apply_once(shard: &mut Shard<'_>, envelope: &Envelope, kind: ShardKind) -> Result<Reply, RowsError> {
    if envelope.command == Command::Tick {
        return Ok(Ok(Done::Ok));
    }
    if too_old(envelope.request, shard.now_ms()) {
        return Ok(Err(Refusal::TooOld));
    }
    let name = keys::request(envelope.request);
    if let Some(first) = read::get::<Reply>(&shard.rows, Family::Requests, &name)? {
        return Ok(first);
    }
    let reply = match execute(shard, &envelope.command, kind) {
        Ok(done) => Ok(done),
        Err(Fault::Refused(refusal)) => Err(refusal),
        Err(Fault::Rows(error)) => return Err(error),
    };
    shard.rows.put(Family::Requests, name, codec::encode_row(&reply));
    Ok(reply)
}

/// True when repeats of a request are no longer known.
fn too_old(request: RequestId, now_ms: u64) -> bool {
    request.made_ms().saturating_add(REQUEST_WINDOW_MS) < now_ms
}

/// Executes one command. Every rule is checked before the first row is changed, so a refusal changes nothing.
fn execute(shard: &mut Shard<'_>, command: &Command, kind: ShardKind) -> Result<Done, Fault> {
    if command.is_system() != (kind == ShardKind::System) {
        return Err(Fault::invalid("this kind of shard does not execute the command"));
    }
    match command {
        Command::PutObject {
            bucket,
            key,
            condition,
            object,
        } => objects::put(shard, *bucket, key, condition, object),
        Command::DeleteObject {
            bucket,
            key,
            version,
            condition,
            owner,
        } => objects::delete(shard, *bucket, key, *version, condition, owner),
        Command::CopyObject { .. } => objects::copy(shard, command),
        Command::SetTags {
            bucket,
            key,
            version,
            tags,
        } => objects::set_tags(shard, *bucket, key, *version, tags),
        Command::SetMetadata {
            bucket,
            key,
            attributes,
            user,
        } => objects::set_metadata(shard, *bucket, key, attributes, user),
        Command::CreateUpload { .. } => uploads::create(shard, command),
        Command::CommitPart { .. } => uploads::commit_part(shard, command),
        Command::CompleteUpload { .. } => uploads::complete(shard, command),
        Command::AbortUpload { bucket, key, upload } => uploads::abort(shard, *bucket, key, *upload),
        Command::SetVersioning { bucket, versioning } => buckets::set_versioning(shard, *bucket, *versioning),
        Command::SetDocument { bucket, name, document } => {
            buckets::set_document(shard, *bucket, name, document.as_ref())
        }
        Command::SealBucket { bucket } => buckets::seal(shard, *bucket),
        Command::UnsealBucket { bucket } => buckets::unseal(shard, *bucket),
        Command::Condemn { writes } => streams::condemn(shard, writes),
        Command::MarkShort {
            write,
            first,
            count,
            devices,
        } => short::mark(shard, *write, *first, *count, devices),
        Command::ClearShort { write, first, count } => short::clear(shard, *write, *first, *count),
        Command::Reclaimed { entries } => streams::reclaimed(shard, entries),
        Command::Tick => Ok(Done::Ok),
        Command::CreateBucket {
            project,
            name,
            global,
            key_shards,
        } => names::create(shard, project, name, *global, *key_shards, PolicyId::default()),
        Command::CreateBucketUnder {
            project,
            name,
            global,
            key_shards,
            policy,
        } => names::create(shard, project, name, *global, *key_shards, *policy),
        Command::BeginDeleteBucket { id } => names::begin_delete(shard, *id),
        Command::CancelDeleteBucket { id } => names::cancel_delete(shard, *id),
        Command::FinishDeleteBucket { id } => names::finish_delete(shard, *id),
        Command::PutRecord {
            table,
            key,
            expect,
            value,
        } => records::put(shard, table, key, *expect, value),
        Command::DeleteRecord { table, key, expect } => records::delete(shard, table, key, *expect),
        Command::PostObject {
            bucket,
            key,
            attributes,
            user,
            kept,
        } => objects::post(shard, *bucket, key, attributes, user, kept),
        Command::SwapDocument {
            bucket,
            name,
            expect,
            document,
        } => buckets::swap_document(shard, *bucket, name, expect.as_ref(), document.as_ref()),
        Command::DeleteMarked {
            bucket,
            key,
            attribute,
            owner,
        } => objects::delete_marked(shard, *bucket, key, attribute, owner),
        Command::NoteChanges { bucket, keys } => changes::note_all(shard, *bucket, keys),
        Command::ForgetChanges { bucket, changes } => changes::forget(shard, *bucket, changes),
        Command::RaiseFence { policy, ring_version } => streams::raise_fence(shard, *policy, *ring_version),
    }
}
