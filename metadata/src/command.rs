//! Everything that can change a shard.
//!
//! ```text
//! Raft entry = version (1 byte, BATCH_FORMAT) | postcard(Batch)
//! ```
//! A new kind of command goes at the end of [`Command`], because postcard numbers variants, and is proposed only after
//! all members of the shard report support (DESIGN §3.6).
// The fields of a command are named like the model types they carry; a doc line each would repeat the name.
#![allow(missing_docs)]

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{BucketId, DeviceId, MultipartId, RequestId, Seq, WriteId};
use crate::model::{
    Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Key, PolicyId, ProjectId, Stored, VersionSelector,
    Versioning,
};

/// The format version of an encoded [`Batch`].
pub const BATCH_FORMAT: u8 = 1;

/// What one Raft entry carries: commands of many clients, applied in order, with the leader's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The leader's wall clock in milliseconds; `apply` uses max(stamp, shard time).
    pub stamp_ms: u64,
    /// The commands, each answered by one reply.
    pub commands: Vec<Envelope>,
}

/// A command and the request that sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// A repeat under the same id gets the first reply and changes nothing.
    pub request: RequestId,
    /// What to do.
    pub command: Command,
}

/// What must hold of the key's latest version for a write to happen, decided inside `apply` (CON-1).
/// A key whose latest version is a delete marker counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// `If-None-Match: *`: the key is absent.
    Absent,
    /// `If-Match: *`: the key is present.
    Present,
    /// `If-Match: etag[, etag]`: the key is present with one of these tags.
    ETagIn(Vec<ETag>),
    /// `If-None-Match: etag[, etag]`: the key is absent or has another tag.
    ETagNotIn(Vec<ETag>),
    /// The write was made elsewhere at this time, in milliseconds since the Unix epoch, and takes it (container sync):
    /// the key is absent or older, and was not deleted since.
    WrittenAt(u64),
}

/// An object's new bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewBody {
    /// Up to [`crate::INLINE_BYTES_MAX`] bytes, kept in the shard.
    Inline(Bytes),
    /// Already stored as blobs.
    Stored(Stored),
}

/// An object about to become a key's newest version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewObject {
    /// Its bytes.
    pub body: NewBody,
    /// Entity tag.
    pub etag: ETag,
    /// The verified checksum to keep.
    pub checksum: Option<Checksum>,
    /// Who writes.
    pub owner: ProjectId,
    /// Standard headers.
    pub attributes: Attributes,
    /// User metadata.
    pub user: Attributes,
    /// Tags.
    pub tags: Attributes,
}

/// What a copy changes on the way; `None` keeps the source's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyChanges {
    /// New standard headers and user metadata (`x-amz-metadata-directive: REPLACE`).
    pub metadata: Option<(Attributes, Attributes)>,
    /// New tags (`x-amz-tagging-directive: REPLACE`).
    pub tags: Option<Attributes>,
}

/// A part named by Complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedPart {
    /// Its number.
    pub number: u16,
    /// The MD5 the client believes it has.
    pub md5: [u8; 16],
    /// The checksum the client believes it has.
    pub checksum: Option<Vec<u8>>,
}

/// A change of one shard. The first group is for key shards, the second for the system shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes `object` the newest version of the key.
    PutObject {
        bucket: BucketId,
        key: Key,
        condition: Condition,
        object: NewObject,
    },
    /// Deletes a key's latest version (or adds a marker, by the bucket's versioning), or one version by id.
    /// The condition is checked against the latest version, or against the named one.
    DeleteObject {
        bucket: BucketId,
        key: Key,
        version: VersionSelector,
        condition: Condition,
        owner: ProjectId,
    },
    /// Copies inside this shard without moving bytes: blobs are shared, inline bytes duplicated.
    /// `source_condition` is checked against the source version in the same step.
    CopyObject {
        source_bucket: BucketId,
        source_key: Key,
        source_version: VersionSelector,
        source_condition: Condition,
        bucket: BucketId,
        key: Key,
        condition: Condition,
        changes: CopyChanges,
        owner: ProjectId,
    },
    /// Replaces the tags of one version.
    SetTags {
        bucket: BucketId,
        key: Key,
        version: VersionSelector,
        tags: Attributes,
    },
    /// Replaces the user metadata and standard headers of the latest version, without a new version (Swift POST).
    SetMetadata {
        bucket: BucketId,
        key: Key,
        attributes: Attributes,
        user: Attributes,
    },
    /// Begins a multipart upload.
    CreateUpload {
        bucket: BucketId,
        key: Key,
        upload: MultipartId,
        owner: ProjectId,
        attributes: Attributes,
        user: Attributes,
        tags: Attributes,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    },
    /// Commits one part's bytes; replaces what was committed under the number before.
    CommitPart {
        bucket: BucketId,
        key: Key,
        upload: MultipartId,
        number: u16,
        stored: Stored,
        md5: [u8; 16],
        checksum: Option<Checksum>,
    },
    /// Makes the object of the named parts. The checks AWS makes are made here: parts in order, present, tags equal,
    /// every part but the last at least `part_bytes_min`. `checksum` is the full-object checksum the client expects,
    /// or, for [`ChecksumKind::Composite`], is computed by the caller and kept as given.
    CompleteUpload {
        bucket: BucketId,
        key: Key,
        upload: MultipartId,
        parts: Vec<CompletedPart>,
        condition: Condition,
        part_bytes_min: u64,
        checksum: Option<Checksum>,
        owner: ProjectId,
    },
    /// Ends an upload; its parts go to reclaim.
    AbortUpload {
        bucket: BucketId,
        key: Key,
        upload: MultipartId,
    },
    /// Sets the versioning state. `Off` is refused once versioning was on.
    SetVersioning { bucket: BucketId, versioning: Versioning },
    /// Sets or removes one of the bucket's documents.
    SetDocument {
        bucket: BucketId,
        name: String,
        document: Option<Bytes>,
    },
    /// Seals the bucket if it holds no version, marker or open upload.
    SealBucket { bucket: BucketId },
    /// Undoes a seal (the deletion was given up).
    UnsealBucket { bucket: BucketId },
    /// Declares that these streams will never be committed; those with references are left alone (DUR-3).
    Condemn { writes: Vec<WriteId> },
    /// Notes chunks that were found to lack copies.
    MarkShort {
        write: WriteId,
        first: u32,
        count: u32,
        devices: Vec<DeviceId>,
    },
    /// Notes that chunks have all their copies again, on these devices.
    ClearShort { write: WriteId, first: u32, count: u32 },
    /// Drops reclaim entries whose blobs were removed from every device.
    Reclaimed { entries: Vec<ReclaimKey> },
    /// Moves shard time forward, drops what is past its window; the leader sends it when idle.
    Tick,

    /// Takes a name in a project and, when `global`, the global S3 name, and picks the key shard with the fewest
    /// buckets among `1..=key_shards`.
    CreateBucket {
        project: ProjectId,
        name: String,
        global: bool,
        key_shards: u64,
    },
    /// First step of a deletion: no new requests see the bucket.
    BeginDeleteBucket { id: BucketId },
    /// The key shard would not seal: the bucket is active again.
    CancelDeleteBucket { id: BucketId },
    /// The key shard sealed: the names are free.
    FinishDeleteBucket { id: BucketId },
    /// Writes a record if it stands as `expect` says.
    PutRecord {
        table: String,
        key: String,
        expect: RecordCondition,
        value: Bytes,
    },
    /// Removes a record if it stands as `expect` says.
    DeleteRecord {
        table: String,
        key: String,
        expect: RecordCondition,
    },

    /// Key shards: from this entry on, a commit whose stream was placed by an older ring than `ring_version` is refused
    /// (DESIGN §3.4), so that an older ring can be retired. A fence never goes down.
    RaiseFence { policy: PolicyId, ring_version: u64 },

    /// Replaces the user metadata and standard headers of the latest version, without a new version (Swift POST). Old
    /// headers named by `kept` stay unless `attributes` gives them anew; a name that ends with `/` keeps all that begin
    /// with it. So a POST that races with a PUT never mixes two objects.
    PostObject {
        bucket: BucketId,
        key: Key,
        attributes: Attributes,
        user: Attributes,
        kept: Vec<String>,
    },
    /// Sets or removes one of the bucket's documents if it still is `expect` (`None`: there is none).
    SwapDocument {
        bucket: BucketId,
        name: String,
        expect: Option<Bytes>,
        document: Option<Bytes>,
    },
    /// Deletes the latest version, by the bucket's versioning, if it is an object with exactly this standard header.
    DeleteMarked {
        bucket: BucketId,
        key: Key,
        attribute: (String, String),
        owner: ProjectId,
    },
    /// As [`Command::CreateBucket`], for a bucket whose objects another policy than the default one stores.
    CreateBucketUnder {
        project: ProjectId,
        name: String,
        global: bool,
        key_shards: u64,
        policy: PolicyId,
    },
    /// Puts keys into the queue of a bucket that notes its changes, behind what is there; those that wait already keep
    /// their place.
    NoteChanges { bucket: BucketId, keys: Vec<Key> },
    /// Drops changes that were looked at; a key that changed since stands elsewhere and stays.
    ForgetChanges { bucket: BucketId, changes: Vec<Seq> },
}

/// A stream waiting for its blobs to be removed: since when, and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReclaimKey {
    /// Shard time of its last reference's end.
    pub since_ms: u64,
    /// The stream.
    pub write: WriteId,
}

/// What must hold of a record for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordCondition {
    /// Nothing.
    Any,
    /// There is none.
    Absent,
    /// It has this version.
    Version(u64),
}

impl Command {
    /// True for a command that only the system shard executes.
    #[must_use]
    pub fn is_system(&self) -> bool {
        matches!(
            self,
            Self::CreateBucket { .. }
                | Self::CreateBucketUnder { .. }
                | Self::BeginDeleteBucket { .. }
                | Self::CancelDeleteBucket { .. }
                | Self::FinishDeleteBucket { .. }
                | Self::PutRecord { .. }
                | Self::DeleteRecord { .. }
        )
    }
}
