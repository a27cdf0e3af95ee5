//! The things a shard's rows describe.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{BucketId, DeviceId, MultipartId, Seq, ShardId, WriteId};

/// An object's key: flat bytes, 1 to [`crate::KEY_BYTES_MAX`]; never a path (KEY-1). Edges check that it is UTF-8.
pub type Key = Vec<u8>;

/// A project's id as identity gives it; opaque here.
pub type ProjectId = String;

/// Names and values an edge gave, in its order: opaque here.
pub type Attributes = Vec<(String, String)>;

/// A storage policy (one ring each). 0 is the default policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyId(pub u16);

/// An entity tag as AWS computes it: the MD5 of the bytes, or the MD5 of the parts' MD5s and the number of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag {
    /// The 16 bytes of the digest.
    pub md5: [u8; 16],
    /// The number of parts of a multipart object; 0 for an object put in one request.
    pub parts: u16,
}

/// A checksum algorithm of the S3 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// Whether a multipart object's checksum covers its bytes or the parts' checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Over all bytes of the object.
    FullObject,
    /// Over the concatenated checksums of the parts.
    Composite,
}

/// A checksum that was verified when the bytes came in. `value` is big endian, as S3 shows it in base64.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// How it is computed.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// The digest, big endian.
    pub value: Vec<u8>,
}

/// One stream of bytes stored as blobs: chunk `i` is the blob `(write, i)`, all of `chunk_bytes` but the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The name its blobs carry.
    pub write: WriteId,
    /// Length in bytes; more than [`crate::INLINE_BYTES_MAX`] or part of a multipart upload.
    pub size: u64,
    /// Bytes in every chunk but the last.
    pub chunk_bytes: u32,
    /// Which ring places it.
    pub policy: PolicyId,
    /// Which of the policy's rings placed it: the number the ring got when it was applied (storage-node's
    /// `client::rings`), not its file's own version.
    pub ring_version: u64,
}

impl Stream {
    /// How many blobs the stream has.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.size.div_ceil(u64::from(self.chunk_bytes.max(1)))).unwrap_or(u32::MAX)
    }
}

/// Consecutive chunks of a stream that were confirmed by fewer than all their primaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortChunks {
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// The devices that hold all of them, handoffs included. Empty: no copy is known.
    pub devices: Vec<DeviceId>,
}

/// A stream whose bytes are synced on a write quorum (DUR-1), as named by the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What was stored.
    pub stream: Stream,
    /// Which of its chunks lack copies on their primaries.
    pub short: Vec<ShortChunks>,
}

/// Where an object's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the `inline` family, under the version's own key. Also the empty object.
    Inline,
    /// One stream of blobs.
    Stream(Stream),
    /// The parts of a completed multipart upload, in the `manifests` and `parts` families.
    Manifest(MultipartId),
}

/// One version of one key: what HEAD answers and listings show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Its place among the key's versions.
    pub seq: Seq,
    /// True for the null version (written while versioning was off or suspended); else its version id is `seq`.
    pub null: bool,
    /// Shard time of the commit, milliseconds since the Unix epoch; never goes back within a shard.
    pub modified_ms: u64,
    /// Length in bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// The checksum the client asked for.
    pub checksum: Option<Checksum>,
    /// Where the bytes are.
    pub body: Body,
    /// The project that wrote it.
    pub owner: ProjectId,
    /// Standard headers (content-type, cache-control …), lower-case names.
    pub attributes: Attributes,
    /// The user's metadata, names without the API's prefix.
    pub user: Attributes,
    /// Tags.
    pub tags: Attributes,
}

/// A noncurrent version or a delete marker, as the `versions` family holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionRow {
    /// An object that another version or a marker hides.
    Object(ObjectRow),
    /// A delete marker.
    Marker(MarkerRow),
}

impl VersionRow {
    /// Its place among the key's versions.
    #[must_use]
    pub fn seq(&self) -> Seq {
        match self {
            Self::Object(object) => object.seq,
            Self::Marker(marker) => marker.seq,
        }
    }

    /// True for the null version or null marker.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match self {
            Self::Object(object) => object.null,
            Self::Marker(marker) => marker.null,
        }
    }
}

/// A delete marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkerRow {
    /// Its place among the key's versions.
    pub seq: Seq,
    /// True when it was made while versioning was suspended.
    pub null: bool,
    /// Shard time of its making.
    pub modified_ms: u64,
    /// The project that deleted.
    pub owner: ProjectId,
}

/// Which version of a key a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionSelector {
    /// The newest.
    Latest,
    /// The null version.
    Null,
    /// The version with this id.
    Id(Seq),
}

/// A bucket's versioning state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never enabled.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Writes replace the null version; older versions stay.
    Suspended,
}

/// A bucket as its key shard knows it. Absent row = a bucket with the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketConfig {
    /// Set when the bucket is being deleted; every later write is refused.
    pub sealed: bool,
    /// Versioning state.
    pub versioning: Versioning,
    /// Small documents an edge keeps with the bucket (`tagging`, `cors` …), opaque here.
    pub documents: BTreeMap<String, Bytes>,
}

impl BucketConfig {
    /// The document of a bucket that remembers when keys were deleted, and whose times never go back within a key
    /// ([`DELETION_LIFE_MS`](crate::DELETION_LIFE_MS)); its content means nothing here.
    pub const KEEP_DELETIONS: &str = "keep-deletions";
    /// The document of a bucket that notes which keys changed; its content means nothing here.
    pub const NOTE_CHANGES: &str = "note-changes";
}

/// A key whose latest version changed, or is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the queue.
    pub seq: Seq,
    /// Which key.
    pub key: Key,
    /// When it was deleted, in milliseconds since the Unix epoch, if it is.
    pub deleted_ms: Option<u64>,
}

/// Exact counts of a bucket, kept in the batch of every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Keys that a plain listing shows.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Noncurrent versions and delete markers.
    pub noncurrent: u64,
    /// Bytes of the noncurrent versions.
    pub noncurrent_bytes: u64,
    /// Open multipart uploads.
    pub uploads: u64,
}

/// A bucket as the system shard knows it.
///
/// ```text
/// postcard: id | name | project | global | shard | created_ms | 0 active, 1 deleting           the default policy
///                                                             | 2 active, 3 deleting | policy  another one
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenBucket", into = "WrittenBucket")]
pub struct BucketInfo {
    /// Its id.
    pub id: BucketId,
    /// Its name in its project.
    pub name: String,
    /// Whose it is.
    pub project: ProjectId,
    /// True when `name` is also the global S3 name.
    pub global: bool,
    /// The key shard that owns its keys.
    pub shard: ShardId,
    /// Shard time of its birth.
    pub created_ms: u64,
    /// Which policy stores its objects. It never changes.
    pub policy: PolicyId,
    /// Active, or on its way out.
    pub state: BucketState,
}

/// A bucket as it is written: the first two states are all there were before policies.
#[derive(Clone, Serialize, Deserialize)]
struct WrittenBucket {
    id: BucketId,
    name: String,
    project: ProjectId,
    global: bool,
    shard: ShardId,
    created_ms: u64,
    state: WrittenState,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum WrittenState {
    Active,
    Deleting,
    ActiveUnder(PolicyId),
    DeletingUnder(PolicyId),
}

impl From<WrittenBucket> for BucketInfo {
    fn from(written: WrittenBucket) -> Self {
        let (state, policy) = match written.state {
            WrittenState::Active => (BucketState::Active, PolicyId::default()),
            WrittenState::Deleting => (BucketState::Deleting, PolicyId::default()),
            WrittenState::ActiveUnder(policy) => (BucketState::Active, policy),
            WrittenState::DeletingUnder(policy) => (BucketState::Deleting, policy),
        };
        Self {
            id: written.id,
            name: written.name,
            project: written.project,
            global: written.global,
            shard: written.shard,
            created_ms: written.created_ms,
            policy,
            state,
        }
    }
}

impl From<BucketInfo> for WrittenBucket {
    fn from(info: BucketInfo) -> Self {
        let state = match (info.state, info.policy) {
            (BucketState::Active, PolicyId(0)) => WrittenState::Active,
            (BucketState::Deleting, PolicyId(0)) => WrittenState::Deleting,
            (BucketState::Active, policy) => WrittenState::ActiveUnder(policy),
            (BucketState::Deleting, policy) => WrittenState::DeletingUnder(policy),
        };
        Self {
            id: info.id,
            name: info.name,
            project: info.project,
            global: info.global,
            shard: info.shard,
            created_ms: info.created_ms,
            state,
        }
    }
}

/// A bucket's life as the system shard sees it (DESIGN §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketState {
    /// In use.
    Active,
    /// Being deleted: its key shard is asked to seal it, then the name is freed, or the deletion is undone.
    Deleting,
}

/// An open or lately completed multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// Its id.
    pub id: MultipartId,
    /// Shard time of its Create.
    pub created_ms: u64,
    /// The project that began it.
    pub owner: ProjectId,
    /// What the object will carry.
    pub attributes: Attributes,
    /// The user's metadata.
    pub user: Attributes,
    /// Tags.
    pub tags: Attributes,
    /// The checksum asked for at Create.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Open, or what Complete answered.
    pub state: UploadState,
}

/// Where a multipart upload stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    /// Parts are taken.
    Open,
    /// Complete was applied; kept [`crate::COMPLETED_UPLOAD_MS`] so that a repeat gets the same answer.
    Completed {
        /// The object it became.
        object: Box<ObjectRow>,
        /// When.
        at_ms: u64,
    },
}

/// One committed part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// 1 to [`crate::PARTS_MAX`].
    pub number: u16,
    /// Its bytes.
    pub stream: Stream,
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// Its checksum, of its own bytes.
    pub checksum: Option<Checksum>,
    /// Shard time of its commit.
    pub modified_ms: u64,
}

/// The order and sizes of a completed upload's parts, so that a range finds its parts without reading all part rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// How many object versions share it (copies inside one shard).
    pub references: u32,
    /// Part numbers and sizes in bytes, in order.
    pub parts: Vec<(u16, u64)>,
}

/// The proof that a stream's blobs live (DUR-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRow {
    /// How many objects and parts share the stream.
    pub references: u32,
    /// The bucket that first wrote it (a label for operators).
    pub bucket: BucketId,
    /// The stream.
    pub stream: Stream,
}

/// A small record of a service (identity, rings, nodes), kept by the system shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows with every change of the record; 0 never occurs.
    pub version: u64,
    /// The service's own bytes.
    pub value: Bytes,
}
