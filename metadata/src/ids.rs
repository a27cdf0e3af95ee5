//! The names of things: one type for each kind of identity, so that two kinds cannot be swapped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::PolicyId;

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

/// One blob: a chunk of the byte stream `write`, or a fragment of one.
///
/// ```text
/// chunk = policy (7 bits) | fragment (5 bits: 0 the whole chunk, i + 1 its fragment i) | number (20 bits)
/// ```
/// So a device's key says by which policy's ring the blob is placed, and every blob of the default policy is named as
/// it always was. A shard refuses streams of more chunks than the number holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId {
    /// The stream the bytes came from.
    pub write: WriteId,
    /// Policy, fragment and position of the chunk in the stream: [`Self::whole`], [`Self::piece`].
    pub chunk: u32,
}

const NUMBER_BITS: u32 = 20;
const FRAGMENT_BITS: u32 = 5;

impl BlobId {
    /// Chunk numbers are below this.
    pub const CHUNKS: u32 = 1 << NUMBER_BITS;
    /// Policy numbers are below this.
    pub const POLICIES: u16 = 1 << (32 - NUMBER_BITS - FRAGMENT_BITS);
    /// The most fragments of one chunk.
    pub const FRAGMENTS_MAX: usize = (1 << FRAGMENT_BITS) - 1;

    /// Chunk number `number` of a stream of `policy`, in one piece.
    #[must_use]
    pub fn whole(write: WriteId, policy: PolicyId, number: u32) -> Self {
        let policy = u32::from(policy.0 % Self::POLICIES) << (NUMBER_BITS + FRAGMENT_BITS);
        Self {
            write,
            chunk: policy | (number % Self::CHUNKS),
        }
    }

    /// Fragment `index` of the chunk that this blob is, or is a fragment of.
    #[must_use]
    pub fn piece(self, index: u8) -> Self {
        let label = (u32::from(index) + 1) % (1 << FRAGMENT_BITS);
        Self {
            chunk: self.without_fragment().chunk | label << NUMBER_BITS,
            ..self
        }
    }

    /// The chunk as a whole: equal for all its fragments.
    #[must_use]
    pub fn without_fragment(self) -> Self {
        let mask = ((1 << FRAGMENT_BITS) - 1) << NUMBER_BITS;
        Self {
            chunk: self.chunk & !mask,
            ..self
        }
    }

    /// Position of the chunk in the stream, from 0.
    #[must_use]
    pub fn number(self) -> u32 {
        self.chunk % Self::CHUNKS
    }

    /// Which fragment of its chunk it is; `None`: the whole chunk.
    #[must_use]
    pub fn fragment(self) -> Option<u8> {
        let label = (self.chunk >> NUMBER_BITS) % (1 << FRAGMENT_BITS);
        u8::try_from(label).ok()?.checked_sub(1)
    }

    /// The policy whose ring places it.
    #[must_use]
    pub fn policy(self) -> PolicyId {
        PolicyId(u16::try_from(self.chunk >> (NUMBER_BITS + FRAGMENT_BITS)).unwrap_or(0))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.write, self.chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_of_the_default_policy_is_named_by_its_number_alone_and_labels_never_mix() {
        let write = WriteId(7);
        assert_eq!(BlobId::whole(write, PolicyId(0), 9), BlobId { write, chunk: 9 });
        let policies = [0, 1, BlobId::POLICIES - 1].map(PolicyId);
        for policy in policies {
            for number in [0, 1, BlobId::CHUNKS - 1] {
                let whole = BlobId::whole(write, policy, number);
                assert_eq!(
                    (whole.policy(), whole.number(), whole.fragment()),
                    (policy, number, None)
                );
                for index in [0, 5, u8::try_from(BlobId::FRAGMENTS_MAX - 1).unwrap()] {
                    let piece = whole.piece(index);
                    assert_eq!(
                        (piece.policy(), piece.number(), piece.fragment()),
                        (policy, number, Some(index))
                    );
                    assert_eq!((piece.without_fragment(), piece.piece(3)), (whole, whole.piece(3)));
                }
            }
        }
    }
}
