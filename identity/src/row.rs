//! The records as they lie in the system shard.
//!
//! ```text
//! value = format (1 byte, ROW_FORMAT) | postcard(row)
//! ```

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::IdentityError;
use crate::seal::Sealed;

/// Format version of an encoded row.
const ROW_FORMAT: u8 = 1;

/// The table of projects.
pub(crate) const PROJECTS: &str = "projects";
/// The table of access keys.
pub(crate) const ACCESS_KEYS: &str = "access-keys";

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectRow {
    /// What people call it.
    pub(crate) name: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessKeyRow {
    /// The project it acts for.
    pub(crate) project: String,
    /// What it is for, in its maker's words.
    pub(crate) description: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    /// The secret key, sealed under the record's own key.
    pub(crate) secret: Sealed,
}

/// The bytes of a record.
pub(crate) fn encode(row: &impl Serialize) -> Bytes {
    let bytes = vec![ROW_FORMAT];
    postcard::to_extend(row, bytes)
        .expect("a row of strings and numbers always encodes into memory")
        .into()
}

/// Reads the bytes of a record; `what` names it in the error.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, IdentityError> {
    let unreadable = |why| IdentityError::Unreadable {
        what: what.to_owned(),
        why,
    };
    match bytes.split_first() {
        Some((&ROW_FORMAT, rest)) => postcard::from_bytes(rest).map_err(|_| unreadable("it is damaged")),
        Some(_) => Err(unreadable("its format is not known to this release")),
        None => Err(unreadable("it is empty")),
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
