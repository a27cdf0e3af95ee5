use super::super::identity::StoreIdentity;
use super::super::memory::MemoryStore;
use super::super::store::{RowStore, WriteSet};
use super::super::synced_note::SyncedNote;
use super::super::writer::Writer;
use super::*;
use metadata::ids::{ClusterId, NodeId, ShardId};

const SHARD: ShardId = ShardId(1);

fn state(store: &Arc<MemoryStore>) -> Arc<ShardState> {
    let store = Arc::clone(store) as Arc<dyn RowStore>;
    let identity = StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(1),
        incarnation: 1,
    };
    let writer = Writer::start(Arc::clone(&store), SyncedNote::nowhere(identity)).unwrap();
    Arc::new(ShardState::open(SHARD, store, writer, None).unwrap())
}

/// Rows of one shard over several parts, in two spaces, beside another shard's.
fn filled() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let mut set = WriteSet::new();
    for number in 0..40_u8 {
        let key = [layout::generation(SHARD, 0).as_slice(), &[number]].concat();
        set.put(Space::Current, key.clone(), vec![number; 50_000]);
        set.put(Space::Rows, key, vec![number]);
        set.put(Space::Current, layout::generation(ShardId(2), 0).to_vec(), vec![1]);
    }
    store.write(&set).unwrap();
    store
}

fn parts_of(state: &ShardState) -> Vec<Part> {
    let mut parts = Vec::new();
    read_parts(state, Vote::default(), &mut |part| {
        parts.push(part);
        true
    })
    .unwrap();
    parts
}

fn receive(parts: Vec<Part>) -> Result<(Arc<ShardState>, SnapshotData), ReceiveFault> {
    let target = state(&Arc::default());
    let mut receiving = Receiving::begin(Arc::clone(&target), Applied::default())?;
    for part in parts {
        match part {
            Part::Begin { .. } => {}
            Part::Rows { number, rows } => receiving.rows(number, rows)?,
            Part::End { parts, hash } => return Ok((target, receiving.end(parts, hash)?)),
        }
    }
    Err(ReceiveFault::Damaged("no end"))
}

#[test]
fn mem_1_a_snapshot_travels_in_bounded_parts_and_arrives_whole() {
    let parts = parts_of(&state(&filled()));
    assert!(parts.len() >= 5, "{} parts", parts.len());
    let (target, data) = receive(parts).unwrap();
    let Source::Received { generation, .. } = data.0 else {
        panic!("it was received")
    };
    let prefix = layout::generation(SHARD, generation);
    let mut rows = 0;
    for space in [Space::Current, Space::Rows] {
        target
            .store
            .scan(space, &prefix, &layout::after(&prefix), &mut |_, _| {
                rows += 1;
                Visit::Next
            })
            .unwrap();
    }
    assert_eq!(rows, 80);
}

#[test]
fn a_part_sent_twice_is_taken_once() {
    let mut parts = parts_of(&state(&filled()));
    parts.insert(2, parts[1].clone());
    assert!(receive(parts).is_ok());
}

#[test]
fn int_1_a_missing_swapped_or_altered_part_is_noticed() {
    let whole = parts_of(&state(&filled()));
    let mut missing = whole.clone();
    missing.remove(2);
    assert!(receive(missing).is_err());
    let mut swapped = whole.clone();
    swapped.swap(1, 2);
    assert!(receive(swapped).is_err());
    let mut altered = whole;
    let Part::Rows { rows, .. } = &mut altered[1] else {
        panic!("a part of rows")
    };
    rows[0].value = Bytes::from_static(b"other");
    assert!(receive(altered).is_err());
}
