use clock::SystemClock;
use metadata::ids::{ClusterId, NodeId};
use openraft::storage::RaftLogStorageExt;
use openraft::{CommittedLeaderId, EntryPayload};

use super::super::identity::StoreIdentity;
use super::super::memory::MemoryStore;
use super::super::store::ReadSpaces;
use super::super::synced_note::SyncedNote;
use super::*;

fn open(store: &Arc<MemoryStore>, applied_next: watch::Receiver<u64>, cache_bytes_max: usize) -> ShardLog {
    let store = Arc::clone(store) as Arc<dyn RowStore>;
    let identity = StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(1),
        incarnation: 1,
    };
    let writer = Writer::start(Arc::clone(&store), SyncedNote::nowhere(identity)).unwrap();
    let reads = Pool::start("test", 1, 16).unwrap();
    let clock = Arc::new(SystemClock);
    let parts = LogParts {
        shard: ShardId(2),
        store,
        writer,
        reads,
        clock,
        cache_bytes_max,
        applied_next,
    };
    ShardLog::open(parts).unwrap()
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn blank(index: u64) -> Entry {
    Entry {
        log_id: log_id(index),
        payload: EntryPayload::Blank,
    }
}

async fn indexes(log: &mut ShardLog) -> Vec<u64> {
    let entries = log.try_get_log_entries(0..100).await.unwrap();
    entries.into_iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn con_1_a_leader_that_restarts_is_elected_anew() {
    let store = Arc::new(MemoryStore::new());
    let applied = watch::Sender::new(0);
    let mut log = open(&store, applied.subscribe(), 1024);
    log.save_vote(&Vote::new_committed(3, 2)).await.unwrap();
    let mut log = open(&Arc::new(store.crash(0)), applied.subscribe(), 1024);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 2)));
}

#[tokio::test]
async fn dur_1_appended_entries_and_votes_survive_a_crash() {
    let store = Arc::new(MemoryStore::new());
    let applied = watch::Sender::new(0);
    let mut log = open(&store, applied.subscribe(), 1024);
    log.blocking_append((0..5).map(blank)).await.unwrap();
    log.save_vote(&Vote::new(3, 2)).await.unwrap();
    let mut log = open(&Arc::new(store.crash(0)), applied.subscribe(), 1024);
    assert_eq!(indexes(&mut log).await, [0, 1, 2, 3, 4]);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 2)));
    assert_eq!(log.last(), Some(log_id(4)));
}

#[tokio::test]
async fn entries_are_read_alike_from_memory_and_store() {
    for cache_bytes_max in [0, 24, 1024 * 1024] {
        let applied = watch::Sender::new(0);
        let mut log = open(&Arc::default(), applied.subscribe(), cache_bytes_max);
        for index in 0..20 {
            log.blocking_append([blank(index)]).await.unwrap();
        }
        assert_eq!(indexes(&mut log).await, (0..20).collect::<Vec<_>>());
        log.truncate(log_id(15)).await.unwrap();
        assert_eq!(log.last(), Some(log_id(14)));
        log.blocking_append([blank(15)]).await.unwrap();
        assert_eq!(indexes(&mut log).await, (0..16).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn dur_4_a_purge_for_a_snapshot_that_is_not_yet_in_place_leaves_no_hole() {
    let store = Arc::new(MemoryStore::new());
    let applied = watch::Sender::new(3);
    let mut log = open(&store, applied.subscribe(), 1024);
    log.blocking_append((0..5).map(blank)).await.unwrap();
    // openraft is installing a snapshot up to 9 and purges at once.
    log.set_installing(true);
    log.purge(log_id(9)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(9)));
    let mut later = log.clone();
    let mut append = Box::pin(later.blocking_append([blank(10)]));
    assert!(
        futures::poll!(&mut append).is_pending(),
        "an append waits for the snapshot"
    );
    // A crash now leaves the log as it was, without a hole.
    let mut crashed = open(&Arc::new(store.crash(usize::MAX)), applied.subscribe(), 1024);
    assert_eq!(indexes(&mut crashed).await, [0, 1, 2, 3, 4]);
    applied.send_replace(10);
    append.await.unwrap();
    assert_eq!(log.last(), Some(log_id(10)));
}

#[tokio::test]
async fn an_unfinished_purge_is_finished_at_the_next_start() {
    let store = Arc::new(MemoryStore::new());
    let applied = watch::Sender::new(10);
    let mut log = open(&store, applied.subscribe(), 1024);
    log.blocking_append((0..10).map(blank)).await.unwrap();
    let mut set = WriteSet::new();
    set.put(Space::State, layout::purged(ShardId(2)), to_value(&log_id(6)));
    store.write(&set).unwrap();
    let mut log = open(&store, applied.subscribe(), 1024);
    assert_eq!(indexes(&mut log).await, [7, 8, 9]);
    assert_eq!(store.get(Space::Log, &layout::log(ShardId(2), 3)).unwrap(), None);
}
