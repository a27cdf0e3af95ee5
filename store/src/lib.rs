//! The object model: buckets, objects, versions, multipart uploads, copies, listings and small records; placement of
//! their bytes by the ring and quorum I/O over the devices. The one door to the cluster for everything above.
//!
//! Knows: how a stream of bytes becomes chunks, where each chunk goes, when enough copies are synced (DUR-1), how a
//! copy is chosen and verified before it is served (INT-1), and which command or query of the metadata plane each
//! operation is. Must not know: HTTP, S3, Swift, passwords, disks, Raft. Nothing here is decided about a key: the
//! conditions travel inside the commands and are decided by the key's shard (CON-1).
//!
//! ```text
//! PUT:  body -> cutter (chunks of 4 MiB, memory from a pool)
//!            -> digests (MD5 and what was asked), frame CRCs and BLAKE3, each once, beside the I/O
//!            -> chunk write: primaries at once, handoffs for the dead, on at quorum
//!            -> one commit that names the stream and its chunks that lack copies
//! GET:  one query -> slices read ahead from the nearest copies, hedged, verified -> body
//! ```

mod bucket;
mod changes;
mod chunk_write;
#[cfg(test)]
mod cluster_tests;
mod context;
mod copy;
mod cutter;
mod digest;
mod error;
mod fetch;
mod findings;
mod fragment_quorum;
mod fragments;
mod hashing;
mod list;
mod locate;
mod metrics;
mod multipart;
mod object;
mod options;
mod place_again;
mod placement;
mod pool;
mod quorum;
mod read;
mod recent;
mod records;
mod request;
mod short;
mod store;
mod suspects;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod unfinished;
mod verify;
mod write;

pub use metadata::command::{CompletedPart, Condition, CopyChanges, RecordCondition};
pub use metadata::ids::{
    BadId, BlobId, BucketId, ClusterId, DeviceId, MultipartId, NodeId, RequestId, Seq, ShardId, WriteId,
};
pub use metadata::model::{
    Attributes, Body as BodyPlace, BucketConfig, BucketInfo, BucketState, Change, Checksum, ChecksumAlgorithm,
    ChecksumKind, ETag, Key, MarkerRow, ObjectRow, PartRow, PolicyId, ProjectId, Record, Stream, Totals, UploadRow,
    UploadState, VersionSelector, Versioning,
};
pub use metadata::query::{ListObjects, ListUploads, ListVersions, Page, VersionFound};
pub use metadata::reply::DeleteDone as DeleteOutcome;
pub use metadata::{INLINE_BYTES_MAX, KEY_BYTES_MAX, PAGE_MAX, PARTS_MAX, WRITTEN_AHEAD_MS};
pub use storage_node::client::{AWS_CLASSES, Planes, Policy, PolicyKind, PolicyList};

pub use crate::bucket::{Bucket, Created};
pub use crate::context::RequestContext;
pub use crate::copy::{CopyOutcome, CopySource, CopyTarget};
pub use crate::error::{Class, StoreError};
pub use crate::locate::{CopyState, LocateDepth, Located, LocatedChunk, LocatedCopy, LocatedStream};
pub use crate::multipart::{CompleteOutcome, NewUpload, PartOutcome, PutPart};
pub use crate::object::{ObjectHead, ObjectReader, PutOutcome};
pub use crate::options::StoreOptions;
pub use crate::request::{Body, BodyError, BodyStream, Digests, Finish, PutObject, Rejected};
pub use crate::store::Store;
pub use crate::verify::{Lack, NotWhole, Verified, VerifyAfter};
