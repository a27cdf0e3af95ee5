//! A metadata store made from a backup, for one node of a cluster that has lost all of its stores.
//!
//! The node becomes the only voter of every shard; when it serves, the other nodes, whose stores are empty, join again
//! by themselves (`renewal`). The devices stay as they are: blobs that the backup knows are found on them; blobs written
//! after it look unreferenced, so the restore leaves a record ([`RESTORED_TABLE`]) that keeps the collector of orphans
//! from removing anything without an operator's word (DUR-3).
//!
//! The store is built beside its place and moved there when it is whole and synced: a restore that was cut off leaves
//! nothing, and is repeated.
//!
//! Knows: frames, rows. Must not know: devices.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clock::{Dice, WallClock};
use metadata::codec::encode_batch;
use metadata::command::{Batch, Command, Envelope, RecordCondition};
use metadata::ids::{ClusterId, NodeId, RequestId, ShardId};
use openraft::{CommittedLeaderId, EmptyNode, EntryPayload};

use super::backup_file::{Frame, damaged, read_frame, read_magic};
use super::identity::StoreIdentity;
use super::layout;
use super::options::ShardOptions;
use super::rocks::RocksStore;
use super::snapshot::{Receiving, Source};
use super::state::ShardState;
use super::store::{RowStore, Space, WriteSet};
use super::synced_note::SyncedNote;
use super::types::{Applied, Entry, LogId, Membership, Packed, Vote, to_value};
use super::writer::{Durability, Writer};
use crate::device::RealDisk;

/// The table of the system shard that says that metadata was restored.
pub const RESTORED_TABLE: &str = "restored";
/// Its one key; the value says when the backup was taken, in milliseconds since the Unix epoch, in decimal.
pub const RESTORED_KEY: &str = "metadata";
/// How long the new store may take to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Whose metadata it is.
    pub cluster: ClusterId,
    /// When the backup was taken, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// How many shards.
    pub shards: u64,
}

/// Makes the store of `options` from a backup. Blocks.
///
/// # Errors
/// When there is a store already, the backup is damaged or of another cluster, or the disk fails.
pub fn restore(
    options: &ShardOptions,
    from: &mut dyn Read,
    clock: &dyn WallClock,
    dice: &dyn Dice,
) -> io::Result<Restored> {
    let (place, building) = (options.dir.join("db"), options.dir.join("restoring"));
    if place.exists() || options.dir.join("synced").exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} holds a metadata store: set it aside first", options.dir.display()),
        ));
    }
    if building.exists() {
        std::fs::remove_dir_all(&building)?;
    }
    std::fs::create_dir_all(&building)?;
    let identity = StoreIdentity {
        cluster: options.cluster,
        node: options.node,
        incarnation: dice.u128(),
    };
    let store: Arc<dyn RowStore> = Arc::new(RocksStore::open(&building, options.memory).map_err(io::Error::other)?);
    let writer = Writer::start(Arc::clone(&store), SyncedNote::nowhere(identity))?;
    let restoring = Restoring {
        options,
        store: Arc::clone(&store),
        writer,
        request: RequestId::new(clock.now_ms(), dice.u128()),
    };
    let restored = futures::executor::block_on(restoring.all(from));
    drop(restoring);
    let mut set = WriteSet::new();
    set.put(Space::State, layout::identity(), to_value(&identity));
    let written = store.write(&set).and_then(|()| store.sync());
    let sequence = store.sequence();
    // A restore that failed is closed too: it may be repeated at once.
    close(store)?;
    let restored = restored?;
    written.map_err(io::Error::other)?;
    let folder = RealDisk::open(&options.dir)?;
    std::fs::rename(&building, &place)?;
    SyncedNote::create(&folder, identity, sequence)?;
    Ok(restored)
}

/// Waits until nobody uses the store any more, so that moving its folder is safe.
fn close(store: Arc<dyn RowStore>) -> io::Result<()> {
    let began = Instant::now();
    while Arc::strong_count(&store) > 1 {
        if began.elapsed() > CLOSED_WITHIN {
            return Err(io::Error::other("the new store is still in use"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(store);
    Ok(())
}

struct Restoring<'a> {
    options: &'a ShardOptions,
    store: Arc<dyn RowStore>,
    writer: Writer,
    request: RequestId,
}

impl Restoring<'_> {
    async fn all(&self, from: &mut dyn Read) -> io::Result<Restored> {
        read_magic(from)?;
        let Frame::Head {
            cluster,
            taken_ms,
            key_shards,
            ..
        } = read_frame(from)?
        else {
            return Err(damaged("it does not begin with its head"));
        };
        self.check(cluster, key_shards)?;
        let mut seen = BTreeSet::new();
        loop {
            match read_frame(from)? {
                Frame::Shard { shard, applied } if shard.0 <= key_shards && seen.insert(shard) => {
                    self.shard(shard, applied, taken_ms, from).await?;
                }
                Frame::Tail { shards } if shards == seen.len() as u64 && shards == key_shards + 1 => {
                    return Ok(Restored {
                        cluster,
                        taken_ms,
                        shards,
                    });
                }
                _ => return Err(damaged("its parts are out of order")),
            }
        }
    }

    fn check(&self, cluster: ClusterId, key_shards: u64) -> io::Result<()> {
        let wrong = |sentence: String| Err(io::Error::new(io::ErrorKind::InvalidInput, sentence));
        if cluster != self.options.cluster {
            return wrong(format!(
                "the backup is of cluster {cluster}, the configuration of {}: set cluster.id, and use the at-rest key of \
                 that cluster",
                self.options.cluster
            ));
        }
        if key_shards != self.options.key_shards {
            return wrong(format!(
                "the backup has {key_shards} key shards, the configuration {}: set cluster.key_shards",
                self.options.key_shards
            ));
        }
        Ok(())
    }

    async fn shard(&self, shard: ShardId, applied: Applied, taken_ms: u64, from: &mut dyn Read) -> io::Result<()> {
        let state = ShardState::open(shard, Arc::clone(&self.store), self.writer.clone(), None);
        let state = Arc::new(state.map_err(io::Error::other)?);
        let mut receiving = Receiving::begin(Arc::clone(&state), applied).map_err(io::Error::other)?;
        let data = loop {
            match read_frame(from)? {
                Frame::Rows { number, rows } => receiving.rows(number, rows).map_err(io::Error::other)?,
                Frame::ShardEnd { parts, hash } => break receiving.end(parts, hash).map_err(io::Error::other)?,
                _ => return Err(damaged("its parts are out of order")),
            }
        };
        let Source::Received {
            generation,
            mut applied,
        } = data.0
        else {
            return Err(damaged("a shard has no rows"));
        };
        let Some(last) = applied.last else {
            return Err(damaged("a shard was never initialized"));
        };
        let term = last.leader_id.term + 1;
        applied.membership = sole_member(self.options.node, last);
        state.switch_to(generation, applied).await.map_err(io::Error::other)?;
        let last = if shard == ShardId::SYSTEM {
            self.leave_record(&state, LogId::new(last.leader_id, last.index + 1), taken_ms)?
        } else {
            last
        };
        let mut set = WriteSet::new();
        set.put(Space::State, layout::purged(shard), to_value(&last));
        set.put(
            Space::State,
            layout::vote(shard),
            to_value(&Vote::new(term, self.options.node.0)),
        );
        self.writer
            .write(set, Durability::Synced)
            .await
            .map_err(io::Error::other)
    }

    /// Writes into the system shard that it was restored.
    fn leave_record(&self, state: &ShardState, log_id: LogId, taken_ms: u64) -> io::Result<LogId> {
        let command = Command::PutRecord {
            table: RESTORED_TABLE.to_owned(),
            key: RESTORED_KEY.to_owned(),
            expect: RecordCondition::Any,
            value: Bytes::from(taken_ms.to_string()),
        };
        let batch = Batch {
            stamp_ms: self.request.made_ms(),
            commands: vec![Envelope {
                request: self.request,
                command,
            }],
        };
        let packed = Packed(Bytes::from(encode_batch(&batch)));
        let entry = Entry {
            log_id,
            payload: EntryPayload::Normal(packed),
        };
        let replies = state.apply(vec![entry]).map_err(io::Error::other)?;
        match replies.first().and_then(|replies| replies.0.first()) {
            Some(Ok(_)) => Ok(log_id),
            other => Err(io::Error::other(format!(
                "the record of the restore was not taken: {other:?}"
            ))),
        }
    }
}

fn sole_member(node: NodeId, at: LogId) -> Membership {
    let members: BTreeMap<u64, EmptyNode> = BTreeMap::from([(node.0, EmptyNode::default())]);
    let membership = openraft::Membership::new(vec![BTreeSet::from([node.0])], members);
    let at = LogId::new(
        CommittedLeaderId::new(at.leader_id.term, at.leader_id.node_id),
        at.index,
    );
    Membership::new(Some(at), membership)
}
