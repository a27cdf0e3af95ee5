use std::sync::Arc;

use bytes::Bytes;
use metadata::codec::encode_batch;
use metadata::command::{Batch, Command, Envelope, RecordCondition};
use metadata::ids::{ClusterId, NodeId, RequestId};
use metadata::query::{Found, Query, answer};
use openraft::CommittedLeaderId;

use super::super::identity::StoreIdentity;
use super::super::memory::MemoryStore;
use super::super::store::{ReadPurpose, ReadSpaces};
use super::super::synced_note::SyncedNote;
use super::super::types::Packed;
use super::*;

const SYSTEM: ShardId = ShardId::SYSTEM;

fn open(store: &Arc<MemoryStore>) -> ShardState {
    let store = Arc::clone(store) as Arc<dyn RowStore>;
    let identity = StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(1),
        incarnation: 1,
    };
    let writer = Writer::start(Arc::clone(&store), SyncedNote::nowhere(identity)).unwrap();
    ShardState::open(SYSTEM, store, writer, None).unwrap()
}

fn put(index: u64, value: &str) -> Entry {
    let command = Command::PutRecord {
        table: "t".into(),
        key: "k".into(),
        expect: RecordCondition::Any,
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    let envelope = Envelope {
        request: RequestId::new(1_000, index.into()),
        command,
    };
    let batch = Batch {
        stamp_ms: 1_000,
        commands: vec![envelope],
    };
    let log_id = LogId::new(CommittedLeaderId::new(1, 1), index);
    Entry {
        log_id,
        payload: EntryPayload::Normal(Packed(encode_batch(&batch).into())),
    }
}

fn record(state: &ShardState) -> Option<String> {
    let mut found = None;
    state.store.with_view(ReadPurpose::Serve, &mut |view| {
        let rows = ShardRows::live(view, SYSTEM).unwrap();
        let query = Query::GetRecord {
            table: "t".into(),
            key: "k".into(),
        };
        let Ok(Found::Record(record)) = answer(&rows, &query).unwrap() else {
            panic!("a record is asked for")
        };
        found = record.map(|record| String::from_utf8(record.value.to_vec()).unwrap());
    });
    found
}

#[test]
fn dur_4_after_a_crash_the_log_is_applied_on_from_where_the_rows_are() {
    let store = Arc::new(MemoryStore::new());
    let state = open(&store);
    let replies = state.apply(vec![put(1, "a"), put(2, "b")]).unwrap();
    // Every number of unsynced writes that a crash may leave: rows and applied index never part.
    for kept in 0..=1 {
        let crashed = open(&Arc::new(store.crash(kept)));
        let next = crashed.applied().next_index();
        assert_eq!(record(&crashed), (next > 0).then(|| "b".to_owned()));
        let rest = [put(1, "a"), put(2, "b")]
            .into_iter()
            .filter(|entry| entry.log_id.index >= next)
            .collect::<Vec<_>>();
        let again = crashed.apply(rest).unwrap();
        assert_eq!(again, replies[replies.len() - again.len()..]);
        assert_eq!(
            (record(&crashed), crashed.applied().digest),
            (Some("b".into()), state.applied().digest)
        );
    }
}

#[test]
fn replicas_agree_on_digests_however_entries_are_grouped() {
    let (one, other) = (open(&Arc::default()), open(&Arc::default()));
    let entries: Vec<Entry> = (1..=DIGEST_EVERY).map(|index| put(index, "v")).collect();
    one.apply(entries.clone()).unwrap();
    for entry in entries {
        other.apply(vec![entry]).unwrap();
    }
    assert_eq!(one.last_digest(), other.last_digest());
    assert_eq!(one.last_digest().map(|(index, _)| index), Some(DIGEST_EVERY));
    assert!(!one.deviates_from(other.last_digest().unwrap()));
}

#[test]
fn a_replica_whose_rows_differ_is_noticed() {
    let (store, good) = (Arc::new(MemoryStore::new()), open(&Arc::default()));
    let bad = open(&store);
    bad.apply(vec![put(1, "v")]).unwrap();
    good.apply(vec![put(1, "v")]).unwrap();
    // A row is lost behind apply's back.
    let mut rows = Vec::new();
    store
        .scan(Space::Rows, &[], &[255], &mut |key, _| {
            rows.push(key.to_vec());
            metadata::rows::Visit::Next
        })
        .unwrap();
    let mut set = WriteSet::new();
    rows.into_iter().for_each(|key| set.remove(Space::Rows, key));
    store.write(&set).unwrap();
    let entries: Vec<Entry> = (2..=DIGEST_EVERY).map(|index| put(index, "w")).collect();
    bad.apply(entries.clone()).unwrap();
    good.apply(entries).unwrap();
    assert!(bad.deviates_from(good.last_digest().unwrap()));
}

#[tokio::test]
async fn dur_4_a_generation_is_switched_whole_or_not_at_all() {
    let source = open(&Arc::default());
    source.apply(vec![put(1, "old"), put(2, "new")]).unwrap();
    let store = Arc::new(MemoryStore::new());
    let target = open(&store);
    target.apply(vec![put(1, "old")]).unwrap();
    store.sync().unwrap();
    let number = target.begin_generation().unwrap();
    let prefix = layout::generation(SYSTEM, 0);
    for space in layout::ROW_SPACES {
        let mut rows = Vec::new();
        source
            .store
            .scan(space, &prefix, &layout::after(&prefix), &mut |key, value| {
                let value = Some(Bytes::copy_from_slice(value));
                rows.push(SpaceRow {
                    space,
                    key: key[prefix.len()..].to_vec(),
                    value,
                });
                metadata::rows::Visit::Next
            })
            .unwrap();
        target.fill_generation(number, rows).unwrap();
    }
    // A crash before the switch: the old rows, and nothing left of the half-filled generation.
    let crashed_store = Arc::new(store.crash(usize::MAX));
    let crashed = open(&crashed_store);
    assert_eq!(
        (record(&crashed), crashed.applied().next_index()),
        (Some("old".into()), 2)
    );
    let half = layout::generation(SYSTEM, number);
    assert_eq!(
        crashed_store.last(Space::Rows, &half, &layout::after(&half)).unwrap(),
        None
    );
    // After the switch, a crash that keeps only what was synced.
    target.switch_to(number, source.applied()).await.unwrap();
    let switched = open(&Arc::new(store.crash(0)));
    assert_eq!(
        (record(&switched), switched.applied()),
        (Some("new".into()), source.applied())
    );
    target.remove_dead_generations().unwrap();
    assert_eq!(record(&target), Some("new".into()));
    assert_eq!(store.last(Space::Rows, &prefix, &layout::after(&prefix)).unwrap(), None);
}
