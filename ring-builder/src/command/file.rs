//! Builder and ring files on disk.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{CommandError, beside};
use crate::builder::Builder;
use crate::limits::{MAX_PART_POWER, MAX_SLOTS};

/// No builder file is larger: table, hours, and 400 bytes for each of the most devices.
const MAX_FILE_BYTES: u64 = 2 * MAX_SLOTS + (4 << MAX_PART_POWER) + 400 * 65_536;

/// Keeps other commands off the builder file until dropped. The lock is on a file of its own, as the builder file is
/// replaced by a new one.
pub(super) fn lock(path: &Path) -> Result<File, CommandError> {
    let lock_path = beside(path, ".lock");
    let failed = failure("lock", &lock_path);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(CommandError::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failure("lock", &lock_path)(error)),
    }
}

pub(super) fn read(path: &Path) -> Result<Builder, CommandError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failure("read", path))?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failure("read", path))?;
    Builder::from_bytes(&bytes).map_err(|reason| CommandError::Ring {
        path: path.to_owned(),
        reason,
    })
}

/// Puts `bytes` in the place of `path` so that a crash leaves the old file or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let new = beside(path, ".new");
    let mut file = File::create(&new).map_err(failure("write", &new))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failure("write", &new))?;
    fs::rename(&new, path).map_err(failure("write", path))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failure("write", folder))
}

fn failure(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CommandError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| CommandError::Io { doing, path, source }
}
