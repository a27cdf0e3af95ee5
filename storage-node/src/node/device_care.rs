//! Looks after this node's own disks: notices a folder that is gone, and opens a device again whose disk is back.
//!
//! ```text
//! serves, folder as it was opened      -> nothing
//! serves, folder gone or another one   -> closed: what is written now would be lost with the last open file
//! does not serve, or is read-only      -> opened again as soon as its folder is there and takes a write (DUR-4: opening
//!                                         replays and proves what a failed sync has left)
//! ```
//! That a disk is out for long is the business of the whole cluster: `work::lost_devices`.
//!
//! Knows: folders and file systems of this machine. Must not know: rings, other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::DeviceId;
use rustix::fs::{Mode, OFlags};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::open_devices::OpenDevices;
use crate::device::DeviceState;
use crate::threads;

/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// The pause between two attempts to open one device.
const OPEN_PAUSE: Duration = Duration::from_secs(10);
/// Bytes written by the probe of a folder.
const PROBE_BYTES: usize = 4096;

/// Which folder a device was opened in: another one under the same name is another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FolderMark {
    file_system: u64,
    inode: u64,
    /// A file system of its own is mounted there.
    mounted: bool,
}

impl FolderMark {
    /// Looks at a folder. Blocks.
    ///
    /// # Errors
    /// With a sentence, when it is not there or cannot be looked at.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("the device folder {}: {error}", path.display());
        let own = std::fs::metadata(path).map_err(said)?;
        if !own.is_dir() {
            return Err(format!("{} is not a folder", path.display()));
        }
        let parent = path.parent().map(std::fs::metadata).transpose().map_err(said)?;
        Ok(Self {
            file_system: own.dev(),
            inode: own.ino(),
            mounted: parent.is_some_and(|parent| parent.dev() != own.dev()),
        })
    }
}

/// What to do about one device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Care {
    Nothing,
    Close(String),
    Open,
    /// It stays out; this is why by now.
    Wait(String),
}

/// What was seen of one device.
struct Sight {
    /// Its state; `None` when it is not open.
    state: Option<DeviceState>,
    /// The folder it was opened in last.
    known: Option<FolderMark>,
    /// The folder that is there now.
    now: Result<FolderMark, String>,
    /// Whether a write and a sync in it work; asked only when the device does not serve.
    writes: Result<(), String>,
}

/// Decides. Plain function.
fn decide(sight: Sight) -> Care {
    let now = match sight.now {
        Ok(now) => now,
        Err(why) if sight.state.is_some() => return Care::Close(why),
        Err(why) => return Care::Wait(why),
    };
    if sight.known.is_some_and(|known| known.mounted && !now.mounted) {
        let why = "its disk is not mounted: mount it, and the device is opened by itself".to_owned();
        return if sight.state.is_some() {
            Care::Close(why)
        } else {
            Care::Wait(why)
        };
    }
    match sight.state {
        Some(DeviceState::Ok) if sight.known.is_none_or(|known| known == now) => Care::Nothing,
        Some(DeviceState::Ok) => Care::Close("its folder was replaced by another one".to_owned()),
        _ => sight.writes.map_or_else(Care::Wait, |()| Care::Open),
    }
}

/// Looks after the devices until `stop`.
pub(super) async fn run(devices: Arc<OpenDevices>, stop: CancellationToken) {
    let mut tried: BTreeMap<DeviceId, Instant> = BTreeMap::new();
    // A disk that hangs holds up the look at itself, and no other.
    let mut looks: JoinSet<(DeviceId, bool)> = JoinSet::new();
    let mut looked_at: BTreeSet<DeviceId> = BTreeSet::new();
    let caring = async {
        loop {
            tokio::time::sleep(LOOK).await;
            while let Some(ended) = looks.try_join_next() {
                let Ok((device, opened)) = ended else { continue };
                looked_at.remove(&device);
                if opened {
                    tried.insert(device, Instant::now());
                }
            }
            for device in devices.ids() {
                let rested = tried.get(&device).is_none_or(|at| at.elapsed() >= OPEN_PAUSE);
                if looked_at.insert(device) {
                    let devices = Arc::clone(&devices);
                    looks.spawn(async move { (device, look(&devices, device, rested).await) });
                }
            }
        }
    };
    stop.run_until_cancelled(caring).await;
}

/// One look; true when the device was opened, or that was tried.
async fn look(devices: &Arc<OpenDevices>, device: DeviceId, rested: bool) -> bool {
    let Some((path, state, known)) = devices.sight(device) else {
        return false;
    };
    if state != Some(DeviceState::Ok) && !rested {
        return false;
    }
    let serves = state == Some(DeviceState::Ok);
    let seen = threads::blocking(move || Sight {
        state,
        known,
        now: FolderMark::of(&path),
        writes: if serves { Ok(()) } else { probe(&path) },
    });
    let Ok(sight) = seen.await else { return false };
    match decide(sight) {
        Care::Nothing => false,
        Care::Close(why) => {
            tracing::error!(%device, why, "a device is gone");
            devices.close_gone(device, &why).await;
            false
        }
        Care::Wait(why) => {
            devices.still_closed(device, why);
            true
        }
        // A disk that hung and goes on serves again by itself.
        Care::Open
            if devices
                .sight(device)
                .is_some_and(|(_, now, _)| now == Some(DeviceState::Ok)) =>
        {
            false
        }
        Care::Open => {
            devices.reopen(device).await;
            true
        }
    }
}

/// Writes and syncs a file without a name, so that a crash leaves nothing behind. Blocks.
fn probe(path: &Path) -> Result<(), String> {
    let said = |error: rustix::io::Errno| format!("the device folder {} takes no write: {error}", path.display());
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        // A file system without such files: opening the device will tell.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => return Ok(()),
        opened => opened.map_err(said)?,
    };
    rustix::io::write(&file, &[0; PROBE_BYTES]).map_err(said)?;
    rustix::fs::fdatasync(&file).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: FolderMark = FolderMark {
        file_system: 1,
        inode: 2,
        mounted: false,
    };

    fn sight(state: Option<DeviceState>, now: Result<FolderMark, String>) -> Sight {
        Sight {
            state,
            known: Some(HERE),
            now,
            writes: Ok(()),
        }
    }

    #[test]
    fn a_device_whose_folder_is_gone_or_another_is_closed() {
        let ok = Some(DeviceState::Ok);
        assert_eq!(decide(sight(ok, Ok(HERE))), Care::Nothing);
        assert_eq!(decide(sight(ok, Err("gone".into()))), Care::Close("gone".into()));
        let other = FolderMark { inode: 3, ..HERE };
        assert!(matches!(decide(sight(ok, Ok(other))), Care::Close(_)));
    }

    #[test]
    fn a_device_that_does_not_serve_is_opened_when_its_folder_takes_writes() {
        for state in [None, Some(DeviceState::ReadOnly), Some(DeviceState::Out)] {
            assert_eq!(decide(sight(state, Ok(HERE))), Care::Open);
            let read_only = Sight {
                writes: Err("read-only".into()),
                ..sight(state, Ok(HERE))
            };
            assert_eq!(decide(read_only), Care::Wait("read-only".into()));
        }
        assert_eq!(decide(sight(None, Err("gone".into()))), Care::Wait("gone".into()));
    }

    #[test]
    fn the_empty_folder_under_a_disk_that_is_not_mounted_is_no_new_disk() {
        let was_mounted = Sight {
            known: Some(FolderMark { mounted: true, ..HERE }),
            ..sight(None, Ok(HERE))
        };
        assert!(matches!(decide(was_mounted), Care::Wait(why) if why.contains("not mounted")));
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(probe(dir.path()), Ok(()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(probe(&dir.path().join("absent")).is_err());
        assert!(FolderMark::of(&dir.path().join("absent")).is_err());
    }
}
