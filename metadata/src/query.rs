//! Everything that can be asked of a shard. A query is answered from one consistent view of its rows.
// The fields of a query are named like the model types they carry; a doc line each would repeat the name.
#![allow(missing_docs)]

mod answer;
mod changes;
mod fold;
mod objects;
mod streams;
mod system;
mod uploads;
mod versions;

#[cfg(test)]
mod tests;

pub use answer::answer;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::ReclaimKey;
use crate::ids::{BucketId, DeviceId, MultipartId, Seq, WriteId};
use crate::model::{
    BucketConfig, BucketInfo, Change, Key, ManifestRow, MarkerRow, ObjectRow, PartRow, PolicyId, ProjectId, Record,
    RefRow, ShortChunks, Totals, UploadRow, VersionSelector,
};
use crate::reply::Refusal;

/// A question to one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// One version of a key; with its bytes or manifest when `body`.
    GetObject {
        bucket: BucketId,
        key: Key,
        version: VersionSelector,
        body: bool,
    },
    /// Part rows of a manifest or an open upload, numbers above `after`, at most `limit`.
    Parts {
        upload: MultipartId,
        after: u16,
        limit: usize,
    },
    /// A page of current objects.
    ListObjects(ListObjects),
    /// A page of all versions and markers.
    ListVersions(ListVersions),
    /// A page of open uploads.
    ListUploads(ListUploads),
    /// One open or lately completed upload.
    GetUpload {
        bucket: BucketId,
        key: Key,
        upload: MultipartId,
    },
    /// A bucket's configuration and totals.
    Bucket { bucket: BucketId },
    /// Whether streams are referenced, condemned or unknown (in flight or never seen).
    Lives { writes: Vec<WriteId> },
    /// Chunks that lack copies, fewest copies first.
    Short { limit: usize },
    /// Streams without references since at most `until_ms`, oldest first.
    Reclaim { until_ms: u64, limit: usize },
    /// All live streams, by write id.
    Refs { after: Option<WriteId>, limit: usize },
    /// The shard's own state.
    Summary,

    /// System shard: a bucket by its name, first in the project, then globally.
    ResolveBucket { project: ProjectId, name: String },
    /// System shard: a bucket by its id.
    BucketById { id: BucketId },
    /// System shard: a project's buckets by name.
    ListBuckets {
        project: ProjectId,
        after: Option<String>,
        prefix: String,
        limit: usize,
    },
    /// System shard: all buckets by id.
    AllBuckets { after: Option<BucketId>, limit: usize },
    /// System shard: one record.
    GetRecord { table: String, key: String },
    /// System shard: a table's records by key.
    ListRecords {
        table: String,
        after: Option<String>,
        limit: usize,
    },

    /// The oldest ring of a policy whose commits the shard takes.
    Fence { policy: PolicyId },
    /// The chunks of one stream that lack copies, and who holds them: the recorded exceptions to the ring.
    ShortOf { write: WriteId },
    /// The totals of many buckets of one shard, at most [`crate::PAGE_MAX`], in the order asked.
    Totals { buckets: Vec<BucketId> },
    /// A bucket's changes behind `after`, in order.
    Changes {
        bucket: BucketId,
        after: Option<Seq>,
        limit: usize,
    },
}

/// Parameters of a listing of current objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListObjects {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin with it.
    pub prefix: Key,
    /// Keys that share a prefix up to and with the delimiter are folded into one common prefix. Any bytes, may be long.
    pub delimiter: Option<Key>,
    /// Only keys greater than this. A common prefix equal to it, or that contains it, is not shown again
    /// (AWS: `marker` and continuation), unless `start_after`.
    pub after: Option<Key>,
    /// True for the `start-after` of ListObjectsV2's first page: a common prefix that contains `after` is shown when it
    /// has keys beyond `after` (AWS).
    pub start_after: bool,
    /// At most this many keys and common prefixes together; at most [`crate::PAGE_MAX`].
    pub limit: usize,
}

/// Parameters of a listing of versions. `after_version` needs `after`: it continues inside that key's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersions {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin with it.
    pub prefix: Key,
    /// As in [`ListObjects`].
    pub delimiter: Option<Key>,
    /// Only keys greater than this (or this key's older versions, with `after_version`).
    pub after: Option<Key>,
    /// Only versions of `after` older than this one.
    pub after_version: Option<Seq>,
    /// At most this many entries.
    pub limit: usize,
}

/// Parameters of a listing of open uploads, by key and then by id (ids sort by age).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin with it.
    pub prefix: Key,
    /// As in [`ListObjects`].
    pub delimiter: Option<Key>,
    /// Only keys greater than this (or this key's later uploads, with `after_upload`).
    pub after: Option<Key>,
    /// Only uploads of `after` with a greater id.
    pub after_upload: Option<MultipartId>,
    /// At most this many entries.
    pub limit: usize,
}

/// The answer to a [`Query`].
pub type Answer = Result<Found, Refusal>;

/// What was found. `more` of a page says that a further page exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// [`Query::GetObject`].
    Object(Box<ObjectFound>),
    /// [`Query::Parts`].
    Parts(Vec<PartRow>),
    /// [`Query::ListObjects`].
    Objects(Page<(Key, ObjectRow)>),
    /// [`Query::ListVersions`].
    Versions(Page<(Key, VersionFound)>),
    /// [`Query::ListUploads`].
    Uploads(Page<(Key, UploadRow)>),
    /// [`Query::GetUpload`].
    Upload(Box<UploadRow>),
    /// [`Query::Bucket`].
    BucketState { config: BucketConfig, totals: Totals },
    /// [`Query::Lives`], in the order asked.
    Lives(Vec<Life>),
    /// [`Query::Short`].
    Short(Vec<ShortFound>),
    /// [`Query::Reclaim`].
    Reclaim(Vec<(ReclaimKey, RefRow)>),
    /// [`Query::Refs`].
    Refs(Vec<RefRow>),
    /// [`Query::Summary`].
    Summary(Summary),
    /// [`Query::ResolveBucket`], [`Query::BucketById`].
    Bucket(Option<BucketInfo>),
    /// [`Query::ListBuckets`], [`Query::AllBuckets`].
    Buckets { buckets: Vec<BucketInfo>, more: bool },
    /// [`Query::GetRecord`].
    Record(Option<Record>),
    /// [`Query::ListRecords`].
    Records { records: Vec<(String, Record)>, more: bool },
    /// [`Query::Fence`]; 0 without one.
    Fence(u64),
    /// [`Query::ShortOf`], by first chunk; at most [`crate::PAGE_MAX`] ranges.
    ShortOf(Vec<ShortChunks>),
    /// [`Query::Totals`].
    Totals(Vec<Totals>),
    /// [`Query::Changes`].
    Changes { changes: Vec<Change>, more: bool },
}

/// One object version, as GET and HEAD need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFound {
    /// The version.
    pub object: ObjectRow,
    /// True when the bucket is or was versioned.
    pub versioned: bool,
    /// The bytes of an inline object, when asked.
    pub inline: Option<Bytes>,
    /// The manifest of a multipart object, when asked.
    pub manifest: Option<ManifestRow>,
}

/// One page of a listing: entries and common prefixes, each in byte order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The common prefixes.
    pub prefixes: Vec<Key>,
    /// True when a further page exists.
    pub more: bool,
}

/// One entry of a listing of versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionFound {
    /// An object; `latest` when it is the key's newest version.
    Object { object: ObjectRow, latest: bool },
    /// A delete marker.
    Marker { marker: MarkerRow, latest: bool },
}

/// What the metadata log says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Objects or parts refer to it.
    Referenced,
    /// Its last reference ended; it waits for the reclaim delay.
    Ending,
    /// It will never be referenced (again): its blobs may be removed.
    Condemned,
    /// Nothing is known: in flight, or left over by a writer that died.
    Unknown,
}

/// Chunks that lack copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortFound {
    /// The stream.
    pub stream: crate::model::Stream,
    /// The bucket that first wrote it.
    pub bucket: BucketId,
    /// The first chunk.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// The devices known to hold them.
    pub devices: Vec<DeviceId>,
}

/// A shard at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Shard time.
    pub time_ms: u64,
    /// Chunks that lack copies.
    pub short_chunks: u64,
    /// Chunks of which no copy is known.
    pub lost_chunks: u64,
    /// Live streams.
    pub streams: u64,
    /// Sum over its buckets.
    pub totals: Totals,
    /// Streams waiting to be reclaimed.
    pub reclaim_streams: u64,
}
