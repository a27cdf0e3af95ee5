//! One `up` or `down` at a time works on a folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::folder::Folder;
use crate::terminal;

/// How long another `up` or `down` is waited for; longer than either may take.
const WAIT_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

/// Held while processes are started or stopped; released when dropped, or by the kernel when the holder dies.
pub struct FolderLock {
    _file: File,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file system refuses.
    #[error("cannot lock {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody else works on the folder.
    #[error("another halo up or halo down works on {} since more than {} s", path.display(), WAIT_MAX.as_secs())]
    Busy { path: PathBuf },
}

impl FolderLock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take(folder: &Folder) -> Result<Self, LockError> {
        let path = folder.lock_file();
        let failed = |source| LockError::Disk {
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let begun = Instant::now();
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() > WAIT_MAX => {
                    return Err(LockError::Busy {
                        path: folder.path().to_owned(),
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    if !said {
                        terminal::note("waiting for another halo up or halo down on the same folder");
                        said = true;
                    }
                    tokio::time::sleep(POLL).await;
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_taker_waits_for_the_first() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(dir.path()).expect("absolute");
        let first = FolderLock::take(&folder).await.expect("free");
        let second = tokio::spawn({
            let folder = folder.clone();
            async move { FolderLock::take(&folder).await.map(drop) }
        });
        tokio::time::sleep(POLL * 3).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.expect("no panic").expect("the lock was released");
    }
}
