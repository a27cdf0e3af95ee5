//! openraft's own conformance suite, over both stores.

use std::sync::Arc;

use clock::SystemClock;
use metadata::ids::{ClusterId, NodeId, ShardId};
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::identity::StoreIdentity;
use super::log::{LogParts, ShardLog};
use super::machine::ShardMachine;
use super::memory::MemoryStore;
use super::pool::Pool;
use super::rocks::{RocksMemory, RocksStore};
use super::state::ShardState;
use super::store::RowStore;
use super::synced_note::SyncedNote;
use super::types::{ShardTypes, StorageError};
use super::writer::Writer;

struct Rocks;
struct Memory;

fn replica(store: Arc<dyn RowStore>) -> (ShardLog, ShardMachine) {
    let identity = StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(1),
        incarnation: 1,
    };
    let writer = Writer::start(Arc::clone(&store), SyncedNote::nowhere(identity)).unwrap();
    let pool = Pool::start("test", 2, 64).unwrap();
    let shard = ShardId(3);
    let state = Arc::new(ShardState::open(shard, Arc::clone(&store), writer.clone(), None).unwrap());
    let log = ShardLog::open(LogParts {
        shard,
        store,
        writer,
        reads: pool.clone(),
        clock: Arc::new(SystemClock),
        cache_bytes_max: 64,
        applied_next: state.applied_next(),
    })
    .unwrap();
    (
        log.clone(),
        ShardMachine {
            state,
            log,
            applies: pool.clone(),
            bulk: pool,
        },
    )
}

impl StoreBuilder<ShardTypes, ShardLog, ShardMachine, TempDir> for Rocks {
    async fn build(&self) -> Result<(TempDir, ShardLog, ShardMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksStore::open(dir.path(), RocksMemory::default()).unwrap();
        let (log, machine) = replica(Arc::new(store));
        Ok((dir, log, machine))
    }
}

impl StoreBuilder<ShardTypes, ShardLog, ShardMachine, ()> for Memory {
    async fn build(&self) -> Result<((), ShardLog, ShardMachine), StorageError> {
        let (log, machine) = replica(Arc::new(MemoryStore::new()));
        Ok(((), log, machine))
    }
}

#[test]
fn rocksdb_passes_the_suite_of_openraft() {
    Suite::test_all(Rocks).unwrap();
}

#[test]
fn memory_passes_the_suite_of_openraft() {
    Suite::test_all(Memory).unwrap();
}
