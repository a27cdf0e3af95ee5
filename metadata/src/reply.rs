//! What a command answers.
// The fields of a reply are named like the model types they carry; a doc line each would repeat the name.
#![allow(missing_docs)]

use serde::{Deserialize, Serialize};

use crate::ids::{MultipartId, Seq, WriteId};
use crate::model::{BucketInfo, ObjectRow};

/// A command's answer: done, or refused with nothing changed.
pub type Reply = Result<Done, Refusal>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Done, and there is nothing to tell.
    Ok,
    /// An object became the newest version.
    Put(PutDone),
    /// A key or version was deleted, or a marker added.
    Deleted(DeleteDone),
    /// The upload began.
    UploadCreated(MultipartId),
    /// The part was committed at this shard time.
    PartCommitted { modified_ms: u64 },
    /// The upload became this object (again, for a repeat).
    Completed(Box<ObjectRow>),
    /// The bucket was made, or was the caller's already.
    Bucket { info: BucketInfo, created: bool },
    /// Which of the asked streams are condemned now; the others have references.
    Condemned(Vec<WriteId>),
    /// The record's version now.
    Record { version: u64 },
}

/// Answer to a put or a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutDone {
    /// The new version's place.
    pub seq: Seq,
    /// True when it is the null version.
    pub null: bool,
    /// True when the bucket is or was versioned, so that the client is told a version id.
    pub versioned: bool,
    /// Shard time of the commit.
    pub modified_ms: u64,
    /// The object's row, for a copy (the caller answers its tag and checksum).
    pub copied: Option<Box<ObjectRow>>,
}

/// Answer to a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteDone {
    /// The version removed, or the marker added; `None` when there was nothing to do.
    pub version: Option<(Seq, bool)>,
    /// True when a marker was added, or the removed version was a marker.
    pub marker: bool,
    /// True when the bucket is or was versioned.
    pub versioned: bool,
}

/// Why nothing was changed. Each has one meaning for the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The condition did not hold (412).
    #[error("the precondition does not hold")]
    PreconditionFailed,
    /// The key (or the version, for a request by version id) does not exist (404).
    #[error("no such key")]
    NoSuchKey,
    /// There is no such version (404).
    #[error("no such version")]
    NoSuchVersion,
    /// The key's latest version is this delete marker, so the key is absent; answered to requests that name no version
    /// (404 NoSuchKey with `x-amz-delete-marker: true` and the marker's version id).
    #[error("the key was deleted")]
    Deleted { marker: Seq, null: bool },
    /// The version named is a delete marker (405).
    #[error("the version is a delete marker")]
    IsDeleteMarker,
    /// The upload was never made, was completed, or was aborted (404).
    #[error("no such upload")]
    NoSuchUpload,
    /// A part named by Complete was not committed, or under another tag (400).
    #[error("part {0} is missing or has another entity tag")]
    InvalidPart(u16),
    /// Complete's parts are not in ascending order (400).
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is too small (400).
    #[error("part {number} has {size} bytes, less than the minimum")]
    EntityTooSmall { number: u16, size: u64 },
    /// The checksum expected at Complete differs (400).
    #[error("the checksum differs")]
    BadDigest,
    /// The bucket is sealed (deleted, 404).
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket holds something (409).
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The name belongs to another project (409).
    #[error("the bucket name is taken")]
    BucketTaken,
    /// The bucket of that name is being deleted; ask again in a moment (409 OperationAborted).
    #[error("the bucket is being deleted")]
    BucketBusy,
    /// The request does not fit the bucket's state (409).
    #[error("the bucket's state does not allow it: {0}")]
    InvalidBucketState(String),
    /// The stream was condemned: its blobs may be gone. The bytes must be sent again.
    #[error("the upload took too long and its bytes were collected")]
    Condemned,
    /// A record stands otherwise than expected; its version now, 0 = absent.
    #[error("the record has version {version}")]
    RecordConflict { version: u64 },
    /// The command is older than the window in which repeats are known; it was not executed.
    #[error("the request is too old")]
    TooOld,
    /// The command was sent to a shard that does not execute it, or breaks a rule that callers check first.
    #[error("the command is invalid: {0}")]
    Invalid(String),
    /// The stream was placed by a ring that is retired: its copies must be placed again by one of at least this version
    /// (DESIGN §3.4). Nothing was changed, and the same stream may be committed under a fresh request id.
    #[error("the ring that placed the copies is retired: version {fence} or newer is needed")]
    RingRetired { fence: u64 },
}
