//! The names of things: one type for each kind of identity, so that two kinds cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            /// Reads the 32 lower-case hex digits that `Display` writes, and nothing else.
            fn from_str(text: &str) -> Result<Self, BadId> {
                let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if text.len() != 32 || !digits {
                    return Err(BadId);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| BadId)
            }
        }
    };
}

/// A text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 lower-case hex digits are expected")]
pub struct BadId;

number_id! {
    /// One machine (one storage-node process). Given once, never reused.
    NodeId
}
number_id! {
    /// One Raft group. Shard 0 is the system shard, 1.. are key shards.
    ShardId
}
number_id! {
    /// One bucket's life. Never reused, so that a bucket born under an old name sees none of the old one's objects.
    BucketId
}
number_id! {
    /// A version's sort position: a counter of its shard, advanced in `apply`. Larger is newer.
    Seq
}

impl ShardId {
    /// The shard of bucket names, accounts, nodes and rings.
    pub const SYSTEM: Self = Self(0);
}

/// One disk, named by the ring. Never reused inside a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub u32);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

random_id! {
    /// One cluster. Devices and metadata stores carry it, so that one of another cluster is refused.
    ClusterId
}
random_id! {
    /// One stream of bytes being written: the body of one PUT, or of one attempt at one part. Blobs are named by it
    /// (DESIGN calls it the upload id); it is drawn anew for every attempt, so two attempts never share a blob.
    /// The upper 48 bits are the wall-clock milliseconds at its drawing: a commit that comes more than
    /// [`crate::STREAM_LIFE_MS`] of shard time later is refused, which is what lets a shard forget condemned streams
    /// (DUR-3). Make it with [`WriteId::new`], never from random bits alone.
    WriteId
}
random_id! {
    /// One S3 multipart upload, from Create to Complete or Abort. What clients see as `UploadId`.
    /// The upper 48 bits are the wall-clock milliseconds at its making, so that listings show uploads by age.
    MultipartId
}
random_id! {
    /// One client request; a repeat of a command under the same id gets the first reply (exactly once).
    /// The upper 48 bits are the wall-clock milliseconds at its making, so that ids sort by age.
    RequestId
}

macro_rules! dated_id {
    ($name:ident) => {
        impl $name {
            /// Makes an id from the time of its making and 80 random bits (the rest of `random` is dropped).
            #[must_use]
            pub fn new(now_ms: u64, random: u128) -> Self {
                Self((u128::from(now_ms) << 80) | (random & ((1 << 80) - 1)))
            }

            /// When the id was made, in milliseconds since the Unix epoch.
            #[must_use]
            pub fn made_ms(self) -> u64 {
                u64::try_from(self.0 >> 80).unwrap_or(u64::MAX)
            }
        }
    };
}

dated_id!(RequestId);
dated_id!(WriteId);
dated_id!(MultipartId);

/// One blob: chunk number `chunk` (from 0) of the byte stream `write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId {
    /// The stream the bytes came from.
    pub write: WriteId,
    /// Position of the chunk in the stream.
    pub chunk: u32,
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.write, self.chunk)
    }
}
