//! Builder and ring files on disk.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{CommandError, beside};
use crate::builder::Builder;
use crate::limits::{MAX_PART_POWER, MAX_SLOTS};

/// No builder or ring file is larger: table, hours, and 2,000 bytes for each of the most devices.
pub(super) const MAX_FILE_BYTES: u64 = 2 * MAX_SLOTS + (4 << MAX_PART_POWER) + 2_000 * 65_536;

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
    let bytes = read_bytes(path, MAX_FILE_BYTES)?;
    Builder::from_bytes(&bytes).map_err(|reason| CommandError::File {
        path: path.to_owned(),
        reason,
    })
}

/// The file, as far as `most` bytes and one.
pub(super) fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failure("read", path))?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failure("read", path))?;
    Ok(bytes)
}

/// Keeps a copy in `backups/`, named by the second, as Swift's tool does.
pub(super) fn back_up(path: &Path, bytes: &[u8], now_ms: u64) -> Result<(), CommandError> {
    let folder = path.with_file_name("backups");
    fs::create_dir_all(&folder).map_err(failure("write", &folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    replace(&folder.join(format!("{}.{name}", now_ms / 1000)), bytes)
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
