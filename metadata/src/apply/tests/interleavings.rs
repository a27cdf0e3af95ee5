//! All orders in which racing commands can reach the log, with every command also repeated at any later moment (its
//! client lost the answer and asked again). Every order must be a serial outcome of the model, count every reference,
//! leak nothing and lose nothing.

use super::ops::World;
use super::{BUCKET, delete, put_inline, put_stream, stored, tag, write_id};
use crate::command::{Command, CompletedPart, Condition, CopyChanges, Envelope};
use crate::ids::{MultipartId, Seq};
use crate::model::{VersionSelector, Versioning};
use crate::query::Life;
use crate::read;
use crate::reply::Reply;
use crate::rows::Family;

use super::model::seen;

const UPLOAD: MultipartId = MultipartId(55);
const KEY: &[u8] = b"k";

fn create() -> Command {
    Command::CreateUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        owner: String::new(),
        attributes: Vec::new(),
        user: Vec::new(),
        tags: Vec::new(),
        checksum: None,
    }
}

fn part(write: u64) -> Command {
    Command::CommitPart {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        number: 1,
        stored: stored(write, 300),
        md5: tag(write).md5,
        checksum: None,
    }
}

fn complete(write: u64, condition: Condition) -> Command {
    Command::CompleteUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
        parts: vec![CompletedPart {
            number: 1,
            md5: tag(write).md5,
            checksum: None,
        }],
        condition,
        part_bytes_min: 0,
        checksum: None,
        owner: String::new(),
    }
}

fn copy_onto_itself() -> Command {
    Command::CopyObject {
        source_bucket: BUCKET,
        source_key: KEY.to_vec(),
        source_version: VersionSelector::Latest,
        source_condition: Condition::Always,
        bucket: BUCKET,
        key: KEY.to_vec(),
        condition: Condition::Always,
        changes: CopyChanges {
            metadata: Some((Vec::new(), Vec::new())),
            tags: None,
        },
        owner: String::new(),
    }
}

/// Everything that can race on one key and one upload. Streams 1 and 2 are in flight, 3 is a part already committed.
fn racers() -> Vec<Command> {
    vec![
        part(1),
        part(2),
        complete(3, Condition::Always),
        complete(1, Condition::Absent),
        Command::AbortUpload {
            bucket: BUCKET,
            key: KEY.to_vec(),
            upload: UPLOAD,
        },
        put_stream(KEY, 1, 300),
        put_stream(KEY, 2, 300),
        put_inline(KEY, b"inline"),
        delete(KEY, VersionSelector::Latest),
        delete(KEY, VersionSelector::Null),
        delete(KEY, VersionSelector::Id(Seq(2))),
        copy_onto_itself(),
        Command::Condemn {
            writes: vec![write_id(1), write_id(3), write_id(4)],
        },
        Command::SealBucket { bucket: BUCKET },
        Command::SetVersioning {
            bucket: BUCKET,
            versioning: Versioning::Suspended,
        },
    ]
}

/// An open upload with one part, an object of two versions (where there are versions) on stream 4.
fn start(versioning: Versioning) -> World {
    let mut world = World::new();
    world.writes = 4;
    for command in [
        Command::SetVersioning {
            bucket: BUCKET,
            versioning,
        },
        create(),
        part(3),
        put_inline(KEY, b"older"),
        put_stream(KEY, 4, 300),
    ] {
        world.take(command).unwrap();
    }
    world
}

/// Runs one order. An index seen again is the same request again.
fn run(versioning: Versioning, commands: &[Command], order: &[usize]) {
    let mut world = start(versioning);
    let mut sent: Vec<Option<(Envelope, Reply)>> = vec![None; commands.len()];
    for index in order {
        if let Some((envelope, first)) = &sent[*index] {
            let (replies, changes) = world.shard.apply(vec![envelope.clone()]);
            assert_eq!(
                (&replies[0], changes),
                (first, vec![]),
                "CON-1: a repeat changes nothing"
            );
            continue;
        }
        let envelope = world.shard.envelope(commands[*index].clone());
        let reply = world.shard.apply(vec![envelope.clone()]).0.remove(0);
        assert_eq!(
            seen(&reply),
            world.model.apply(&commands[*index]),
            "{order:?} of {commands:?}"
        );
        world.check();
        sent[*index] = Some((envelope, reply));
    }
    sweep(&mut world);
}

/// Ends everything: what was ever committed must be in reclaim then, once, and nothing else anywhere.
fn sweep(world: &mut World) {
    world.take(Command::UnsealBucket { bucket: BUCKET }).unwrap();
    let _ = world.take(Command::AbortUpload {
        bucket: BUCKET,
        key: KEY.to_vec(),
        upload: UPLOAD,
    });
    while let Some(version) = world
        .model
        .bucket(BUCKET)
        .keys
        .get(KEY)
        .and_then(|versions| versions.last().cloned())
    {
        let selector = if version.null {
            VersionSelector::Null
        } else {
            VersionSelector::Id(Seq(version.seq))
        };
        world.take(delete(KEY, selector)).unwrap();
    }
    world.check();
    let rows = &world.shard.rows;
    for family in [
        Family::Current,
        Family::Versions,
        Family::Nulls,
        Family::Inline,
        Family::Parts,
        Family::Refs,
    ] {
        assert_eq!(rows.family(family).count(), 0, "{family:?} leaks");
    }
    for write in &world.model.committed {
        assert!(
            world.queue().iter().any(|entry| entry.write == *write),
            "DUR-3: {write:?} is lost"
        );
        assert_ne!(read::life(rows, *write, world.shard.now_ms).unwrap(), Life::Unknown);
    }
    world.take(Command::SealBucket { bucket: BUCKET }).unwrap();
}

const STATES: [Versioning; 3] = [Versioning::Off, Versioning::Enabled, Versioning::Suspended];

#[test]
fn con_1_dur_3_every_order_of_two_racers_with_repeats_is_serial() {
    let orders: [&[usize]; 4] = [&[0, 1, 0, 1], &[1, 0, 1, 0], &[0, 0, 1, 0, 1], &[1, 1, 0, 1, 0]];
    let racers = racers();
    for versioning in STATES {
        for first in 0..racers.len() {
            for second in first + 1..racers.len() {
                let pair = [racers[first].clone(), racers[second].clone()];
                for order in orders {
                    run(versioning, &pair, order);
                }
            }
        }
    }
}

#[test]
fn con_1_dur_3_every_order_of_three_racers_is_serial() {
    let orders: [&[usize]; 6] = [&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]];
    let racers = racers();
    for versioning in STATES {
        for first in 0..racers.len() {
            for second in first + 1..racers.len() {
                for third in second + 1..racers.len() {
                    let three = [racers[first].clone(), racers[second].clone(), racers[third].clone()];
                    for order in orders {
                        run(versioning, &three, order);
                    }
                }
            }
        }
    }
}

#[test]
fn con_1_of_two_conditional_puts_one_wins_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let put = |bytes: &'static [u8]| match put_inline(KEY, bytes) {
            Command::PutObject {
                bucket, key, object, ..
            } => Command::PutObject {
                bucket,
                key,
                condition: Condition::Absent,
                object,
            },
            other => other,
        };
        let mut world = World::new();
        let commands = [put(b"one"), put(b"other")];
        let replies: Vec<Reply> = order.iter().map(|index| world.take(commands[*index].clone())).collect();
        assert!(replies[0].is_ok() && replies[1].is_err());
    }
}
