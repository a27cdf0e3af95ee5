//! Where an object's bytes are, copy by copy, for the operator (`halo admin object where`).

use futures::StreamExt;
use metadata::ids::DeviceId;
use metadata::model::{Body as BodyPlace, ObjectRow, Stream, VersionSelector};
use storage_node::client::{BlobError, chunk_key, chunk_len};
use storage_node::device::BlobKey;

use crate::bucket::Bucket;
use crate::context::RequestContext;
use crate::error::StoreError;
use crate::placement::Placement;
use crate::store::Store;

/// Part rows fetched at once.
const PARTS_PAGE: usize = 64;
/// Chunks looked at at once.
const CHUNKS_AT_ONCE: usize = 4;
/// Devices asked about one chunk at once.
const DEVICES_AT_ONCE: usize = 8;

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
    /// Its primaries, then handoffs that hold it; of an erasure coded chunk, so for each fragment.
    pub copies: Vec<LocatedCopy>,
}

/// One copy, or the place where one should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocatedCopy {
    /// The device.
    pub device: DeviceId,
    /// Which fragment of the chunk it is; `None`: all of it.
    pub fragment: Option<u8>,
    /// True for a device that the ring names for it.
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

/// How closely the copies are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateDepth {
    /// What the devices believe to have: cheap.
    Index,
    /// Every copy is read and verified.
    Bytes,
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
        depth: LocateDepth,
        chunks_max: usize,
    ) -> Result<Located, StoreError> {
        let object = self.object(cx, bucket, key, version).await?.object;
        let mut located = Located {
            object,
            streams: Vec::new(),
            truncated: false,
        };
        let mut left = chunks_max;
        match located.object.body.clone() {
            BodyPlace::Inline => {}
            BodyPlace::Stream(stream) => located.add(self.locate_stream(None, stream, depth, &mut left).await?),
            BodyPlace::Manifest(upload) => {
                let (mut after, mut more) = (0, true);
                while more && !located.truncated {
                    let parts;
                    (parts, more) = self.parts_page(cx, bucket, upload, after, PARTS_PAGE).await?;
                    after = parts.last().map_or(metadata::PARTS_MAX, |part| part.number);
                    for part in parts {
                        if !located.truncated {
                            let number = Some(part.number);
                            located.add(self.locate_stream(number, part.stream, depth, &mut left).await?);
                        }
                    }
                }
            }
        }
        Ok(located)
    }

    async fn locate_stream(
        &self,
        part: Option<u16>,
        stream: Stream,
        depth: LocateDepth,
        left: &mut usize,
    ) -> Result<LocatedStream, StoreError> {
        let placement = self.inner.placement(stream.policy)?;
        let count = u32::try_from(*left).unwrap_or(u32::MAX).min(stream.chunks());
        *left -= count as usize;
        let chunks = futures::stream::iter(0..count)
            .map(|chunk| self.locate_chunk(&placement, &stream, chunk, depth))
            .buffered(CHUNKS_AT_ONCE)
            .collect()
            .await;
        Ok(LocatedStream { part, stream, chunks })
    }

    async fn locate_chunk(
        &self,
        placement: &Placement,
        stream: &Stream,
        chunk: u32,
        depth: LocateDepth,
    ) -> LocatedChunk {
        let key = chunk_key(stream, chunk);
        let len = placement.piece_len(chunk_len(stream, chunk));
        let mut copies = Vec::new();
        for piece in placement.pieces(key) {
            copies.extend(self.locate_piece(placement, piece, len, depth).await);
        }
        LocatedChunk {
            chunk,
            partition: placement.partition(key.placement),
            copies,
        }
    }

    async fn locate_piece(
        &self,
        placement: &Placement,
        piece: BlobKey,
        len: u32,
        depth: LocateDepth,
    ) -> impl Iterator<Item = LocatedCopy> + use<> {
        let primaries = placement.primaries(piece);
        let mut devices = primaries.clone();
        devices.extend(placement.leaving(piece));
        let handoffs = placement.handoffs(piece.placement);
        devices.extend(
            handoffs
                .into_iter()
                .filter(|device| !devices.contains(device))
                .collect::<Vec<_>>(),
        );
        devices.extend(placement.others(&devices));
        let copies: Vec<_> = futures::stream::iter(devices)
            .map(|device| async move { (device, self.copy_state(device, piece, len, depth).await) })
            .buffered(DEVICES_AT_ONCE)
            .collect()
            .await;
        let fragment = piece.id.fragment();
        copies.into_iter().filter_map(move |(device, state)| {
            let primary = primaries.contains(&device);
            let owed = primary || matches!(state, CopyState::Ok | CopyState::Corrupt);
            owed.then_some(LocatedCopy {
                device,
                fragment,
                primary,
                state,
            })
        })
    }

    pub(crate) async fn copy_state(&self, device: DeviceId, key: BlobKey, len: u32, depth: LocateDepth) -> CopyState {
        let data = &self.inner.planes.data;
        let deadline = self.inner.options.read_deadline;
        let right = match depth {
            LocateDepth::Index => match data.stat_blob(device, key, deadline).await {
                Ok(None) => return CopyState::Absent,
                Ok(Some(header)) => Ok(header.len == len),
                Err(error) => Err(error),
            },
            LocateDepth::Bytes => match data.read_for_upkeep(device, key, 0..len, deadline).await {
                Ok(found) => Ok(found.key == key && found.payload.len() == len as usize && found.verify().is_ok()),
                Err(error) => Err(error),
            },
        };
        match right {
            Ok(true) => CopyState::Ok,
            Ok(false) | Err(BlobError::Corrupt(_) | BlobError::BadFrames(_)) => CopyState::Corrupt,
            Err(BlobError::Absent(_)) => CopyState::Absent,
            Err(BlobError::Refused(..) | BlobError::Unreachable(..)) => CopyState::Unreachable,
        }
    }
}

impl Located {
    fn add(&mut self, stream: LocatedStream) {
        self.truncated |= stream.chunks.len() < stream.stream.chunks() as usize;
        self.streams.push(stream);
    }
}
