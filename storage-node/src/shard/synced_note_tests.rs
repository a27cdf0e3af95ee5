use tempfile::TempDir;

use super::*;
use crate::device::RealDisk;

fn folder(dir: &TempDir) -> RealDisk {
    RealDisk::open(dir.path()).unwrap()
}

fn identity() -> StoreIdentity {
    StoreIdentity {
        cluster: ClusterId(1),
        node: NodeId(2),
        incarnation: 3,
    }
}

#[test]
fn dur_5_the_last_note_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(SyncedNote::read(&folder(&dir)).unwrap(), None);
    let mut note = SyncedNote::create(&folder(&dir), identity(), 5).unwrap();
    note.synced(9);
    note.synced(8);
    let read = SyncedNote::read(&folder(&dir)).unwrap().unwrap();
    assert_eq!((read.identity, read.sequence), (identity(), 9));
}

#[test]
fn dur_5_a_torn_slot_leaves_the_note_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut note = SyncedNote::create(&folder(&dir), identity(), 5).unwrap();
    note.synced(6);
    let newest = 1 - note.kept as usize;
    let mut bytes = std::fs::read(dir.path().join(NAME)).unwrap();
    bytes[newest * SLOT_BYTES + 60] ^= 1;
    std::fs::write(dir.path().join(NAME), bytes).unwrap();
    assert_eq!(SyncedNote::read(&folder(&dir)).unwrap().unwrap().sequence, 5);
}

#[test]
fn dur_5_a_note_that_is_written_again_and_again_never_touches_the_synced_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut note = SyncedNote::create(&folder(&dir), identity(), 5).unwrap();
    let mut note_again = SyncedNote::create(&folder(&dir), identity(), 6).unwrap();
    for note in [&mut note, &mut note_again] {
        note.synced_at = Instant::now();
        let kept = note.kept as usize;
        let slot = |dir: &TempDir| {
            let bytes = std::fs::read(dir.path().join(NAME)).unwrap();
            bytes[kept * SLOT_BYTES..][..SLOT_BYTES].to_vec()
        };
        let before = slot(&dir);
        (7..20).for_each(|sequence| note.synced(sequence));
        assert_eq!(slot(&dir), before);
    }
}
