use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::command::{Command, CompletedPart, Condition, CopyChanges, NewBody, NewObject, RecordCondition};
use crate::ids::{BucketId, DeviceId, MultipartId, RequestId, Seq, ShardId, WriteId};
use crate::model::{
    Body, BucketConfig, BucketInfo, BucketState, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ObjectRow, PolicyId,
    ShortChunks, Stored, Stream, Totals, VersionSelector, Versioning,
};
use crate::query::{Found, ListObjects, ObjectFound, Page};
use crate::reply::{DeleteDone, Done, PutDone, Refusal};

fn stored() -> Stored {
    Stored {
        stream: Stream {
            write: WriteId(u128::MAX),
            size: 9,
            chunk_bytes: 4,
            policy: PolicyId(1),
            ring_version: 3,
        },
        short: vec![ShortChunks {
            first: 1,
            count: 2,
            devices: vec![DeviceId(8)],
        }],
    }
}

fn object() -> ObjectRow {
    ObjectRow {
        seq: Seq(u64::MAX),
        null: true,
        modified_ms: 1,
        size: 2,
        etag: ETag { md5: [7; 16], parts: 3 },
        checksum: Some(Checksum {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            value: vec![1, 2],
        }),
        body: Body::Manifest(MultipartId(1 << 127)),
        owner: "o".into(),
        attributes: vec![("a".into(), "ä".into())],
        user: Vec::new(),
        tags: Vec::new(),
    }
}

fn commands() -> Vec<Command> {
    let new = |body| NewObject {
        body,
        etag: ETag { md5: [1; 16], parts: 0 },
        checksum: None,
        owner: "o".into(),
        attributes: Vec::new(),
        user: vec![("k".into(), "v".into())],
        tags: Vec::new(),
    };
    let (bucket, key) = (BucketId(u64::MAX), vec![0, 0xFF, b'k']);
    let condition = Condition::ETagIn(vec![ETag { md5: [2; 16], parts: 5 }]);
    vec![
        Command::PutObject {
            bucket,
            key: key.clone(),
            condition: condition.clone(),
            object: new(NewBody::Inline(Bytes::from_static(b"bytes"))),
        },
        Command::PutObject {
            bucket,
            key: key.clone(),
            condition: Condition::Absent,
            object: new(NewBody::Stored(stored())),
        },
        Command::CopyObject {
            source_bucket: bucket,
            source_key: key.clone(),
            source_version: VersionSelector::Id(Seq(4)),
            source_condition: condition.clone(),
            bucket,
            key: key.clone(),
            condition: condition.clone(),
            changes: CopyChanges {
                metadata: Some(Default::default()),
                tags: Some(Vec::new()),
            },
            owner: "o".into(),
        },
        Command::CompleteUpload {
            bucket,
            key,
            upload: MultipartId(3),
            parts: vec![CompletedPart {
                number: 10_000,
                md5: [3; 16],
                checksum: Some(vec![1]),
            }],
            condition,
            part_bytes_min: 5 << 20,
            checksum: None,
            owner: "o".into(),
        },
        Command::SetDocument {
            bucket,
            name: "cors".into(),
            document: Some(Bytes::from_static(b"<x/>")),
        },
        Command::PutRecord {
            table: "t".into(),
            key: "k".into(),
            expect: RecordCondition::Version(9),
            value: Bytes::new(),
        },
        Command::CreateBucketUnder {
            project: "p".into(),
            name: "b".into(),
            global: true,
            key_shards: 8,
            policy: PolicyId(3),
        },
        Command::NoteChanges {
            bucket,
            keys: vec![b"k".to_vec()],
        },
        Command::ForgetChanges {
            bucket,
            changes: vec![Seq(1), Seq(u64::MAX)],
        },
        Command::DeleteObject {
            bucket,
            key: b"k".to_vec(),
            version: VersionSelector::Latest,
            condition: Condition::WrittenAt(5),
            owner: "o".into(),
        },
        Command::Tick,
        Command::RaiseFence {
            policy: PolicyId(u16::MAX),
            ring_version: u64::MAX,
        },
    ]
}

fn batch() -> Batch {
    let envelope = |command| Envelope {
        request: RequestId::new(77, 1),
        command,
    };
    Batch {
        stamp_ms: u64::MAX,
        commands: commands().into_iter().map(envelope).collect(),
    }
}

fn replies() -> Vec<Reply> {
    let put = PutDone {
        seq: Seq(1),
        null: false,
        versioned: true,
        modified_ms: 2,
        copied: Some(Box::new(object())),
    };
    let info = BucketInfo {
        id: BucketId(1),
        name: "b".into(),
        project: "p".into(),
        global: true,
        shard: ShardId(2),
        created_ms: 3,
        policy: PolicyId(0),
        state: BucketState::Deleting,
    };
    vec![
        Ok(Done::Put(put)),
        Ok(Done::Deleted(DeleteDone {
            version: Some((Seq(1), true)),
            marker: true,
            versioned: false,
        })),
        Ok(Done::Completed(Box::new(object()))),
        Ok(Done::Bucket {
            info: info.clone(),
            created: true,
        }),
        Ok(Done::Bucket {
            info: BucketInfo {
                policy: PolicyId(127),
                ..info
            },
            created: false,
        }),
        Err(Refusal::Deleted {
            marker: Seq(3),
            null: false,
        }),
        Err(Refusal::EntityTooSmall { number: 1, size: 2 }),
        Err(Refusal::RingRetired { fence: 9 }),
    ]
}

fn answers() -> Vec<Answer> {
    let found = ObjectFound {
        object: object(),
        versioned: true,
        inline: Some(Bytes::from_static(b"x")),
        manifest: None,
    };
    let mut documents = BTreeMap::new();
    documents.insert("cors".to_owned(), Bytes::from_static(b"<x/>"));
    vec![
        Ok(Found::Object(Box::new(found))),
        Ok(Found::Objects(Page {
            entries: vec![(b"k".to_vec(), object())],
            prefixes: vec![vec![0]],
            more: true,
        })),
        Ok(Found::BucketState {
            config: BucketConfig {
                sealed: true,
                versioning: Versioning::Suspended,
                documents,
            },
            totals: Totals {
                objects: 1,
                ..Totals::default()
            },
        }),
        Err(Refusal::NoSuchKey),
    ]
}

#[test]
fn what_is_encoded_is_decoded() {
    assert_eq!(decode_batch(&encode_batch(&batch())), Ok(batch()));
    assert_eq!(decode_replies(&encode_replies(&replies())), Ok(replies()));
    for answer in answers() {
        assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }
    let query = Query::ListObjects(ListObjects {
        delimiter: Some(b"/".to_vec()),
        limit: 1000,
        ..Default::default()
    });
    assert_eq!(decode_query(&encode_query(&query)), Ok(query));
    assert_eq!(decode_row::<ObjectRow>(&encode_row(&object())), Ok(object()));
}

#[test]
fn a_bucket_of_the_default_policy_is_written_as_before_policies() {
    let info = |policy, state| BucketInfo {
        id: BucketId(1),
        name: "b".into(),
        project: "p".into(),
        global: true,
        shard: ShardId(2),
        created_ms: 3,
        policy: PolicyId(policy),
        state,
    };
    let old = [ROW_FORMAT, 1, 1, b'b', 1, b'p', 1, 2, 3, 1];
    let deleting = info(0, BucketState::Deleting);
    assert_eq!(&encode_row(&deleting)[..], old);
    assert_eq!(decode_row(&old), Ok(deleting));
    for state in [BucketState::Active, BucketState::Deleting] {
        let other = info(5, state);
        assert_eq!(decode_row(&encode_row(&other)), Ok(other));
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let bytes = encode_batch(&batch());
    for length in 0..bytes.len() {
        assert!(decode_batch(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(decode_batch(&[bytes.as_slice(), &[0]].concat()).is_err());
    let row = encode_row(&object());
    for length in 0..row.len() {
        assert!(decode_row::<ObjectRow>(&row[..length]).is_err());
    }
}

#[test]
fn another_version_is_named_as_such() {
    let mut bytes = encode_batch(&batch());
    bytes[0] = 9;
    assert_eq!(
        decode_batch(&bytes),
        Err(CodecError::Format {
            found: 9,
            expected: BATCH_FORMAT
        })
    );
}

#[test]
fn limits_hold_before_memory_is_taken() {
    let many = Batch {
        stamp_ms: 0,
        commands: vec![
            Envelope {
                request: RequestId(0),
                command: Command::Tick
            };
            BATCH_COMMANDS_MAX + 1
        ],
    };
    assert_eq!(decode_batch(&encode_batch(&many)), Err(CodecError::TooLarge));
    assert_eq!(
        decode_query(&vec![QUERY_FORMAT; MESSAGE_BYTES_MAX + 1]),
        Err(CodecError::TooLarge)
    );
    // A length of 2^63 and nothing behind it.
    let mut claim = vec![REPLIES_FORMAT];
    claim.extend([0xFF; 9]);
    claim.push(1);
    assert!(decode_replies(&claim).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn hostile_bytes_are_refused_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode_query(&bytes), decode_answer(&bytes));
        bytes.insert(0, 1);
        let _ = (decode_batch(&bytes), decode_query(&bytes), decode_answer(&bytes), decode_replies(&bytes));
        let _ = (decode_row::<ObjectRow>(&bytes), decode_row::<crate::values::Counters>(&bytes));
    }

    #[test]
    fn flipped_bytes_decode_to_something_that_encodes_to_them_or_not_at_all(
        at in any::<prop::sample::Index>(), flip in 1..=255_u8
    ) {
        let mut bytes = encode_batch(&batch());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(decoded) = decode_batch(&bytes) {
            prop_assert_eq!(decode_batch(&encode_batch(&decoded)), Ok(decoded));
        }
    }
}
