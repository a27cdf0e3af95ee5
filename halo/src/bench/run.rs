//! Runs a load: threads, connections, warm-up, measurement.
//!
//! Each thread has an event loop of its own and drives its share of the connections; one connection has one request in
//! flight. Requests begun before the end of the warm-up are made but not counted; those in flight at the end are
//! waited for, and the time until the last of them counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clock::{SeededDice, SystemClock};
use http::Request;

use super::histogram::Histogram;
use super::s3::{Call, S3Client, error_code};
use super::workload::{Step, Worker, Workload};
use crate::client::connection::{Answer, Connection, Keep, RequestError, Target};
use crate::client::payload::Payload;
use crate::sigv4::Signer;

/// How long a connection rests after a request without an answer, so that a dead server is not hammered.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// What is sent where.
#[derive(Clone)]
pub struct Load {
    /// Where connections go, in turn.
    pub targets: Vec<Target>,
    /// Signed S3 requests, or plain GETs.
    pub kind: Kind,
    /// Connections.
    pub concurrency: usize,
    /// Threads of the client.
    pub threads: usize,
    /// Not counted at the beginning.
    pub warm_up: Duration,
    /// When it ends.
    pub until: Until,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this much time beside the warm-up.
    Elapsed(Duration),
    /// After this many counted requests.
    Requests(u64),
}

/// What requests are made.
#[derive(Clone)]
pub enum Kind {
    /// GETs of one path of any HTTP server.
    Plain {
        /// Path and query.
        path: String,
    },
    /// Signed S3 requests.
    S3(Arc<S3Load>),
}

/// The S3 part of a load.
pub struct S3Load {
    /// Who signs.
    pub signer: Signer,
    /// The bucket.
    pub bucket: String,
    /// Which requests.
    pub workload: Workload,
    /// Body of PUTs.
    pub payload: Payload,
    /// Keys on a page of a listing.
    pub page: u32,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Latencies of requests that succeeded.
    pub latencies: Histogram,
    /// Payload bytes sent and received by them.
    pub bytes: u64,
    /// Requests that failed, by code.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.bytes += other.bytes;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
    }
}

/// Moments and counters shared by all connections and by who watches them.
pub struct Course {
    /// From here on requests count.
    pub counted_from: Instant,
    ends: Option<Instant>,
    tickets: Option<AtomicU64>,
    done: AtomicU64,
}

impl Course {
    fn of(load: &Load) -> Self {
        let counted_from = Instant::now() + load.warm_up;
        let (ends, tickets) = match load.until {
            Until::Elapsed(time) => (Some(counted_from + time), None),
            Until::Requests(count) => (None, Some(AtomicU64::new(count))),
        };
        Self {
            counted_from,
            ends,
            tickets,
            done: AtomicU64::new(0),
        }
    }

    /// Counted requests so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether a request may begin now, and whether it counts.
    fn admit(&self, now: Instant) -> Option<Counts> {
        if self.ends.is_some_and(|ends| now >= ends) {
            return None;
        }
        if now < self.counted_from {
            return Some(Counts::No);
        }
        let Some(tickets) = &self.tickets else {
            return Some(Counts::Yes);
        };
        let taken = tickets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.ok().map(|_| Counts::Yes)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    No,
    Yes,
}

/// A load under way.
pub struct Running {
    /// Its moments and counters.
    pub course: Arc<Course>,
    threads: Vec<std::thread::JoinHandle<Tally>>,
}

impl Running {
    /// True when every thread has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.threads.iter().all(std::thread::JoinHandle::is_finished)
    }

    /// Waits for the end.
    #[must_use]
    pub fn finish(self) -> Tally {
        let mut all = Tally::default();
        for thread in self.threads {
            all.merge(thread.join().expect("a load thread does not panic"));
        }
        all
    }
}

/// Starts a load.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(load: &Load) -> std::io::Result<Running> {
    let course = Arc::new(Course::of(load));
    let count = load.threads.clamp(1, load.concurrency.max(1));
    let threads = (0..count).map(|thread| {
        let (load, course) = (load.clone(), course.clone());
        let connections: Vec<usize> = (thread..load.concurrency).step_by(count).collect();
        std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || drive(&load, &course, &connections))
    });
    Ok(Running {
        threads: threads.collect::<std::io::Result<_>>()?,
        course,
    })
}

fn drive(load: &Load, course: &Arc<Course>, connections: &[usize]) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Tally::default() };
    runtime.block_on(async {
        let workers = connections.iter().map(|&number| {
            let target = load.targets[number % load.targets.len()].clone();
            tokio::spawn(connection(load.kind.clone(), target, number, course.clone()))
        });
        let mut all = Tally::default();
        for worker in workers.collect::<Vec<_>>() {
            all.merge(worker.await.expect("a connection's task does not panic"));
        }
        all
    })
}

async fn connection(kind: Kind, target: Target, number: usize, course: Arc<Course>) -> Tally {
    match kind {
        Kind::Plain { path } => plain(&path, target, &course).await,
        Kind::S3(load) => {
            let mut client = S3Client::new(target, load.signer.clone(), Arc::new(SystemClock));
            let mut worker = load
                .workload
                .worker(number, Box::new(SeededDice::new(number as u64 + 1)));
            signed(&load, &mut client, &mut worker, &course).await
        }
    }
}

async fn plain(path: &str, target: Target, course: &Course) -> Tally {
    let authority = target.authority.clone();
    let mut connection = Connection::to(target);
    let mut tally = Tally::default();
    while let Some(counts) = course.admit(Instant::now()) {
        let request = Request::builder()
            .uri(path)
            .header("host", &authority)
            .body(Payload::empty());
        let request = request.expect("the URL was parsed");
        let begun = Instant::now();
        let answer = connection.send(request, Keep::Nothing).await;
        note(&mut tally, course, counts, begun, 0, answer).await;
    }
    tally
}

async fn signed(load: &S3Load, client: &mut S3Client, worker: &mut Worker<'_>, course: &Course) -> Tally {
    let mut tally = Tally::default();
    while let Some(counts) = course.admit(Instant::now()) {
        let Some(step) = worker.next() else { break };
        let begun = Instant::now();
        let (sent, answer) = perform(load, client, step).await;
        note(&mut tally, course, counts, begun, sent, answer).await;
    }
    tally
}

/// Makes one request; also says how many payload bytes it sent.
pub(super) async fn perform(load: &S3Load, client: &mut S3Client, step: Step) -> (u64, Result<Answer, RequestError>) {
    let bucket = &load.bucket;
    let object = |key: &str| format!("/{bucket}/{key}");
    let call = |method, path, payload| Call {
        method,
        path,
        query: &[],
        payload,
        keep: Keep::Nothing,
    };
    match step {
        Step::Put(key) => (
            load.payload.size(),
            client.send(call("PUT", &object(&key), load.payload.clone())).await,
        ),
        Step::Get(key) => (0, client.send(call("GET", &object(&key), Payload::empty())).await),
        Step::Delete(key) => (0, client.send(call("DELETE", &object(&key), Payload::empty())).await),
        Step::List(after) => {
            let (page, prefix) = (load.page.to_string(), load.workload.prepared_prefix());
            let query = [
                ("list-type", "2"),
                ("max-keys", &page),
                ("prefix", &prefix),
                ("start-after", &after),
            ];
            let path = format!("/{bucket}");
            (
                0,
                client
                    .send(Call {
                        query: &query,
                        ..call("GET", &path, Payload::empty())
                    })
                    .await,
            )
        }
    }
}

async fn note(
    tally: &mut Tally,
    course: &Course,
    counts: Counts,
    begun: Instant,
    sent: u64,
    answer: Result<Answer, RequestError>,
) {
    let took = begun.elapsed();
    let failed = match answer {
        Ok(answer) if answer.status.is_success() => {
            if counts == Counts::Yes {
                tally
                    .latencies
                    .record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                tally.bytes += sent + answer.bytes;
                course.done.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        Ok(answer) => error_code(&answer),
        Err(RequestError::Connect { .. }) => "no connection".to_owned(),
        Err(RequestError::Broken(_)) => "connection broke".to_owned(),
    };
    if counts == Counts::Yes {
        *tally.errors.entry(failed).or_default() += 1;
    }
    tokio::time::sleep(REST_AFTER_FAILURE).await;
}
