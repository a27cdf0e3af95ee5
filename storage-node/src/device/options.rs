//! The settings of a device. Each device gets only its own.

use std::time::Duration;

/// What to do with a folder that holds no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEmpty {
    /// Make a new device of it.
    Format,
    /// Refuse: the device was used before, so its disk is probably not mounted.
    Refuse,
}

/// Sizes and limits of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// A segment that reached this many bytes is sealed; at most [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u32,
    /// The newest segment's file is made longer by so many bytes at a time, ahead of its records; 0: never.
    pub reserve_bytes: u32,
    /// The most payload bytes one sync covers; at most [`GROUP_BYTES_MAX`].
    pub group_bytes: usize,
    /// The most bytes of segments; `None`: whatever the file system holds.
    pub capacity_bytes: Option<u64>,
    /// Puts are refused beyond this fill, in thousandths.
    pub put_fill_permille: u64,
    /// Reclaim's copies are refused beyond this fill, in thousandths; tombstones are refused by nothing but the disk.
    pub reclaim_fill_permille: u64,
    /// Reclaim rewrites a segment when that frees at least this share of it, in thousandths.
    pub reclaim_gain_permille: u64,
    /// Blobs that may wait for the writer.
    pub queue_blobs: usize,
    /// Payload bytes that may wait for the writer; at least one blob's.
    pub queue_bytes: usize,
    /// Reads on the blocking pool at once.
    pub reads_at_once: usize,
    /// A group of writes that the disk has not finished after this time makes the device say that its disk hangs.
    pub hangs_after: Duration,
    /// What to do with an empty folder.
    pub on_empty: OnEmpty,
}

/// Largest [`DeviceOptions::segment_bytes`]; offsets within a segment are 32 bits.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Largest [`DeviceOptions::group_bytes`].
pub const GROUP_BYTES_MAX: usize = 256 << 20;

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            reserve_bytes: 16 << 20,
            group_bytes: 32 << 20,
            capacity_bytes: None,
            put_fill_permille: 900,
            reclaim_fill_permille: 990,
            reclaim_gain_permille: 250,
            queue_blobs: 1024,
            queue_bytes: 64 << 20,
            reads_at_once: 64,
            hangs_after: Duration::from_secs(20),
            on_empty: OnEmpty::Format,
        }
    }
}

impl DeviceOptions {
    /// The nearest settings that the format can hold.
    #[must_use]
    pub(super) fn clamped(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.min(SEGMENT_BYTES_MAX);
        self.group_bytes = self.group_bytes.min(GROUP_BYTES_MAX);
        self.queue_bytes = self.queue_bytes.clamp(super::blob::BLOB_BYTES_MAX, u32::MAX as usize);
        self.queue_blobs = self.queue_blobs.max(1);
        self.reads_at_once = self.reads_at_once.max(1);
        self
    }
}
