//! Where the rows of shards stand in the spaces of the store.
//!
//! ```text
//! Log                 shard u64 | index u64                             -> version 1 | postcard(Entry)
//! State    0x01                                                         -> version 1 | postcard(StoreIdentity)
//!          0x02       node u64                                          -> incarnation of that peer's store, u128
//!          0x03                                                         -> version 1 | postcard(Newcomer)
//!          0x10       shard u64                                         -> version 1 | postcard(Generations)
//!          0x11       shard u64                                         -> version 1 | postcard(Vote)
//!          0x12       shard u64                                         -> version 1 | postcard(LogId): last purged
//!          0x13       shard u64                                         -> version 1 | postcard(Applied)
//! Current, Versions,
//! Inline, Requests    shard u64 | generation u32 | key                  -> value
//! Rows                shard u64 | generation u32 | family u8 | key      -> value
//! ```
//! All numbers are big endian, so that byte order is their order.
//!
//! Knows: keys. Must not know: what the values say.

use metadata::ids::{NodeId, ShardId};
use metadata::rows::Family;

use super::store::Space;

/// The version byte in front of every value of [`Space::Log`] and [`Space::State`].
pub(crate) const VALUE_FORMAT: u8 = 1;

/// The spaces that hold a shard's own rows, and so belong to a generation.
pub(crate) const ROW_SPACES: [Space; 5] = [
    Space::Current,
    Space::Versions,
    Space::Inline,
    Space::Requests,
    Space::Rows,
];

/// A shard's log entry.
pub(crate) fn log(shard: ShardId, index: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(&shard.0.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The store's own identity.
pub(crate) fn identity() -> Vec<u8> {
    vec![0x01]
}

/// The known incarnation of a peer's store.
pub(crate) fn peer(node: NodeId) -> Vec<u8> {
    state(0x02, node.0)
}

/// The node in a key made by [`peer`].
pub(crate) fn peer_node(key: &[u8]) -> Option<NodeId> {
    Some(NodeId(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)))
}

/// Whether the store came to a cluster that existed.
pub(crate) fn newcomer() -> Vec<u8> {
    vec![0x03]
}

/// A shard's live and dead generations.
pub(crate) fn generations(shard: ShardId) -> Vec<u8> {
    state(0x10, shard.0)
}

/// A shard's vote.
pub(crate) fn vote(shard: ShardId) -> Vec<u8> {
    state(0x11, shard.0)
}

/// A shard's last purged log id.
pub(crate) fn purged(shard: ShardId) -> Vec<u8> {
    state(0x12, shard.0)
}

/// What a shard has applied.
pub(crate) fn applied(shard: ShardId) -> Vec<u8> {
    state(0x13, shard.0)
}

fn state(kind: u8, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(kind);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// What all rows of one generation begin with.
pub(crate) fn generation(shard: ShardId, generation: u32) -> [u8; 12] {
    let mut prefix = [0; 12];
    prefix[..8].copy_from_slice(&shard.0.to_be_bytes());
    prefix[8..].copy_from_slice(&generation.to_be_bytes());
    prefix
}

/// The first key after all that begin with `prefix`; prefixes here are never all ones, because shards are few.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The space that holds a family.
pub(crate) fn space_of(family: Family) -> Space {
    match family {
        Family::Current => Space::Current,
        Family::Versions => Space::Versions,
        Family::Inline => Space::Inline,
        Family::Requests => Space::Requests,
        _ => Space::Rows,
    }
}

/// What the rows of a family begin with.
pub(crate) fn family_prefix(prefix: &[u8; 12], family: Family) -> Vec<u8> {
    let mut key = prefix.to_vec();
    if space_of(family) == Space::Rows {
        key.push(family as u8);
    }
    key
}

/// One row of a family.
pub(crate) fn row(prefix: &[u8; 12], family: Family, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(13 + key.len());
    full.extend_from_slice(prefix);
    if space_of(family) == Space::Rows {
        full.push(family as u8);
    }
    full.extend_from_slice(key);
    full
}
