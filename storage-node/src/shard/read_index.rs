//! Coalesced read-index: one round of asking a majority "am I still the leader?" serves every read that was waiting
//! when the round began.
//!
//! CON-1, CON-2   A read that arrives while a round is under way joins the next one, never the present one: only a
//! round that begins after a read began proves that the leader knew, at that time, all that was acknowledged before.
//! There are no lease reads: openraft 0.9 forgets a voter's lease when it restarts.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::calls::ShardFault;

/// Reads that may wait for a round.
const WAITING_MAX: usize = 4096;

/// Finds out the read index: the log index that was committed when the call began, proven by a majority.
#[async_trait]
pub(crate) trait Round: Send + Sync + 'static {
    async fn read_index(&self) -> Result<Option<u64>, ShardFault>;
}

/// Hands reads to the rounds.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    waiting: mpsc::Sender<oneshot::Sender<Result<Option<u64>, ShardFault>>>,
}

impl ReadIndex {
    /// Starts the task that runs rounds; it ends when the last handle is dropped.
    pub(crate) fn start(round: Arc<dyn Round>) -> Self {
        let (waiting, mut queue) = mpsc::channel::<oneshot::Sender<_>>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(first) = queue.recv().await {
                let mut readers = vec![first];
                while let Ok(next) = queue.try_recv() {
                    readers.push(next);
                }
                let index = round.read_index().await;
                for reader in readers {
                    let _ = reader.send(index.clone());
                }
            }
        });
        Self { waiting }
    }

    /// The index a read that begins now must wait for.
    ///
    /// # Errors
    /// What the round answered, or [`ShardFault::Busy`].
    pub(crate) async fn get(&self) -> Result<Option<u64>, ShardFault> {
        let (reader, index) = oneshot::channel();
        self.waiting.try_send(reader).map_err(|_| ShardFault::Busy)?;
        index
            .await
            .unwrap_or_else(|_| Err(ShardFault::Fatal("the shard has stopped".into())))
    }
}

#[cfg(test)]
#[path = "read_index_tests.rs"]
mod tests;
