//! A PUT whose client goes away at any moment: nothing is visible, or all of it.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use super::pattern;
use crate::testing::{Cluster, body_in_pieces};
use crate::{NewUpload, PutObject, PutPart, StoreError};

/// Polls the future at most `polls` times, then drops it. True when it ended by itself.
async fn cut_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Polled again at once, so that the future is cut at each of its waits and also between them.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_put_cut_at_any_await_is_whole_or_nothing() {
    let bytes = pattern(40_000, 3);
    let (mut nothing, mut whole) = (0, 0);
    for polls in 0..200 {
        let cluster = Cluster::with_chunks_of(8192);
        let bucket = cluster.bucket("b").await;
        cluster.metadata.set_delay(Duration::from_millis(10));
        let put = PutObject {
            length: Some(bytes.len() as u64),
            ..PutObject::plain()
        };
        let stream = body_in_pieces(&bytes, 3000);
        let request = cluster.request();
        let putting = cluster.store.put_object(&request, &bucket, b"k".to_vec(), put, stream);
        let ended = cut_after(putting, polls).await;
        cluster.settle().await;
        match cluster.get(&bucket, "k").await {
            Ok(read) => {
                assert_eq!(read, bytes);
                assert_eq!(cluster.data.copies().await, 5 * 3);
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error, StoreError::NoSuchKey);
                assert!(ended.is_none(), "an acknowledged object is visible");
                assert_eq!(cluster.data.copies().await, 0, "cut after {polls} polls");
                nothing += 1;
            }
        }
        assert_eq!(cluster.store.inner.write_pool.used_bytes(), 0);
        if ended.is_some() {
            break;
        }
    }
    assert!(
        nothing > 3 && whole > 1,
        "{nothing} cut before the commit, {whole} after it was proposed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_cut_at_any_await_is_whole_or_nothing() {
    let bytes = pattern(20_000, 3);
    for polls in 0..200 {
        let cluster = Cluster::with_chunks_of(8192);
        let bucket = cluster.bucket("b").await;
        let cx = cluster.request();
        let upload = cluster
            .store
            .create_upload(&cx, &bucket, b"k".to_vec(), NewUpload::default());
        let upload = upload.await.unwrap();
        cluster.metadata.set_delay(Duration::from_millis(10));
        let put = PutPart {
            length: None,
            digests: Vec::new(),
            finish: Box::new(|_| Ok(None)),
        };
        let request = cluster.request();
        let stream = body_in_pieces(&bytes, 3000);
        let putting = cluster
            .store
            .put_part(&request, &bucket, b"k".to_vec(), upload, 1, put, stream);
        let ended = cut_after(putting, polls).await;
        cluster.settle().await;
        let (_, parts, _) = cluster
            .store
            .list_parts(&cluster.request(), &bucket, b"k", upload, 0, 10)
            .await
            .unwrap();
        assert_eq!(cluster.data.copies().await, parts.len() * 3 * 3);
        assert!(parts.len() == 1 || ended.is_none());
        if ended.is_some() {
            return;
        }
    }
    panic!("the part never ended");
}
