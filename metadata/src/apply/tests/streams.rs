//! Condemning, reclaiming, and the queue of chunks that lack copies.

use super::{BUCKET, TestShard, delete, invariants, object, put_stream, stored, tag, write_id};
use crate::command::{Command, Condition, NewBody, ReclaimKey};
use crate::ids::DeviceId;
use crate::model::{PolicyId, ShortChunks, VersionSelector};
use crate::query::{Found, Life, Query, ShortFound, Summary, answer};
use crate::reply::{Done, Refusal};

fn ask(shard: &TestShard, query: &Query) -> Found {
    answer(&shard.rows, query).unwrap().unwrap()
}

fn summary(shard: &TestShard) -> Summary {
    match ask(shard, &Query::Summary) {
        Found::Summary(summary) => summary,
        other => panic!("{other:?}"),
    }
}

/// First chunk, count and copies of every range, in the order of urgency.
fn short(shard: &TestShard) -> Vec<(u32, u32, usize)> {
    let Found::Short(found) = ask(shard, &Query::Short { limit: 100 }) else {
        panic!("short answers short")
    };
    found
        .iter()
        .map(
            |ShortFound {
                 first, count, devices, ..
             }| (*first, *count, devices.len()),
        )
        .collect()
}

fn put_short(write: u64, size: u64, ranges: Vec<ShortChunks>) -> Command {
    let mut stored = stored(write, size);
    stored.short = ranges;
    let object = object(NewBody::Stored(stored), tag(1));
    Command::PutObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        object,
    }
}

fn range(first: u32, count: u32, devices: u32) -> ShortChunks {
    ShortChunks {
        first,
        count,
        devices: (0..devices).map(DeviceId).collect(),
    }
}

#[test]
fn dur_3_only_streams_without_reference_are_condemned() {
    let mut shard = TestShard::keys();
    shard.done(put_stream(b"live", 1, 500));
    shard.done(put_stream(b"gone", 2, 500));
    shard.done(delete(b"gone", VersionSelector::Latest));
    let writes: Vec<_> = (1..=3).map(write_id).collect();
    assert_eq!(
        shard.done(Command::Condemn { writes: writes.clone() }),
        Done::Condemned(writes[1..].to_vec())
    );
    let lives = ask(&shard, &Query::Lives { writes });
    assert_eq!(
        lives,
        Found::Lives(vec![Life::Referenced, Life::Condemned, Life::Condemned])
    );
    invariants::check(&shard.rows);
}

fn put_placed_by(ring_version: u64, write: u64) -> Command {
    let mut stored = stored(write, 500);
    stored.stream.ring_version = ring_version;
    Command::PutObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        object: object(NewBody::Stored(stored), tag(write)),
    }
}

#[test]
fn reb_1_behind_a_fence_no_commit_names_an_older_ring() {
    let mut shard = TestShard::keys();
    let policy = PolicyId(0);
    assert_eq!(ask(&shard, &Query::Fence { policy }), Found::Fence(0));
    shard.done(put_placed_by(3, 1));
    shard.done(Command::RaiseFence {
        policy,
        ring_version: 4,
    });
    assert_eq!(shard.refused(put_placed_by(3, 2)), Refusal::RingRetired { fence: 4 });
    // Placed again by the newer ring, the same stream is taken: the refusal condemned nothing.
    shard.done(put_placed_by(4, 2));
    // A fence never goes down, and the other policies' rings are their own affair.
    shard.done(Command::RaiseFence {
        policy,
        ring_version: 2,
    });
    assert_eq!(ask(&shard, &Query::Fence { policy }), Found::Fence(4));
    let other = PolicyId(1);
    assert_eq!(ask(&shard, &Query::Fence { policy: other }), Found::Fence(0));
    invariants::check(&shard.rows);
}

#[test]
fn the_holders_of_a_stream_s_short_chunks_are_known_by_its_name() {
    let mut shard = TestShard::keys();
    shard.done(put_short(1, 500, vec![range(0, 2, 1), range(4, 1, 2)]));
    let found = ask(&shard, &Query::ShortOf { write: write_id(1) });
    assert_eq!(found, Found::ShortOf(vec![range(0, 2, 1), range(4, 1, 2)]));
    assert_eq!(
        ask(&shard, &Query::ShortOf { write: write_id(2) }),
        Found::ShortOf(Vec::new())
    );
}

#[test]
fn reclaim_lists_ended_streams_oldest_first_until_they_are_removed() {
    let mut shard = TestShard::keys();
    for write in 1..=3 {
        shard.done(put_stream(b"k", write, 500));
        shard.now_ms += 1000;
    }
    let since = shard.now_ms - 2000;
    let first = ReclaimKey {
        since_ms: since,
        write: write_id(1),
    };
    let query = |until_ms, limit| Query::Reclaim { until_ms, limit };
    let Found::Reclaim(due) = ask(&shard, &query(since, 10)) else {
        panic!("reclaim answers reclaim")
    };
    assert_eq!(due.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [first]);
    assert_eq!((due[0].1.stream.size, due[0].1.bucket), (500, BUCKET));
    let Found::Reclaim(all) = ask(&shard, &query(u64::MAX, 10)) else {
        panic!("reclaim answers reclaim")
    };
    assert_eq!(all.len(), 2);
    assert_eq!(ask(&shard, &query(u64::MAX, 0)), Found::Reclaim(Vec::new()));
    let wrong = ReclaimKey {
        since_ms: since + 1,
        ..first
    };
    shard.done(Command::Reclaimed { entries: vec![wrong] });
    assert_eq!(
        summary(&shard).reclaim_streams,
        2,
        "an entry of another time is another entry"
    );
    shard.done(Command::Reclaimed {
        entries: vec![first, first],
    });
    assert_eq!(summary(&shard).reclaim_streams, 1);
    assert_eq!(
        ask(
            &shard,
            &Query::Lives {
                writes: vec![write_id(1)]
            }
        ),
        Found::Lives(vec![Life::Condemned])
    );
    invariants::check(&shard.rows);
}

#[test]
fn heal_1_a_commit_s_short_chunks_stand_in_the_queue_most_urgent_first() {
    let mut shard = TestShard::keys();
    shard.done(put_short(1, 1000, vec![range(0, 2, 2), range(5, 1, 0), range(7, 3, 1)]));
    assert_eq!(short(&shard), [(5, 1, 0), (7, 3, 1), (0, 2, 2)]);
    let summary = summary(&shard);
    assert_eq!((summary.short_chunks, summary.lost_chunks), (6, 1));
    invariants::check(&shard.rows);
}

#[test]
fn heal_1_marks_and_clears_cut_ranges() {
    let mut shard = TestShard::keys();
    shard.done(put_short(1, 1000, vec![range(0, 10, 2)]));
    let clear = |first, count| Command::ClearShort {
        write: write_id(1),
        first,
        count,
    };
    shard.done(clear(3, 2));
    assert_eq!(short(&shard), [(0, 3, 2), (5, 5, 2)]);
    let devices = vec![DeviceId(9)];
    shard.done(Command::MarkShort {
        write: write_id(1),
        first: 2,
        count: 5,
        devices,
    });
    assert_eq!(short(&shard), [(2, 5, 1), (0, 2, 2), (7, 3, 2)]);
    invariants::check(&shard.rows);
    shard.done(clear(0, 10));
    assert_eq!((short(&shard), summary(&shard).short_chunks), (vec![], 0));
    assert!(matches!(shard.refused(clear(9, 2)), Refusal::Invalid(_)));
    assert_eq!(
        shard.done(Command::ClearShort {
            write: write_id(77),
            first: 0,
            count: 1
        }),
        Done::Ok
    );
}

#[test]
fn heal_1_a_stream_s_end_drops_its_short_chunks() {
    let mut shard = TestShard::keys();
    shard.done(put_short(1, 1000, vec![range(0, 1, 2), range(9, 1, 0)]));
    shard.done(put_stream(b"k", 2, 500));
    assert_eq!(
        (short(&shard), summary(&shard).short_chunks, summary(&shard).lost_chunks),
        (vec![], 0, 0)
    );
    let devices = vec![DeviceId(9)];
    shard.done(Command::MarkShort {
        write: write_id(1),
        first: 0,
        count: 1,
        devices,
    });
    assert_eq!(short(&shard), [], "an ended stream needs no copies");
}

#[test]
fn short_chunks_outside_the_stream_are_refused() {
    let mut shard = TestShard::keys();
    let too_many = ShortChunks {
        devices: (0..65).map(DeviceId).collect(),
        ..range(0, 1, 0)
    };
    for ranges in [
        vec![range(0, 0, 1)],
        vec![range(9, 2, 1)],
        vec![range(0, 2, 1), range(1, 1, 1)],
        vec![too_many],
    ] {
        assert!(matches!(shard.refused(put_short(1, 1000, ranges)), Refusal::Invalid(_)));
    }
    let mut endless = stored(1, 1000);
    endless.stream.chunk_bytes = 0;
    let object = object(NewBody::Stored(endless), tag(1));
    let put = Command::PutObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        condition: Condition::Always,
        object,
    };
    assert!(matches!(shard.refused(put), Refusal::Invalid(_)));
}

#[test]
fn refs_are_listed_by_write_id_page_by_page() {
    let mut shard = TestShard::keys();
    for write in 1..=5 {
        shard.done(put_stream(&[b'k', write as u8], write, 500));
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let Found::Refs(page) = ask(&shard, &Query::Refs { after, limit: 2 }) else {
            panic!("refs answers refs")
        };
        let Some(last) = page.last() else { break };
        after = Some(last.stream.write);
        seen.extend(page.iter().map(|row| row.stream.write));
    }
    assert_eq!(seen, (1..=5).map(write_id).collect::<Vec<_>>());
}
