//! Requests, their window, and what is forgotten.

use super::{BUCKET, START_MS, TestShard, delete, invariants, put_inline, put_stream, stored, write_id};
use crate::apply::ShardKind;
use crate::apply::purge::ROWS_PER_COMMAND;
use crate::command::{Command, Condition, Envelope};
use crate::ids::{BucketId, RequestId, WriteId};
use crate::model::VersionSelector;
use crate::query::Life;
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::Family;
use crate::{REQUEST_WINDOW_MS, STREAM_AHEAD_MS, STREAM_LIFE_MS};

#[test]
fn con_1_a_repeat_after_another_write_gets_the_first_reply() {
    let mut shard = TestShard::keys();
    let first = shard.envelope(put_inline(b"k", b"first"));
    let answered = shard.apply(vec![first.clone()]).0;
    shard.done(put_inline(b"k", b"second one"));
    assert_eq!(shard.apply(vec![first]).0, answered);
    assert_eq!(read::current(&shard.rows, BUCKET, b"k").unwrap().unwrap().size, 10);
}

#[test]
fn con_1_a_repeat_of_a_refusal_is_the_same_refusal() {
    let mut shard = TestShard::keys();
    let conditional = Command::DeleteObject {
        bucket: BUCKET,
        key: b"k".to_vec(),
        version: VersionSelector::Latest,
        condition: Condition::Present,
        owner: String::new(),
    };
    let envelope = shard.envelope(conditional);
    assert_eq!(shard.apply(vec![envelope.clone()]).0, [Err(Refusal::NoSuchKey)]);
    shard.done(put_inline(b"k", b"now it is there"));
    assert_eq!(shard.apply(vec![envelope]).0, [Err(Refusal::NoSuchKey)]);
}

#[test]
fn con_1_a_repeat_in_the_same_batch_is_executed_once() {
    let mut shard = TestShard::keys();
    let envelope = shard.envelope(put_inline(b"k", b"x"));
    let replies = shard.apply(vec![envelope.clone(), envelope]).0;
    assert_eq!(replies[0], replies[1]);
    assert_eq!(read::counters(&shard.rows).unwrap().next_seq, 2);
}

#[test]
fn con_1_a_request_outside_its_window_is_refused_whether_or_not_it_was_purged() {
    let mut shard = TestShard::keys();
    let first = shard.envelope(put_inline(b"k", b"x"));
    let unsent = shard.envelope(put_inline(b"k", b"y"));
    shard.apply(vec![first.clone()]);
    shard.now_ms += REQUEST_WINDOW_MS;
    assert!(
        shard.apply(vec![first.clone()]).0[0].is_ok(),
        "the edge of the window is inside"
    );
    shard.now_ms += 1;
    let before = shard.rows.clone();
    assert_eq!(
        shard.apply(vec![first.clone(), unsent]).0,
        [Err(Refusal::TooOld), Err(Refusal::TooOld)]
    );
    invariants::nothing_changed(&Clone::clone(&without_floors(&before)), &without_floors(&shard.rows));
    shard.done(Command::Tick);
    assert_eq!(shard.apply(vec![first]).0, [Err(Refusal::TooOld)]);
}

/// The purge that goes with any batch moves its floor; that is no change of state a command made.
fn without_floors(rows: &crate::rows::MemoryRows) -> crate::rows::MemoryRows {
    let mut counters = read::counters(rows).unwrap();
    counters.requests_floor.clear();
    let mut rows = rows.clone();
    let value = Some(crate::codec::encode_row(&counters));
    rows.write([crate::rows::RowChange {
        family: Family::Meta,
        key: crate::keys::META.to_vec(),
        value,
    }]);
    rows
}

#[test]
fn requests_are_purged_oldest_first_and_a_few_per_command() {
    let mut shard = TestShard::keys();
    for _ in 0..10 {
        shard.done(put_inline(b"k", b"x"));
    }
    shard.now_ms += REQUEST_WINDOW_MS + 1;
    let oldest = shard
        .rows
        .family(Family::Requests)
        .map(|(name, _)| name.to_vec())
        .next()
        .unwrap();
    shard.done(Command::Tick);
    assert_eq!(shard.rows.family(Family::Requests).count(), 10 - ROWS_PER_COMMAND);
    assert!(shard.rows.family(Family::Requests).all(|(name, _)| name != oldest));
    for _ in 0..9 {
        shard.done(Command::Tick);
    }
    assert_eq!(shard.rows.family(Family::Requests).count(), 0);
}

#[test]
fn a_tick_moves_time_and_leaves_no_request() {
    let mut shard = TestShard::keys();
    shard.done(Command::Tick);
    assert_eq!(read::counters(&shard.rows).unwrap().time_ms, START_MS);
    assert_eq!(shard.rows.family(Family::Requests).count(), 0);
}

#[test]
fn a_shard_refuses_the_other_kind_s_commands() {
    let system = Command::BeginDeleteBucket { id: BucketId(1) };
    assert!(matches!(TestShard::keys().refused(system), Refusal::Invalid(_)));
    let mut shard = TestShard::new(ShardKind::System);
    assert!(matches!(shard.refused(put_inline(b"k", b"x")), Refusal::Invalid(_)));
    assert_eq!(shard.done(Command::Tick), Done::Ok);
}

/// A stream named long ago, at `made_ms`.
fn put_old_stream(shard: &mut TestShard, write: WriteId) -> Result<Done, Refusal> {
    let mut command = put_stream(b"k", 1, 500);
    if let Command::PutObject { object, .. } = &mut command {
        let mut old = stored(1, 500);
        old.stream.write = write;
        object.body = crate::command::NewBody::Stored(old);
    }
    shard.run(command)
}

#[test]
fn dur_3_a_condemned_stream_is_never_committed_however_late_the_commit() {
    let write = write_id(1);
    for late_ms in [
        0,
        STREAM_LIFE_MS / 2,
        STREAM_LIFE_MS,
        STREAM_LIFE_MS + 1,
        10 * STREAM_LIFE_MS,
    ] {
        let mut shard = TestShard::keys();
        assert_eq!(
            shard.done(Command::Condemn { writes: vec![write] }),
            Done::Condemned(vec![write])
        );
        shard.now_ms += late_ms;
        for _ in 0..5 {
            shard.done(Command::Tick);
        }
        let refusal = put_old_stream(&mut shard, write);
        assert_eq!(refusal, Err(Refusal::Condemned), "{late_ms} ms later");
        assert_eq!(read::life(&shard.rows, write, shard.now_ms).unwrap(), Life::Condemned);
        let rows_left = shard.rows.family(Family::Condemned).count();
        assert_eq!(
            rows_left,
            usize::from(late_ms <= STREAM_LIFE_MS),
            "the row goes when age says the same"
        );
    }
}

#[test]
fn dur_3_a_reclaimed_stream_is_never_committed_again() {
    let mut shard = TestShard::keys();
    shard.done(put_stream(b"k", 1, 500));
    shard.done(delete(b"k", VersionSelector::Latest));
    assert_eq!(shard.refused(put_stream(b"k", 1, 500)), Refusal::Condemned);
    let entries = vec![crate::command::ReclaimKey {
        since_ms: shard.now_ms,
        write: write_id(1),
    }];
    shard.done(Command::Reclaimed { entries });
    assert_eq!(shard.refused(put_stream(b"k", 1, 500)), Refusal::Condemned);
    assert_eq!(read::counters(&shard.rows).unwrap().reclaim_streams, 0);
}

#[test]
fn dur_3_an_uncommitted_stream_outlives_no_more_than_its_life() {
    let mut shard = TestShard::keys();
    shard.now_ms += STREAM_LIFE_MS;
    assert!(put_old_stream(&mut shard, write_id(1)).is_ok());
    shard.now_ms += 1;
    assert_eq!(put_old_stream(&mut shard, write_id(2)), Err(Refusal::Condemned));
    let future = WriteId::new(shard.now_ms + STREAM_AHEAD_MS + 1, 3);
    assert!(matches!(put_old_stream(&mut shard, future), Err(Refusal::Invalid(_))));
}

#[test]
fn a_stream_committed_by_another_request_is_refused() {
    let mut shard = TestShard::keys();
    shard.done(put_stream(b"k", 1, 500));
    assert!(matches!(
        shard.refused(put_stream(b"other", 1, 500)),
        Refusal::Invalid(_)
    ));
}

#[test]
fn an_id_from_the_future_is_remembered_until_it_is_old() {
    let mut shard = TestShard::keys();
    let request = RequestId::new(shard.now_ms + 10_000_000, 1);
    let envelope = Envelope {
        request,
        command: put_inline(b"k", b"x"),
    };
    let first = shard.apply(vec![envelope.clone()]).0;
    shard.now_ms += 10_000_000 + REQUEST_WINDOW_MS;
    shard.done(Command::Tick);
    assert_eq!(shard.apply(vec![envelope]).0, first);
}
