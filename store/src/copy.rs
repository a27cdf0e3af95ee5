//! Copies.
use metadata::command::{Condition, CopyChanges};
use metadata::ids::Seq;
use metadata::model::{ChecksumAlgorithm, Key, ObjectRow, VersionSelector};

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::object::PutOutcome;
use crate::store::Store;

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

/// What a copy made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOutcome {
    /// The new version.
    pub put: PutOutcome,
    /// The source's version, where it is known and its bucket is or was versioned: its place, and whether it is the
    /// null version.
    pub source_version: Option<(Seq, bool)>,
}

impl Store {
    /// Copies one version to a key. Inside one shard, and when no other checksum is wanted, no byte moves: the blobs
    /// are shared. Otherwise the bytes are read (verified) and written anew.
    ///
    /// # Errors
    /// Those of reading the source and of [`Store::put_object`]; [`StoreError::PreconditionFailed`] for either
    /// condition; [`StoreError::EntityTooLarge`] when bytes must move and the source is longer than a body may be.
    #[allow(
        clippy::too_many_arguments,
        reason = "a copy has a source, a target, two conditions and changes"
    )]
    pub async fn copy_object(
        &self,
        cx: &RequestContext,
        from: CopySource,
        bucket: &Bucket,
        key: Key,
        condition: Condition,
        changes: CopyChanges,
        checksum: Option<ChecksumAlgorithm>,
    ) -> Result<CopyOutcome, StoreError> {
        let _ = (cx, from, bucket, key, condition, changes, checksum);
        Err(StoreError::Unavailable("not built".into()))
    }
}
