//! The contract of [`BlobStore`] as tests: every implementation runs [`conforms`]. It panics with what is wrong.

#![allow(clippy::unwrap_used, reason = "a broken contract panics; that is the answer")]

use std::ops::RangeInclusive;

use bytes::Bytes;
use metadata::ids::{BlobId, BucketId, ClusterId, ShardId, WriteId};
use metadata::model::PolicyId;

use super::blob::{Blob, BlobHeader, BlobKey, FRAME_BYTES, Pieces};
use super::error::DeviceError;
use super::store::BlobStore;

/// A blob for tests: its content follows from its key, the length and `content`.
#[must_use]
pub fn sample_blob(cluster: ClusterId, placement: u64, write: u128, len: usize, content: u8) -> Blob {
    let payload: Vec<u8> = (0..len)
        .map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ content)
        .collect();
    let header = BlobHeader {
        cluster,
        shard: ShardId(2),
        bucket: BucketId(3),
        len: 0,
        blake3: [0; 32],
        written_ms: 1_000,
    };
    Blob::seal(
        BlobKey {
            placement,
            id: BlobId {
                write: WriteId(write),
                chunk: 0,
            },
        },
        header,
        payload.into(),
    )
}

/// Runs the whole contract against a fresh, empty store of `cluster`. Its capacity must allow 16 MiB.
pub async fn conforms(store: &dyn BlobStore, cluster: ClusterId) {
    what_was_put_is_read(store, cluster).await;
    ranges_are_whole_frames(store, cluster).await;
    a_repeat_is_fine_and_a_conflict_is_not(store, cluster).await;
    a_malformed_blob_is_refused(store, cluster).await;
    removed_is_gone_and_may_come_again(store, cluster).await;
    lists_are_ordered_and_paged(store, cluster).await;
    digests_follow_the_keys(store, cluster).await;
    concurrent_puts_all_arrive(store, cluster).await;
}

async fn expect(store: &dyn BlobStore, blob: &Blob) {
    let slice = store.read(blob.key, 0..u32::MAX).await.unwrap();
    assert_eq!(slice.verify(), Ok(()));
    assert_eq!(slice.bytes(0..u32::MAX), blob.payload.to_bytes());
    assert_eq!((slice.key, slice.header), (blob.key, blob.header));
    assert_eq!(store.stat(blob.key).await.unwrap(), Some(blob.header));
}

async fn what_was_put_is_read(store: &dyn BlobStore, cluster: ClusterId) {
    for (n, len) in [0, 1, 4096, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 4 << 20]
        .into_iter()
        .enumerate()
    {
        let blob = sample_blob(cluster, 10, n as u128, len, 1);
        store.put(blob.clone()).await.unwrap();
        expect(store, &blob).await;
    }
    let mut pieces = sample_blob(cluster, 10, 90, 150_000, 2);
    let mut rest = pieces.payload.to_bytes();
    let mut cut = Pieces::default();
    while !rest.is_empty() {
        cut.push(rest.split_to(rest.len().min(7_001)));
    }
    pieces.payload = cut;
    store.put(pieces.clone()).await.unwrap();
    expect(store, &pieces).await;
    let unknown = BlobKey::first(11);
    assert_eq!(store.read(unknown, 0..1).await.unwrap_err(), DeviceError::NotFound);
    assert_eq!(store.stat(unknown).await.unwrap(), None);
}

async fn ranges_are_whole_frames(store: &dyn BlobStore, cluster: ClusterId) {
    let frame = FRAME_BYTES as u32;
    let len = 3 * frame + 100;
    let blob = sample_blob(cluster, 20, 1, len as usize, 3);
    store.put(blob.clone()).await.unwrap();
    for range in [
        0..1,
        frame - 1..frame + 1,
        frame..2 * frame,
        2 * frame + 5..len + 50,
        len - 1..len,
        0..len,
    ] {
        let slice = store.read(blob.key, range.clone()).await.unwrap();
        assert_eq!(slice.verify(), Ok(()), "{range:?}");
        let end = range.end.min(len);
        let want = blob.payload.to_bytes().slice(range.start as usize..end as usize);
        assert_eq!(slice.bytes(range.clone()), want, "{range:?}");
        assert_eq!(slice.first_frame, range.start / frame);
        assert!(
            slice.payload.len() < want.len() + 2 * FRAME_BYTES,
            "{range:?} read too much"
        );
    }
    assert_eq!(
        store.read(blob.key, len..len + 1).await.unwrap_err(),
        DeviceError::Range
    );
}

async fn a_repeat_is_fine_and_a_conflict_is_not(store: &dyn BlobStore, cluster: ClusterId) {
    let blob = sample_blob(cluster, 30, 1, 5000, 4);
    store.put(blob.clone()).await.unwrap();
    let before = store.usage().blobs;
    store.put(blob.clone()).await.unwrap();
    assert_eq!(store.usage().blobs, before);
    let other = sample_blob(cluster, 30, 1, 5000, 5);
    assert_eq!(store.put(other).await.unwrap_err(), DeviceError::Conflict);
    expect(store, &blob).await;
}

async fn a_malformed_blob_is_refused(store: &dyn BlobStore, cluster: ClusterId) {
    let good = sample_blob(cluster, 40, 1, 70_000, 6);
    let mut flipped = good.clone();
    let mut bytes = flipped.payload.to_bytes().to_vec();
    bytes[66_000] ^= 4;
    flipped.payload = Bytes::from(bytes).into();
    let mut short = good.clone();
    short.payload = good.payload.to_bytes().slice(..69_999).into();
    let mut missing = good.clone();
    missing.frame_crcs.pop();
    for bad in [flipped, short, missing] {
        assert!(matches!(store.put(bad).await, Err(DeviceError::Malformed(_))));
    }
    let foreign = sample_blob(ClusterId(cluster.0 ^ 1), 40, 1, 100, 6);
    assert_eq!(store.put(foreign).await.unwrap_err(), DeviceError::ForeignCluster);
    assert_eq!(store.stat(good.key).await.unwrap(), None);
}

async fn removed_is_gone_and_may_come_again(store: &dyn BlobStore, cluster: ClusterId) {
    let blob = sample_blob(cluster, 50, 1, 3000, 7);
    let stays = sample_blob(cluster, 50, 2, 3000, 7);
    store.put(blob.clone()).await.unwrap();
    store.put(stays.clone()).await.unwrap();
    store.remove(vec![blob.key, BlobKey::first(51)]).await.unwrap();
    assert_eq!(store.read(blob.key, 0..1).await.unwrap_err(), DeviceError::NotFound);
    assert_eq!(store.stat(blob.key).await.unwrap(), None);
    store.remove(vec![blob.key]).await.unwrap();
    expect(store, &stays).await;
    store.put(blob.clone()).await.unwrap();
    expect(store, &blob).await;
    // Once removed, the name is free for other bytes.
    store.remove(vec![blob.key]).await.unwrap();
    let other = sample_blob(cluster, 50, 1, 2000, 8);
    store.put(other.clone()).await.unwrap();
    expect(store, &other).await;
}

async fn lists_are_ordered_and_paged(store: &dyn BlobStore, cluster: ClusterId) {
    let placements = [1u64 << 40, (1 << 40) + 7, 1 << 41, u64::MAX - 1, u64::MAX];
    for (n, placement) in placements.into_iter().enumerate() {
        for write in 0..3 {
            store
                .put(sample_blob(cluster, placement, write, 10 + n, 9))
                .await
                .unwrap();
        }
    }
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let page = store.list(after, u64::MAX, 4).await.unwrap();
        assert!(page.len() <= 4);
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        all.extend(page);
    }
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(all.len() as u64, store.usage().blobs);
    let upto = store
        .list(Some(BlobKey::first((1 << 40) - 1)), (1 << 40) + 7, 100)
        .await
        .unwrap();
    assert_eq!(upto.len(), 6);
    assert!(
        upto.iter()
            .all(|(key, header)| key.placement <= (1 << 40) + 7 && header.cluster == cluster)
    );
}

async fn digests_follow_the_keys(store: &dyn BlobStore, cluster: ClusterId) {
    let range: RangeInclusive<u64> = 1000..=1999;
    assert_eq!(store.digest(range.clone(), PolicyId(0)).await.unwrap().blobs, 0);
    let (one, two) = (
        sample_blob(cluster, 1000, 1, 10, 1),
        sample_blob(cluster, 1999, 2, 10, 1),
    );
    store.put(one.clone()).await.unwrap();
    let only_one = store.digest(range.clone(), PolicyId(0)).await.unwrap();
    store.put(two.clone()).await.unwrap();
    store.put(sample_blob(cluster, 2000, 3, 10, 1)).await.unwrap();
    let both = store.digest(range.clone(), PolicyId(0)).await.unwrap();
    assert_eq!(both.blobs, 2);
    assert_ne!(both, only_one);
    store.remove(vec![one.key]).await.unwrap();
    store.put(one.clone()).await.unwrap();
    assert_eq!(
        store.digest(range.clone(), PolicyId(0)).await.unwrap(),
        both,
        "the order of arrival must not matter"
    );
    store.remove(vec![two.key]).await.unwrap();
    assert_eq!(store.digest(range, PolicyId(0)).await.unwrap(), only_one);
}

async fn concurrent_puts_all_arrive(store: &dyn BlobStore, cluster: ClusterId) {
    let blobs: Vec<Blob> = (0..64)
        .map(|n| sample_blob(cluster, 5_000 + n / 2, 7, 900, 1))
        .collect();
    let answers = futures::future::join_all(blobs.iter().map(|blob| store.put(blob.clone()))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for blob in &blobs {
        expect(store, blob).await;
    }
}
