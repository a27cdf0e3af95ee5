//! The parsers. What they share with nobody else stays beside each in its own crate; here is only the way in.

use std::fmt::Debug;

use metadata::apply::{ShardKind, apply_batch};
use metadata::codec;
use metadata::rows::MemoryRows;
use proxy::s3::fuzzing;
use ring::{Builder, Device, Ring, RingFile};

use crate::Target;

/// Longest description of an outcome.
const OUTCOME_BYTES_MAX: usize = 60;

/// Every parser that faces a socket or a disk.
#[must_use]
pub fn targets() -> Vec<Target> {
    let mut all = edge();
    all.extend(cluster());
    all
}

fn texts(seeds: &[&str]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// What clients send.
fn edge() -> Vec<Target> {
    vec![
        Target {
            name: "aws-chunked",
            run: fuzzing::chunked_frames,
            seeds: || {
                texts(&[
                    "\x108\r\n12345678\r\n0\r\n\r\n",
                    "\x124\r\n1234\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
                    "\x114;chunk-signature=0123456789012345678901234567890123456789012345678901234567890123\r\n1234\r\n0;chunk-signature=0\r\n\r\n",
                ])
            },
            words: &[
                b"\r\n",
                b"0\r\n\r\n",
                b";chunk-signature=",
                b"ffffffffffffffff\r\n",
                b"x-amz-trailer-signature:",
            ],
        },
        Target {
            name: "guard",
            run: fuzzing::guard,
            seeds: || {
                texts(&[
                    "\nhost: x\nx-amz-date: 20231114T221320Z\nx-amz-content-sha256: UNSIGNED-PAYLOAD\nauthorization: AWS4-HMAC-SHA256 Credential=k/20231114/r/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0123456789012345678901234567890123456789012345678901234567890123",
                    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20231114%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20231114T221320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=0123456789012345678901234567890123456789012345678901234567890123\nhost: x",
                    "\nhost: x\nauthorization: AWS k:c2ln\ndate: Tue, 14 Nov 2023 22:13:20 GMT",
                    "Signature=x&Expires=1700000001&AWSAccessKeyId=k",
                ])
            },
            words: &[
                b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                b"x-amz-decoded-content-length: 5",
                b"x-amz-trailer: x-amz-checksum-crc32",
                b"X-Amz-Expires=604800",
                b"x-amz-meta-a: b",
                b"\n",
                b"/",
                b";",
                b"%00",
                b"aws4_request",
            ],
        },
        Target {
            name: "copy-source",
            run: fuzzing::copy_source,
            seeds: || {
                texts(&[
                    "/bucket/key",
                    "bucket/a%2Fb?versionId=null",
                    "arn:aws:s3:us-east-1:1:accesspoint/x/object/k",
                ])
            },
            words: &[b"?versionId=", b"%2F", b"%", b"arn:aws:s3:", b"+"],
        },
        Target {
            name: "form",
            run: fuzzing::form,
            seeds: || {
                texts(&[
                    "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nbytes\r\n--b--\r\n",
                    "--b\r\nContent-Disposition: form-data; name=key\r\n\r\n\r\n--b--",
                ])
            },
            words: &[
                b"\r\n",
                b"\r\n\r\n",
                b"\r\n--b",
                b"--b--",
                b"Content-Disposition: form-data; name=\"",
                b"filename=",
                b"\\\"",
            ],
        },
        Target {
            name: "form-policy",
            run: fuzzing::form_policy,
            seeds: || {
                texts(&[
                    r#"{"expiration":"2030-01-01T00:00:00.000Z","conditions":[{"bucket":"b"},["starts-with","$key","u/"],["eq","$acl","private"],["content-length-range",0,9]]}"#,
                    r#"{"expiration":"1969-01-01T00:00:00+01:00","conditions":[]}"#,
                ])
            },
            words: &[
                b"[",
                b"]",
                b"{}",
                b"\"$",
                b"\"content-length-range\"",
                b"18446744073709551616",
                b"-1",
                b"+23:59",
                b"-9999",
                b"24:00",
            ],
        },
        Target {
            name: "range",
            run: fuzzing::range,
            seeds: || texts(&["bytes=0-1", "bytes=-5", "bytes=7-"]),
            words: &[b"bytes=", b"-", b",", b"18446744073709551615", b"99999999999999999999"],
        },
        Target {
            name: "tagging-header",
            run: fuzzing::tagging_header,
            seeds: || texts(&["a=b&c=d", "k%20=v+v", "a&b="]),
            words: &[b"&", b"=", b"%", b"%c3%a9", b"aws:"],
        },
    ]
}

/// What processes send each other and read from their disks.
fn cluster() -> Vec<Target> {
    vec![
        Target {
            name: "metadata-batch",
            run: batch,
            seeds: || {
                (0..48)
                    .map(|variant| [&[metadata::command::BATCH_FORMAT, 0, 1, 0, variant][..], &[1; 64][..]].concat())
                    .collect()
            },
            words: &[
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                b"\x80\x80\x01",
                b"k",
                b"\x00\x00\x00\x00",
            ],
        },
        Target {
            name: "metadata-messages",
            run: messages,
            seeds: || (0..32).map(|variant| [&[1, variant], &[1; 40][..]].concat()).collect(),
            words: &[b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x01"],
        },
        Target {
            name: "device-record",
            run: storage_node::device::fuzz_record,
            seeds: || (0..6).map(|kind| [&[kind][..], &[0; 127]].concat()).collect(),
            words: &[b"HREC", b"HALOSEGM", b"\x00\x00\x40\x00"],
        },
        Target {
            name: "ring-file",
            run: ring_file,
            seeds: || vec![small_ring().to_bytes(), small_builder().to_bytes()],
            words: &[b"HALORING", b"HALOBLDR", b"\xff\xff", b"node-1:7000"],
        },
        Target {
            name: "ring-parts",
            run: ring_parts,
            seeds: || {
                RingFile::of(&small_ring())
                    .parts(ring::MIN_PART_BYTES)
                    .unwrap_or_default()
            },
            words: &[b"HALORING", b"\xff\xff"],
        },
    ]
}

/// The beginning of how a value shows itself: its kind, without its contents.
fn kind(value: &impl Debug) -> String {
    let mut text = format!("{value:?}");
    text.retain(|c| c.is_ascii_alphabetic() || "({:".contains(c));
    text.truncate(OUTCOME_BYTES_MAX);
    text
}

/// Bytes tried as the end of a batch: chance seldom hits the very length that a batch says it has.
const ENDS: usize = 400;

/// A batch is decoded, encoded to the same bytes' meaning, and applied to an empty shard of either kind.
fn batch(bytes: &[u8]) -> String {
    let shorter = || (1..bytes.len().min(ENDS)).find_map(|end| codec::decode_batch(&bytes[..end]).ok());
    let batch = match codec::decode_batch(bytes) {
        Ok(batch) => batch,
        Err(cause) => match shorter() {
            Some(batch) => batch,
            None => return kind(&cause),
        },
    };
    assert_eq!(
        codec::decode_batch(&codec::encode_batch(&batch)).as_ref(),
        Ok(&batch),
        "what is written is read"
    );
    let mut outcome = String::new();
    for shard in [ShardKind::System, ShardKind::Keys] {
        let mut rows = MemoryRows::new();
        // Twice: the second time every command is a repeat, and changes nothing that the first did not.
        for _ in 0..2 {
            let (replies, changes) = apply_batch(&rows, &batch, shard).expect("rows in memory are read");
            assert_eq!(replies.len(), batch.commands.len(), "one reply per command");
            rows.write(changes);
            outcome = replies.last().map_or_else(String::new, kind);
        }
    }
    let first = batch
        .commands
        .first()
        .map_or_else(String::new, |envelope| kind(&envelope.command));
    format!("{} {first} {outcome}", batch.commands.len().min(3))
}

/// Queries, answers and replies.
fn messages(bytes: &[u8]) -> String {
    let query = codec::decode_query(bytes);
    if let Ok(query) = &query {
        assert_eq!(
            codec::decode_query(&codec::encode_query(query)).as_ref(),
            Ok(query),
            "what is written is read"
        );
        let answer = metadata::query::answer(&MemoryRows::new(), query).expect("rows in memory are read");
        let encoded = codec::encode_answer(&answer);
        assert_eq!(
            codec::decode_answer(&encoded).as_ref(),
            Ok(&answer),
            "what is written is read"
        );
    }
    let (answer, replies) = (codec::decode_answer(bytes), codec::decode_replies(bytes));
    if let Ok(replies) = &replies {
        assert_eq!(
            codec::decode_replies(&codec::encode_replies(replies)).as_ref(),
            Ok(replies),
            "what is written is read"
        );
    }
    let short = |text: String| text.chars().take(24).collect::<String>();
    format!(
        "{} {} {}",
        short(kind(&query)),
        short(kind(&answer)),
        short(kind(&replies))
    )
}

fn small_builder() -> Builder {
    let mut builder = Builder::new(3, 3, 1).expect("the sizes are allowed");
    for n in 0..4 {
        let device = Device {
            region: 1,
            zone: n,
            node: u64::from(n),
            address: format!("node-{n}:7000"),
            name: format!("d{n}"),
            weight: 1.0,
            ..Device::default()
        };
        builder.add(device).expect("the device is right");
    }
    builder.rebalance(1, 1).expect("four devices hold three replicas");
    builder
}

fn small_ring() -> Ring {
    small_builder().ring().expect("it was balanced")
}

/// Puts the length and checksum right, so that damage inside is seen, and not only the checksum.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    const HEADER: usize = 20;
    const CHECKSUM: usize = 32;
    let Some(body) = bytes.len().checked_sub(HEADER + CHECKSUM) else {
        return bytes.to_vec();
    };
    let mut file = bytes[..HEADER + body].to_vec();
    file[10..12].fill(0);
    file[12..HEADER].copy_from_slice(&u64::try_from(body).unwrap_or(0).to_le_bytes());
    let sum = blake3::hash(&file);
    file.extend_from_slice(sum.as_bytes());
    file
}

/// Rings and builders, as they came and with a right checksum. A ring that is read can be used.
fn ring_file(bytes: &[u8]) -> String {
    let whole = resealed(bytes);
    let mut outcome = String::new();
    for bytes in [bytes, &whole] {
        let ring = Ring::from_bytes(bytes);
        if let Ok(ring) = &ring {
            assert_eq!(
                Ring::from_bytes(&ring.to_bytes()).as_ref().ok(),
                Some(ring),
                "what is written is read"
            );
            for partition in ring.partition_ids().take(64) {
                for id in ring.primaries(partition) {
                    assert!(ring.device(*id).is_some(), "every replica has a device");
                }
                let _ = ring.handoffs(partition).take(8).count();
            }
        }
        let builder = Builder::from_bytes(bytes);
        if let Ok(builder) = &builder {
            assert!(
                Builder::from_bytes(&builder.to_bytes()).is_ok(),
                "what is written is read"
            );
        }
        outcome = format!("{} {}", named(&ring), named(&builder));
    }
    outcome
}

fn ring_parts(bytes: &[u8]) -> String {
    let counted = RingFile::count(bytes);
    let ring = RingFile::assemble(&[bytes]).and_then(|file| file.ring());
    format!("{} {}", named(&counted), named(&ring))
}

fn named<T, E: Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "right".to_owned(),
        Err(cause) => format!("{cause:?}").chars().take(OUTCOME_BYTES_MAX).collect(),
    }
}
