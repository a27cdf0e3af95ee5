//! Before and after a measurement: the bucket, the objects to read, and their removal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clock::SystemClock;

use super::run::{Load, S3Load};
use super::s3::{Call, S3Client, error_code};
use crate::client::connection::{Answer, Keep};
use crate::client::payload::Payload;

/// The most connections the preparation uses.
const CONNECTIONS_MAX: usize = 32;
/// How often a request of the preparation is made before it fails.
const TRIES_MAX: u32 = 5;
/// The pause before the first repeat; the n-th is n times as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Creates the bucket.
///
/// # Errors
/// When the server refuses.
pub fn create_bucket(load: &Load, s3: &S3Load) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let path = format!("/{}", s3.bucket);
        request(
            &mut client(load, s3, 0),
            "PUT",
            &path,
            &[],
            &Payload::empty(),
            Keep::Nothing,
        )
        .await
        .map(drop)
    })
}

/// Writes `objects` objects with the body `payload`.
///
/// # Errors
/// When the server refuses one again and again.
pub fn fill(load: &Load, s3: &Arc<S3Load>, objects: u64, payload: &Payload, done: &dyn Fn()) -> anyhow::Result<()> {
    let keys = (0..objects).map(|index| s3.workload.prepared_key(index)).collect();
    runtime()?.block_on(for_all(load, s3, "PUT", keys, payload, done))
}

/// Removes all objects of this run, and the bucket when it was made for it.
///
/// # Errors
/// When the server refuses one again and again.
pub fn clean(load: &Load, s3: &Arc<S3Load>, bucket_too: bool, done: &dyn Fn()) -> anyhow::Result<()> {
    let prefix = s3.workload.prefix();
    runtime()?.block_on(async {
        let mut first = client(load, s3, 0);
        let path = format!("/{}", s3.bucket);
        loop {
            let query = [("list-type", "2"), ("prefix", prefix.as_str())];
            let page = request(&mut first, "GET", &path, &query, &Payload::empty(), Keep::Everything).await?;
            let keys = keys_of(&String::from_utf8_lossy(&page.body));
            if keys.is_empty() {
                break;
            }
            for_all(load, s3, "DELETE", keys, &Payload::empty(), done).await?;
        }
        if bucket_too {
            request(&mut first, "DELETE", &path, &[], &Payload::empty(), Keep::Nothing).await?;
        }
        Ok(())
    })
}

/// One request for each key, over several connections.
async fn for_all(
    load: &Load,
    s3: &Arc<S3Load>,
    method: &'static str,
    keys: Vec<String>,
    payload: &Payload,
    done: &dyn Fn(),
) -> anyhow::Result<()> {
    let next = AtomicU64::new(0);
    let connections = load.concurrency.clamp(1, CONNECTIONS_MAX);
    let workers = (0..connections).map(|number| {
        let (next, keys) = (&next, &keys);
        let mut client = client(load, s3, number);
        async move {
            while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                let path = format!("/{}/{key}", s3.bucket);
                request(&mut client, method, &path, &[], payload, Keep::Nothing).await?;
                done();
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(workers).await.map(drop)
}

async fn request(
    client: &mut S3Client,
    method: &'static str,
    path: &str,
    query: &[(&str, &str)],
    payload: &Payload,
    keep: Keep,
) -> anyhow::Result<Answer> {
    let mut tries = 0;
    loop {
        tries += 1;
        let call = Call {
            method,
            path,
            query,
            payload: payload.clone(),
            keep,
        };
        let failed = match client.send(call).await {
            Ok(answer) if answer.status.is_success() => return Ok(answer),
            Ok(answer) if answer.status.is_client_error() => bail!("{method} {path}: {}", error_code(&answer)),
            Ok(answer) => anyhow::anyhow!(error_code(&answer)),
            Err(error) => error.into(),
        };
        if tries == TRIES_MAX {
            return Err(failed).with_context(|| format!("{method} {path} failed {TRIES_MAX} times"));
        }
        // A server that asks to slow down is left alone for a while.
        tokio::time::sleep(PAUSE * tries).await;
    }
}

fn client(load: &Load, s3: &S3Load, number: usize) -> S3Client {
    let target = load.targets[number % load.targets.len()].clone();
    S3Client::new(target, s3.signer.clone(), Arc::new(SystemClock))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The keys on a page of a listing; the load's keys hold nothing that XML would escape.
fn keys_of(xml: &str) -> Vec<String> {
    let parts = xml.split("<Key>").skip(1);
    parts
        .filter_map(|part| part.split_once("</Key>"))
        .map(|(key, _)| key.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_a_listing() {
        let xml = "<R><Contents><Key>a/1</Key><Size>1</Size></Contents><Contents><Key>a/2</Key></Contents></R>";
        assert_eq!(keys_of(xml), ["a/1", "a/2"]);
        assert_eq!(keys_of("<R></R>"), Vec::<String>::new());
    }
}
