//! One disk: immutable blobs in append-only segments, with an index that is only a cache of them.
//!
//! ```text
//! put ----> queue ----> writer thread: append a group, one fdatasync, index batch unsynced, answer
//! read ---> index ----> one pread of the record; CRCs travel with the bytes, the last hop verifies
//! open ---> folder, newest segment's tail, replay of what the index does not know
//! reclaim-> copy what is needed through the writer, sync, switch, sync the index, delete the old segment
//! ```
//! Read in this order: [`blob`](Blob) (what travels), `store` (the promises), `record` (what lies on the disk),
//! `index`, `accounts` (the books and decisions), `writer`, `recovery`, `reclaim`, `disk_device` (the async face).
//!
//! DUR-1  a put is answered after the sync that covers it; a repeated put after its copy was read and proven.
//! DUR-2  a segment is deleted after everything alive in it was written again, synced, and the index switched, synced.
//! DUR-3  a removed blob never comes back: a tombstone outlives every older copy of its blob.
//! DUR-4  any prefix and permitted reordering of unsynced writes reopens with everything acknowledged readable.
//! INT-1  damaged bytes are never served as good: heads are checked here, frames by the last hop, all of it by scrub.
//!
//! Knows: one folder of one disk. Must not know: rings, replicas, shards' contents, the network.

mod accounts;
mod blob;
pub mod conformance;
mod core;
mod direct;
mod disk;
mod disk_device;
mod error;
mod faulty_device;
mod faulty_disk;
mod index;
mod memory_device;
mod memory_disk;
mod options;
mod reclaim;
mod record;
mod recovery;
mod rocks_index;
mod scrub;
mod segment;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use self::core::Parts;
pub use blob::{
    BLOB_BYTES_MAX, Blob, BlobFault, BlobHeader, BlobKey, BlobSlice, FRAME_BYTES, FRAMES_MAX, FrameHasher, Pieces,
    frame_crc, frame_crcs, frame_span, frames_of,
};
pub use disk::{Disk, DiskFile, RealDisk};
pub use disk_device::DiskDevice;
pub use error::DeviceError;
pub use faulty_device::FaultyDevice;
pub use faulty_disk::{DiskFaults, FaultyDisk};
pub use index::{Entry, Index, IndexBatch, IndexError, Kill, MapIndex, SegmentRow};
pub use memory_device::MemoryDevice;
pub use memory_disk::MemoryDisk;
pub use options::{DeviceOptions, GROUP_BYTES_MAX, OnEmpty, SEGMENT_BYTES_MAX};
pub use reclaim::ReclaimReport;
pub use record::{Identity, fuzz as fuzz_record};
pub use recovery::OpenReport;
pub use rocks_index::RocksIndex;
pub use scrub::ScrubReport;
pub use store::{BlobStore, DeviceState, Digest, LIST_MAX, Purpose, REMOVE_BATCH, Usage, permille};
