//! Where an object's bytes are, copy by copy, for the operator (`halo admin object where`).

use metadata::ids::DeviceId;
use metadata::model::{ObjectRow, Stream, VersionSelector};

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::store::Store;

/// An object and the state of every copy of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The version looked at.
    pub object: ObjectRow,
    /// Its streams in order; none for an inline object.
    pub streams: Vec<LocatedStream>,
    /// True when the limit of chunks was reached before the object's end.
    pub truncated: bool,
}

/// One stream: the body of a PUT or of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedStream {
    /// The part's number, for a multipart object.
    pub part: Option<u16>,
    /// The stream.
    pub stream: Stream,
    /// Its chunks, as many as were looked at.
    pub chunks: Vec<LocatedChunk>,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedChunk {
    /// Its number.
    pub chunk: u32,
    /// The ring's partition it belongs to.
    pub partition: u32,
    /// Its primaries, then handoffs that hold it.
    pub copies: Vec<LocatedCopy>,
}

/// One copy, or the place where one should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatedCopy {
    /// The device.
    pub device: DeviceId,
    /// True for a device the ring names for the partition.
    pub primary: bool,
    /// What the device says.
    pub state: CopyState,
}

/// What a device says of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It is there; its header was read, its bytes were not.
    Ok,
    /// It is not there.
    Absent,
    /// It is damaged, or another blob than it should be.
    Corrupt,
    /// The device did not answer.
    Unreachable,
}

impl Store {
    /// Asks the devices for every chunk of one version, at most `chunks_max` chunks.
    ///
    /// # Errors
    /// As [`Store::object`].
    pub async fn locate(
        &self,
        cx: &RequestContext,
        bucket: &Bucket,
        key: &[u8],
        version: VersionSelector,
        chunks_max: usize,
    ) -> Result<Located, StoreError> {
        let _ = (cx, bucket, key, version, chunks_max);
        Err(StoreError::Unavailable("not built".into()))
    }
}
