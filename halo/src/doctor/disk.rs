//! Room on the disk, and how long it takes to sync.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Finding;
use crate::terminal;

/// Below this much room a cluster is of little use: segments alone take some.
const ROOM_MIN: u64 = 2 << 30;
/// Below this much room one should think of more.
const ROOM_WISHED: u64 = 20 << 30;
/// How many syncs are measured.
const SYNCS: u32 = 20;
/// A sync that takes longer makes every small write slow.
const SYNC_POOR: Duration = Duration::from_millis(20);
/// A sync that is this quick has hardly reached a disk.
const SYNC_SUSPECT: Duration = Duration::from_micros(5);

/// The folder itself, or the nearest one above it that exists.
pub(super) fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|ancestor| ancestor.is_dir())
        .unwrap_or_else(|| Path::new("/"))
        .to_owned()
}

pub(super) fn space(place: &Path) -> Finding {
    const SUBJECT: &str = "disk space";
    let stat = match rustix::fs::statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            return Finding::bad(
                SUBJECT,
                format!("{}: {error}", place.display()),
                "choose another --data",
            );
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    let found = format!(
        "{} of {} free at {}",
        terminal::bytes(free),
        terminal::bytes(total),
        place.display()
    );
    let remedy = format!(
        "choose a larger disk with --data, or find what fills this one: du -xhd1 {}",
        place.display()
    );
    if free < ROOM_MIN {
        Finding::bad(SUBJECT, found, remedy)
    } else if free < ROOM_WISHED || free < total / 10 {
        Finding::poor(
            SUBJECT,
            format!("{found}; writes stop when a device is 90 % full"),
            remedy,
        )
    } else {
        Finding::good(SUBJECT, found)
    }
}

pub(super) fn sync_speed(place: &Path) -> Finding {
    const SUBJECT: &str = "sync speed";
    let took = match measure(place) {
        Ok(took) => took,
        Err(error) => {
            let owner = format!("sudo chown $(id -un) {}", place.display());
            return Finding::bad(SUBJECT, format!("cannot write in {}: {error}", place.display()), owner);
        }
    };
    let found = format!(
        "{:.2} ms for one fdatasync of 4 KiB (median of {SYNCS})",
        took.as_secs_f64() * 1000.0
    );
    if took > SYNC_POOR {
        Finding::poor(
            SUBJECT,
            found,
            "put --data on a disk with a write cache that survives power loss, or an SSD",
        )
    } else if took < SYNC_SUSPECT {
        Finding::poor(
            SUBJECT,
            format!("{found}: is this memory?"),
            "put --data on a disk: df --output=fstype,target .",
        )
    } else {
        Finding::good(SUBJECT, found)
    }
}

fn measure(place: &Path) -> std::io::Result<Duration> {
    let path = place.join(format!(".halo-doctor-{}", std::process::id()));
    let result = File::create(&path).and_then(|mut file| {
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            file.write_all(&[7; 4096])?;
            let begun = Instant::now();
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    });
    let removed = std::fs::remove_file(&path);
    result.and_then(|median| removed.map(|()| median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_yet_to_be_made_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(existing_ancestor(&dir.path().join("a/b/c")), dir.path());
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        measure(dir.path()).expect("measured");
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
    }
}
