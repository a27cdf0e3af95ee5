//! What callers hand in and get back besides rows: bodies, digests, and the answer to a PUT's last question.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use metadata::command::Condition;
use metadata::model::{Attributes, Checksum, ChecksumAlgorithm};

use crate::error::StoreError;

/// The bytes of a PUT as they arrive.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// The bytes of a GET: verified (INT-1), read ahead, in pieces of at most a slice
/// ([`StoreOptions::read_slice_bytes`](crate::StoreOptions::read_slice_bytes)). After an error nothing follows.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The client's body broke off or broke a rule of its encoding: the client's fault, named by the edge's own code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body failed: {code}: {message}")]
pub struct BodyError {
    /// The edge's code, carried through.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The edge's refusal of a body after its last byte, carried through to the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {0}")]
pub struct Rejected(pub &'static str);

/// What was computed of a body while it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of all bytes.
    pub md5: [u8; 16],
    /// Length in bytes.
    pub size: u64,
    /// What was asked for, big endian, in the order asked.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

impl Digests {
    /// The digest by `algorithm`, when it was asked for.
    #[must_use]
    pub fn checksum(&self, algorithm: ChecksumAlgorithm) -> Option<&[u8]> {
        self.checksums
            .iter()
            .find(|(computed, _)| *computed == algorithm)
            .map(|(_, value)| value.as_slice())
    }
}

/// Called once after the last byte and before the commit: compares the digests with what the client promised, and
/// says which checksum to keep, or refuses (then nothing is stored).
pub type Finish = Box<dyn FnOnce(&Digests) -> Result<Option<Checksum>, Rejected> + Send>;

/// Everything about a PUT but its bytes.
pub struct PutObject {
    /// What must hold of the key at the commit.
    pub condition: Condition,
    /// Standard headers, lower-case names.
    pub attributes: Attributes,
    /// User metadata, names without the API's prefix.
    pub user: Attributes,
    /// Tags.
    pub tags: Attributes,
    /// Declared length in bytes. A body of another length is [`StoreError::IncompleteBody`], and nothing is visible.
    pub length: Option<u64>,
    /// Digests to compute beside MD5, which is always computed.
    pub digests: Vec<ChecksumAlgorithm>,
    /// The edge's last word.
    pub finish: Finish,
}

impl PutObject {
    /// A put without conditions, metadata or checks.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            condition: Condition::Always,
            attributes: Attributes::new(),
            user: Attributes::new(),
            tags: Attributes::new(),
            length: None,
            digests: Vec::new(),
            finish: Box::new(|_| Ok(None)),
        }
    }
}

impl std::fmt::Debug for PutObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutObject")
            .field("condition", &self.condition)
            .field("length", &self.length)
            .field("digests", &self.digests)
            .finish_non_exhaustive()
    }
}
