use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{Stalled, Stalling};

const IDLE: Duration = Duration::from_secs(30);

async fn read(pause: Duration, pieces: usize, size: usize) -> Result<usize, String> {
    let stream = futures::stream::iter(0..pieces).then(move |_| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; size])))
    });
    let body = Stalling::new(StreamBody::new(Box::pin(stream)), IDLE);
    body.collect()
        .await
        .map(|all| all.to_bytes().len())
        .map_err(|cause| cause.to_string())
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_body() {
    assert_eq!(read(Duration::from_secs(31), 2, 5000).await, Err(Stalled.to_string()));
    assert_eq!(read(Duration::from_secs(29), 20, 5000).await, Ok(100_000));
}

#[tokio::test(start_paused = true)]
async fn a_trickle_ends_a_body() {
    assert_eq!(read(Duration::from_secs(10), 1000, 1).await, Err(Stalled.to_string()));
    assert_eq!(read(Duration::from_secs(1), 1000, 20).await, Ok(20_000));
}
