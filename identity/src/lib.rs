//! Who may do what: domains, projects, users, groups, roles, tokens, S3 keys, the catalog, and the policy table.
//!
//! Knows: how these are kept as small records through [`store::Store`], how somebody proves who they are, which rights
//! follow, and (in [`http`] only) the OpenStack Identity API v3. Must not know: objects, buckets, disks, Raft.
//!
//! ```text
//! edges, services --token--> TokenSource --> TokenContext --> policy::allowed(action, context, target)
//! S3 edge      --access key--> KeySource  --> secret, TokenContext --> policy::allowed(action, context, target)
//! clients      --HTTP--> http --> login, rights, records
//! ```
//! SEC-1: secrets (S3 keys, one-time passwords, token keys) are sealed at rest ([`mod@self`]'s `seal`), passwords are
//! hashed with Argon2id, and none of them is ever logged.

mod bootstrap;
mod directory;
mod error;
pub mod http;
mod judge;
mod ldap;
mod login;
mod model;
mod names;
mod passwords;
pub mod policy;
mod records;
mod refusal;
mod rights;
mod row;
mod seal;
mod secrets;
mod service;
mod source;
mod sweep;
pub mod token;

pub use bootstrap::{CatalogEntry, Seed};
pub use directory::{Directory, IssuedKey, KeyInfo, Project};
pub use error::IdentityError;
pub use ldap::{LdapBackends, LdapOptions, LdapSetupError};
pub use service::{Identity, IdentityOptions, IssuedToken};
pub use source::{AccessKey, KeySource, StaticKeys};
