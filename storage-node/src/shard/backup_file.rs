//! The file of a metadata backup.
//!
//! ```text
//! file  = "HALOMETA" | version u16 LE | frame ...
//! frame = length of the body u32 LE | CRC-64/NVME of the body u64 LE | body = postcard(Frame)
//!
//! Head, then for each shard: Shard, Rows ..., ShardEnd; Tail at the end
//! ```
//! A file without its `Tail` is incomplete. Every shard's rows carry a BLAKE3 of their own in `ShardEnd`.
//!
//! Knows: bytes. Must not know: where they come from or go.

use std::io::{self, Read, Write};

use metadata::ids::{ClusterId, NodeId, ShardId};
use serde::{Deserialize, Serialize};

use super::snapshot::PartRow;
use super::types::Applied;

const MAGIC: &[u8; 8] = b"HALOMETA";
/// The version written and read here.
pub(crate) const BACKUP_FORMAT: u16 = 1;
/// The longest body: a part of rows, which holds at least one row of any size a shard takes.
const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One step of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// The first.
    Head {
        /// Whose metadata it is.
        cluster: ClusterId,
        /// Which node read it.
        node: NodeId,
        /// When, in milliseconds since the Unix epoch.
        taken_ms: u64,
        /// How many key shards there are.
        key_shards: u64,
    },
    /// A shard begins.
    Shard {
        /// Which.
        shard: ShardId,
        /// What its rows contain.
        applied: Applied,
    },
    /// Some of its rows.
    Rows {
        /// Counts from 0 in each shard.
        number: u32,
        /// The rows.
        rows: Vec<PartRow>,
    },
    /// A shard ends.
    ShardEnd {
        /// How many `Rows` there were.
        parts: u32,
        /// BLAKE3 over all rows.
        hash: [u8; 32],
    },
    /// The last.
    Tail {
        /// How many shards there were.
        shards: u64,
    },
}

/// Writes the file's beginning.
pub(crate) fn write_magic(to: &mut dyn Write) -> io::Result<()> {
    to.write_all(MAGIC)?;
    to.write_all(&BACKUP_FORMAT.to_le_bytes())
}

/// Writes one frame.
pub(crate) fn write_frame(to: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    let body = postcard::to_stdvec(frame).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&checksum(&body).to_le_bytes())?;
    to.write_all(&body)
}

/// Reads the file's beginning.
pub(crate) fn read_magic(from: &mut dyn Read) -> io::Result<()> {
    let mut head = [0; 10];
    from.read_exact(&mut head)
        .map_err(|_| damaged("it is not a metadata backup"))?;
    if &head[..8] != MAGIC {
        return Err(damaged("it is not a metadata backup"));
    }
    if head[8..] != BACKUP_FORMAT.to_le_bytes() {
        return Err(damaged("another release wrote it"));
    }
    Ok(())
}

/// Reads one frame.
pub(crate) fn read_frame(from: &mut dyn Read) -> io::Result<Frame> {
    let mut head = [0; 12];
    from.read_exact(&mut head).map_err(|_| damaged("it ends too early"))?;
    let (length, sum) = head.split_at(4);
    let length = length
        .iter()
        .rev()
        .fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
    if length > FRAME_BYTES_MAX {
        return Err(damaged("a frame's length is wrong"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).map_err(|_| damaged("it ends too early"))?;
    if sum != checksum(&body).to_le_bytes() {
        return Err(damaged("a frame's checksum is wrong"));
    }
    postcard::from_bytes(&body).map_err(|_| damaged("a frame has no meaning"))
}

pub(crate) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the backup cannot be used: {what}"))
}

fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}
