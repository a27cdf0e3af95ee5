//! What this node knows of the others: the incarnation of each one's store (DUR-5) and how far its clock is off.
//!
//! The first incarnation a peer shows is kept, synced, before the peer is answered. From then on a message from that
//! node id with another incarnation is refused, and so is an answer: a node that lost its store cannot vote again
//! under its old name. A node is known anew only after [`Peers::forget`], which belongs to taking it out of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata::ids::NodeId;
use metadata::rows::Visit;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::layout;
use super::store::{RowStore, Space, StoreFailed, WriteSet};
use super::writer::{Durability, Writer};

/// A leader whose clock is further off than this from most of its peers does not lead, in milliseconds.
pub const CLOCK_SKEW_MAX_MS: u64 = 2_000;
/// A node silent for longer than this is away.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Answers that took longer say nothing about clocks, in milliseconds.
const CLOCK_ROUND_TRIP_MAX_MS: u64 = 500;
/// How long a measure of a peer's clock counts. A node whose clock is off stands for no election, so without a leader it
/// would never measure again, and never learn that its clock was set right.
const CLOCK_MEASURE_AGE_MAX: Duration = Duration::from_secs(10);

/// The other nodes, as this one has met them.
pub(crate) struct Peers {
    writer: Writer,
    incarnations: Mutex<BTreeMap<NodeId, u128>>,
    /// Held while a first incarnation is written, so that what is kept in memory is what is on the disk.
    learning: tokio::sync::Mutex<()>,
    /// Their clock minus ours, in milliseconds, and when it was measured.
    clock_offsets: Mutex<BTreeMap<NodeId, (i64, Instant)>>,
    /// When each was last heard of, with the store known here.
    heard: Mutex<BTreeMap<NodeId, Instant>>,
    /// Those that do not answer, of whom the log says so once.
    away: Mutex<BTreeSet<NodeId>>,
    /// Those whose known store is gone: nobody makes them members before they are known with another one.
    dismissed: Mutex<BTreeSet<NodeId>>,
}

impl Peers {
    /// Loads what is known. Blocks on the store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn load(store: &Arc<dyn RowStore>, writer: Writer) -> Result<Self, StoreFailed> {
        let mut incarnations = BTreeMap::new();
        let (from, until) = (layout::peer(NodeId(0)), layout::peer(NodeId(u64::MAX)));
        store.scan(Space::State, &from, &until, &mut |key, value| {
            if let (Some(node), Ok(incarnation)) = (layout::peer_node(key), value.try_into()) {
                incarnations.insert(node, u128::from_le_bytes(incarnation));
            }
            Visit::Next
        })?;
        Ok(Self {
            writer,
            incarnations: Mutex::new(incarnations),
            learning: tokio::sync::Mutex::default(),
            clock_offsets: Mutex::default(),
            heard: Mutex::default(),
            away: Mutex::default(),
            dismissed: Mutex::default(),
        })
    }

    /// The incarnation under which `node` is known.
    pub(crate) fn incarnation(&self, node: NodeId) -> Option<u128> {
        self.incarnations.lock().get(&node).copied()
    }

    /// Checks the incarnation a peer shows, and keeps it when it is the first. `false`: it is another one's.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn meet(&self, node: NodeId, incarnation: u128) -> Result<bool, StoreFailed> {
        if let Some(known) = self.incarnation(node) {
            if known == incarnation {
                self.heard.lock().insert(node, Instant::now());
            }
            return Ok(known == incarnation);
        }
        let _learning = self.learning.lock().await;
        if let Some(known) = self.incarnation(node) {
            return Ok(known == incarnation);
        }
        self.keep(node, incarnation).await?;
        Ok(true)
    }

    async fn keep(&self, node: NodeId, incarnation: u128) -> Result<(), StoreFailed> {
        let mut set = WriteSet::new();
        set.put(
            Space::State,
            layout::peer(node),
            Bytes::copy_from_slice(&incarnation.to_le_bytes()),
        );
        self.writer.write(set, Durability::Synced).await?;
        self.incarnations.lock().insert(node, incarnation);
        self.dismissed.lock().remove(&node);
        self.heard.lock().insert(node, Instant::now());
        Ok(())
    }

    /// Knows a node with another store from now on. The caller has made sure that the one before has no vote left.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn replace(&self, node: NodeId, incarnation: u128) -> Result<(), StoreFailed> {
        let _learning = self.learning.lock().await;
        self.keep(node, incarnation).await
    }

    /// A call to a node failed: said once in an outage, not at every message.
    pub(crate) fn note_silence(&self, node: NodeId, why: &dyn std::fmt::Display) {
        if !self.heard_within(node, SILENCE_MAX) && self.away.lock().insert(node) {
            tracing::warn!(%node, %why, "the node does not answer");
        }
    }

    /// A call to a node was answered.
    pub(crate) fn note_answer(&self, node: NodeId) {
        if self.away.lock().remove(&node) {
            tracing::info!(%node, "the node answers again");
        }
    }

    /// The store known here of a node is gone.
    pub(crate) fn note_dismissed(&self, node: NodeId) {
        self.dismissed.lock().insert(node);
    }

    /// The store known here of a node is the one it has.
    pub(crate) fn note_welcome(&self, node: NodeId) {
        self.dismissed.lock().remove(&node);
    }

    /// True until the node is known with another store.
    pub(crate) fn is_dismissed(&self, node: NodeId) -> bool {
        self.dismissed.lock().contains(&node)
    }

    /// True when the node was heard of within `age`, with the store known here.
    pub(crate) fn heard_within(&self, node: NodeId, age: Duration) -> bool {
        self.heard.lock().get(&node).is_some_and(|at| at.elapsed() <= age)
    }

    /// Forgets a node that was taken out of the cluster, so that its id may come back with a new store.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn forget(&self, node: NodeId) -> Result<(), StoreFailed> {
        let mut set = WriteSet::new();
        set.remove(Space::State, layout::peer(node));
        self.writer.write(set, Durability::Synced).await?;
        self.incarnations.lock().remove(&node);
        Ok(())
    }

    /// Takes a peer's clock from an answer to a call that was sent at `sent_ms` and ended at `now_ms`.
    pub(crate) fn note_clock(&self, node: NodeId, theirs_ms: u64, sent_ms: u64, now_ms: u64) {
        if let Some(offset) = clock_offset(theirs_ms, sent_ms, now_ms) {
            self.clock_offsets.lock().insert(node, (offset, Instant::now()));
        }
    }

    /// True when this node's clock is off from most of `others`.
    pub(crate) fn clock_is_off(&self, others: &[NodeId]) -> bool {
        let offsets = self.clock_offsets();
        let off = offsets.iter().filter(|(node, _)| others.contains(node));
        let off = off
            .filter(|(_, offset)| offset.unsigned_abs() > CLOCK_SKEW_MAX_MS)
            .count();
        off * 2 > others.len()
    }

    /// True when the clock of `node` is known to be off from this one's.
    pub(crate) fn clock_offset_is_large(&self, node: NodeId) -> bool {
        let offsets = self.clock_offsets();
        let off = |offset: i64| offset.unsigned_abs() > CLOCK_SKEW_MAX_MS;
        offsets.into_iter().any(|(of, offset)| of == node && off(offset))
    }

    /// Every peer's clock minus ours, in milliseconds, as measured of late.
    pub(crate) fn clock_offsets(&self) -> Vec<(NodeId, i64)> {
        let offsets = self.clock_offsets.lock();
        let recent = offsets
            .iter()
            .filter(|(_, (_, at))| at.elapsed() <= CLOCK_MEASURE_AGE_MAX);
        recent.map(|(node, (offset, _))| (*node, *offset)).collect()
    }
}

/// Their clock minus ours, when the answer came fast enough to tell.
fn clock_offset(theirs_ms: u64, sent_ms: u64, now_ms: u64) -> Option<i64> {
    let round_trip = now_ms
        .checked_sub(sent_ms)
        .filter(|ms| *ms <= CLOCK_ROUND_TRIP_MAX_MS)?;
    let ours = sent_ms + round_trip / 2;
    Some(i64::try_from(theirs_ms).ok()? - i64::try_from(ours).ok()?)
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
