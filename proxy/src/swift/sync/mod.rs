//! Container sync: a container's objects and deletions are sent to another container, of this cluster or of another one
//! that speaks Swift, in the background.
//!
//! ```text
//! write over any API -> the bucket's shard notes the key (one entry of its log) ----+
//! X-Container-Sync-To -> record of the container; its worker notes all keys --------+-> queue in the shard
//!                                                                                       |
//!   worker   holds a lease, takes the queue in order, sends what each key is now  <-----+
//!            PUT and DELETE under the time of the write, then the places are dropped
//!   incoming signature -> the write takes that time, unless what is here is as new
//! ```
//! The queue and the record lie in the metadata plane, so that a worker that dies is succeeded by any other proxy's, which
//! goes on where that one was. A change that is sent twice does no harm, because the second time it is not newer.
//!
//! Knows: Swift's container sync. Must not know: how the queue is kept.

mod incoming;
mod realms;
mod record;
mod send;
mod sender;
mod worker;

pub use realms::{SyncOptions, SyncRealm};

pub(crate) use incoming::{Elsewhere, handle, judge};
pub(crate) use realms::Realms;
pub(crate) use record::{Intent, arrange, is_source};
pub(crate) use worker::{round, run_forever};

/// The header and setting that says where a container is sent to.
pub(crate) const TO: &str = "x-container-sync-to";
/// The header and setting with the key that both containers share.
pub(crate) const KEY: &str = "x-container-sync-key";
