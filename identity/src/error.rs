//! What can go wrong, by what the caller may do next.

use store::StoreError;

/// Why identity did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such project; nothing was changed.
    #[error("no such project")]
    NoSuchProject,
    /// There is no such access key; nothing was changed.
    #[error("no such access key")]
    NoSuchKey,
    /// The id is in use already; ask under another one.
    #[error("the id is in use")]
    Taken,
    /// An id, a name or a secret does not have the form asked for; ask again with another one.
    #[error("{0}")]
    Invalid(&'static str),
    /// A record cannot be read: damaged, of a newer release, or sealed with another cluster's key. A human must look.
    #[error("the record of {what} cannot be read: {why}")]
    Unreadable {
        /// Which record.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// There is no such thing.
    #[error("could not find {0}: {1}")]
    NotFound(&'static str, String),
    /// A listing would be too long to answer.
    #[error("there are too many records to list")]
    TooMany,
    /// Too many passwords are being checked; try again in a second.
    #[error("too many passwords are being checked")]
    Busy,
    /// The directory of a domain did not answer; the caller may try again.
    #[error("the directory of the domain did not answer")]
    Directory,
    /// The cluster did not answer; the caller may try again.
    #[error("reading or writing identity's records")]
    Store(#[source] StoreError),
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
