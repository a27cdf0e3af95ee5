//! Reading everything again at a set pace (INT-1), and freeing the space of removed blobs (DUR-2 is the device's).
//!
//! How far each device is, and how its last whole pass went, is noted in the system shard, so that a node that starts
//! again goes on where it was:
//!
//! ```text
//! table "scrub", key = device, 10 digits:   JSON of ScrubNote
//! ```

use std::collections::HashMap;
use std::time::Duration;

use metadata::command::RecordCondition;
use metadata::ids::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::missing::mark_damaged;
use super::{SHARD_DEADLINE, Workshop};
use crate::device::{BlobKey, BlobStore, DiskDevice};

/// The table of notes.
pub const SCRUB_TABLE: &str = "scrub";
/// Bytes proven in one step.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// How often a position is noted; what was read since is read again after a restart.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// The pause of a device that has been read to its end, or is empty.
const REST: Duration = Duration::from_secs(60);
/// The pause of a device with no segment worth reclaiming.
const SEGMENT_REST: Duration = Duration::from_secs(10);
/// The pause between two segments, so that readers and writers come in between.
const SEGMENT_PAUSE: Duration = Duration::from_millis(200);
const FORMAT: u32 = 1;

/// Where the scrub of one device is, and how its last whole pass went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubNote {
    /// The format version, 1.
    pub format: u32,
    /// The device.
    pub device: u32,
    /// The last key proven in this pass, in hex; unset at its beginning.
    pub after: Option<String>,
    /// This pass.
    pub pass: ScrubPass,
    /// The last whole pass.
    pub last: Option<ScrubPass>,
    /// Whole passes since the device is in the cluster.
    pub passes: u64,
}

/// One pass over a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPass {
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it ended; unset while it is under way.
    pub ended_ms: Option<u64>,
    /// Blobs read and proven, or found damaged.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged blobs handed to repair.
    pub damaged: u64,
}

impl ScrubNote {
    /// Reads a record; a new note when it is of another format.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let note: Self = serde_json::from_slice(value).ok()?;
        (note.format == FORMAT).then_some(note)
    }

    fn new(device: DeviceId, now_ms: u64) -> Self {
        Self {
            format: FORMAT,
            device: device.0,
            pass: ScrubPass {
                began_ms: now_ms,
                ..ScrubPass::default()
            },
            ..Self::default()
        }
    }

    /// Takes a step's outcome in; `next` is where the next one begins, `None` at the end of the pass.
    fn step(&mut self, blobs: u64, bytes: u64, damaged: u64, next: Option<BlobKey>, now_ms: u64) {
        self.pass.blobs += blobs;
        self.pass.bytes += bytes;
        self.pass.damaged += damaged;
        self.after = next.map(to_text);
        if next.is_none() {
            self.pass.ended_ms = Some(now_ms);
            self.passes += 1;
            let began_ms = now_ms;
            let next = ScrubPass {
                began_ms,
                ..ScrubPass::default()
            };
            self.last = Some(std::mem::replace(&mut self.pass, next));
        }
    }

    /// How far this pass is, in percent: keys are spread evenly over the placements.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let after = self.after.as_deref().and_then(of_text);
        after.map_or(0, |key| {
            u64::try_from((u128::from(key.placement) * 100) >> 64).unwrap_or(100)
        })
    }
}

fn to_text(key: BlobKey) -> String {
    hex::encode(key.to_bytes())
}

fn of_text(text: &str) -> Option<BlobKey> {
    BlobKey::from_bytes(&hex::decode(text).ok()?)
}

/// One device's scrub in this process.
struct Scrub {
    note: ScrubNote,
    noted_at: Instant,
}

/// Scrubs this node's devices in turn, a step each.
pub(super) async fn run(workshop: Workshop) {
    let mut scrubs: HashMap<DeviceId, Scrub> = HashMap::new();
    loop {
        let disks = workshop.devices.disks();
        // All devices are read in the same time, so the one that read most sets the pace.
        let (mut bytes, mut at_end) = (0, 0);
        for (device, disk) in &disks {
            if !scrubs.contains_key(device) {
                let Some(scrub) = begin(&workshop, *device).await else {
                    continue;
                };
                scrubs.insert(*device, scrub);
            }
            let Some(scrub) = scrubs.get_mut(device) else { continue };
            let read = step(&workshop, *device, disk, scrub).await;
            bytes = bytes.max(read);
            at_end += usize::from(scrub.note.after.is_none());
        }
        let all_at_end = at_end == disks.len();
        // A device that is closed meanwhile must not be held open by a pause.
        drop(disks);
        let rate = workshop.options.scrub_bytes_per_second.max(1);
        let pause = Duration::from_millis(bytes.saturating_mul(1000) / rate);
        let rest = if scrubs.is_empty() {
            workshop.options.idle_pause
        } else {
            REST
        };
        tokio::time::sleep(if all_at_end || scrubs.is_empty() {
            rest.max(pause)
        } else {
            pause
        })
        .await;
    }
}

fn key_of(device: DeviceId) -> String {
    format!("{:010}", device.0)
}

/// Goes on where the last process was; `None` when the system shard does not answer.
async fn begin(workshop: &Workshop, device: DeviceId) -> Option<Scrub> {
    let record = workshop
        .client
        .record(SCRUB_TABLE, &key_of(device), SHARD_DEADLINE)
        .await
        .ok()?;
    let note = record.and_then(|record| ScrubNote::decode(&record.value));
    Some(Scrub {
        note: note.unwrap_or_else(|| ScrubNote::new(device, workshop.clock.now_ms())),
        noted_at: Instant::now(),
    })
}

/// One step; answers how many bytes it read.
async fn step(workshop: &Workshop, device: DeviceId, disk: &DiskDevice, scrub: &mut Scrub) -> u64 {
    let name = format!("scrub of device {device}");
    let after = scrub.note.after.as_deref().and_then(of_text);
    let report = match disk.scrub_step(after, STEP_BYTES).await {
        Ok(report) => report,
        Err(error) => {
            workshop.board.failed(&name, error);
            return STEP_BYTES;
        }
    };
    workshop.board.done(&name, report.blobs);
    let damaged = report.damaged.len() as u64;
    for key in report.damaged {
        workshop.board.failed(&name, format!("{} is damaged", key.id));
        let hint = disk.stat(key).await.ok().flatten().map(|header| header.shard);
        mark_damaged(workshop, device, key, hint).await;
    }
    let now_ms = workshop.clock.now_ms();
    scrub
        .note
        .step(report.blobs, report.bytes, damaged, report.next, now_ms);
    let ended = scrub.note.after.is_none();
    if ended {
        workshop.board.done(&format!("whole scrubs of device {device}"), 1);
    }
    workshop.board.state(&name, line(&scrub.note));
    // An empty device has no position worth a record.
    if (ended && report.blobs > 0) || scrub.noted_at.elapsed() >= NOTE_EVERY {
        scrub.noted_at = Instant::now();
        let value = serde_json::to_vec(&scrub.note)
            .expect("a note has nothing JSON cannot write")
            .into();
        let key = key_of(device);
        let put = workshop
            .client
            .put_record(SCRUB_TABLE, &key, RecordCondition::Any, value, SHARD_DEADLINE);
        if let Err(error) = put.await {
            workshop.board.failed(&name, error);
        }
    }
    report.bytes
}

/// The status line of a device's scrub.
fn line(note: &ScrubNote) -> String {
    let last = match &note.last {
        None => "no whole pass yet".to_owned(),
        Some(last) => format!(
            "the last whole pass read {} blobs, {} bytes, {} damaged",
            last.blobs, last.bytes, last.damaged
        ),
    };
    format!(
        "at {} %, {} blobs, {} damaged; {last}",
        note.percent(),
        note.pass.blobs,
        note.pass.damaged
    )
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

#[cfg(test)]
mod tests {
    use metadata::ids::{BlobId, WriteId};

    use super::*;

    #[test]
    fn int_1_a_pass_goes_on_where_it_was_and_its_end_is_kept() {
        let mut note = ScrubNote::new(DeviceId(3), 10);
        let key = BlobKey {
            placement: 1 << 63,
            id: BlobId {
                write: WriteId(77),
                chunk: 5,
            },
        };
        note.step(100, 4_000, 1, Some(key), 20);
        let noted = ScrubNote::decode(&serde_json::to_vec(&note).unwrap()).unwrap();
        assert_eq!(noted, note);
        assert_eq!(noted.after.as_deref().and_then(of_text), Some(key));
        assert_eq!((noted.percent(), noted.passes, noted.last.clone()), (50, 0, None));
        note.step(10, 400, 0, None, 30);
        let last = note.last.clone().unwrap();
        assert_eq!((last.blobs, last.bytes, last.damaged), (110, 4_400, 1));
        assert_eq!((last.began_ms, last.ended_ms, note.passes), (10, Some(30), 1));
        assert_eq!((note.pass.began_ms, note.pass.blobs, note.after), (30, 0, None));
        assert_eq!(of_text("ff"), None);
    }
}
