//! Multipart uploads. UploadPart, Complete and Abort of one upload are entries of one shard, so their races have one
//! order: a part after Complete or Abort is refused, the part committed last under a number wins.

use crate::PARTS_MAX;
use crate::command::{Command, CompletedPart};
use crate::ids::{BucketId, MultipartId};
use crate::keys;
use crate::model::{
    Body, Checksum, ChecksumAlgorithm, ChecksumKind, ManifestRow, ObjectRow, PartRow, UploadRow, UploadState,
    Versioning,
};
use crate::multipart::multipart_etag;
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::{Family, ReadRows, RowsError};
use crate::values::CompletedRow;

use super::conditions::check;
use super::objects::{become_latest, check_key, check_metadata, etag};
use super::shard::{Fault, Shard};
use super::{changes, streams};

pub(crate) fn create(shard: &mut Shard<'_>, command: &Command) -> Result<Done, Fault> {
    let Command::CreateUpload {
        bucket,
        key,
        upload,
        owner,
        attributes,
        user,
        tags,
        checksum,
    } = command
    else {
        return Err(Fault::invalid("not a creation of an upload"));
    };
    check_key(key)?;
    check_metadata(&[attributes, user, tags])?;
    shard.writable(*bucket)?;
    if is_known(shard, *upload)? {
        return Err(Fault::invalid("the upload id is in use"));
    }
    let row = UploadRow {
        id: *upload,
        created_ms: shard.now_ms(),
        owner: owner.clone(),
        attributes: attributes.clone(),
        user: user.clone(),
        tags: tags.clone(),
        checksum: *checksum,
        state: UploadState::Open,
    };
    shard.put(Family::Uploads, keys::upload(*bucket, key, *upload), &row);
    shard.put(Family::Uploads, keys::open_id(*upload), &());
    shard.totals_mut(*bucket)?.uploads += 1;
    Ok(Done::UploadCreated(*upload))
}

/// Parts and manifests stand under the id alone, so an id that is in use anywhere is not used again.
fn is_known(shard: &Shard<'_>, upload: MultipartId) -> Result<bool, RowsError> {
    let rows = &shard.rows;
    Ok(rows.get(Family::Uploads, &keys::open_id(upload))?.is_some()
        || rows.get(Family::Uploads, &keys::completed(upload))?.is_some()
        || rows.get(Family::Manifests, &keys::manifest(upload))?.is_some())
}

pub(crate) fn commit_part(shard: &mut Shard<'_>, command: &Command) -> Result<Done, Fault> {
    let Command::CommitPart {
        bucket,
        key,
        upload,
        number,
        stored,
        md5,
        checksum,
    } = command
    else {
        return Err(Fault::invalid("not a part"));
    };
    check_key(key)?;
    if *number == 0 || *number > PARTS_MAX {
        return Err(Fault::invalid("a part number is 1 to 10000"));
    }
    shard.writable(*bucket)?;
    let row = open(shard, *bucket, key, *upload)?;
    if let (Some((algorithm, _)), Some(checksum)) = (row.checksum, checksum)
        && checksum.algorithm != algorithm
    {
        return Err(Fault::invalid(
            "the part's checksum is of another algorithm than the upload's",
        ));
    }
    streams::check_commit(shard, stored)?;
    let replaced: Option<PartRow> = read::get(&shard.rows, Family::Parts, &keys::part(*upload, *number))?;
    streams::commit(shard, *bucket, stored);
    if let Some(part) = replaced {
        streams::release_part(shard, *upload, &part)?;
    }
    let modified_ms = shard.now_ms();
    let part = PartRow {
        number: *number,
        stream: stored.stream.clone(),
        md5: *md5,
        checksum: checksum.clone(),
        modified_ms,
    };
    shard.put(Family::Parts, keys::part(*upload, *number), &part);
    Ok(Done::PartCommitted { modified_ms })
}

pub(crate) fn complete(shard: &mut Shard<'_>, command: &Command) -> Result<Done, Fault> {
    let Command::CompleteUpload {
        bucket,
        key,
        upload,
        parts,
        condition,
        part_bytes_min,
        checksum,
        owner,
    } = command
    else {
        return Err(Fault::invalid("not a completion"));
    };
    check_key(key)?;
    let versioning = shard.writable(*bucket)?;
    if let Some(object) = completed(shard, *bucket, key, *upload)? {
        return Ok(Done::Completed(object));
    }
    let row = open(shard, *bucket, key, *upload)?;
    let current = read::current(&shard.rows, *bucket, key)?;
    check(condition, etag(current.as_ref()))?;
    let modified_ms = changes::time_of(shard, *bucket, key, current.as_ref(), condition)?;
    let (listed, unlisted) = choose_parts(shard, *upload, parts, row.checksum, *part_bytes_min)?;
    check_checksum(checksum.as_ref(), row.checksum)?;

    for part in &unlisted {
        streams::release_part(shard, *upload, part)?;
    }
    let manifest = ManifestRow {
        references: 1,
        parts: listed.iter().map(|part| (part.number, part.stream.size)).collect(),
    };
    shard.put(Family::Manifests, keys::manifest(*upload), &manifest);
    let object = ObjectRow {
        seq: shard.next_seq(),
        null: versioning != Versioning::Enabled,
        modified_ms,
        size: listed.iter().map(|part| part.stream.size).sum(),
        etag: multipart_etag(listed.iter().map(|part| &part.md5)),
        checksum: checksum.clone(),
        body: Body::Manifest(*upload),
        owner: owner.clone(),
        attributes: row.attributes.clone(),
        user: row.user.clone(),
        tags: row.tags.clone(),
    };
    become_latest(shard, *bucket, key, current, versioning, &object)?;
    remember(shard, *bucket, key, row, &object)?;
    Ok(Done::Completed(Box::new(object)))
}

/// AWS's checks in AWS's order: the list's order, then part by part presence, tags and size.
/// Answers the parts the object is made of, and the others.
fn choose_parts(
    shard: &Shard<'_>,
    upload: MultipartId,
    wanted: &[CompletedPart],
    asked: Option<(ChecksumAlgorithm, ChecksumKind)>,
    part_bytes_min: u64,
) -> Result<(Vec<PartRow>, Vec<PartRow>), Fault> {
    if wanted.is_empty() || wanted.len() > usize::from(PARTS_MAX) {
        return Err(Fault::invalid("an object is made of 1 to 10000 parts"));
    }
    if wanted.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(Refusal::InvalidPartOrder.into());
    }
    let mut committed = read::parts(&shard.rows, upload, 0, usize::MAX)?.into_iter().peekable();
    let (mut listed, mut unlisted) = (Vec::with_capacity(wanted.len()), Vec::new());
    for (index, want) in wanted.iter().enumerate() {
        while let Some(part) = committed.next_if(|part| part.number < want.number) {
            unlisted.push(part);
        }
        let part = committed.next_if(|part| part.number == want.number);
        let part = part.ok_or(Refusal::InvalidPart(want.number))?;
        check_part(want, &part, asked)?;
        let size = part.stream.size;
        if size < part_bytes_min && index + 1 < wanted.len() {
            return Err(Refusal::EntityTooSmall {
                number: want.number,
                size,
            }
            .into());
        }
        listed.push(part);
    }
    unlisted.extend(committed);
    Ok((listed, unlisted))
}

/// AWS: a wrong tag or checksum is an invalid part; a composite checksum needs every part's checksum in the request.
fn check_part(
    want: &CompletedPart,
    part: &PartRow,
    asked: Option<(ChecksumAlgorithm, ChecksumKind)>,
) -> Result<(), Fault> {
    let invalid = Err(Refusal::InvalidPart(want.number).into());
    if want.md5 != part.md5 {
        return invalid;
    }
    let stored = part.checksum.as_ref().map(|checksum| &checksum.value);
    if want.checksum.is_some() && want.checksum.as_ref() != stored {
        return invalid;
    }
    match asked {
        Some(_) if stored.is_none() => invalid,
        Some((_, ChecksumKind::Composite)) if want.checksum.is_none() => {
            Err(Refusal::Invalid(format!("the request names no checksum for part {}", want.number)).into())
        }
        _ => Ok(()),
    }
}

/// A checksum of another algorithm or kind than the upload was begun with is no checksum of this object.
fn check_checksum(given: Option<&Checksum>, asked: Option<(ChecksumAlgorithm, ChecksumKind)>) -> Result<(), Refusal> {
    match (given, asked) {
        (Some(given), Some(asked)) if (given.algorithm, given.kind) != asked => Err(Refusal::BadDigest),
        _ => Ok(()),
    }
}

pub(crate) fn abort(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], upload: MultipartId) -> Result<Done, Fault> {
    check_key(key)?;
    shard.writable(bucket)?;
    open(shard, bucket, key, upload)?;
    for part in read::parts(&shard.rows, upload, 0, usize::MAX)? {
        streams::release_part(shard, upload, &part)?;
    }
    close(shard, bucket, key, upload);
    shard.totals_mut(bucket)?.uploads -= 1;
    Ok(Done::Ok)
}

fn open(shard: &Shard<'_>, bucket: BucketId, key: &[u8], upload: MultipartId) -> Result<UploadRow, Fault> {
    read::open_upload(&shard.rows, bucket, key, upload)?.ok_or_else(|| Refusal::NoSuchUpload.into())
}

/// What an upload became, as long as it is remembered.
fn completed(
    shard: &Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    upload: MultipartId,
) -> Result<Option<Box<ObjectRow>>, RowsError> {
    let row = read::completed_upload(&shard.rows, bucket, key, upload, shard.now_ms())?;
    Ok(row.and_then(|row| match row.state {
        UploadState::Completed { object, .. } => Some(object),
        UploadState::Open => None,
    }))
}

fn close(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], upload: MultipartId) {
    shard.rows.remove(Family::Uploads, keys::upload(bucket, key, upload));
    shard.rows.remove(Family::Uploads, keys::open_id(upload));
}

/// Turns the open upload into a remembered one.
fn remember(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    mut upload: UploadRow,
    object: &ObjectRow,
) -> Result<(), RowsError> {
    let (id, at_ms) = (upload.id, shard.now_ms());
    upload.state = UploadState::Completed {
        object: Box::new(object.clone()),
        at_ms,
    };
    close(shard, bucket, key, id);
    shard.put(
        Family::Uploads,
        keys::completed(id),
        &CompletedRow {
            bucket,
            key: key.to_vec(),
            upload,
        },
    );
    shard.put(Family::Uploads, keys::completed_at(at_ms, id), &());
    shard.totals_mut(bucket)?.uploads -= 1;
    Ok(())
}
