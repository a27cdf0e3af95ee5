//! Reading everything again at a set pace (INT-1), and freeing the space of removed blobs (DUR-2 is the device's).

use std::collections::HashMap;
use std::time::Duration;

use metadata::ids::DeviceId;

use super::Workshop;
use super::missing::mark_damaged;
use crate::device::{BlobKey, BlobStore, DiskDevice};

/// Bytes proven in one step.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// The pause of a device that has been read to its end, or is empty.
const REST: Duration = Duration::from_secs(60);
/// The pause of a device with no segment worth reclaiming.
const SEGMENT_REST: Duration = Duration::from_secs(10);
/// The pause between two segments, so that readers and writers come in between.
const SEGMENT_PAUSE: Duration = Duration::from_millis(200);

/// Scrubs this node's devices in turn, a step each.
pub(super) async fn run(workshop: Workshop) {
    let mut cursors: HashMap<DeviceId, BlobKey> = HashMap::new();
    loop {
        let disks = workshop.devices.disks();
        let (mut bytes, mut at_end) = (0, 0);
        for (device, disk) in &disks {
            let (read, next) = step(&workshop, *device, disk, cursors.get(device).copied()).await;
            bytes += read;
            match next {
                Some(next) => drop(cursors.insert(*device, next)),
                None => {
                    cursors.remove(device);
                    at_end += 1;
                }
            }
        }
        let all_at_end = at_end == disks.len();
        // A device that is closed meanwhile must not be held open by a pause.
        drop(disks);
        let rate = workshop.options.scrub_bytes_per_second.max(1);
        let pause = Duration::from_millis(bytes.saturating_mul(1000) / rate);
        tokio::time::sleep(if all_at_end { REST.max(pause) } else { pause }).await;
    }
}

async fn step(
    workshop: &Workshop,
    device: DeviceId,
    disk: &DiskDevice,
    after: Option<BlobKey>,
) -> (u64, Option<BlobKey>) {
    let name = format!("scrub of device {device}");
    match disk.scrub_step(after, STEP_BYTES).await {
        Ok(report) => {
            workshop.board.done(&name, report.blobs);
            for key in report.damaged {
                workshop.board.failed(&name, format!("{} is damaged", key.id));
                let hint = disk.stat(key).await.ok().flatten().map(|header| header.shard);
                mark_damaged(workshop, device, key, hint).await;
            }
            (report.bytes, report.next)
        }
        Err(error) => {
            workshop.board.failed(&name, error);
            (STEP_BYTES, None)
        }
    }
}

/// Reclaims segments of this node's devices, one after the other.
pub(super) async fn run_segments(workshop: Workshop) {
    loop {
        let mut worked = false;
        for (device, disk) in workshop.devices.disks() {
            let name = format!("segments of device {device}");
            match disk.reclaim_step().await {
                Ok(report) => {
                    worked |= report.freed_bytes > 0;
                    workshop.board.done(&name, u64::from(report.freed_bytes > 0));
                }
                Err(error) => workshop.board.failed(&name, error),
            }
        }
        tokio::time::sleep(if worked { SEGMENT_PAUSE } else { SEGMENT_REST }).await;
    }
}
