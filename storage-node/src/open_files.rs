//! Whether this process still has files open in some folders: how a stop knows that the databases are really closed.
//!
//! RocksDB closes when its last user lets go, on whatever thread that is, and aborts a process that exits in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until no file in `folders` is open, at most `at_most`; false when some still are. Where the system does not tell
/// (no `/proc`), it returns at once.
pub(crate) async fn wait_until_closed(folders: Vec<PathBuf>, at_most: Duration) -> bool {
    let looking = async {
        loop {
            let folders = folders.clone();
            let open = crate::threads::blocking(move || any_open(&folders)).await;
            if !open.unwrap_or(false) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(at_most, looking).await.is_ok()
}

fn any_open(folders: &[PathBuf]) -> bool {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return false;
    };
    let files = open.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let inside = |file: &Path| folders.iter().any(|folder| file.starts_with(folder));
    files.into_iter().any(|file| inside(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_file_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let folders = || vec![folder.path().canonicalize().unwrap()];
        let file = std::fs::File::create(folder.path().join("f")).unwrap();
        assert!(!wait_until_closed(folders(), Duration::from_millis(30)).await);
        drop(file);
        assert!(wait_until_closed(folders(), Duration::from_secs(30)).await);
    }
}
