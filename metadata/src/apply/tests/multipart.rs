//! Multipart uploads by AWS's rules.

use super::{BUCKET, TestShard, delete, invariants, put_inline, stored, tag, write_id};
use crate::COMPLETED_UPLOAD_MS;
use crate::command::{Command, CompletedPart, Condition, ReclaimKey};
use crate::ids::MultipartId;
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ObjectRow, UploadState, VersionSelector, Versioning};
use crate::multipart::{composite_input, multipart_etag};
use crate::query::{Found, Life, Query, answer};
use crate::read;
use crate::reply::{Done, Refusal};
use crate::rows::Family;

const UPLOAD: MultipartId = MultipartId(55);
const KEY: &[u8] = b"big";

type Asked = Option<(ChecksumAlgorithm, ChecksumKind)>;

fn create(checksum: Asked) -> Command {
    Command::CreateUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        owner: "alice".to_owned(),
        attributes: vec![("content-type".to_owned(), "video/mp4".to_owned())],
        user: vec![("from".to_owned(), "upload".to_owned())],
        tags: vec![("t".to_owned(), "1".to_owned())],
        checksum,
    }
}

fn checksum(algorithm: ChecksumAlgorithm, kind: ChecksumKind, value: u8) -> Checksum {
    Checksum {
        algorithm,
        kind,
        value: vec![value; 4],
    }
}

fn part_with(number: u16, write: u64, size: u64, checksum: Option<Checksum>) -> Command {
    Command::CommitPart {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        number,
        stored: stored(write, size),
        md5: tag(write).md5,
        checksum,
    }
}

fn part(number: u16, write: u64, size: u64) -> Command {
    part_with(number, write, size, None)
}

fn listed(number: u16, write: u64) -> CompletedPart {
    CompletedPart {
        number,
        md5: tag(write).md5,
        checksum: None,
    }
}

fn complete_with(parts: Vec<CompletedPart>, min: u64, checksum: Option<Checksum>) -> Command {
    Command::CompleteUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        parts,
        condition: Condition::Always,
        part_bytes_min: min,
        checksum,
        owner: "alice".to_owned(),
    }
}

fn complete(parts: Vec<CompletedPart>) -> Command {
    complete_with(parts, 0, None)
}

fn abort() -> Command {
    Command::AbortUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
    }
}

fn completed(shard: &mut TestShard, command: Command) -> ObjectRow {
    let Done::Completed(object) = shard.done(command) else {
        panic!("a completion answers an object")
    };
    invariants::check(&shard.rows);
    *object
}

fn lives(shard: &TestShard, writes: std::ops::RangeInclusive<u64>) -> Vec<Life> {
    writes
        .map(|write| read::life(&shard.rows, write_id(write), shard.now_ms).unwrap())
        .collect()
}

#[test]
fn an_object_is_made_of_the_listed_parts_and_the_others_end() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    for (number, write, size) in [(1, 1, 300), (2, 2, 400), (3, 3, 500), (7, 4, 10)] {
        shard.done(part(number, write, size));
    }
    let object = completed(&mut shard, complete(vec![listed(1, 1), listed(3, 3), listed(7, 4)]));
    assert_eq!(object.size, 810);
    assert_eq!(object.etag, multipart_etag([&tag(1).md5, &tag(3).md5, &tag(4).md5]));
    assert_eq!(object.etag.parts, 3);
    assert_eq!(object.user, [("from".to_owned(), "upload".to_owned())]);
    assert_eq!(object.tags, [("t".to_owned(), "1".to_owned())]);
    assert_eq!(
        lives(&shard, 1..=4),
        [Life::Referenced, Life::Ending, Life::Referenced, Life::Referenced]
    );
    let query = Query::GetObject {
        bucket: BUCKET,
        key: KEY.to_vec(),
        version: VersionSelector::Latest,
        body: true,
    };
    let Found::Object(found) = answer(&shard.rows, &query).unwrap().unwrap() else {
        panic!("an object is found")
    };
    assert_eq!(found.manifest.unwrap().parts, [(1, 300), (3, 500), (7, 10)]);
    let Found::Parts(rows) = answer(
        &shard.rows,
        &Query::Parts {
            upload: UPLOAD,
            after: 1,
            limit: 1,
        },
    )
    .unwrap()
    .unwrap() else {
        panic!("parts are found")
    };
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [3]);
}

#[test]
fn the_last_part_committed_under_a_number_wins() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    shard.done(part(1, 1, 300));
    shard.done(part(1, 2, 400));
    assert_eq!(lives(&shard, 1..=2), [Life::Ending, Life::Referenced]);
    assert_eq!(shard.refused(complete(vec![listed(1, 1)])), Refusal::InvalidPart(1));
    assert_eq!(completed(&mut shard, complete(vec![listed(1, 2)])).size, 400);
}

#[test]
fn complete_checks_order_then_presence_then_size() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    for (number, write) in [(1, 1), (2, 2), (3, 3)] {
        shard.done(part(number, write, 100));
    }
    assert_eq!(
        shard.refused(complete(vec![listed(3, 3), listed(1, 9)])),
        Refusal::InvalidPartOrder
    );
    assert_eq!(
        shard.refused(complete(vec![listed(1, 1), listed(1, 1)])),
        Refusal::InvalidPartOrder
    );
    assert_eq!(
        shard.refused(complete(vec![listed(1, 9), listed(2, 2)])),
        Refusal::InvalidPart(1)
    );
    assert_eq!(
        shard.refused(complete(vec![listed(1, 1), listed(4, 4)])),
        Refusal::InvalidPart(4)
    );
    let small = complete_with(vec![listed(1, 1), listed(2, 2)], 101, None);
    assert_eq!(shard.refused(small), Refusal::EntityTooSmall { number: 1, size: 100 });
    assert!(matches!(shard.refused(complete(Vec::new())), Refusal::Invalid(_)));
    completed(&mut shard, complete_with(vec![listed(3, 3)], 101, None));
}

#[test]
fn complete_again_answers_the_same_for_seven_days_and_abort_then_finds_nothing() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    shard.done(part(1, 1, 300));
    let object = completed(&mut shard, complete(vec![listed(1, 1)]));
    shard.done(put_inline(KEY, b"overwritten"));
    assert_eq!(completed(&mut shard, complete(vec![listed(1, 1)])), object);
    assert_eq!(shard.refused(abort()), Refusal::NoSuchUpload);
    assert_eq!(shard.refused(part(2, 2, 300)), Refusal::NoSuchUpload);
    let query = Query::GetUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
    };
    let found = answer(&shard.rows, &query).unwrap();
    assert!(matches!(found, Ok(Found::Upload(row)) if matches!(row.state, UploadState::Completed { .. })));

    shard.now_ms += COMPLETED_UPLOAD_MS;
    assert_eq!(completed(&mut shard, complete(vec![listed(1, 1)])), object);
    shard.now_ms += 1;
    assert_eq!(
        shard.refused_with_purge(complete(vec![listed(1, 1)])),
        Refusal::NoSuchUpload
    );
    assert_eq!(answer(&shard.rows, &query).unwrap(), Err(Refusal::NoSuchUpload));
    assert_eq!(shard.rows.family(Family::Uploads).count(), 0, "its rows were purged");
}

#[test]
fn an_aborted_upload_ends_its_parts() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    shard.done(part(1, 1, 300));
    shard.done(part(2, 2, 0));
    shard.done(abort());
    invariants::check(&shard.rows);
    assert_eq!(lives(&shard, 1..=2), [Life::Ending, Life::Ending]);
    assert_eq!(shard.refused(abort()), Refusal::NoSuchUpload);
    assert_eq!(shard.refused(complete(vec![listed(1, 1)])), Refusal::NoSuchUpload);
}

#[test]
fn part_numbers_and_upload_ids_are_checked() {
    let mut shard = TestShard::keys();
    assert_eq!(shard.refused(part(1, 1, 300)), Refusal::NoSuchUpload);
    shard.done(create(None));
    assert!(matches!(shard.refused(create(None)), Refusal::Invalid(_)));
    assert!(matches!(shard.refused(part(0, 1, 300)), Refusal::Invalid(_)));
    assert!(matches!(shard.refused(part(10_001, 1, 300)), Refusal::Invalid(_)));
    shard.done(part(10_000, 1, 300));
    assert_eq!(completed(&mut shard, complete(vec![listed(10_000, 1)])).size, 300);
}

#[test]
fn con_1_a_conditional_complete_is_decided_with_the_key() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    shard.done(part(1, 1, 300));
    let conditional = |condition| match complete(vec![listed(1, 1)]) {
        Command::CompleteUpload {
            bucket,
            key,
            upload,
            parts,
            part_bytes_min,
            checksum,
            owner,
            ..
        } => Command::CompleteUpload {
            bucket,
            key,
            upload,
            parts,
            condition,
            part_bytes_min,
            checksum,
            owner,
        },
        other => other,
    };
    assert_eq!(
        shard.refused(conditional(Condition::ETagIn(vec![tag(1)]))),
        Refusal::NoSuchKey
    );
    shard.done(put_inline(KEY, b"x"));
    assert_eq!(
        shard.refused(conditional(Condition::Absent)),
        Refusal::PreconditionFailed
    );
    completed(&mut shard, conditional(Condition::ETagIn(vec![tag(1)])));
}

#[test]
fn checksums_of_parts_are_compared_and_composites_need_all() {
    let (algorithm, other) = (ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc32);
    let mut shard = TestShard::keys();
    shard.done(create(Some((algorithm, ChecksumKind::Composite))));
    let foreign = part_with(1, 9, 300, Some(checksum(other, ChecksumKind::FullObject, 1)));
    assert!(matches!(shard.refused(foreign), Refusal::Invalid(_)));
    shard.done(part_with(
        1,
        1,
        300,
        Some(checksum(algorithm, ChecksumKind::FullObject, 1)),
    ));
    shard.done(part(2, 2, 300));
    let with = |number: u16, write: u64, value: Option<u8>| CompletedPart {
        checksum: value.map(|value| vec![value; 4]),
        ..listed(number, write)
    };
    assert_eq!(
        shard.refused(complete(vec![with(1, 1, Some(2))])),
        Refusal::InvalidPart(1)
    );
    assert!(matches!(
        shard.refused(complete(vec![with(1, 1, None)])),
        Refusal::Invalid(_)
    ));
    let lacking = complete(vec![with(1, 1, Some(1)), with(2, 2, None)]);
    assert_eq!(
        shard.refused(lacking),
        Refusal::InvalidPart(2),
        "the part was stored without its checksum"
    );
    let wrong = checksum(other, ChecksumKind::Composite, 5);
    assert_eq!(
        shard.refused(complete_with(vec![with(1, 1, Some(1))], 0, Some(wrong))),
        Refusal::BadDigest
    );

    let rows = read::parts(&shard.rows, UPLOAD, 0, 10).unwrap();
    assert_eq!(composite_input(algorithm, &rows[..1]), Some(vec![1; 4]));
    assert_eq!(composite_input(algorithm, &rows), None);
    let sum = checksum(algorithm, ChecksumKind::Composite, 5);
    let object = completed(
        &mut shard,
        complete_with(vec![with(1, 1, Some(1))], 0, Some(sum.clone())),
    );
    assert_eq!(object.checksum, Some(sum));
}

#[test]
fn dur_3_copies_of_a_multipart_object_share_its_parts_until_the_last_ends() {
    let mut shard = TestShard::keys();
    shard.done(Command::SetVersioning {
        bucket: BUCKET,
        versioning: Versioning::Enabled,
    });
    shard.done(create(None));
    shard.done(part(1, 1, 300));
    shard.done(part(2, 2, 300));
    let original = completed(&mut shard, complete(vec![listed(1, 1), listed(2, 2)]));
    let Done::Put(copied) = shard.done(Command::CopyObject {
        source_bucket: BUCKET,
        source_key: KEY.to_vec(),
        source_version: VersionSelector::Latest,
        source_condition: Condition::ETagIn(vec![original.etag]),
        bucket: BUCKET,
        key: b"copy".to_vec(),
        condition: Condition::Absent,
        changes: Default::default(),
        owner: "bob".to_owned(),
    }) else {
        panic!("a copy answers a put")
    };
    invariants::check(&shard.rows);
    shard.done(delete(KEY, VersionSelector::Id(original.seq)));
    assert_eq!(lives(&shard, 1..=2), [Life::Referenced, Life::Referenced]);
    shard.done(delete(b"copy", VersionSelector::Id(copied.seq)));
    invariants::check(&shard.rows);
    assert_eq!(lives(&shard, 1..=2), [Life::Ending, Life::Ending]);
    let entries = (1..=2)
        .map(|write| ReclaimKey {
            since_ms: shard.now_ms,
            write: write_id(write),
        })
        .collect();
    shard.done(Command::Reclaimed { entries });
    assert_eq!(shard.rows.family(Family::Reclaim).count(), 0);
}

#[test]
fn ten_thousand_parts_complete_and_end_in_one_command_each() {
    let mut shard = TestShard::keys();
    shard.done(create(None));
    let parts: Vec<_> = (1..=10_000_u16)
        .map(|number| shard.envelope(part(number, u64::from(number), 7)))
        .collect();
    shard.apply(parts);
    let all = (1..=10_000).map(|number| listed(number, u64::from(number))).collect();
    let object = completed(&mut shard, complete(all));
    assert_eq!((object.size, object.etag.parts), (70_000, 10_000));
    shard.done(delete(KEY, VersionSelector::Latest));
    invariants::check(&shard.rows);
    assert_eq!(read::counters(&shard.rows).unwrap().reclaim_streams, 10_000);
}
