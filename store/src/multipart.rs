//! Multipart uploads: begin, parts, complete, abort, and what is listed of them.

use std::ops::Range;

use metadata::PARTS_MAX;
use metadata::command::{Command, CompletedPart, Condition};
use metadata::ids::MultipartId;
use metadata::model::{
    Attributes, Body as BodyPlace, Checksum, ChecksumAlgorithm, ChecksumKind, Key, ObjectRow, PartRow, UploadRow,
    UploadState,
};
use metadata::query::{Found, Query};
use metadata::reply::Done;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::copy::{CopySource, full_object};
use crate::cutter::Input;
use crate::digest;
use crate::error::StoreError;
use crate::object::ObjectHead;
use crate::request::{Body, Digests, Finish};
use crate::store::{Store, unexpected};
use crate::write::{BodySpec, Place, Written};

/// Part rows fetched at once for a checksum.
const PARTS_PAGE: usize = 1000;

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
        match self.change(cx, bucket, command).await? {
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
        let checksum = self.open_upload(cx, bucket, &key, upload, number).await?;
        let mut digests = put.digests;
        digests.extend(checksum);
        let spec = BodySpec {
            length: put.length,
            digests,
            inline_max: None,
        };
        let written = self.write_body(bucket, &spec, Input::Client(body)).await?;
        let kept = match (put.finish)(&written.digests)? {
            Some(kept) if checksum.is_some_and(|algorithm| algorithm != kept.algorithm) => {
                return Err(StoreError::InvalidRequest(
                    "the part's checksum is not of the upload's algorithm".into(),
                ));
            }
            Some(kept) => Some(kept),
            None => checksum.and_then(|algorithm| full_object(&written.digests, algorithm)),
        };
        self.commit_part(cx, bucket, key, upload, number, kept, written).await
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
        let checksum = self.open_upload(cx, bucket, &key, upload, number).await?;
        let source = self.open_source(cx, &from).await?;
        let range = range.unwrap_or(0..source.head.object.size);
        if range.end > source.head.object.size || range.start > range.end {
            return Err(StoreError::InvalidRange);
        }
        let length = Some(range.end - range.start);
        let spec = BodySpec {
            length,
            digests: checksum.into_iter().collect(),
            inline_max: None,
        };
        let written = self.write_body(bucket, &spec, Input::Copy(source.read(range))).await?;
        let kept = checksum.and_then(|algorithm| full_object(&written.digests, algorithm));
        self.commit_part(cx, bucket, key, upload, number, kept, written).await
    }

    /// The upload must be open before a byte of a part is taken. Answers the checksum its parts carry.
    async fn open_upload(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        upload: MultipartId,
        number: u16,
    ) -> Result<Option<ChecksumAlgorithm>, StoreError> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(StoreError::InvalidRequest(format!("a part number is 1 to {PARTS_MAX}")));
        }
        let row = self.upload(cx, bucket, key, upload).await?;
        if row.state != UploadState::Open {
            return Err(StoreError::NoSuchUpload);
        }
        Ok(row.checksum.map(|(algorithm, _)| algorithm))
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the names of a part are its bucket, key, upload and number"
    )]
    async fn commit_part(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: Key,
        upload: MultipartId,
        number: u16,
        checksum: Option<Checksum>,
        written: Written,
    ) -> Result<PartOutcome, StoreError> {
        let Digests { md5, size, .. } = written.digests;
        let Place::Stored(stored, unfinished) = written.place else {
            return Err(unexpected("a part"));
        };
        let bucket_id = bucket.info.id;
        let kept = checksum.clone();
        let command = Command::CommitPart {
            bucket: bucket_id,
            key,
            upload,
            number,
            stored,
            md5,
            checksum: kept,
        };
        match self.commit(cx, bucket, command, unfinished).await? {
            Done::PartCommitted { modified_ms } => Ok(PartOutcome {
                md5,
                size,
                checksum,
                modified_ms,
            }),
            _ => Err(unexpected("CommitPart")),
        }
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
        if parts.is_empty() || parts.len() > usize::from(PARTS_MAX) {
            return Err(StoreError::InvalidRequest(format!(
                "an object is made of 1 to {PARTS_MAX} parts"
            )));
        }
        let row = self.upload(cx, bucket, &key, upload).await?;
        // A completed upload answers from its row, and its parts may be gone with the object.
        let checksum = match row.state {
            UploadState::Open => self.checksum_of_parts(cx, bucket, &row, &parts, expected).await?,
            UploadState::Completed { .. } => None,
        };
        let command = Command::CompleteUpload {
            bucket: bucket.info.id,
            key,
            upload,
            parts,
            condition,
            part_bytes_min: self.inner.options.part_bytes_min,
            checksum,
            owner: cx.project.clone(),
        };
        match self.change(cx, bucket, command).await? {
            Done::Completed(object) => Ok(CompleteOutcome { object: *object }),
            _ => Err(unexpected("CompleteUpload")),
        }
    }

    /// The checksum of the object that the named parts make: of the upload's kind, or of the kind the client expects.
    /// A part that is replaced before the commit has another tag, which the commit refuses.
    async fn checksum_of_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        upload: &UploadRow,
        named: &[CompletedPart],
        expected: Option<Checksum>,
    ) -> Result<Option<Checksum>, StoreError> {
        let wanted = expected.as_ref().map(|expected| (expected.algorithm, expected.kind));
        let Some((algorithm, kind)) = upload.checksum.or(wanted) else {
            return Ok(None);
        };
        if wanted.is_some_and(|wanted| wanted != (algorithm, kind)) {
            return Err(StoreError::InvalidRequest(
                "the checksum is not of the upload's algorithm and type".into(),
            ));
        }
        if kind == ChecksumKind::Composite && named.iter().any(|part| part.checksum.is_none()) {
            return Err(StoreError::InvalidRequest(
                "the request names no checksum for some part".into(),
            ));
        }
        if named.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let rows = self.named_parts(cx, bucket, upload.id, named).await?;
        let checksum = digest::of_parts(algorithm, kind, rows.iter())?;
        match expected {
            Some(expected) if expected.value != checksum.value => Err(StoreError::BadDigest),
            _ => Ok(Some(checksum)),
        }
    }

    /// The rows of the named parts, which are in ascending order.
    async fn named_parts(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        upload: MultipartId,
        named: &[CompletedPart],
    ) -> Result<Vec<PartRow>, StoreError> {
        let mut rows = Vec::with_capacity(named.len());
        let (mut after, mut more) = (0, true);
        let mut named = named.iter().peekable();
        while more && named.peek().is_some() {
            let page;
            (page, more) = self.parts_page(cx, bucket, upload, after, PARTS_PAGE).await?;
            after = page.last().map_or(PARTS_MAX, |part| part.number);
            for part in page {
                if named.next_if(|named| named.number == part.number).is_some() {
                    rows.push(part);
                }
            }
        }
        match named.next() {
            Some(missing) => Err(StoreError::InvalidPart(missing.number)),
            None => Ok(rows),
        }
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
        self.change(cx, bucket, command).await.map(drop)
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
        match self.ask_bucket(cx, bucket, query).await? {
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
        if row.state != UploadState::Open {
            return Err(StoreError::NoSuchUpload);
        }
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
        match self.ask_bucket(cx, bucket, query).await? {
            Found::Parts(mut parts) => {
                let more = parts.len() > limit;
                parts.truncate(limit);
                Ok((parts, more))
            }
            _ => Err(unexpected("Parts")),
        }
    }
}
