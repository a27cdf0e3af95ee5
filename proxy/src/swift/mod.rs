//! The Swift edge.
//!
//! ```text
//! request -> edge       request ids, access log, admission
//!         -> path       account, container, object, decoded
//!         -> principal  the token's owner (identity's tokens, or the old ones of `v1`)
//!         -> authorize  identity's policy table, access lists, signed URLs, other clusters' container sync (SEC-1)
//!         -> account | container | put, read, change, copy …     one module a subject -> store
//! answer <- cors        what a page's browser needs
//! ```
//! An account is a project's (`AUTH_<project id>`), a container one of its buckets, an object a key: the same ones as over
//! S3. Containers take no global name (DESIGN §3.3). What only Swift knows of an object stands beside its standard headers
//! ([`attributes`]), of a container in a document of its bucket, of an account in a record ([`settings`]).
//!
//! Knows: Swift's protocol. Must not know: how tokens are made, where bytes lie.

mod account;
mod acl;
mod archive;
mod attributes;
mod authorize;
mod bulk;
mod bunzip;
mod change;
mod conditions;
mod container;
mod container_types;
mod context;
mod copy;
mod cors;
mod edge;
mod expiry;
mod extract;
mod format;
mod formpost;
mod info;
mod large;
mod limits;
mod listing;
mod multipart_form;
mod objects;
pub(crate) mod over_s3;
mod path;
mod policies;
mod principal;
mod put;
mod quota;
mod ranges;
mod ratelimit;
mod read;
mod reply;
mod request;
mod routes;
mod settings;
mod slo;
mod staticweb;
mod symlink;
mod sync;
mod tar;
mod tempurl;
mod timestamp;
mod v1;
mod versions;

use std::time::Duration;

pub use edge::{SwiftBody, SwiftEdge, Told};
pub use ratelimit::RateLimits;
pub use routes::{Level, ROUTES, Route};
pub use sync::{SyncOptions, SyncRealm};
pub use v1::{BadUsers, V1Auth};

use crate::http::AdmissionOptions;

/// Settings of a [`SwiftEdge`].
#[derive(Clone)]
pub struct SwiftOptions {
    /// The name of the default storage policy.
    pub policy: String,
    /// The old way to a token, when it is on.
    pub v1: Option<V1Auth>,
    /// Refuses every write.
    pub read_only: bool,
    /// How long a metadata round, or the first byte of a body, may take.
    pub deadline: Duration,
    /// How long a client may be silent in the middle of its body.
    pub body_idle: Duration,
    /// The pause between two sweeps over expired objects.
    pub sweep_every: Duration,
    /// How often an account and a container may be written to and listed.
    pub rate_limits: RateLimits,
    /// Who containers may be synced with.
    pub sync: SyncOptions,
    /// How many requests and bytes are worked on at once.
    pub admission: AdmissionOptions,
}

impl Default for SwiftOptions {
    fn default() -> Self {
        Self {
            policy: "Policy-0".into(),
            v1: None,
            read_only: false,
            deadline: Duration::from_secs(20),
            body_idle: Duration::from_secs(30),
            sweep_every: Duration::from_secs(30),
            rate_limits: RateLimits::default(),
            sync: SyncOptions::default(),
            admission: AdmissionOptions::default(),
        }
    }
}
