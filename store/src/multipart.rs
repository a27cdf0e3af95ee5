//! Multipart uploads: begin, parts, complete, abort, and what is listed of them.

use std::ops::Range;

use metadata::command::{Command, CompletedPart, Condition};
use metadata::ids::MultipartId;
use metadata::model::{
    Attributes, Body as BodyPlace, Checksum, ChecksumAlgorithm, ChecksumKind, Key, ObjectRow, PartRow, UploadRow,
};
use metadata::query::{Found, Query};
use metadata::reply::Done;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::copy::CopySource;
use crate::error::StoreError;
use crate::object::ObjectHead;
use crate::request::{Body, Finish};
use crate::store::{Store, unexpected};

/// What the object of an upload will carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUpload {
    /// Standard headers, lower-case names.
    pub attributes: Attributes,
    /// User metadata.
    pub user: Attributes,
    /// Tags.
    pub tags: Attributes,
    /// The checksum every part shall have, and whether the object's covers its bytes or its parts' checksums.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// Everything about a part but its bytes.
pub struct PutPart {
    /// Declared length in bytes.
    pub length: Option<u64>,
    /// Digests to compute beside MD5 and the upload's own algorithm.
    pub digests: Vec<ChecksumAlgorithm>,
    /// The edge's last word. When it keeps no checksum, the upload's own is kept.
    pub finish: Finish,
}

/// What a part became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOutcome {
    /// MD5 of its bytes: its entity tag.
    pub md5: [u8; 16],
    /// Length in bytes.
    pub size: u64,
    /// The checksum that is kept.
    pub checksum: Option<Checksum>,
    /// Time of the commit, milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

/// What Complete made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteOutcome {
    /// The object's row. Its version id is told to the client unless it is the null version.
    pub object: ObjectRow,
}

impl Store {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when it is being deleted.
    pub async fn create_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        new: NewUpload,
    ) -> Result<MultipartId, StoreError> {
        let upload = MultipartId::new(self.inner.clock.now_ms(), self.inner.dice.u128());
        let NewUpload {
            attributes,
            user,
            tags,
            checksum,
        } = new;
        let owner = cx.project.clone();
        let bucket_id = bucket.info.id;
        let command = Command::CreateUpload {
            bucket: bucket_id,
            key,
            upload,
            owner,
            attributes,
            user,
            tags,
            checksum,
        };
        match self.propose(cx, bucket.info.shard, command).await? {
            Done::UploadCreated(id) => Ok(id),
            _ => Err(unexpected("CreateUpload")),
        }
    }

    /// Stores one part; the last one committed under a number wins.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], else as [`Store::put_object`].
    #[allow(
        clippy::too_many_arguments,
        reason = "the names of a part are its bucket, key, upload and number"
    )]
    pub async fn put_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        upload: MultipartId,
        number: u16,
        put: PutPart,
        body: Body,
    ) -> Result<PartOutcome, StoreError> {
        let _ = (cx, bucket, key, upload, number, put, body);
        Err(StoreError::Unavailable("not built".into()))
    }

    /// Stores one part out of the bytes of another object; `None` copies all of it.
    ///
    /// # Errors
    /// [`StoreError::InvalidRange`] when the range is not within the source; those of reading and of
    /// [`Self::put_part`].
    #[allow(
        clippy::too_many_arguments,
        reason = "the names of a part are its bucket, key, upload and number"
    )]
    pub async fn copy_part(
        &self,
        cx: &RequestContext,
        from: CopySource,
        range: Option<Range<u64>>,
        bucket: &Bucket,
        key: Key,
        upload: MultipartId,
        number: u16,
    ) -> Result<PartOutcome, StoreError> {
        let _ = (cx, from, range, bucket, key, upload, number);
        Err(StoreError::Unavailable("not built".into()))
    }

    /// Makes the object of the named parts. `expected` is the checksum the client says the object has.
    ///
    /// # Errors
    /// [`StoreError::InvalidPart`], [`StoreError::InvalidPartOrder`], [`StoreError::EntityTooSmall`],
    /// [`StoreError::BadDigest`], [`StoreError::PreconditionFailed`], [`StoreError::NoSuchUpload`].
    #[allow(
        clippy::too_many_arguments,
        reason = "Complete names an upload, its parts and two expectations"
    )]
    pub async fn complete_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        upload: MultipartId,
        parts: Vec<CompletedPart>,
        condition: Condition,
        expected: Option<Checksum>,
    ) -> Result<CompleteOutcome, StoreError> {
        let _ = (cx, bucket, key, upload, parts, condition, expected);
        Err(StoreError::Unavailable("not built".into()))
    }

    /// Ends an upload and gives up its parts.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn abort_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        upload: MultipartId,
    ) -> Result<(), StoreError> {
        let command = Command::AbortUpload {
            bucket: bucket.info.id,
            key,
            upload,
        };
        self.propose(cx, bucket.info.shard, command).await.map(drop)
    }

    /// One open or lately completed upload.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        upload: MultipartId,
    ) -> Result<UploadRow, StoreError> {
        let query = Query::GetUpload {
            bucket: bucket.info.id,
            key: key.to_vec(),
            upload,
        };
        match self.query(cx, bucket.info.shard, query).await? {
            Found::Upload(row) => Ok(*row),
            _ => Err(unexpected("GetUpload")),
        }
    }

    /// An upload and a page of its parts with numbers above `after`; true when there are more.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn list_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        upload: MultipartId,
        after: u16,
        limit: usize,
    ) -> Result<(UploadRow, Vec<PartRow>, bool), StoreError> {
        let row = self.upload(cx, bucket, key, upload).await?;
        let (parts, more) = self.parts_page(cx, bucket, upload, after, limit).await?;
        Ok((row, parts, more))
    }

    /// A page of the parts of a complete multipart object with numbers above `after`, and their total number. Empty for
    /// an object that was put whole.
    ///
    /// # Errors
    /// When the shard is not available.
    pub async fn object_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        head: &ObjectHead,
        after: u16,
        limit: usize,
    ) -> Result<(Vec<PartRow>, u16), StoreError> {
        let BodyPlace::Manifest(upload) = head.object.body else {
            return Ok((Vec::new(), 0));
        };
        let (parts, _) = self.parts_page(cx, bucket, upload, after, limit).await?;
        Ok((parts, head.object.etag.parts))
    }

    pub(crate) async fn parts_page(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        upload: MultipartId,
        after: u16,
        limit: usize,
    ) -> Result<(Vec<PartRow>, bool), StoreError> {
        let query = Query::Parts {
            upload,
            after,
            limit: limit.saturating_add(1),
        };
        match self.query(cx, bucket.info.shard, query).await? {
            Found::Parts(mut parts) => {
                let more = parts.len() > limit;
                parts.truncate(limit);
                Ok((parts, more))
            }
            _ => Err(unexpected("Parts")),
        }
    }
}
