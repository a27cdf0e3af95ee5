//! Secrets: read from files, never printed.
//!
//! Knows: how a secret is drawn, kept (0600) and compared. Must not know: what it opens.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clock::Dice;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The largest secret file that is read, in bytes; anything longer is a mistake in the configuration.
const SECRET_BYTES_MAX: u64 = 4096;

/// Text that must not reach a log, an error message or a terminal. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// A secret file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error("cannot {doing} the secret file {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file holds nothing, or far too much.
    #[error("the secret file {} must hold 1 to {SECRET_BYTES_MAX} bytes of text", path.display())]
    Length { path: PathBuf },
}

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Draws `bytes` random bytes and keeps them as lower-case hex.
    #[must_use]
    pub fn draw(dice: &dyn Dice, bytes: usize) -> Self {
        let mut random = Zeroizing::new(vec![0; bytes]);
        dice.fill(&mut random);
        Self::new(hex::encode(&*random))
    }

    /// Reads a file; white space at its end is not part of the secret.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or is longer than 4 KiB.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > SECRET_BYTES_MAX {
            return Err(SecretError::Length { path: path.to_owned() });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let secret = text.trim_end();
        if secret.is_empty() {
            return Err(SecretError::Length { path: path.to_owned() });
        }
        Ok(Self::new(secret.to_owned()))
    }

    /// True when others than the owner may read the file.
    #[must_use]
    pub fn readable_by_others(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
    }

    /// The secret itself. Call it only where the secret is used.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the two differ.
    #[must_use]
    pub fn equals(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Writes a file that only its owner may read, whole or not at all: beside it, synced, then renamed.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let failed = |source| SecretError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SeededDice;

    #[test]
    fn debug_text_shows_nothing() {
        let secret = Secret::new("hunter2".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn a_written_secret_is_private_and_reads_back_without_its_line_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        let drawn = Secret::draw(&SeededDice::new(7), 16);
        write_private(&path, format!("{}\n", drawn.reveal()).as_bytes()).expect("written");
        assert!(!Secret::readable_by_others(&path));
        let read = Secret::read(&path).expect("read");
        assert!(read.equals(drawn.reveal().as_bytes()));
        assert!(!read.equals(b"other"));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "\n").expect("written");
        assert!(matches!(Secret::read(&path), Err(SecretError::Length { .. })));
    }
}
