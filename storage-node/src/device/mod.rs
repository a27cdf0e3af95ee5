//! One disk: immutable blobs in append-only segments, with an index that is only a cache of them.

mod blob;
mod error;
mod memory_device;
mod store;

pub use blob::{
    BLOB_BYTES_MAX, Blob, BlobFault, BlobHeader, BlobKey, BlobSlice, FRAME_BYTES, FRAMES_MAX, FrameHasher, Pieces,
    frame_crc, frame_crcs, frame_span, frames_of,
};
pub use error::DeviceError;
pub use memory_device::MemoryDevice;
pub use store::{BlobStore, DeviceState, Digest, LIST_MAX, REMOVE_BATCH, Usage, permille};
