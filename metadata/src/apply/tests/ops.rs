//! Random commands that make sense often enough to meet each other, and a world in which shard and model take them in
//! step.

use bytes::Bytes;
use proptest::prelude::*;

use crate::command::{Command, CompletedPart, Condition, CopyChanges, NewBody, ReclaimKey};
use crate::ids::{BucketId, DeviceId, MultipartId, Seq};
use crate::keys;
use crate::model::{Body, ObjectRow, ShortChunks, VersionRow, VersionSelector, Versioning};
use crate::query::Life;
use crate::read;
use crate::reply::Reply;
use crate::rows::Family;

use super::model::{Content, Expected, MObject, Model, seen};
use super::{TestShard, invariants, object, stored, tag, write_id};

pub(crate) const KEYS: [&[u8]; 4] = [b"a", b"a/", b"a\0b", b"b"];
const BUCKETS: u8 = 2;

/// A command in small numbers; the world fills in what exists.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put {
        at: At,
        condition: Cond,
        stream: bool,
        write: u8,
        size: u16,
        short: bool,
    },
    Delete {
        at: At,
        version: u8,
        condition: Cond,
    },
    Copy {
        from: At,
        version: u8,
        source_condition: Cond,
        to: At,
        condition: Cond,
        replace: bool,
    },
    SetTags {
        at: At,
        version: u8,
    },
    SetMetadata {
        at: At,
    },
    Post {
        at: At,
    },
    Expire {
        at: At,
    },
    CreateUpload {
        at: At,
        which: u8,
    },
    Part {
        at: At,
        which: u8,
        number: u8,
        write: u8,
        size: u16,
    },
    Complete {
        at: At,
        which: u8,
        mask: u8,
        wrong: bool,
        condition: Cond,
        min: bool,
    },
    Abort {
        at: At,
        which: u8,
    },
    Versioning {
        bucket: u8,
        state: u8,
    },
    Seal {
        bucket: u8,
    },
    Unseal {
        bucket: u8,
    },
    Condemn {
        first: u8,
    },
    Reclaimed {
        count: u8,
    },
    Short {
        write: u8,
        first: u8,
        count: u8,
        devices: u8,
        clear: bool,
    },
}

/// A bucket and a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    bucket: u8,
    key: u8,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cond(u8, u8);

impl At {
    fn bucket(self) -> BucketId {
        BucketId(1 + u64::from(self.bucket % BUCKETS))
    }

    fn key(self) -> Vec<u8> {
        KEYS[usize::from(self.key) % KEYS.len()].to_vec()
    }

    /// Keys of the same name in two buckets share ids: the second to use one is refused.
    fn upload(self, which: u8) -> MultipartId {
        MultipartId::new(1, u128::from(self.key % 4) * 10 + u128::from(which % 2))
    }
}

impl Cond {
    fn condition(self) -> Condition {
        let tags = vec![tag(u64::from(self.1 % 4)), tag(99)];
        match self.0 % 10 {
            0 => Condition::Absent,
            1 => Condition::Present,
            2 => Condition::ETagIn(tags),
            3 => Condition::ETagNotIn(tags),
            _ => Condition::Always,
        }
    }
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let at = || (0..BUCKETS, 0..4_u8).prop_map(|(bucket, key)| At { bucket, key });
    let cond = || (any::<u8>(), any::<u8>()).prop_map(|(kind, tag)| Cond(kind, tag));
    let n = any::<u8>;
    prop_oneof![
        8 => (at(), cond(), any::<bool>(), n(), 0..300_u16, any::<bool>())
            .prop_map(|(at, condition, stream, write, size, short)| Op::Put { at, condition, stream, write, size, short }),
        6 => (at(), n(), cond()).prop_map(|(at, version, condition)| Op::Delete { at, version, condition }),
        5 => (at(), n(), cond(), at(), cond(), any::<bool>()).prop_map(
            |(from, version, source_condition, to, condition, replace)| {
                Op::Copy { from, version, source_condition, to, condition, replace }
            }
        ),
        1 => (at(), n()).prop_map(|(at, version)| Op::SetTags { at, version }),
        1 => at().prop_map(|at| Op::SetMetadata { at }),
        1 => at().prop_map(|at| Op::Post { at }),
        1 => at().prop_map(|at| Op::Expire { at }),
        3 => (at(), n()).prop_map(|(at, which)| Op::CreateUpload { at, which }),
        6 => (at(), n(), 1..4_u8, n(), prop_oneof![Just(0), Just(50), 1..300_u16])
            .prop_map(|(at, which, number, write, size)| Op::Part { at, which, number, write, size }),
        4 => (at(), n(), 0..8_u8, any::<bool>(), cond(), any::<bool>()).prop_map(
            |(at, which, mask, wrong, condition, min)| Op::Complete { at, which, mask, wrong, condition, min }
        ),
        1 => (at(), n()).prop_map(|(at, which)| Op::Abort { at, which }),
        2 => (0..BUCKETS, n()).prop_map(|(bucket, state)| Op::Versioning { bucket, state }),
        1 => (0..BUCKETS).prop_map(|bucket| Op::Seal { bucket }),
        1 => (0..BUCKETS).prop_map(|bucket| Op::Unseal { bucket }),
        1 => n().prop_map(|first| Op::Condemn { first }),
        1 => n().prop_map(|count| Op::Reclaimed { count }),
        2 => (n(), 0..4_u8, 0..4_u8, n(), any::<bool>())
            .prop_map(|(write, first, count, devices, clear)| Op::Short { write, first, count, devices, clear }),
    ]
}

/// A shard and its model.
pub(crate) struct World {
    pub(crate) shard: TestShard,
    pub(crate) model: Model,
    pub(crate) writes: u64,
    seqs: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            shard: TestShard::keys(),
            model: Model::default(),
            writes: 0,
            seqs: 0,
        }
    }

    /// Usually a new stream, sometimes one that was named before.
    fn write(&mut self, pick: u8) -> u64 {
        if pick.is_multiple_of(5) && self.writes > 0 {
            return 1 + u64::from(pick / 5) % self.writes;
        }
        self.writes += 1;
        self.writes
    }

    fn version(&self, pick: u8) -> VersionSelector {
        match pick % 4 {
            0 => VersionSelector::Null,
            1 => VersionSelector::Id(Seq(1 + u64::from(pick / 4) % (self.seqs + 1))),
            _ => VersionSelector::Latest,
        }
    }

    pub(crate) fn command(&mut self, op: &Op) -> Command {
        match op.clone() {
            Op::Put {
                at,
                condition,
                stream,
                write,
                size,
                short,
            } => self.put(at, condition, stream, write, size, short),
            Op::Delete { at, version, condition } => Command::DeleteObject {
                bucket: at.bucket(),
                key: at.key(),
                version: self.version(version),
                condition: condition.condition(),
                owner: "bob".to_owned(),
            },
            Op::Copy {
                from,
                version,
                source_condition,
                to,
                condition,
                replace,
            } => Command::CopyObject {
                source_bucket: from.bucket(),
                source_key: from.key(),
                source_version: self.version(version),
                source_condition: source_condition.condition(),
                bucket: to.bucket(),
                key: to.key(),
                condition: condition.condition(),
                changes: CopyChanges {
                    metadata: replace.then(|| (Vec::new(), vec![("copied".to_owned(), "yes".to_owned())])),
                    tags: replace.then(Vec::new),
                },
                owner: "carol".to_owned(),
            },
            Op::SetTags { at, version } => Command::SetTags {
                bucket: at.bucket(),
                key: at.key(),
                version: self.version(version),
                tags: vec![("tag".to_owned(), version.to_string())],
            },
            Op::SetMetadata { at } => Command::SetMetadata {
                bucket: at.bucket(),
                key: at.key(),
                attributes: Vec::new(),
                user: vec![("posted".to_owned(), self.seqs.to_string())],
            },
            Op::Post { at } => Command::PostObject {
                bucket: at.bucket(),
                key: at.key(),
                attributes: vec![("x-delete-at".to_owned(), "7".to_owned())],
                user: vec![("posted".to_owned(), self.seqs.to_string())],
                kept: vec!["content-type".to_owned(), "swift/".to_owned()],
            },
            Op::Expire { at } => Command::DeleteMarked {
                bucket: at.bucket(),
                key: at.key(),
                attribute: ("x-delete-at".to_owned(), "7".to_owned()),
                owner: "alice".to_owned(),
            },
            Op::CreateUpload { at, which } => Command::CreateUpload {
                bucket: at.bucket(),
                key: at.key(),
                upload: at.upload(which),
                owner: "alice".to_owned(),
                attributes: Vec::new(),
                user: vec![("upload".to_owned(), which.to_string())],
                tags: Vec::new(),
                checksum: None,
            },
            Op::Part {
                at,
                which,
                number,
                write,
                size,
            } => {
                let write = self.write(write);
                Command::CommitPart {
                    bucket: at.bucket(),
                    key: at.key(),
                    upload: at.upload(which),
                    number: u16::from(number),
                    stored: stored(write, u64::from(size)),
                    md5: tag(write).md5,
                    checksum: None,
                }
            }
            Op::Complete {
                at,
                which,
                mask,
                wrong,
                condition,
                min,
            } => self.complete(at, which, mask, wrong && mask == 1, condition, min),
            Op::Abort { at, which } => Command::AbortUpload {
                bucket: at.bucket(),
                key: at.key(),
                upload: at.upload(which),
            },
            Op::Versioning { bucket, state } => {
                let versioning = match state % 5 {
                    0 => Versioning::Off,
                    1 | 2 => Versioning::Suspended,
                    _ => Versioning::Enabled,
                };
                Command::SetVersioning {
                    bucket: At { bucket, key: 0 }.bucket(),
                    versioning,
                }
            }
            Op::Seal { bucket } => Command::SealBucket {
                bucket: At { bucket, key: 0 }.bucket(),
            },
            Op::Unseal { bucket } => Command::UnsealBucket {
                bucket: At { bucket, key: 0 }.bucket(),
            },
            Op::Condemn { first } => {
                // Streams that live, that ended, and one that is still being written.
                let first = 1 + u64::from(first) % (self.writes + 1);
                Command::Condemn {
                    writes: vec![write_id(first), write_id(first + 1)],
                }
            }
            Op::Reclaimed { count } => Command::Reclaimed {
                entries: self.queue().into_iter().take(usize::from(count % 4)).collect(),
            },
            Op::Short {
                write,
                first,
                count,
                devices,
                clear,
            } => {
                let write = write_id(1 + u64::from(write) % (self.writes + 1));
                let (first, count) = (u32::from(first), u32::from(count));
                if clear {
                    return Command::ClearShort { write, first, count };
                }
                Command::MarkShort {
                    write,
                    first,
                    count,
                    devices: (0..devices % 3).map(|id| DeviceId(id.into())).collect(),
                }
            }
        }
    }

    fn put(&mut self, at: At, condition: Cond, stream: bool, write: u8, size: u16, short: bool) -> Command {
        let body = if stream {
            let number = self.write(write);
            let mut stored = stored(number, u64::from(size) + 1);
            if short {
                stored.short.push(ShortChunks {
                    first: 0,
                    count: 1,
                    devices: vec![DeviceId(1)],
                });
            }
            NewBody::Stored(stored)
        } else {
            NewBody::Inline(Bytes::from(vec![write; usize::from(size % 5)]))
        };
        let object = object(body, tag(u64::from(write % 4)));
        Command::PutObject {
            bucket: at.bucket(),
            key: at.key(),
            condition: condition.condition(),
            object,
        }
    }

    fn complete(&mut self, at: At, which: u8, mask: u8, wrong: bool, condition: Cond, min: bool) -> Command {
        let upload = at.upload(which);
        let known = self.model.bucket(at.bucket()).uploads.get(&(at.key(), upload)).cloned();
        let md5 = |number: u16| {
            let part = known.as_ref().and_then(|upload| upload.parts.get(&number));
            part.filter(|_| !wrong).map_or([1; 16], |part| part.md5)
        };
        let parts = (1..=3_u16).filter(|number| mask & (1 << (number - 1)) != 0);
        Command::CompleteUpload {
            bucket: at.bucket(),
            key: at.key(),
            upload,
            parts: parts
                .map(|number| CompletedPart {
                    number,
                    md5: md5(number),
                    checksum: None,
                })
                .collect(),
            condition: condition.condition(),
            part_bytes_min: if min { 50 } else { 0 },
            checksum: None,
            owner: "alice".to_owned(),
        }
    }

    pub(crate) fn queue(&self) -> Vec<ReclaimKey> {
        let queue = self.shard.rows.family(Family::Reclaim).filter(|(name, _)| name[0] == 0);
        queue.map(|(name, _)| keys::reclaim_of(name).unwrap()).collect()
    }

    /// Applies a command to shard and model and compares what they answer.
    pub(crate) fn take(&mut self, command: Command) -> Reply {
        // Ranges of the short queue are checked by their own recount.
        let modelled = !matches!(command, Command::MarkShort { .. } | Command::ClearShort { .. });
        let before = self.shard.rows.clone();
        let reply = self.shard.run(command.clone());
        if modelled {
            let expected = self.model.apply(&command);
            assert_eq!(seen(&reply), expected, "{command:?} answered {reply:?}");
            if let Expected::Put(seq, _) | Expected::Deleted(Some((seq, _)), true) = expected {
                self.seqs = self.seqs.max(seq);
            }
        }
        if reply.is_err() {
            invariants::nothing_changed(&before, &self.shard.rows);
        }
        reply
    }

    pub(crate) fn check(&self) {
        invariants::check(&self.shard.rows);
        self.check_objects();
        self.check_lives();
    }

    /// Every version the model has stands in the rows with the same content, and no other.
    fn check_objects(&self) {
        let rows = &self.shard.rows;
        let mut count = 0;
        for (bucket, place) in &self.model.buckets {
            for (key, versions) in &place.keys {
                count += versions.len();
                for (at, version) in versions.iter().enumerate() {
                    let current = at + 1 == versions.len() && version.object.is_some();
                    let selector = if version.null {
                        VersionSelector::Null
                    } else {
                        VersionSelector::Id(Seq(version.seq))
                    };
                    let found = read::select(rows, *bucket, key, selector).unwrap();
                    let found = found.unwrap_or_else(|| panic!("{key:?} {version:?} is lost"));
                    assert_eq!((found.row.seq().0, found.current), (version.seq, current));
                    match (&found.row, &version.object) {
                        (VersionRow::Marker(_), None) => {}
                        (VersionRow::Object(row), Some(object)) => self.check_object(*bucket, key, row, object),
                        _ => panic!("{key:?}: {:?} is not {version:?}", found.row),
                    }
                }
            }
        }
        let stored = rows.family(Family::Current).count() + rows.family(Family::Versions).count();
        assert_eq!(stored, count, "no version beside the model's");
    }

    fn check_object(&self, bucket: BucketId, key: &[u8], row: &ObjectRow, object: &MObject) {
        assert_eq!(
            (row.size, &row.user, &row.tags),
            (object.content.size(), &object.user, &object.tags)
        );
        assert_eq!(row.etag, object.etag);
        match (&row.body, &object.content) {
            (Body::Inline, Content::Inline(bytes)) => {
                assert_eq!(
                    read::inline(&self.shard.rows, bucket, key, row).unwrap().as_ref(),
                    Some(bytes)
                );
            }
            (Body::Stream(stream), Content::Stream(write, _)) => assert_eq!(stream.write, *write),
            (Body::Manifest(upload), Content::Parts(other, parts)) => {
                assert_eq!(upload, other);
                let stored = read::parts(&self.shard.rows, *upload, 0, usize::MAX).unwrap();
                let stored: Vec<_> = stored.iter().map(|part| (part.number, part.stream.write)).collect();
                assert_eq!(
                    stored,
                    parts.iter().map(|part| (part.number, part.write)).collect::<Vec<_>>()
                );
            }
            (body, content) => panic!("{body:?} is not {content:?}"),
        }
    }

    /// DUR-3: what the shard says of every stream is what reachability says.
    fn check_lives(&self) {
        for number in 1..=self.writes + 2 {
            let write = write_id(number);
            let life = read::life(&self.shard.rows, write, self.shard.now_ms).unwrap();
            assert_eq!(life, self.model.life(write), "DUR-3: life of stream {number}");
            if life == Life::Referenced {
                assert!(!self.queue().iter().any(|entry| entry.write == write));
            }
        }
    }
}
