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
    let newest = (note.noted.counter % 2) as usize;
    let mut bytes = std::fs::read(dir.path().join(NAME)).unwrap();
    bytes[newest * SLOT_BYTES + 60] ^= 1;
    std::fs::write(dir.path().join(NAME), bytes).unwrap();
    assert_eq!(SyncedNote::read(&folder(&dir)).unwrap().unwrap().sequence, 5);
}
