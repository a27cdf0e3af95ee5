//! This process's copy of the system shard, kept by a long poll to one node (DESIGN §3.1).
//!
//! The copy may be used while it is known to be at most [`STALENESS_MAX`] behind: a node's page says how old the
//! node's own last proof is, and the page is counted as old as its request. So whatever was acknowledged that long ago
//! is in every copy in use; taking a right away waits until then at the most.

use std::sync::Arc;
use std::time::Duration;

use metadata::ids::NodeId;
use metadata::query::{Answer, Query, answer};
use metadata::rows::{Family, MemoryRows, RowChange};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hints::Hints;
use super::shard_caller::ShardCaller;
use crate::shard::calls::{ShardFault, WatchAnswer, WatchCall, WatchFrom, WatchPage, decode, encode};
use crate::wire::{AddressBook, CallKind, Channel, SharedCaller};

/// A copy without news for this long is not used.
pub const STALENESS_MAX: Duration = Duration::from_secs(2);
/// How long a node keeps a poll waiting for news.
const POLL_WAIT: Duration = Duration::from_millis(300);
/// Added to it before the node is given up.
const POLL_GRACE: Duration = Duration::from_millis(700);
/// The pause after a node failed.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The copy; shared by the watcher that writes it and everybody who reads.
pub(super) struct SystemCopy {
    state: RwLock<State>,
    /// Counts changes of rows, for those who derive something from them.
    changes: watch::Sender<u64>,
}

struct State {
    rows: MemoryRows,
    next: WatchFrom,
    /// Until when the copy may be used.
    fresh_until: Option<Instant>,
}

impl SystemCopy {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            rows: MemoryRows::new(),
            next: WatchFrom::Nothing,
            fresh_until: None,
        };
        Arc::new(Self {
            state: RwLock::new(state),
            changes: watch::Sender::new(0),
        })
    }

    /// Answers from the copy while it is fresh.
    pub(super) fn query(&self, query: &Query) -> Option<Answer> {
        let state = self.state.read();
        state.fresh_until.filter(|until| Instant::now() < *until)?;
        answer(&state.rows, query).ok()
    }

    /// Answers from the copy however old it is: for hints and for values that never change under their key.
    pub(super) fn query_stale(&self, query: &Query) -> Option<Answer> {
        answer(&self.state.read().rows, query).ok()
    }

    /// Tells when rows changed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Writes a page over the copy. `asked_at` is when the poll was sent.
    fn write(&self, page: WatchPage, asked_at: Instant) {
        let changed = !page.rows.is_empty() || page.restart;
        {
            let mut state = self.state.write();
            if page.restart {
                state.rows = MemoryRows::new();
            }
            let rows = page.rows.into_iter().filter_map(|row| {
                let family = Family::ALL.into_iter().find(|family| *family as u8 == row.family)?;
                Some(RowChange {
                    family,
                    key: row.key.to_vec(),
                    value: row.value,
                })
            });
            state.rows.write(rows);
            state.next = page.next;
            let behind = Duration::from_millis(page.behind_ms);
            let usable = STALENESS_MAX.checked_sub(behind).filter(|_| page.complete);
            state.fresh_until = usable.map(|usable| asked_at + usable);
        }
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn next(&self) -> WatchFrom {
        self.state.read().next.clone()
    }
}

/// Where the watcher asks.
pub(super) struct Watcher {
    pub(super) copy: Arc<SystemCopy>,
    pub(super) caller: SharedCaller,
    pub(super) book: AddressBook,
    pub(super) shards: Arc<ShardCaller>,
    pub(super) hints: Arc<Hints>,
    /// The own node, asked first.
    pub(super) local: Option<NodeId>,
}

impl Watcher {
    /// Keeps the copy until the task is dropped.
    pub(super) async fn run(self) {
        let mut turn = 0_usize;
        loop {
            let Some(node) = self.pick(turn) else {
                tokio::time::sleep(POLL_WAIT).await;
                continue;
            };
            while self.poll(node).await {}
            turn += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// One poll; false when another node should be asked.
    async fn poll(&self, node: NodeId) -> bool {
        let wait_ms = u32::try_from(POLL_WAIT.as_millis()).unwrap_or(u32::MAX);
        let body = encode(&WatchCall {
            from: self.copy.next(),
            wait_ms,
        });
        let asked_at = Instant::now();
        let deadline = POLL_WAIT + POLL_GRACE;
        let answered = self
            .caller
            .call(node, Channel::Metadata, CallKind::WatchSystem, body, deadline)
            .await;
        let page: Result<WatchPage, ShardFault> = match answered.map(|body| decode::<WatchAnswer>(&body)) {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => {
                tracing::warn!(%node, error = %e, "a page of the system shard is malformed");
                return false;
            }
            Err(_) => return false,
        };
        match page {
            Ok(page) => {
                let behind = page.behind_ms;
                self.copy.write(page, asked_at);
                // A node that has lost touch with the shard is left for one that has not.
                Duration::from_millis(behind) < STALENESS_MAX
            }
            Err(_) => false,
        }
    }

    /// The own node first, then whoever leads, then all in turn.
    fn pick(&self, turn: usize) -> Option<NodeId> {
        let mut nodes = self.book.nodes();
        nodes.sort_by_key(|node| self.hints.node_is_down(*node));
        let leader = self.shards.leader(metadata::ids::ShardId::SYSTEM);
        let favourites = self.local.into_iter().chain(leader);
        let candidates: Vec<NodeId> = favourites.chain(nodes).collect();
        candidates.get(turn % candidates.len().max(1)).copied()
    }
}
