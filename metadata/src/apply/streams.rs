//! References to streams: how blobs come to live and how they end (DUR-3).
//!
//! ```text
//! unknown --commit--> referenced --last reference ends--> ending --Reclaimed--> condemned
//!    \-------------------------Condemn------------------------\----Condemn-------/
//! ```

use crate::STREAM_AHEAD_MS;
use crate::codec::ROW_FORMAT;
use crate::command::ReclaimKey;
use crate::ids::{BlobId, BucketId, MultipartId, WriteId};
use crate::keys;
use crate::model::{Body, ObjectRow, PartRow, PolicyId, RefRow, Stored};
use crate::query::Life;
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::{Family, RowsError};

use super::shard::{Fault, Shard};
use super::{STREAMS_PER_COMMAND_MAX, short};

/// The longest stream, in bytes.
const STREAM_BYTES_MAX: u64 = 1 << 40;
/// The largest number of chunks of a stream: blobs' names have room for so many, and it bounds its ranges in the `short`
/// queue.
const STREAM_CHUNKS_MAX: u32 = BlobId::CHUNKS;

/// Checks that a stream may get its first reference: nobody has it, and its blobs are certain to be there.
pub(crate) fn check_commit(shard: &Shard<'_>, stored: &Stored) -> Result<(), Fault> {
    let stream = &stored.stream;
    // A part may be empty; then it has no chunk.
    if stream.size > STREAM_BYTES_MAX || stream.chunk_bytes == 0 || stream.chunks() > STREAM_CHUNKS_MAX {
        return Err(Fault::invalid("a stream has at most 1 TiB, in at most 1048576 chunks"));
    }
    if stream.write.made_ms() > shard.now_ms().saturating_add(STREAM_AHEAD_MS) {
        return Err(Fault::invalid("the write id's time lies in the future"));
    }
    short::check(stored)?;
    let fence = read::fence(&shard.rows, stream.policy)?;
    if stream.ring_version < fence {
        return Err(Refusal::RingRetired { fence }.into());
    }
    // An id too old to be committed is condemned by its age, so no row needs to be kept for it.
    match read::life(&shard.rows, stream.write, shard.now_ms())? {
        Life::Unknown => Ok(()),
        Life::Condemned | Life::Ending => Err(Refusal::Condemned.into()),
        Life::Referenced => Err(Fault::invalid("the stream was already committed")),
    }
}

/// Refuses commits placed by rings older than `ring_version` from now on; a fence never goes down.
pub(crate) fn raise_fence(shard: &mut Shard<'_>, policy: PolicyId, ring_version: u64) -> Result<Done, Fault> {
    if ring_version > read::fence(&shard.rows, policy)? {
        shard.put(Family::Meta, keys::fence(policy), &ring_version);
    }
    Ok(Done::Ok)
}

/// Gives a checked stream its first reference.
pub(crate) fn commit(shard: &mut Shard<'_>, bucket: BucketId, stored: &Stored) {
    let row = RefRow {
        references: 1,
        bucket,
        stream: stored.stream.clone(),
    };
    shard.put(Family::Refs, keys::write(stored.stream.write), &row);
    shard.counters.streams += 1;
    for chunks in &stored.short {
        short::insert(
            shard,
            stored.stream.write,
            chunks.first,
            chunks.count,
            chunks.devices.clone(),
        );
    }
}

/// Stores an inline object's bytes under its version. An empty object has no row.
pub(crate) fn put_inline(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], object: &ObjectRow, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let mut value = Vec::with_capacity(1 + bytes.len());
    value.push(ROW_FORMAT);
    value.extend_from_slice(bytes);
    shard
        .rows
        .put(Family::Inline, keys::version(bucket, key, object.seq), value.into());
}

/// Checks that one more object may share a body, and adds its reference.
pub(crate) fn share(shard: &mut Shard<'_>, body: &Body) -> Result<(), Fault> {
    const TOO_MANY: &str = "too many objects share these bytes";
    match body {
        Body::Inline => Ok(()),
        Body::Stream(stream) => {
            let name = keys::write(stream.write);
            let mut row: RefRow = read::reference(&shard.rows, stream.write)?
                .ok_or_else(|| read::damaged(Family::Refs, &name, &"an object's stream has no references"))?;
            row.references = row.references.checked_add(1).ok_or_else(|| Fault::invalid(TOO_MANY))?;
            shard.put(Family::Refs, name, &row);
            Ok(())
        }
        Body::Manifest(upload) => {
            let name = keys::manifest(*upload);
            let mut row = read::manifest(&shard.rows, *upload)?
                .ok_or_else(|| read::damaged(Family::Manifests, &name, &"an object's manifest is missing"))?;
            row.references = row.references.checked_add(1).ok_or_else(|| Fault::invalid(TOO_MANY))?;
            shard.put(Family::Manifests, name, &row);
            Ok(())
        }
    }
}

/// Ends one object's hold on its bytes.
pub(crate) fn release(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    object: &ObjectRow,
) -> Result<(), RowsError> {
    match &object.body {
        Body::Inline if object.size == 0 => {}
        Body::Inline => shard
            .rows
            .remove(Family::Inline, keys::version(bucket, key, object.seq)),
        Body::Stream(stream) => release_stream(shard, stream.write)?,
        Body::Manifest(upload) => release_manifest(shard, *upload)?,
    }
    Ok(())
}

/// Ends a part: its row and its hold on its stream.
pub(crate) fn release_part(shard: &mut Shard<'_>, upload: MultipartId, part: &PartRow) -> Result<(), RowsError> {
    shard.rows.remove(Family::Parts, keys::part(upload, part.number));
    release_stream(shard, part.stream.write)
}

/// Ends one hold on a stream; the last one hands it to reclaim.
pub(crate) fn release_stream(shard: &mut Shard<'_>, write: WriteId) -> Result<(), RowsError> {
    // Without a row there is nothing to hand over, and nothing is removed: a leak is found by verify, a loss is not.
    let Some(mut row) = read::reference(&shard.rows, write)? else {
        return Ok(());
    };
    row.references = row.references.saturating_sub(1);
    if row.references > 0 {
        shard.put(Family::Refs, keys::write(write), &row);
        return Ok(());
    }
    let since_ms = shard.now_ms();
    shard.rows.remove(Family::Refs, keys::write(write));
    shard.put(Family::Reclaim, keys::reclaim(ReclaimKey { since_ms, write }), &row);
    shard.put(Family::Reclaim, keys::reclaim_by_write(write), &since_ms);
    shard.counters.streams -= 1;
    shard.counters.reclaim_streams += 1;
    short::clear_stream(shard, write)
}

fn release_manifest(shard: &mut Shard<'_>, upload: MultipartId) -> Result<(), RowsError> {
    let Some(mut row) = read::manifest(&shard.rows, upload)? else {
        return Ok(());
    };
    row.references = row.references.saturating_sub(1);
    if row.references > 0 {
        shard.put(Family::Manifests, keys::manifest(upload), &row);
        return Ok(());
    }
    shard.rows.remove(Family::Manifests, keys::manifest(upload));
    for part in read::parts(&shard.rows, upload, 0, usize::MAX)? {
        release_part(shard, upload, &part)?;
    }
    Ok(())
}

/// Condemns streams that have no reference; answers all asked streams that are condemned now.
pub(crate) fn condemn(shard: &mut Shard<'_>, writes: &[WriteId]) -> Result<Done, Fault> {
    if writes.len() > STREAMS_PER_COMMAND_MAX {
        return Err(Fault::invalid("too many streams in one command"));
    }
    let mut condemned = Vec::with_capacity(writes.len());
    for write in writes {
        if read::life(&shard.rows, *write, shard.now_ms())? != Life::Referenced {
            keep_verdict(shard, *write);
            condemned.push(*write);
        }
    }
    Ok(Done::Condemned(condemned))
}

/// Drops entries whose blobs are gone from every device. An entry that is not there was dropped before.
pub(crate) fn reclaimed(shard: &mut Shard<'_>, entries: &[ReclaimKey]) -> Result<Done, Fault> {
    if entries.len() > STREAMS_PER_COMMAND_MAX {
        return Err(Fault::invalid("too many streams in one command"));
    }
    for entry in entries {
        if read::ending_since(&shard.rows, entry.write)? != Some(entry.since_ms) {
            continue;
        }
        shard.rows.remove(Family::Reclaim, keys::reclaim(*entry));
        shard.rows.remove(Family::Reclaim, keys::reclaim_by_write(entry.write));
        shard.counters.reclaim_streams -= 1;
        keep_verdict(shard, entry.write);
    }
    Ok(Done::Ok)
}

/// Remembers that a stream is condemned for as long as its age does not say so by itself.
fn keep_verdict(shard: &mut Shard<'_>, write: WriteId) {
    if !read::outlived(write, shard.now_ms()) {
        let now_ms = shard.now_ms();
        shard.put(Family::Condemned, keys::write(write), &now_ms);
    }
}
