//! Objects: put, look at, open, delete, change what is said about them.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use metadata::command::{Command, Condition, NewBody, NewObject};
use metadata::ids::Seq;
use metadata::model::{Attributes, Body as BodyPlace, Checksum, ETag, Key, ManifestRow, ObjectRow, VersionSelector};
use metadata::query::{Found, ListVersions, ObjectFound, Query, VersionFound};
use metadata::reply::{DeleteDone, Done, Refusal};

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::cutter::Input;
use crate::error::StoreError;
use crate::request::{Body, PutObject};
use crate::store::{Store, unexpected};
use crate::write::{BodySpec, Place, Written};

/// Deletes of one DeleteObjects call that are proposed at once; the leader packs them into few entries.
const DELETES_IN_FLIGHT: usize = 64;
/// Versions looked at in one round while a delete marker is looked for.
const VERSIONS_PAGE: usize = 100;

/// What a PUT made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// The new version's place.
    pub seq: Seq,
    /// True when it is the null version.
    pub null: bool,
    /// True when the bucket is or was versioned, so that the client is told a version id.
    pub versioned: bool,
    /// Time of the commit, milliseconds since the Unix epoch.
    pub modified_ms: u64,
    /// Length in bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// The checksum that is kept.
    pub checksum: Option<Checksum>,
}

/// What HEAD answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// The version.
    pub object: ObjectRow,
    /// True when the bucket is or was versioned.
    pub versioned: bool,
    /// The number of parts of a multipart object.
    pub parts: Option<u16>,
}

/// An opened version: its row, and the way to its bytes. Later changes of the key do not touch it.
#[derive(Clone)]
pub struct ObjectReader {
    /// What HEAD would have answered.
    pub head: ObjectHead,
    pub(crate) store: Store,
    pub(crate) cx: RequestContext,
    pub(crate) bucket: Bucket,
    pub(crate) inline: Option<Bytes>,
    pub(crate) manifest: Option<ManifestRow>,
}

/// What is said about an object besides its bytes.
pub(crate) struct AboutObject {
    pub(crate) attributes: Attributes,
    pub(crate) user: Attributes,
    pub(crate) tags: Attributes,
    pub(crate) checksum: Option<Checksum>,
}

impl Store {
    /// Stores `body` under `key` as its newest version. Nothing is visible before the commit, and the commit is all or
    /// nothing, also when this future is dropped.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`], [`StoreError::IncompleteBody`], [`StoreError::Rejected`],
    /// [`StoreError::Body`], [`StoreError::EntityTooLarge`], [`StoreError::SlowDown`] before the body was taken,
    /// [`StoreError::Unavailable`] without a write quorum (DUR-1).
    pub async fn put_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        put: PutObject,
        body: Body,
    ) -> Result<PutOutcome, StoreError> {
        let PutObject {
            condition,
            attributes,
            user,
            tags,
            length,
            digests,
            finish,
        } = put;
        let spec = BodySpec {
            length,
            digests,
            inline_max: Some(self.inline_bytes_max()),
        };
        let written = self.write_body(bucket, &spec, Input::Client(body)).await?;
        let checksum = finish(&written.digests)?;
        let about = AboutObject {
            attributes,
            user,
            tags,
            checksum,
        };
        self.commit_object(cx, bucket, key, condition, about, written).await
    }

    /// Makes a written body the key's newest version.
    pub(crate) async fn commit_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        condition: Condition,
        about: AboutObject,
        written: Written,
    ) -> Result<PutOutcome, StoreError> {
        let AboutObject {
            attributes,
            user,
            tags,
            checksum,
        } = about;
        let etag = ETag {
            md5: written.digests.md5,
            parts: 0,
        };
        let (body, unfinished) = match written.place {
            Place::Inline(bytes) => (NewBody::Inline(bytes), None),
            Place::Stored(stored, unfinished) => (NewBody::Stored(stored), Some(unfinished)),
        };
        let owner = cx.project.clone();
        let object = NewObject {
            body,
            etag,
            checksum: checksum.clone(),
            owner,
            attributes,
            user,
            tags,
        };
        let command = Command::PutObject {
            bucket: bucket.info.id,
            key,
            condition,
            object,
        };
        let done = match unfinished {
            Some(unfinished) => self.commit(cx, bucket, command, unfinished).await?,
            None => self.change(cx, bucket, command).await?,
        };
        let Done::Put(done) = done else {
            return Err(unexpected("PutObject"));
        };
        Ok(PutOutcome {
            seq: done.seq,
            null: done.null,
            versioned: done.versioned,
            modified_ms: done.modified_ms,
            size: written.digests.size,
            etag,
            checksum,
        })
    }

    pub(crate) fn inline_bytes_max(&self) -> usize {
        self.inner.options.inline_bytes_max.min(metadata::INLINE_BYTES_MAX)
    }

    /// One version of a key (HEAD).
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], [`StoreError::NoSuchVersion`], [`StoreError::DeleteMarker`].
    pub async fn object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        version: VersionSelector,
    ) -> Result<ObjectHead, StoreError> {
        let found = self.find_object(cx, bucket, key, version, false).await?;
        Ok(ObjectHead::of(&found))
    }

    /// Opens one version for reading, with one metadata round.
    ///
    /// # Errors
    /// As [`Self::object`].
    pub async fn open_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        version: VersionSelector,
    ) -> Result<ObjectReader, StoreError> {
        let found = self.find_object(cx, bucket, key, version, true).await?;
        Ok(ObjectReader {
            head: ObjectHead::of(&found),
            store: self.clone(),
            cx: cx.clone(),
            bucket: bucket.clone(),
            inline: found.inline,
            manifest: found.manifest,
        })
    }

    async fn find_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        version: VersionSelector,
        body: bool,
    ) -> Result<ObjectFound, StoreError> {
        let query = Query::GetObject {
            bucket: bucket.info.id,
            key: key.to_vec(),
            version,
            body,
        };
        match self
            .inner
            .planes
            .metadata
            .query(bucket.info.shard, query, cx.deadline)
            .await?
        {
            Ok(Found::Object(found)) => Ok(*found),
            Ok(_) => Err(unexpected("GetObject")),
            Err(Refusal::IsDeleteMarker) => Err(self.describe_marker(cx, bucket, key, version).await?),
            Err(refusal) => Err(self.refused(bucket, refusal)),
        }
    }

    /// What is known of the delete marker that a request named: found by listing the key's versions.
    async fn describe_marker(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        version: VersionSelector,
    ) -> Result<StoreError, StoreError> {
        let mut list = ListVersions {
            prefix: key.to_vec(),
            limit: VERSIONS_PAGE,
            ..ListVersions::default()
        };
        loop {
            let page = self.list_versions(cx, bucket, list.clone()).await?;
            for (found, entry) in &page.entries {
                let VersionFound::Marker { marker, latest } = entry else {
                    continue;
                };
                let named = match version {
                    VersionSelector::Latest => *latest,
                    VersionSelector::Null => marker.null,
                    VersionSelector::Id(seq) => marker.seq == seq,
                };
                if found == key && named {
                    let latest = version == VersionSelector::Latest;
                    let (seq, null, modified_ms) = (marker.seq, marker.null, Some(marker.modified_ms));
                    return Ok(StoreError::DeleteMarker {
                        seq,
                        null,
                        modified_ms,
                        latest,
                    });
                }
            }
            match page.entries.last() {
                Some((last, entry)) if page.more && last == key => {
                    list.after = Some(last.clone());
                    list.after_version = Some(seq_of(entry));
                }
                _ => return Ok(StoreError::NoSuchVersion),
            }
        }
    }

    /// Deletes the key's newest version, or adds a delete marker, by the bucket's versioning; or removes one version.
    /// Deleting what is not there is no error.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`], [`StoreError::NoSuchKey`] for a condition on an absent key.
    pub async fn delete_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        version: VersionSelector,
        condition: Condition,
    ) -> Result<DeleteDone, StoreError> {
        let command = Command::DeleteObject {
            bucket: bucket.info.id,
            key,
            version,
            condition,
            owner: cx.project.clone(),
        };
        match self.change(cx, bucket, command).await? {
            Done::Deleted(done) => Ok(done),
            _ => Err(unexpected("DeleteObject")),
        }
    }

    /// Deletes many keys, each on its own; answers in the order asked.
    pub async fn delete_objects(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        keys: Vec<(Key, VersionSelector, Condition)>,
    ) -> Vec<Result<DeleteDone, StoreError>> {
        futures::stream::iter(keys)
            .map(|(key, version, condition)| self.delete_object(cx, bucket, key, version, condition))
            .buffered(DELETES_IN_FLIGHT)
            .collect()
            .await
    }

    /// Replaces the tags of one version.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], [`StoreError::NoSuchVersion`].
    pub async fn set_tags(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        version: VersionSelector,
        tags: Attributes,
    ) -> Result<(), StoreError> {
        let command = Command::SetTags {
            bucket: bucket.info.id,
            key,
            version,
            tags,
        };
        self.change(cx, bucket, command).await.map(drop)
    }

    /// Replaces standard headers and user metadata of the newest version without making a new one (Swift POST).
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`].
    pub async fn set_metadata(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        attributes: Attributes,
        user: Attributes,
    ) -> Result<(), StoreError> {
        let command = Command::SetMetadata {
            bucket: bucket.info.id,
            key,
            attributes,
            user,
        };
        self.change(cx, bucket, command).await.map(drop)
    }

    /// As [`Self::set_metadata`]; headers named by `kept` stay as the newest version has them unless given anew, and a
    /// name that ends with `/` keeps all that begin with it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`].
    pub async fn post_object(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        attributes: Attributes,
        user: Attributes,
        kept: Vec<String>,
    ) -> Result<(), StoreError> {
        let command = Command::PostObject {
            bucket: bucket.info.id,
            key,
            attributes,
            user,
            kept,
        };
        self.change(cx, bucket, command).await.map(drop)
    }

    /// Deletes the key's newest version, by the bucket's versioning, if it is an object with exactly this standard
    /// header; anything else is left alone (object expiry).
    ///
    /// # Errors
    /// When the bucket's shard is not available.
    pub async fn delete_marked(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        attribute: (String, String),
    ) -> Result<DeleteDone, StoreError> {
        let command = Command::DeleteMarked {
            bucket: bucket.info.id,
            key,
            attribute,
            owner: cx.project.clone(),
        };
        match self.change(cx, bucket, command).await? {
            Done::Deleted(done) => Ok(done),
            _ => Err(unexpected("DeleteMarked")),
        }
    }
}

fn seq_of(entry: &VersionFound) -> Seq {
    match entry {
        VersionFound::Object { object, .. } => object.seq,
        VersionFound::Marker { marker, .. } => marker.seq,
    }
}

impl ObjectHead {
    fn of(found: &ObjectFound) -> Self {
        let parts = matches!(found.object.body, BodyPlace::Manifest(_)).then_some(found.object.etag.parts);
        Self {
            object: found.object.clone(),
            versioned: found.versioned,
            parts,
        }
    }
}

impl ObjectReader {
    /// The bytes of part `number` (from 1) and the number of parts. An object that was put whole is its own part 1.
    #[must_use]
    pub fn part(&self, number: u16) -> Option<(Range<u64>, u16)> {
        let Some(manifest) = &self.manifest else {
            return (number == 1).then_some((0..self.head.object.size, 1));
        };
        // S3 numbers the parts of a complete object by their position, whatever numbers they were uploaded under.
        let at = usize::from(number.checked_sub(1)?);
        let (_, size) = manifest.parts.get(at)?;
        let start: u64 = manifest.parts[..at].iter().map(|(_, size)| size).sum();
        Some((
            start..start + size,
            u16::try_from(manifest.parts.len()).unwrap_or(u16::MAX),
        ))
    }
}
