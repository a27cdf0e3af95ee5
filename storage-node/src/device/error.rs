//! What can go wrong at a device, sorted by what the caller does next.

use super::blob::BlobFault;

/// An error of a device. Cloneable, because one failed sync answers a whole group of writers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The device has no such blob: ask another replica.
    #[error("no such blob on this device")]
    NotFound,
    /// The copy here is damaged: read another replica and put the blob again, which replaces this copy.
    #[error("the copy on this device is damaged: {0}")]
    Corrupt(String),
    /// Another blob of the same key lies here: a bug of the writer, never to be retried.
    #[error("a blob with this key and other bytes exists")]
    Conflict,
    /// The blob did not arrive as its sender computed it: the sender sends it again.
    #[error("malformed blob: {0}")]
    Malformed(#[from] BlobFault),
    /// The blob belongs to another cluster: a wiring mistake.
    #[error("the blob belongs to another cluster")]
    ForeignCluster,
    /// Nothing of the range lies inside the blob.
    #[error("the range begins at or beyond the end of the blob")]
    Range,
    /// No room for this kind of write: use a handoff.
    #[error("the device is full")]
    Full,
    /// The device no longer takes writes: use a handoff. Reads go on.
    #[error("the device is read-only: {0}")]
    ReadOnly(String),
    /// The device answers nothing any more, or is closed: use another replica.
    #[error("the device is out: {0}")]
    Out(String),
    /// One read failed; the device may still serve others: use another replica.
    #[error("reading failed: {0}")]
    Io(String),
    /// The folder cannot be used as this device. The text tells the operator what to do.
    #[error("{0}")]
    Refused(String),
}

impl DeviceError {
    /// An I/O error met while doing something, as an answer to one reader.
    pub(super) fn io(doing: &str, source: &std::io::Error) -> Self {
        Self::Io(format!("{doing}: {source}"))
    }
}
