//! Multipart uploads: parts in any order, tags and checksums as AWS computes them, ranges across parts.

use md5::{Digest, Md5};
use metadata::command::{Command, CompletedPart, Condition};
use metadata::ids::{MultipartId, RequestId, WriteId};
use metadata::model::{Checksum, ChecksumAlgorithm, ChecksumKind, PolicyId, Stored, Stream};
use proptest::prelude::*;

use super::{LATEST, pattern};
use crate::testing::{Cluster, START_MS, Shape, body_in_pieces};
use crate::{Bucket, CompleteOutcome, CopySource, NewUpload, PartOutcome, PutPart, StoreError};

fn small_parts() -> Shape {
    let mut shape = Shape::default();
    shape.options.chunk_bytes = 8192;
    shape.options.read_slice_bytes = 5000;
    shape.options.part_bytes_min = 1000;
    shape
}

impl Cluster {
    async fn begin(&self, bucket: &Bucket, checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> MultipartId {
        let new = NewUpload {
            checksum,
            ..NewUpload::default()
        };
        self.store
            .create_upload(&self.request(), bucket, b"k".to_vec(), new)
            .await
            .unwrap()
    }

    async fn part(
        &self,
        bucket: &Bucket,
        upload: MultipartId,
        number: u16,
        bytes: &[u8],
    ) -> Result<PartOutcome, StoreError> {
        let put = PutPart {
            length: Some(bytes.len() as u64),
            digests: Vec::new(),
            finish: Box::new(|_| Ok(None)),
        };
        let stream = body_in_pieces(bytes, 3000);
        self.store
            .put_part(&self.request(), bucket, b"k".to_vec(), upload, number, put, stream)
            .await
    }

    async fn complete(
        &self,
        bucket: &Bucket,
        upload: MultipartId,
        parts: Vec<CompletedPart>,
        expected: Option<Checksum>,
    ) -> Result<CompleteOutcome, StoreError> {
        let (cx, condition) = (self.request(), Condition::Always);
        self.store
            .complete_upload(&cx, bucket, b"k".to_vec(), upload, parts, condition, expected)
            .await
    }
}

fn named(number: u16, part: &PartOutcome) -> CompletedPart {
    CompletedPart {
        number,
        md5: part.md5,
        checksum: part.checksum.as_ref().map(|checksum| checksum.value.clone()),
    }
}

fn multipart_md5(parts: &[&[u8]]) -> [u8; 16] {
    let md5s: Vec<u8> = parts.iter().flat_map(|bytes| Md5::digest(bytes).to_vec()).collect();
    Md5::digest(md5s).into()
}

#[tokio::test(start_paused = true)]
async fn con_1_parts_may_come_in_any_order_and_again() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let upload = cluster.begin(&bucket, None).await;
    let parts = [pattern(20_000, 1), pattern(1500, 2), pattern(9000, 3)];
    let third = cluster.part(&bucket, upload, 9, &parts[2]).await.unwrap();
    cluster.part(&bucket, upload, 2, &pattern(5000, 77)).await.unwrap();
    let first = cluster.part(&bucket, upload, 2, &parts[0]).await.unwrap();
    let second = cluster.part(&bucket, upload, 5, &parts[1]).await.unwrap();
    cluster.part(&bucket, upload, 7, b"not named").await.unwrap();
    assert_eq!(
        cluster.get(&bucket, "k").await,
        Err(StoreError::NoSuchKey),
        "nothing is visible before Complete"
    );

    let list = vec![named(2, &first), named(5, &second), named(9, &third)];
    let done = cluster.complete(&bucket, upload, list.clone(), None).await.unwrap();
    assert_eq!(done.object.etag.md5, multipart_md5(&[&parts[0], &parts[1], &parts[2]]));
    assert_eq!((done.object.etag.parts, done.object.size), (3, 30_500));
    let whole = parts.concat();
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), whole);

    let again = cluster.complete(&bucket, upload, list, None).await.unwrap();
    assert_eq!(again, done, "Complete again has the same answer");
    assert_eq!(
        cluster.part(&bucket, upload, 2, b"late").await,
        Err(StoreError::NoSuchUpload)
    );

    let reader = cluster.open(&bucket, "k").await.unwrap();
    assert_eq!(reader.head.parts, Some(3));
    assert_eq!(reader.part(2), Some((20_000..21_500, 3)));
    assert_eq!((reader.part(0), reader.part(4)), (None, None));
    let (rows, total) = cluster
        .store
        .object_parts(&cluster.request(), &bucket, &reader.head, 2, 1)
        .await
        .unwrap();
    assert_eq!((rows.len(), rows[0].number, total), (1, 5, 3));
}

#[tokio::test(start_paused = true)]
async fn completions_that_aws_refuses_are_refused() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let upload = cluster.begin(&bucket, None).await;
    let small = cluster.part(&bucket, upload, 1, b"small").await.unwrap();
    let last = cluster.part(&bucket, upload, 2, b"last").await.unwrap();
    let complete = |list| cluster.complete(&bucket, upload, list, None);
    let (one, two) = (named(1, &small), named(2, &last));
    assert_eq!(
        complete(vec![two.clone(), one.clone()]).await,
        Err(StoreError::InvalidPartOrder)
    );
    let wrong = CompletedPart {
        md5: [0; 16],
        ..one.clone()
    };
    assert_eq!(complete(vec![wrong]).await, Err(StoreError::InvalidPart(1)));
    let absent = CompletedPart {
        number: 3,
        ..two.clone()
    };
    assert_eq!(complete(vec![absent]).await, Err(StoreError::InvalidPart(3)));
    let refused = complete(vec![one, two.clone()]).await;
    assert_eq!(refused, Err(StoreError::EntityTooSmall { number: 1, size: 5 }));
    assert_eq!(
        cluster.complete(&bucket, MultipartId(5), vec![two], None).await,
        Err(StoreError::NoSuchUpload)
    );
    assert!(matches!(
        cluster.part(&bucket, upload, 0, b"x").await,
        Err(StoreError::InvalidRequest(_))
    ));
    assert!(matches!(
        cluster.part(&bucket, upload, 10_001, b"x").await,
        Err(StoreError::InvalidRequest(_))
    ));

    cluster
        .store
        .abort_upload(&cluster.request(), &bucket, b"k".to_vec(), upload)
        .await
        .unwrap();
    assert_eq!(
        cluster.part(&bucket, upload, 1, b"x").await,
        Err(StoreError::NoSuchUpload)
    );
    let again = cluster
        .store
        .abort_upload(&cluster.request(), &bucket, b"k".to_vec(), upload)
        .await;
    assert_eq!(again, Err(StoreError::NoSuchUpload));
}

#[tokio::test(start_paused = true)]
async fn full_object_and_composite_checksums_are_those_of_aws() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let parts = [pattern(12_000, 1), pattern(3000, 2)];
    let all: &[(ChecksumAlgorithm, ChecksumKind)] = &[
        (ChecksumAlgorithm::Crc32, ChecksumKind::FullObject),
        (ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject),
        (ChecksumAlgorithm::Sha1, ChecksumKind::Composite),
        (ChecksumAlgorithm::Sha256, ChecksumKind::Composite),
        (ChecksumAlgorithm::Crc32c, ChecksumKind::Composite),
    ];
    for (algorithm, kind) in all.iter().copied() {
        let upload = cluster.begin(&bucket, Some((algorithm, kind))).await;
        let mut list = Vec::new();
        for (number, bytes) in (1..).zip(&parts) {
            list.push(named(
                number,
                &cluster.part(&bucket, upload, number, bytes).await.unwrap(),
            ));
        }
        let mut digests = crate::digest::BodyDigests::new(&[algorithm]);
        let covered = match kind {
            ChecksumKind::FullObject => parts.concat(),
            ChecksumKind::Composite => list.iter().flat_map(|part| part.checksum.clone().unwrap()).collect(),
        };
        digests.update(&bytes::Bytes::from(covered).into());
        let value = digests.finish().checksums[0].1.clone();
        let expected = Checksum { algorithm, kind, value };
        let mut wrong = expected.clone();
        wrong.value[0] ^= 1;
        let refused = cluster.complete(&bucket, upload, list.clone(), Some(wrong)).await;
        assert_eq!(refused, Err(StoreError::BadDigest), "{algorithm:?} {kind:?}");
        let done = cluster.complete(&bucket, upload, list, None).await.unwrap();
        assert_eq!(done.object.checksum, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_composite_needs_every_parts_checksum_in_the_request() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let upload = cluster
        .begin(&bucket, Some((ChecksumAlgorithm::Sha1, ChecksumKind::Composite)))
        .await;
    let part = cluster.part(&bucket, upload, 1, b"bytes").await.unwrap();
    let bare = CompletedPart {
        checksum: None,
        ..named(1, &part)
    };
    let refused = cluster.complete(&bucket, upload, vec![bare], None).await;
    assert!(matches!(refused, Err(StoreError::InvalidRequest(_))));
}

#[tokio::test(start_paused = true)]
async fn parts_are_copied_from_objects_of_any_shard() {
    let cluster = Cluster::new(small_parts());
    let (here, there) = (cluster.bucket("b").await, cluster.bucket("c").await);
    assert_ne!(here.info.shard, there.info.shard);
    let source = pattern(50_000, 4);
    for (from, key) in [(&here, "s1"), (&there, "s2")] {
        cluster.put(from, key, &source).await.unwrap();
    }
    let upload = cluster
        .begin(&here, Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject)))
        .await;
    let copy = |bucket: &Bucket, key: &str, condition| CopySource {
        bucket: bucket.clone(),
        key: key.into(),
        version: LATEST,
        condition,
    };
    let cx = cluster.request();
    let copy_part = |source, range, number| {
        cluster
            .store
            .copy_part(&cx, source, range, &here, b"k".to_vec(), upload, number)
    };
    let one = copy_part(copy(&here, "s1", Condition::Always), Some(100..20_000), 1)
        .await
        .unwrap();
    let two = copy_part(copy(&there, "s2", Condition::Always), None, 2).await.unwrap();
    assert_eq!(one.checksum.as_ref().unwrap().algorithm, ChecksumAlgorithm::Crc32);
    let beyond = copy_part(copy(&there, "s2", Condition::Always), Some(0..50_001), 3).await;
    assert_eq!(beyond, Err(StoreError::InvalidRange));
    let unmet = copy_part(copy(&there, "s2", Condition::ETagIn(Vec::new())), None, 3).await;
    assert_eq!(unmet, Err(StoreError::PreconditionFailed));
    cluster
        .complete(&here, upload, vec![named(1, &one), named(2, &two)], None)
        .await
        .unwrap();
    let whole = [&source[100..20_000], &source[..]].concat();
    assert_eq!(cluster.get(&here, "k").await.unwrap(), whole);
}

#[tokio::test(start_paused = true)]
async fn empty_parts_are_parts() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let upload = cluster.begin(&bucket, None).await;
    let empty = cluster.part(&bucket, upload, 1, b"").await.unwrap();
    let done = cluster
        .complete(&bucket, upload, vec![named(1, &empty)], None)
        .await
        .unwrap();
    assert_eq!((done.object.size, done.object.etag.parts), (0, 1));
    assert_eq!(cluster.get(&bucket, "k").await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_parts_are_one_object() {
    let cluster = Cluster::new(small_parts());
    let bucket = cluster.bucket("b").await;
    let upload = cluster.begin(&bucket, None).await;
    let mut list = Vec::new();
    for number in 1..=10_000_u16 {
        let id = u128::from(number);
        let (write, policy) = (WriteId::new(START_MS, id), PolicyId(0));
        let stream = Stream {
            write,
            size: 2000,
            chunk_bytes: 8192,
            policy,
            ring_version: 1,
        };
        let md5 = u128::to_be_bytes(id);
        let stored = Stored {
            stream,
            short: Vec::new(),
        };
        let (bucket_id, key) = (bucket.info.id, b"k".to_vec());
        let command = Command::CommitPart {
            bucket: bucket_id,
            key,
            upload,
            number,
            stored,
            md5,
            checksum: None,
        };
        cluster
            .metadata
            .execute(bucket.info.shard, RequestId::new(START_MS, id), command)
            .unwrap();
        list.push(CompletedPart {
            number,
            md5,
            checksum: None,
        });
    }
    let (_, page, more) = cluster
        .store
        .list_parts(&cluster.request(), &bucket, b"k", upload, 9_990, 20)
        .await
        .unwrap();
    assert_eq!((page.len(), page[0].number, more), (10, 9_991, false));
    let done = cluster.complete(&bucket, upload, list, None).await.unwrap();
    assert_eq!((done.object.size, done.object.etag.parts), (20_000_000, 10_000));
    let reader = cluster.open(&bucket, "k").await.unwrap();
    assert_eq!(reader.part(10_000), Some((19_998_000..20_000_000, 10_000)));
    let asked = cluster.metadata.queries();
    // The parts' blobs do not exist; what counts is how few rows are asked for.
    assert!(cluster.get_range(&bucket, "k", 10_000_000..10_000_001).await.is_err());
    assert!(cluster.metadata.queries() - asked <= 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn ranges_cross_chunks_and_parts(
        sizes in prop::collection::vec(1000_usize..30_000, 1..100),
        ranges in prop::collection::vec(any::<(u32, u32)>(), 10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new(small_parts());
            let bucket = cluster.bucket("b").await;
            let upload = cluster.begin(&bucket, None).await;
            let (mut list, mut whole) = (Vec::new(), Vec::new());
            for (number, size) in (1..).zip(&sizes) {
                let bytes = pattern(*size, u64::from(number));
                // Numbers have gaps, as with clients that give up a part.
                let number = number * 3;
                list.push(named(number, &cluster.part(&bucket, upload, number, &bytes).await.unwrap()));
                whole.extend_from_slice(&bytes);
            }
            cluster.complete(&bucket, upload, list, None).await.unwrap();
            for (at, size) in ranges {
                let start = at as usize % whole.len();
                let end = (start + size as usize % 70_000).min(whole.len());
                let read = cluster.get_range(&bucket, "k", start as u64..end as u64).await.unwrap();
                assert!(read == whole[start..end], "{start}..{end}");
            }
            assert!(cluster.get(&bucket, "k").await.unwrap() == whole);
        });
    }
}
