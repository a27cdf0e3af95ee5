//! Who a store is, and whether it may vote (DUR-5).
//!
//! A store is born with a random *incarnation*, kept in the database and in the side file
//! ([`SyncedNote`](super::synced_note)). When it opens, three things are compared: the side file, the identity row in
//! the database, and the database's sequence number.
//!
//! ```text
//! side file        identity row    verdict
//! none             none            an empty store: born now
//! sequence 0       none            a birth that was cut off before anything was acknowledged: goes on
//! sequence > 0     none            the database was emptied: quarantined
//! none             some            the side file is lost, so nothing proves that the database is whole: quarantined
//! some             another         the database was replaced: quarantined
//! sequence > db's  the same        the write-ahead log lost synced records: quarantined
//! otherwise        the same        sound
//! ```
//! A database that RocksDB itself finds damaged is quarantined as well. An identity of another cluster or node is no
//! damage but a mistake in the configuration, and an error.

use metadata::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use super::synced_note::Noted;

/// What to tell the operator to do about a quarantined store.
const WHAT_TO_DO: &str = "where the other nodes have a majority this node joins again by itself, with an empty store; \
                          where they have not, run `halo admin shard recover --from NODE --accept-data-loss` with the \
                          node whose metadata is newest, or restore a backup";

/// Names one life of one node's metadata store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The node it belongs to.
    pub node: NodeId,
    /// Random, drawn when the store was empty.
    pub incarnation: u128,
}

/// What to do with a store that is being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is whole.
    Sound(StoreIdentity),
    /// It is empty, and becomes this one.
    Born(StoreIdentity),
    /// It may not vote; says why and what to do.
    Quarantined(String),
    /// It belongs elsewhere.
    Foreign(String),
}

/// What was found on the disk.
pub(crate) struct Found {
    pub(crate) noted: Option<Noted>,
    pub(crate) stored: Option<StoreIdentity>,
    pub(crate) sequence: u64,
}

/// Judges a store by the table above. `wanted` carries the incarnation a new store gets.
pub(crate) fn judge(found: &Found, wanted: StoreIdentity) -> Verdict {
    let known = found.noted.map(|noted| noted.identity);
    for identity in known.iter().chain(&found.stored) {
        if (identity.cluster, identity.node) != (wanted.cluster, wanted.node) {
            return Verdict::Foreign(format!(
                "the store belongs to node {} of cluster {}, not to node {} of cluster {}",
                identity.node, identity.cluster, wanted.node, wanted.cluster
            ));
        }
    }
    match (found.noted, found.stored) {
        (None, None) => Verdict::Born(wanted),
        (Some(noted), None) if noted.sequence == 0 => Verdict::Born(noted.identity),
        (Some(_), None) => quarantined("the metadata store was emptied"),
        (None, Some(_)) => quarantined("the file that notes what was synced is gone"),
        (Some(noted), Some(stored)) if noted.identity != stored => quarantined("the metadata store was replaced"),
        (Some(noted), Some(_)) if noted.sequence > found.sequence => quarantined(&format!(
            "the metadata store lost synced writes (it ends at {}, {} were synced)",
            found.sequence, noted.sequence
        )),
        (Some(_), Some(stored)) => Verdict::Sound(stored),
    }
}

/// The sentence for a store that does not open at all.
pub(crate) fn damaged(reason: &str) -> String {
    sentence(&format!("the metadata store is damaged: {reason}"))
}

/// The sentence for an empty store beside devices that hold data.
pub(crate) fn emptied() -> String {
    sentence("the folder of the metadata store is empty, but this node's devices hold data")
}

/// The sentence for a store that peers know under another incarnation.
pub(crate) fn refused_by(peer: NodeId) -> String {
    sentence(&format!(
        "node {peer} knows this node with another metadata store than the one it has now"
    ))
}

fn quarantined(reason: &str) -> Verdict {
    Verdict::Quarantined(sentence(reason))
}

fn sentence(reason: &str) -> String {
    format!("{reason}; {WHAT_TO_DO}")
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
