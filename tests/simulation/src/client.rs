//! One client: asks the store for this and that, and records what it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::{Dice, WallClock};
use futures::TryStreamExt;
use parking_lot::Mutex;
use store::{
    Body, Bucket, CompletedPart, Condition, Created, ETag, ListObjects, NewUpload, PutObject, PutPart, RequestContext,
    RequestId, Store, StoreError, VersionSelector,
};

use crate::dice::SimDice;
use crate::history::{Asked, Given, History, State, Ticket, Told};
use crate::trace::Trace;
use crate::values::{Sizes, bytes_of};

/// How long a client waits for one operation.
const PATIENCE: Duration = Duration::from_secs(20);
/// The deadline of a metadata round.
const ROUND: Duration = Duration::from_secs(5);
/// The bucket everybody works in.
pub(crate) const BUCKET: &str = "bucket";
/// Keys that look alike to whoever makes paths of them (KEY-1).
pub(crate) const KEYS: [&str; 8] = ["a", "a/", "a/b", "a//b", "..", "b", "\u{e9}", "a/b/c"];

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Notebook {
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) sizes: Arc<Mutex<Sizes>>,
    /// Promises found broken on the spot.
    pub(crate) broken: Arc<Mutex<Vec<String>>>,
    /// Who won each race for a bucket's name.
    pub(crate) winners: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) trace: Trace,
    /// Keys in use.
    pub(crate) keys: usize,
}

/// One client of one proxy.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) dice: SimDice,
    pub(crate) notebook: Notebook,
}

/// How an operation ended, as the history sees it.
pub(crate) enum End {
    Told(Told),
    /// What the reader saw, or that it saw nothing for certain.
    Nothing,
}

impl Client {
    fn request(&self, project: &str) -> RequestContext {
        let id = RequestId::new(self.clock.now_ms(), Dice::u128(&self.dice));
        RequestContext::new(id, project.into(), ROUND)
    }

    pub(crate) fn cx(&self) -> RequestContext {
        self.request("p")
    }

    pub(crate) fn broke(&self, what: String) {
        self.notebook.trace.event(&format!("BROKEN {what}"));
        self.notebook.broken.lock().push(what);
    }

    /// Works until its process dies or the world says stop.
    pub(crate) async fn work(self, stop: Arc<AtomicBool>) {
        let bucket = loop {
            match self.store.bucket(&self.cx(), BUCKET).await {
                Ok(bucket) => break bucket,
                Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
            }
        };
        let mut seen = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            self.operation(&bucket, &mut seen).await;
            tokio::time::sleep(self.dice.millis(5..400)).await;
        }
    }

    async fn operation(&self, bucket: &Bucket, seen: &mut Vec<(usize, u64, ETag)>) {
        let number = self.dice.below(self.notebook.keys as u64) as usize;
        let key = KEYS[number];
        match self.dice.below(100) {
            0..34 => self.put(bucket, number, seen).await,
            34..64 => self.read(bucket, key).await,
            64..74 => self.delete(bucket, number, seen).await,
            74..86 => drop(self.list(bucket).await),
            86..97 => self.multipart(bucket, number, seen).await,
            _ => self.race().await,
        }
    }

    /// A condition, as the store and as the history takes it.
    fn condition(&self, number: usize, seen: &[(usize, u64, ETag)]) -> (Condition, Given) {
        match self.dice.below(10) {
            0 | 1 => (Condition::Absent, Given::Absent),
            2 => (Condition::Present, Given::Present),
            3..6 => match seen.iter().rev().find(|(key, ..)| *key == number) {
                Some((_, size, etag)) => (Condition::ETagIn(vec![*etag]), Given::Is(*size)),
                None => (Condition::Always, Given::Always),
            },
            _ => (Condition::Always, Given::Always),
        }
    }

    pub(crate) fn begin(&self, key: &str, asked: Asked) -> Ticket {
        self.notebook
            .trace
            .event(&format!("op    {} {key:?} {asked:?}", self.name));
        self.notebook.history.lock().begin(key, asked)
    }

    pub(crate) fn end(&self, ticket: &Ticket, end: &End) {
        let told = match end {
            End::Told(told) => *told,
            End::Nothing => Told::Unknown,
        };
        self.notebook
            .trace
            .event(&format!("told  {} {ticket:?} {told:?}", self.name));
        self.notebook.history.lock().end(ticket, told);
    }

    async fn put(&self, bucket: &Bucket, number: usize, seen: &mut Vec<(usize, u64, ETag)>) {
        let size = self.notebook.sizes.lock().draw(&self.dice);
        let (condition, given) = self.condition(number, seen);
        let put = PutObject {
            condition,
            length: Some(size),
            ..PutObject::plain()
        };
        let ticket = self.begin(KEYS[number], Asked::Write(given, Some(size)));
        let cx = self.cx();
        let asked = self.store.put_object(&cx, bucket, KEYS[number].into(), put, body(size));
        let end = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(done)) => {
                seen.push((number, size, done.etag));
                End::Told(Told::Done)
            }
            Ok(Err(error)) => self.failed_write(&error),
            Err(_) => End::Nothing,
        };
        self.end(&ticket, &end);
    }

    async fn delete(&self, bucket: &Bucket, number: usize, seen: &[(usize, u64, ETag)]) {
        let (condition, given) = self.condition(number, seen);
        let (condition, given) = match given {
            // S3 has no such deletes.
            Given::Absent | Given::Present => (Condition::Always, Given::Always),
            _ => (condition, given),
        };
        let ticket = self.begin(KEYS[number], Asked::Write(given, None));
        let cx = self.cx();
        let asked = self
            .store
            .delete_object(&cx, bucket, KEYS[number].into(), VersionSelector::Latest, condition);
        let end = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(_)) => End::Told(Told::Done),
            Ok(Err(error)) => self.failed_write(&error),
            Err(_) => End::Nothing,
        };
        self.end(&ticket, &end);
    }

    fn failed_write(&self, error: &StoreError) -> End {
        match error {
            StoreError::PreconditionFailed | StoreError::NoSuchKey => End::Told(Told::Refused),
            StoreError::Internal(_) | StoreError::Lost => {
                self.broke(format!("a write was answered with: {error}"));
                End::Nothing
            }
            _ => End::Nothing,
        }
    }

    async fn read(&self, bucket: &Bucket, key: &str) {
        let ticket = self.begin(key, Asked::Read);
        let end = match tokio::time::timeout(PATIENCE, self.get(bucket, key)).await {
            Ok(Ok(state)) => End::Told(Told::Saw(state)),
            Ok(Err(error)) => {
                self.notebook
                    .trace
                    .event(&format!("fail  {} read {key:?}: {error}", self.name));
                End::Nothing
            }
            Err(_) => End::Nothing,
        };
        self.end(&ticket, &end);
    }

    /// The key's state by a GET of all bytes, each of which is proven (INT-1).
    pub(crate) async fn get(&self, bucket: &Bucket, key: &str) -> Result<State, StoreError> {
        let opened = self
            .store
            .open_object(&self.cx(), bucket, key.as_bytes(), VersionSelector::Latest)
            .await;
        let reader = match opened {
            Ok(reader) => reader,
            Err(StoreError::NoSuchKey) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = reader.head.object.size;
        let pieces: Vec<bytes::Bytes> = reader.read(0..u64::MAX).try_collect().await?;
        if pieces.concat() != bytes_of(size) {
            self.broke(format!(
                "INT-1: key {key:?} of {size} bytes was served with other bytes"
            ));
        }
        Ok(Some(size))
    }

    /// A listing is a read of every key at one time (CON-2).
    pub(crate) async fn list(&self, bucket: &Bucket) -> bool {
        let keys = &KEYS[..self.notebook.keys];
        let tickets: Vec<Ticket> = keys.iter().map(|key| self.begin(key, Asked::Read)).collect();
        let list = ListObjects {
            limit: 1000,
            ..ListObjects::default()
        };
        let cx = self.cx();
        let page = tokio::time::timeout(PATIENCE, self.store.list_objects(&cx, bucket, list)).await;
        let Ok(Ok(page)) = page else {
            tickets.iter().for_each(|ticket| self.end(ticket, &End::Nothing));
            return false;
        };
        for (key, ticket) in keys.iter().zip(&tickets) {
            let found = page
                .entries
                .iter()
                .find(|(found, _)| found.as_slice() == key.as_bytes());
            self.end(ticket, &End::Told(Told::Saw(found.map(|(_, row)| row.size))));
        }
        if let Some((key, _)) = page
            .entries
            .iter()
            .find(|(found, _)| !keys.iter().any(|key| key.as_bytes() == found.as_slice()))
        {
            self.broke(format!("KEY-1: a listing shows {key:?}, which nobody wrote"));
        }
        true
    }

    async fn multipart(&self, bucket: &Bucket, number: usize, seen: &mut Vec<(usize, u64, ETag)>) {
        let key = KEYS[number];
        let (first, second) = (self.dice.within(5_000..40_000), self.dice.within(100..30_000));
        let size = first + second;
        if !self.notebook.sizes.lock().take(size) {
            return;
        }
        let bytes = bytes_of(size);
        let work = async {
            let upload = self
                .store
                .create_upload(&self.cx(), bucket, key.into(), NewUpload::default())
                .await?;
            let mut parts = Vec::new();
            for (part, range) in [(1, 0..first as usize), (2, first as usize..size as usize)] {
                let put = PutPart {
                    length: Some(range.len() as u64),
                    digests: Vec::new(),
                    finish: Box::new(|_| Ok(None)),
                };
                let body = pieces(&bytes[range]);
                let done = self
                    .store
                    .put_part(&self.cx(), bucket, key.into(), upload, part, put, body)
                    .await?;
                parts.push(CompletedPart {
                    number: part,
                    md5: done.md5,
                    checksum: None,
                });
            }
            Ok::<_, StoreError>((upload, parts))
        };
        let Ok(Ok((upload, parts))) = tokio::time::timeout(PATIENCE, work).await else {
            return;
        };
        if self.dice.chance(200) {
            let cx = self.cx();
            let aborting = self.store.abort_upload(&cx, bucket, key.into(), upload);
            drop(tokio::time::timeout(PATIENCE, aborting).await);
            return;
        }
        let (condition, given) = self.condition(number, seen);
        let ticket = self.begin(key, Asked::Write(given, Some(size)));
        let cx = self.cx();
        let asked = self
            .store
            .complete_upload(&cx, bucket, key.into(), upload, parts, condition, None);
        let end = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(done)) => {
                seen.push((number, size, done.object.etag));
                End::Told(Told::Done)
            }
            Ok(Err(error)) => self.failed_write(&error),
            Err(_) => End::Nothing,
        };
        self.end(&ticket, &end);
    }

    /// Runs for a bucket's global name, which only one project may win (CON-2).
    async fn race(&self) {
        let name = format!("race-{}", self.clock.now_ms() / 20_000);
        let cx = self.request(&self.name);
        let asked = self.store.create_bucket(&cx, &name, true);
        if let Ok(Ok((_, Created::New | Created::AlreadyOwned))) = tokio::time::timeout(PATIENCE, asked).await {
            self.notebook.winners.lock().push((name, self.name.clone()));
        }
    }
}

fn body(size: u64) -> Body {
    pieces(&bytes_of(size))
}

fn pieces(bytes: &[u8]) -> Body {
    let pieces: Vec<_> = bytes
        .chunks(9_000)
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    Box::pin(futures::stream::iter(pieces))
}
