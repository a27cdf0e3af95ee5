//! Scrub: reads again what the index says is here, in key order, at the pace of its caller (INT-1).

use std::ops::Bound;

use super::blob::BlobKey;
use super::core::Core;
use super::error::DeviceError;

/// Entries looked at in one step, whatever their size.
const STEP_ENTRIES: usize = 256;

/// How one step of scrub ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Where the next step begins; `None` when the end was reached.
    pub next: Option<BlobKey>,
    /// Blobs read and proven, or found damaged.
    pub blobs: u64,
    /// Payload bytes read.
    pub bytes: u64,
    /// Blobs that do not verify: repair reads another copy and puts it here again.
    pub damaged: Vec<BlobKey>,
}

/// Checks the blobs behind `after` until `bytes_max` payload bytes were read.
pub(super) fn step(core: &Core, after: Option<BlobKey>, bytes_max: u64) -> Result<ScrubReport, DeviceError> {
    core.status.check_readable()?;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = core.parts.index.scan(from, u64::MAX, STEP_ENTRIES);
    let rows = rows.map_err(|error| DeviceError::Io(error.to_string()))?;
    let mut report = ScrubReport::default();
    let mut left = rows.len();
    for (key, entry) in &rows {
        left -= 1;
        report.blobs += 1;
        report.bytes += u64::from(entry.header.len);
        match core.read_verified(*key) {
            Ok(_) => {}
            // Removed since the index was read.
            Err(DeviceError::NotFound) => {}
            Err(DeviceError::Corrupt(_) | DeviceError::Io(_)) => report.damaged.push(*key),
            Err(other) => return Err(other),
        }
        report.next = Some(*key);
        if report.bytes >= bytes_max {
            break;
        }
    }
    if left == 0 && rows.len() < STEP_ENTRIES {
        report.next = None;
    }
    Ok(report)
}
