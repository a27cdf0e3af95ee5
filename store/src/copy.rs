//! Copies: inside a shard an entry and no bytes, across shards (or for a new checksum) the bytes anew.

use metadata::apply::check_condition;
use metadata::command::{Command, Condition, CopyChanges};
use metadata::ids::Seq;
use metadata::model::{Checksum, ChecksumAlgorithm, ChecksumKind, Key, VersionSelector};
use metadata::reply::Done;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::cutter::Input;
use crate::error::StoreError;
use crate::object::{AboutObject, ObjectReader, PutOutcome};
use crate::request::Digests;
use crate::store::{Store, unexpected};
use crate::write::BodySpec;

/// What to copy.
#[derive(Clone, Debug)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: Bucket,
    /// Its key.
    pub key: Key,
    /// Which version.
    pub version: VersionSelector,
    /// What must hold of it (`x-amz-copy-source-if-*`).
    pub condition: Condition,
}

/// Where a copy goes, and what must hold there.
#[derive(Clone, Debug)]
pub struct CopyTarget {
    /// Its bucket.
    pub bucket: Bucket,
    /// Its key.
    pub key: Key,
    /// What must hold of the key at the commit.
    pub condition: Condition,
}

/// What a copy made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOutcome {
    /// The new version.
    pub put: PutOutcome,
    /// The source's version: its place, and whether it is the null version. Known when the request named it or bytes
    /// were read, and its bucket is or was versioned.
    pub source_version: Option<(Seq, bool)>,
}

impl Store {
    /// Copies one version to a key. Inside one shard, under one policy, and when no new checksum is wanted, no byte
    /// moves: the blobs are shared. Otherwise the bytes are read (verified) and written anew.
    ///
    /// # Errors
    /// Those of reading the source and of [`Store::put_object`]; [`StoreError::PreconditionFailed`] for either
    /// condition; [`StoreError::EntityTooLarge`] when bytes must move and the source is longer than a body may be.
    pub async fn copy_object(
        &self,
        cx: &RequestContext,
        from: CopySource,
        to: CopyTarget,
        changes: CopyChanges,
        checksum: Option<ChecksumAlgorithm>,
    ) -> Result<CopyOutcome, StoreError> {
        let (source, target) = (&from.bucket.info, &to.bucket.info);
        if source.shard == target.shard && source.policy == target.policy && checksum.is_none() {
            return self.copy_inside_shard(cx, from, to, changes).await;
        }
        let source = self.open_source(cx, &from).await?;
        let row = source.head.object.clone();
        let source_version = source.head.versioned.then_some((row.seq, row.null));
        let algorithm = checksum.or(row.checksum.as_ref().map(|checksum| checksum.algorithm));
        let digests = algorithm.into_iter().collect();
        let spec = BodySpec {
            length: Some(row.size),
            digests,
            inline_max: Some(self.inline_bytes_max()),
        };
        let input = Input::Copy(source.read(0..row.size));
        let written = self.write_body(&to.bucket, &spec, input).await?;
        let (attributes, user) = changes.metadata.unwrap_or((row.attributes, row.user));
        let tags = changes.tags.unwrap_or(row.tags);
        let checksum = algorithm.and_then(|algorithm| full_object(&written.digests, algorithm));
        let about = AboutObject {
            attributes,
            user,
            tags,
            checksum,
        };
        let put = self
            .commit_object(cx, &to.bucket, to.key, to.condition, about, written)
            .await?;
        Ok(CopyOutcome { put, source_version })
    }

    async fn copy_inside_shard(
        &self,
        cx: &RequestContext,
        from: CopySource,
        to: CopyTarget,
        changes: CopyChanges,
    ) -> Result<CopyOutcome, StoreError> {
        let source_version = match from.version {
            VersionSelector::Id(seq) => Some((seq, false)),
            VersionSelector::Latest | VersionSelector::Null => None,
        };
        let command = Command::CopyObject {
            source_bucket: from.bucket.info.id,
            source_key: from.key,
            source_version: from.version,
            source_condition: from.condition,
            bucket: to.bucket.info.id,
            key: to.key,
            condition: to.condition,
            changes,
            owner: cx.project.clone(),
        };
        let Done::Put(done) = self.change(cx, &to.bucket, command).await? else {
            return Err(unexpected("CopyObject"));
        };
        let row = done.copied.ok_or_else(|| unexpected("CopyObject"))?;
        let put = PutOutcome {
            seq: done.seq,
            null: done.null,
            versioned: done.versioned,
            modified_ms: done.modified_ms,
            size: row.size,
            etag: row.etag,
            checksum: row.checksum,
        };
        Ok(CopyOutcome { put, source_version })
    }

    /// Opens the source of a copy whose bytes move, if its condition holds.
    pub(crate) async fn open_source(&self, cx: &RequestContext, from: &CopySource) -> Result<ObjectReader, StoreError> {
        let source = self.open_object(cx, &from.bucket, &from.key, from.version).await?;
        check_condition(&from.condition, Some(&source.head.object.etag))?;
        Ok(source)
    }
}

/// The checksum of all bytes of a body.
pub(crate) fn full_object(digests: &Digests, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
    let value = digests.checksum(algorithm)?.to_vec();
    Some(Checksum {
        algorithm,
        kind: ChecksumKind::FullObject,
        value,
    })
}
