//! Objects: put, delete, copy, tags and metadata, by AWS's rules for unversioned, versioned and suspended buckets.

use crate::command::{Command, Condition, NewBody, NewObject};
use crate::ids::BucketId;
use crate::model::{Attributes, Body, ETag, MarkerRow, ObjectRow, VersionRow, VersionSelector, Versioning};
use crate::read;
use crate::reply::{DeleteDone, Done, PutDone, Refusal};
use crate::rows::{Family, RowsError};
use crate::{INLINE_BYTES_MAX, KEY_BYTES_MAX, keys};

use super::conditions::check;
use super::shard::{Fault, Shard};
use super::{METADATA_BYTES_MAX, changes, streams, versions};

pub(crate) fn put(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    condition: &Condition,
    new: &NewObject,
) -> Result<Done, Fault> {
    check_key(key)?;
    check_metadata(&[&new.attributes, &new.user, &new.tags])?;
    let versioning = shard.writable(bucket)?;
    let current = read::current(&shard.rows, bucket, key)?;
    check(condition, etag(current.as_ref()))?;
    let modified_ms = changes::time_of(shard, bucket, key, current.as_ref(), condition)?;
    let (body, size) = match &new.body {
        NewBody::Inline(bytes) if bytes.len() > INLINE_BYTES_MAX => {
            return Err(Fault::invalid("the bytes are too many to be kept inline"));
        }
        NewBody::Inline(bytes) => (Body::Inline, bytes.len() as u64),
        NewBody::Stored(stored) => {
            streams::check_commit(shard, stored)?;
            (Body::Stream(stored.stream.clone()), stored.stream.size)
        }
    };
    let object = ObjectRow {
        seq: shard.next_seq(),
        null: versioning != Versioning::Enabled,
        modified_ms,
        size,
        etag: new.etag,
        checksum: new.checksum.clone(),
        body,
        owner: new.owner.clone(),
        attributes: new.attributes.clone(),
        user: new.user.clone(),
        tags: new.tags.clone(),
    };
    match &new.body {
        NewBody::Inline(bytes) => streams::put_inline(shard, bucket, key, &object, bytes),
        NewBody::Stored(stored) => streams::commit(shard, bucket, stored),
    }
    become_latest(shard, bucket, key, current, versioning, &object)?;
    Ok(Done::Put(put_done(&object, versioning, None)))
}

/// Makes an object, whose bytes are referenced already, the key's latest version.
pub(crate) fn become_latest(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    current: Option<ObjectRow>,
    versioning: Versioning,
    object: &ObjectRow,
) -> Result<(), RowsError> {
    versions::hide_latest(shard, bucket, key, current, versioning)?;
    versions::set_current(shard, bucket, key, object)
}

fn put_done(object: &ObjectRow, versioning: Versioning, copied: Option<Box<ObjectRow>>) -> PutDone {
    PutDone {
        seq: object.seq,
        null: object.null,
        versioned: versioning != Versioning::Off,
        modified_ms: object.modified_ms,
        copied,
    }
}

pub(crate) fn delete(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    version: VersionSelector,
    condition: &Condition,
    owner: &str,
) -> Result<Done, Fault> {
    check_key(key)?;
    let versioning = shard.writable(bucket)?;
    let done = match version {
        VersionSelector::Latest => delete_latest(shard, bucket, key, condition, owner, versioning)?,
        VersionSelector::Null | VersionSelector::Id(_) => delete_version(shard, bucket, key, version, condition)?,
    };
    let (version, marker) = done.map_or((None, false), |(row, marker)| (Some(row), marker));
    Ok(Done::Deleted(DeleteDone {
        version,
        marker,
        versioned: versioning != Versioning::Off,
    }))
}

type Ended = Option<((crate::ids::Seq, bool), bool)>;

/// Without versioning the object ends; else a delete marker hides it, also where there was nothing (AWS).
fn delete_latest(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    condition: &Condition,
    owner: &str,
    versioning: Versioning,
) -> Result<Ended, Fault> {
    let current = read::current(&shard.rows, bucket, key)?;
    check(condition, etag(current.as_ref()))?;
    let at_ms = changes::time_of(shard, bucket, key, current.as_ref(), condition)?;
    if current.is_some() || matches!(condition, Condition::WrittenAt(_)) {
        changes::deleted(shard, bucket, key, at_ms)?;
    }
    if versioning == Versioning::Off {
        let Some(object) = current else { return Ok(None) };
        versions::end_current(shard, bucket, key, &object)?;
        return Ok(Some(((object.seq, object.null), false)));
    }
    versions::hide_latest(shard, bucket, key, current, versioning)?;
    let seq = shard.next_seq();
    let null = versioning == Versioning::Suspended;
    let marker = MarkerRow {
        seq,
        null,
        modified_ms: at_ms,
        owner: owner.to_owned(),
    };
    versions::add_marker(shard, bucket, key, marker)?;
    Ok(Some(((seq, null), true)))
}

/// Ends one version for good. A version that does not exist is no error (AWS: 204), unless a condition needs it.
fn delete_version(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    version: VersionSelector,
    condition: &Condition,
) -> Result<Ended, Fault> {
    let Some(selected) = read::select(&shard.rows, bucket, key, version)? else {
        check(condition, None).map_err(|_| Refusal::NoSuchVersion)?;
        return Ok(None);
    };
    let row = selected.row;
    match &row {
        VersionRow::Object(object) => check(condition, Some(&object.etag))?,
        VersionRow::Marker(_) => check(condition, None)?,
    }
    match &row {
        VersionRow::Object(object) if selected.current => versions::end_current(shard, bucket, key, object)?,
        _ => versions::end_noncurrent(shard, bucket, key, &row)?,
    }
    if selected.current || read::current(&shard.rows, bucket, key)?.is_none() {
        versions::promote(shard, bucket, key)?;
    }
    if let (VersionRow::Object(object), true) = (&row, selected.current)
        && read::current(&shard.rows, bucket, key)?.is_none()
    {
        let at_ms = changes::time_of(shard, bucket, key, Some(object), &Condition::Always)?;
        changes::deleted(shard, bucket, key, at_ms)?;
    }
    Ok(Some(((row.seq(), row.is_null()), matches!(row, VersionRow::Marker(_)))))
}

pub(crate) fn copy(shard: &mut Shard<'_>, command: &Command) -> Result<Done, Fault> {
    let Command::CopyObject {
        source_bucket,
        source_key,
        source_version,
        source_condition,
        bucket,
        key,
        condition,
        changes: replaced,
        owner,
    } = command
    else {
        return Err(Fault::invalid("not a copy"));
    };
    check_key(source_key)?;
    check_key(key)?;
    shard.writable(*source_bucket)?;
    let versioning = shard.writable(*bucket)?;
    let source = object_of(shard, *source_bucket, source_key, *source_version)?.0;
    check(source_condition, Some(&source.etag))?;
    let current = read::current(&shard.rows, *bucket, key)?;
    check(condition, etag(current.as_ref()))?;
    let modified_ms = changes::time_of(shard, *bucket, key, current.as_ref(), condition)?;
    let (attributes, user) = replaced
        .metadata
        .clone()
        .unwrap_or_else(|| (source.attributes.clone(), source.user.clone()));
    let tags = replaced.tags.clone().unwrap_or_else(|| source.tags.clone());
    check_metadata(&[&attributes, &user, &tags])?;
    let inline = read::inline(&shard.rows, *source_bucket, source_key, &source)?;
    // The new reference comes first: a copy onto itself must not end the stream it keeps.
    streams::share(shard, &source.body)?;
    let object = ObjectRow {
        seq: shard.next_seq(),
        null: versioning != Versioning::Enabled,
        modified_ms,
        owner: owner.clone(),
        attributes,
        user,
        tags,
        ..source
    };
    if let Some(bytes) = inline {
        streams::put_inline(shard, *bucket, key, &object, &bytes);
    }
    become_latest(shard, *bucket, key, current, versioning, &object)?;
    Ok(Done::Put(put_done(&object, versioning, Some(Box::new(object.clone())))))
}

pub(crate) fn set_tags(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    version: VersionSelector,
    tags: &Attributes,
) -> Result<Done, Fault> {
    check_key(key)?;
    shard.writable(bucket)?;
    let (mut object, current) = object_of(shard, bucket, key, version)?;
    check_metadata(&[&object.attributes, &object.user, tags])?;
    object.tags.clone_from(tags);
    rewrite(shard, bucket, key, object, current);
    Ok(Done::Ok)
}

/// A POST of Swift also moves the object's time.
pub(crate) fn set_metadata(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    attributes: &Attributes,
    user: &Attributes,
) -> Result<Done, Fault> {
    check_key(key)?;
    shard.writable(bucket)?;
    let (mut object, current) = object_of(shard, bucket, key, VersionSelector::Latest)?;
    check_metadata(&[attributes, user, &object.tags])?;
    object.attributes.clone_from(attributes);
    object.user.clone_from(user);
    object.modified_ms = changes::time_of(shard, bucket, key, Some(&object), &Condition::Always)?;
    rewrite(shard, bucket, key, object, current);
    changes::written(shard, bucket, key)?;
    Ok(Done::Ok)
}

/// As [`set_metadata`], but the headers named by `kept` stay as they are in the version that is changed.
pub(crate) fn post(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    attributes: &Attributes,
    user: &Attributes,
    kept: &[String],
) -> Result<Done, Fault> {
    check_key(key)?;
    shard.writable(bucket)?;
    let (object, _) = object_of(shard, bucket, key, VersionSelector::Latest)?;
    let stays = |name: &str| {
        let named = |kept: &String| name == kept || (kept.ends_with('/') && name.starts_with(kept.as_str()));
        kept.iter().any(named) && attributes.iter().all(|(given, _)| given != name)
    };
    let mut merged: Attributes = object.attributes.into_iter().filter(|(name, _)| stays(name)).collect();
    merged.extend(attributes.iter().cloned());
    set_metadata(shard, bucket, key, &merged, user)
}

/// Deletes what carries the mark, and nothing that was written over it meanwhile.
pub(crate) fn delete_marked(
    shard: &mut Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    attribute: &(String, String),
    owner: &str,
) -> Result<Done, Fault> {
    check_key(key)?;
    let versioning = shard.writable(bucket)?;
    let marked = read::current(&shard.rows, bucket, key)?.is_some_and(|object| object.attributes.contains(attribute));
    if marked {
        return delete(shard, bucket, key, VersionSelector::Latest, &Condition::Always, owner);
    }
    Ok(Done::Deleted(DeleteDone {
        version: None,
        marker: false,
        versioned: versioning != Versioning::Off,
    }))
}

fn rewrite(shard: &mut Shard<'_>, bucket: BucketId, key: &[u8], object: ObjectRow, current: bool) {
    if current {
        shard.put(Family::Current, keys::current(bucket, key), &object);
    } else {
        let name = keys::version(bucket, key, object.seq);
        shard.put(Family::Versions, name, &VersionRow::Object(object));
    }
}

/// The object a request means, and whether it is the current one.
pub(crate) fn object_of(
    shard: &Shard<'_>,
    bucket: BucketId,
    key: &[u8],
    version: VersionSelector,
) -> Result<(ObjectRow, bool), Fault> {
    let found = read::select(&shard.rows, bucket, key, version)?;
    let selected = found.ok_or_else(|| read::absent(version))?;
    match selected.row {
        VersionRow::Object(object) => Ok((object, selected.current)),
        VersionRow::Marker(marker) => Err(read::hidden(version, &marker).into()),
    }
}

pub(crate) fn etag(object: Option<&ObjectRow>) -> Option<&ETag> {
    object.map(|object| &object.etag)
}

/// Edges answer these first; a shard must still hold against a faulty one.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Fault> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Fault::invalid("a key has 1 to 1024 bytes"));
    }
    Ok(())
}

pub(crate) fn check_metadata(groups: &[&Attributes]) -> Result<(), Fault> {
    let bytes: usize = groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(Fault::invalid("headers, metadata and tags are too large"));
    }
    Ok(())
}
