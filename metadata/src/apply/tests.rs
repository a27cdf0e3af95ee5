//! `apply` against a reference model, recounts of every invariant after every step, all orders of racing commands.

mod invariants;
mod model;
mod ops;

mod changes;
mod exactly_once;
mod interleavings;
mod multipart;
mod random;
mod streams;
mod system;
mod versions;

use bytes::Bytes;

use crate::apply::{ShardKind, apply_batch};
use crate::command::{Batch, Command, Condition, Envelope, NewBody, NewObject};
use crate::ids::{BucketId, RequestId, WriteId};
use crate::model::{ETag, PolicyId, Stored, Stream, VersionSelector};
use crate::reply::{Done, Refusal, Reply};
use crate::rows::{MemoryRows, RowChange};

/// Where the tests' time begins: later than every window, so that ages can be subtracted.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// A shard in memory and its clients' clock.
#[derive(Clone)]
pub(crate) struct TestShard {
    pub(crate) rows: MemoryRows,
    pub(crate) now_ms: u64,
    kind: ShardKind,
    requests: u128,
}

impl TestShard {
    pub(crate) fn new(kind: ShardKind) -> Self {
        Self {
            rows: MemoryRows::new(),
            now_ms: START_MS,
            kind,
            requests: 0,
        }
    }

    pub(crate) fn keys() -> Self {
        Self::new(ShardKind::Keys)
    }

    /// A command under a request id of its own.
    pub(crate) fn envelope(&mut self, command: Command) -> Envelope {
        self.requests += 1;
        Envelope {
            request: RequestId::new(self.now_ms, self.requests),
            command,
        }
    }

    /// Applies one batch and writes what it changed.
    pub(crate) fn apply(&mut self, commands: Vec<Envelope>) -> (Vec<Reply>, Vec<RowChange>) {
        let batch = Batch {
            stamp_ms: self.now_ms,
            commands,
        };
        let (replies, changes) = apply_batch(&self.rows, &batch, self.kind).unwrap();
        self.rows.write(changes.clone());
        (replies, changes)
    }

    pub(crate) fn run(&mut self, command: Command) -> Reply {
        let envelope = self.envelope(command);
        self.apply(vec![envelope]).0.remove(0)
    }

    pub(crate) fn done(&mut self, command: Command) -> Done {
        self.run(command.clone())
            .unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"))
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        let before = self.rows.clone();
        let refusal = self.run(command.clone()).expect_err(&format!("{command:?}"));
        invariants::nothing_changed(&before, &self.rows);
        refusal
    }
}

impl TestShard {
    /// As [`Self::refused`], where the batch may also purge what is old.
    pub(crate) fn refused_with_purge(&mut self, command: Command) -> Refusal {
        self.run(command.clone()).expect_err(&format!("{command:?}"))
    }
}

pub(crate) const BUCKET: BucketId = BucketId(7);

pub(crate) fn write_id(number: u64) -> WriteId {
    WriteId::new(START_MS, u128::from(number))
}

/// A stream with chunks of 100 bytes.
pub(crate) fn stored(write: u64, size: u64) -> Stored {
    let stream = Stream {
        write: write_id(write),
        size,
        chunk_bytes: 100,
        policy: PolicyId(0),
        ring_version: 1,
    };
    Stored {
        stream,
        short: Vec::new(),
    }
}

pub(crate) fn tag(number: u64) -> ETag {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&number.to_be_bytes());
    ETag { md5, parts: 0 }
}

pub(crate) fn object(body: NewBody, etag: ETag) -> NewObject {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    NewObject {
        body,
        etag,
        checksum: None,
        owner: "alice".to_owned(),
        attributes: pair("content-type", "text/plain"),
        user: pair("colour", "blue"),
        tags: Vec::new(),
    }
}

pub(crate) fn put_inline(key: &[u8], bytes: &'static [u8]) -> Command {
    let object = object(NewBody::Inline(Bytes::from_static(bytes)), tag(bytes.len() as u64));
    Command::PutObject {
        bucket: BUCKET,
        key: key.to_vec(),
        condition: Condition::Always,
        object,
    }
}

pub(crate) fn put_stream(key: &[u8], write: u64, size: u64) -> Command {
    let object = object(NewBody::Stored(stored(write, size)), tag(write));
    Command::PutObject {
        bucket: BUCKET,
        key: key.to_vec(),
        condition: Condition::Always,
        object,
    }
}

pub(crate) fn delete(key: &[u8], version: VersionSelector) -> Command {
    let condition = Condition::Always;
    Command::DeleteObject {
        bucket: BUCKET,
        key: key.to_vec(),
        version,
        condition,
        owner: "bob".to_owned(),
    }
}
