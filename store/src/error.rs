//! What can go wrong, and what the caller does next.

use metadata::ids::Seq;
use metadata::reply::Refusal;
use storage_node::client::PlaneError;

use crate::request::{BodyError, Rejected};

/// Why an operation did not happen. Closed on purpose: every variant has one line in each edge's table of codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No bucket of that name is visible to the project.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The key has no current object, and no version at all or none that matters.
    #[error("no such key")]
    NoSuchKey,
    /// The key has no version with that id.
    #[error("no such version")]
    NoSuchVersion,
    /// What was asked for is a delete marker: the key's newest version (`latest` asked for: 404) or the version named
    /// (405).
    #[error("the version is a delete marker")]
    DeleteMarker {
        /// The marker's place.
        seq: Seq,
        /// True when it is the null version.
        null: bool,
        /// When it was made, in milliseconds since the Unix epoch; known when the version was named.
        modified_ms: Option<u64>,
        /// True when the newest version was asked for, false when this version was named.
        latest: bool,
    },
    /// The upload was never made, was completed or was aborted.
    #[error("no such upload")]
    NoSuchUpload,
    /// The condition did not hold.
    #[error("the precondition does not hold")]
    PreconditionFailed,
    /// The bucket's name belongs to another project.
    #[error("the bucket name is taken")]
    BucketTaken,
    /// The bucket holds something.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The bucket of that name is being deleted; ask again in a moment.
    #[error("the bucket is being deleted")]
    BucketBusy,
    /// A part named by Complete was not committed, or under another tag or checksum.
    #[error("part {0} is missing or differs")]
    InvalidPart(u16),
    /// Complete's parts are not in ascending order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is too small.
    #[error("part {number} has {size} bytes, less than the minimum")]
    EntityTooSmall {
        /// Its number.
        number: u16,
        /// Its length in bytes.
        size: u64,
    },
    /// The body is longer than one request may carry.
    #[error("the body is too large")]
    EntityTooLarge,
    /// The checksum expected at Complete differs from the parts' bytes.
    #[error("the checksum differs")]
    BadDigest,
    /// The request breaks a rule that no state can cure.
    #[error("the request is invalid: {0}")]
    InvalidRequest(String),
    /// A range reaches beyond the source's end.
    #[error("the range is not within the object")]
    InvalidRange,
    /// The request does not fit the state of the bucket or upload.
    #[error("the state does not allow it: {0}")]
    InvalidState(String),
    /// The body was shorter or longer than declared; nothing was stored.
    #[error("the body is not as long as declared")]
    IncompleteBody,
    /// The edge refused the body at its end; nothing was stored.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The client's body failed; nothing was stored.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A record stands otherwise than expected; its version now, 0 = absent.
    #[error("the record has version {version}")]
    RecordConflict {
        /// Its version now.
        version: u64,
    },
    /// Memory or a queue is at its limit; come back later. Nothing was done.
    #[error("the limit of work in progress is reached")]
    SlowDown,
    /// No quorum could be reached in time. A change may have happened or not, unless the text says otherwise.
    #[error("not available: {0}")]
    Unavailable(String),
    /// No good copy of some bytes is left; they are listed for the operator.
    #[error("no good copy of the bytes is left")]
    Lost,
    /// A rule of ours is broken: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Whose fault it is and whether a repeat helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// What was asked for is not there.
    Absent,
    /// The request is wrong; a repeat fails again.
    Refused,
    /// Somebody else was first, or the state is another.
    Conflict,
    /// The same request may succeed later.
    Later,
    /// Bytes are lost.
    Lost,
    /// A bug of ours.
    Bug,
}

impl Class {
    /// Its name as a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Later => "later",
            Self::Lost => "lost",
            Self::Bug => "bug",
        }
    }
}

impl StoreError {
    /// What the caller may do next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchBucket
            | Self::NoSuchKey
            | Self::NoSuchVersion
            | Self::DeleteMarker { .. }
            | Self::NoSuchUpload => Class::Absent,
            Self::InvalidPart(_)
            | Self::InvalidPartOrder
            | Self::EntityTooSmall { .. }
            | Self::EntityTooLarge
            | Self::BadDigest
            | Self::InvalidRange
            | Self::InvalidRequest(_)
            | Self::IncompleteBody
            | Self::Rejected(_)
            | Self::Body(_) => Class::Refused,
            Self::PreconditionFailed
            | Self::BucketTaken
            | Self::BucketNotEmpty
            | Self::BucketBusy
            | Self::InvalidState(_)
            | Self::RecordConflict { .. } => Class::Conflict,
            Self::SlowDown | Self::Unavailable(_) => Class::Later,
            Self::Lost => Class::Lost,
            Self::Internal(_) => Class::Bug,
        }
    }
}

impl From<PlaneError> for StoreError {
    fn from(error: PlaneError) -> Self {
        match error {
            PlaneError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            PlaneError::Busy { .. } => Self::SlowDown,
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::PreconditionFailed => Self::PreconditionFailed,
            Refusal::NoSuchKey => Self::NoSuchKey,
            Refusal::NoSuchVersion => Self::NoSuchVersion,
            Refusal::Deleted { marker, null } => Self::DeleteMarker {
                seq: marker,
                null,
                modified_ms: None,
                latest: true,
            },
            // Answered to reads of a named version; `Store::object` adds what is known of the marker.
            Refusal::IsDeleteMarker => Self::NoSuchVersion,
            Refusal::NoSuchUpload => Self::NoSuchUpload,
            Refusal::InvalidPart(number) => Self::InvalidPart(number),
            Refusal::InvalidPartOrder => Self::InvalidPartOrder,
            Refusal::EntityTooSmall { number, size } => Self::EntityTooSmall { number, size },
            Refusal::BadDigest => Self::BadDigest,
            Refusal::NoSuchBucket => Self::NoSuchBucket,
            Refusal::BucketNotEmpty => Self::BucketNotEmpty,
            Refusal::BucketTaken => Self::BucketTaken,
            Refusal::BucketBusy => Self::BucketBusy,
            Refusal::InvalidBucketState(why) => Self::InvalidState(why),
            Refusal::RecordConflict { version } => Self::RecordConflict { version },
            // The bytes were collected because the upload took longer than the orphans' grace period; or the sender's
            // clock is far behind. Both are cured by sending the request again.
            // A ring that was retired while the copies could not be placed again in time: as well.
            Refusal::Condemned | Refusal::TooOld | Refusal::RingRetired { .. } => {
                Self::Unavailable(refusal.to_string())
            }
            Refusal::Invalid(why) => Self::Internal(why),
        }
    }
}
