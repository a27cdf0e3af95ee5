//! Names of rows: how identities become bytes whose order is the order the listings need.
//!
//! ```text
//! Meta       's'                                                 the shard's counters
//!            'f' | policy                                        the oldest ring whose commits are taken
//!            'd'                                                 where forgetting deletions goes on
//! Current    bucket | key                                        raw key, so a listing reads it without decoding
//! Versions   bucket | escaped key | 00 00 | !seq                 a key's versions stand newest first
//! Nulls      bucket | escaped key | 00 00
//! Inline     bucket | escaped key | 00 00 | !seq
//! Uploads    00 | bucket | escaped key | 00 00 | upload          open uploads
//!            01 | upload                                         completed uploads
//!            02 | completed at ms | upload                       completed uploads by age, to forget them
//!            03 | upload                                         ids of open uploads, so that none is used twice
//! Parts      upload | number                                     of open uploads and of manifests
//! Manifests  upload
//! Refs       write
//! Condemned  write                                               write ids sort by age
//! Short      00 | copies | write | first chunk                   fewest copies first
//!            01 | write | first chunk                            the same ranges by stream
//! Reclaim    00 | since ms | write                               oldest first
//!            01 | write                                          the same streams by name
//! Requests   request                                             request ids sort by age
//! Buckets    bucket | 00                                         configuration
//!            bucket | 01                                         totals
//! Names      00 | bucket                                         bucket by id
//!            01 | escaped project | 00 00 | name                 -> bucket id
//!            02 | name                                           global name -> bucket id
//!            03 | shard                                          number of buckets in the shard
//! Records    escaped table | 00 00 | key
//! Changes    00 | bucket | seq                                   keys to be looked at, in the order of their last change
//!            01 | bucket | key                                   -> seq of its row above
//!            02 | bucket | key                                   -> when it was deleted
//!            03 | deleted at ms | bucket | key                   deletions by age, to forget them
//! ```
//! All numbers are big endian and of fixed width (bucket, seq, shard and times 8 bytes, ids 16, number 2, first chunk 4,
//! copies 1). Escaping writes the byte 00 as 00 FF; the end 00 00 sorts before every continuation, so the order of
//! escaped keys is the order of the keys, whatever bytes they hold (KEY-1).

use crate::command::ReclaimKey;
use crate::ids::{BucketId, MultipartId, RequestId, Seq, ShardId, WriteId};
use crate::model::PolicyId;

/// The row of the shard's counters.
pub(crate) const META: &[u8] = b"s";

/// The fence of a policy.
pub(crate) fn fence(policy: PolicyId) -> Vec<u8> {
    tagged(b'f', &[&policy.0.to_be_bytes()])
}

/// The start of all rows made by [`short`].
pub(crate) const SHORT_BY_URGENCY: &[u8] = &[0];

const END: [u8; 2] = [0, 0];

/// A row of `current`.
#[must_use]
pub fn current(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + key.len());
    row.extend_from_slice(&bucket.0.to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// The key in the name of a row of `current`.
#[must_use]
pub fn key_of_current(row: &[u8]) -> Option<&[u8]> {
    row.get(8..)
}

/// The start of all rows of one key in `versions` and `inline`; also the whole name of its row in `nulls`.
#[must_use]
pub fn versions_of(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut row = escaped_prefix(bucket, key);
    row.extend_from_slice(&END);
    row
}

/// The start of the rows of all keys that begin with `prefix`, in `versions`.
#[must_use]
pub fn escaped_prefix(bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + prefix.len() + 10);
    row.extend_from_slice(&bucket.0.to_be_bytes());
    escape(&mut row, prefix);
    row
}

/// A row of `versions` or `inline`.
#[must_use]
pub fn version(bucket: BucketId, key: &[u8], seq: Seq) -> Vec<u8> {
    let mut row = versions_of(bucket, key);
    row.extend_from_slice(&(!seq.0).to_be_bytes());
    row
}

/// Key and sort position in the name of a row of `versions` or `inline`.
#[must_use]
pub fn parts_of_version(row: &[u8]) -> Option<(Vec<u8>, Seq)> {
    let (key, rest) = unescape(row.get(8..)?)?;
    Some((key, Seq(!u64::from_be_bytes(rest.try_into().ok()?))))
}

/// The start of the rows of open uploads whose keys begin with `prefix`.
#[must_use]
pub fn uploads_prefix(bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
    let mut row = vec![0];
    row.extend_from_slice(&bucket.0.to_be_bytes());
    escape(&mut row, prefix);
    row
}

/// An open upload.
#[must_use]
pub fn upload(bucket: BucketId, key: &[u8], upload: MultipartId) -> Vec<u8> {
    let mut row = uploads_of(bucket, key);
    row.extend_from_slice(&upload.0.to_be_bytes());
    row
}

/// The start of the rows of one key's open uploads.
#[must_use]
pub fn uploads_of(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut row = uploads_prefix(bucket, key);
    row.extend_from_slice(&END);
    row
}

/// Key and id in the name of an open upload's row.
#[must_use]
pub fn parts_of_upload(row: &[u8]) -> Option<(Vec<u8>, MultipartId)> {
    let (key, rest) = unescape(row.get(9..)?)?;
    Some((key, MultipartId(u128::from_be_bytes(rest.try_into().ok()?))))
}

/// The id of an open upload.
pub(crate) fn open_id(upload: MultipartId) -> Vec<u8> {
    tagged(3, &[&upload.0.to_be_bytes()])
}

/// A completed upload.
pub(crate) fn completed(upload: MultipartId) -> Vec<u8> {
    tagged(1, &[&upload.0.to_be_bytes()])
}

/// A completed upload in the order of age.
pub(crate) fn completed_at(at_ms: u64, upload: MultipartId) -> Vec<u8> {
    tagged(2, &[&at_ms.to_be_bytes(), &upload.0.to_be_bytes()])
}

/// Time and id in the name of a row made by [`completed_at`].
pub(crate) fn parts_of_completed_at(row: &[u8]) -> Option<(u64, MultipartId)> {
    let at_ms = u64::from_be_bytes(row.get(1..9)?.try_into().ok()?);
    Some((at_ms, MultipartId(u128::from_be_bytes(row.get(9..)?.try_into().ok()?))))
}

/// A part.
#[must_use]
pub fn part(upload: MultipartId, number: u16) -> Vec<u8> {
    let mut row = upload.0.to_be_bytes().to_vec();
    row.extend_from_slice(&number.to_be_bytes());
    row
}

/// A manifest; also the start of all its parts.
#[must_use]
pub fn manifest(upload: MultipartId) -> Vec<u8> {
    upload.0.to_be_bytes().to_vec()
}

/// A stream, in `refs` and `condemned`.
#[must_use]
pub fn write(write: WriteId) -> Vec<u8> {
    write.0.to_be_bytes().to_vec()
}

/// The stream named by a row of `refs` or `condemned`.
#[must_use]
pub fn write_of(row: &[u8]) -> Option<WriteId> {
    Some(WriteId(u128::from_be_bytes(row.try_into().ok()?)))
}

/// Short chunks in the order of urgency.
pub(crate) fn short(copies: u8, write: WriteId, first: u32) -> Vec<u8> {
    tagged(0, &[&[copies], &write.0.to_be_bytes(), &first.to_be_bytes()])
}

/// The copies, stream and first chunk in the name of a row made by [`short`].
pub(crate) fn parts_of_short(row: &[u8]) -> Option<(u8, WriteId, u32)> {
    let write = WriteId(u128::from_be_bytes(row.get(2..18)?.try_into().ok()?));
    Some((*row.get(1)?, write, u32::from_be_bytes(row.get(18..)?.try_into().ok()?)))
}

/// Short chunks by stream.
pub(crate) fn short_of(write: WriteId, first: u32) -> Vec<u8> {
    tagged(1, &[&write.0.to_be_bytes(), &first.to_be_bytes()])
}

/// First chunk in the name of a row made by [`short_of`].
pub(crate) fn first_of_short(row: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(row.get(17..)?.try_into().ok()?))
}

/// A stream that waits to be reclaimed, in the order of age.
pub(crate) fn reclaim(entry: ReclaimKey) -> Vec<u8> {
    tagged(0, &[&entry.since_ms.to_be_bytes(), &entry.write.0.to_be_bytes()])
}

/// The entry named by a row made by [`reclaim`].
pub(crate) fn reclaim_of(row: &[u8]) -> Option<ReclaimKey> {
    let since_ms = u64::from_be_bytes(row.get(1..9)?.try_into().ok()?);
    Some(ReclaimKey {
        since_ms,
        write: WriteId(u128::from_be_bytes(row.get(9..)?.try_into().ok()?)),
    })
}

/// A stream that waits to be reclaimed, by name.
pub(crate) fn reclaim_by_write(write: WriteId) -> Vec<u8> {
    tagged(1, &[&write.0.to_be_bytes()])
}

/// A remembered request.
pub(crate) fn request(request: RequestId) -> Vec<u8> {
    request.0.to_be_bytes().to_vec()
}

/// The request named by a row made by [`request`].
pub(crate) fn request_of(row: &[u8]) -> Option<RequestId> {
    Some(RequestId(u128::from_be_bytes(row.try_into().ok()?)))
}

/// A bucket's configuration.
pub(crate) fn bucket_config(bucket: BucketId) -> Vec<u8> {
    let mut row = bucket.0.to_be_bytes().to_vec();
    row.push(0);
    row
}

/// A bucket's totals.
pub(crate) fn bucket_totals(bucket: BucketId) -> Vec<u8> {
    let mut row = bucket.0.to_be_bytes().to_vec();
    row.push(1);
    row
}

/// A bucket of the system shard, by id.
pub(crate) fn bucket_by_id(bucket: BucketId) -> Vec<u8> {
    tagged(0, &[&bucket.0.to_be_bytes()])
}

/// A bucket's name in its project. `name` may be the start of names.
pub(crate) fn bucket_by_name(project: &str, name: &str) -> Vec<u8> {
    let mut row = vec![1];
    escape(&mut row, project.as_bytes());
    row.extend_from_slice(&END);
    row.extend_from_slice(name.as_bytes());
    row
}

/// A bucket's global name.
pub(crate) fn bucket_by_global_name(name: &str) -> Vec<u8> {
    tagged(2, &[name.as_bytes()])
}

/// How many buckets live in a shard.
pub(crate) fn buckets_in_shard(shard: ShardId) -> Vec<u8> {
    tagged(3, &[&shard.0.to_be_bytes()])
}

/// The shard named by a row made by [`buckets_in_shard`].
pub(crate) fn shard_of_count(row: &[u8]) -> Option<ShardId> {
    Some(ShardId(u64::from_be_bytes(row.get(1..)?.try_into().ok()?)))
}

/// A record; with an empty key the start of its table.
pub(crate) fn record(table: &str, key: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(table.len() + key.len() + 2);
    escape(&mut row, table.as_bytes());
    row.extend_from_slice(&END);
    row.extend_from_slice(key.as_bytes());
    row
}

/// Where forgetting deletions goes on: a row of `meta`.
pub(crate) const DELETIONS_FLOOR: &[u8] = b"d";

/// A change; with the lowest seq the start of a bucket's changes.
pub(crate) fn change(bucket: BucketId, seq: Seq) -> Vec<u8> {
    tagged(0, &[&bucket.0.to_be_bytes(), &seq.0.to_be_bytes()])
}

/// The end of a bucket's changes.
pub(crate) fn changes_end(bucket: BucketId) -> Vec<u8> {
    tagged(0, &[&bucket.0.saturating_add(1).to_be_bytes()])
}

/// The place in the name of a row made by [`change`].
pub(crate) fn seq_of_change(row: &[u8]) -> Option<Seq> {
    Some(Seq(u64::from_be_bytes(row.get(9..)?.try_into().ok()?)))
}

/// Where a key's change stands.
pub(crate) fn change_of(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    tagged(1, &[&bucket.0.to_be_bytes(), key])
}

/// When a key was deleted.
pub(crate) fn deletion(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    tagged(2, &[&bucket.0.to_be_bytes(), key])
}

/// A deletion in the order of age.
pub(crate) fn deletion_at(at_ms: u64, bucket: BucketId, key: &[u8]) -> Vec<u8> {
    tagged(3, &[&at_ms.to_be_bytes(), &bucket.0.to_be_bytes(), key])
}

/// Time, bucket and key in the name of a row made by [`deletion_at`].
pub(crate) fn parts_of_deletion_at(row: &[u8]) -> Option<(u64, BucketId, &[u8])> {
    let at_ms = u64::from_be_bytes(row.get(1..9)?.try_into().ok()?);
    let bucket = BucketId(u64::from_be_bytes(row.get(9..17)?.try_into().ok()?));
    Some((at_ms, bucket, &row[17..]))
}

/// The smallest name greater than every name that begins with `prefix`; `None` when there is none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The smallest name greater than `row`.
#[must_use]
pub fn just_after(mut row: Vec<u8>) -> Vec<u8> {
    row.push(0);
    row
}

fn tagged(tag: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + fields.iter().map(|field| field.len()).sum::<usize>());
    row.push(tag);
    for field in fields {
        row.extend_from_slice(field);
    }
    row
}

fn escape(row: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        row.push(*byte);
        if *byte == 0 {
            row.push(0xFF);
        }
    }
}

/// The bytes before the end mark, and what follows it.
fn unescape(escaped: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut at = 0;
    loop {
        match (*escaped.get(at)?, escaped.get(at + 1)) {
            (0, Some(0)) => return Some((bytes, &escaped[at + 2..])),
            (0, Some(0xFF)) => {
                bytes.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
