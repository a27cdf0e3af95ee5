//! Who may speak to the cluster: projects and their S3 access keys.
//!
//! Knows: projects, access keys, how a secret key is sealed at rest, and how both are kept as small records through
//! [`store::Store`]. Must not know: HTTP, signatures, buckets, disks, Raft.
//!
//! ```text
//! table "projects"      key = project id    value = version 1 | postcard(ProjectRow)
//! table "access-keys"   key = access key    value = version 1 | postcard(AccessKeyRow), the secret sealed (see `seal`)
//! ```
//! SEC-1: a secret key leaves this crate only through [`KeySource::lookup`] and, once, through the answer to its making.

mod directory;
mod error;
pub mod policy;
mod row;
mod seal;
mod source;
pub mod token;

pub use directory::{Directory, IssuedKey, KeyInfo, Project};
pub use error::IdentityError;
pub use source::{AccessKey, KeySource, StaticKeys};
