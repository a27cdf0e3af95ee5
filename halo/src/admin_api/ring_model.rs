//! What the admin API answers about rings, repair and verification, as JSON.

use serde::{Deserialize, Serialize};

/// `GET /v1/ring`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// When it was taken, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// `settled`, `copying` or `sweeping`.
    pub phase: String,
    /// True while an operator has the copies rest.
    pub paused: bool,
    /// `first`, `apply`, `abort` or `device`: why the last change was begun.
    pub reason: String,
    /// The version of the ring that places writes, as its builder counts.
    pub version: u64,
    /// The number under which it places writes.
    pub epoch: u64,
    /// The version of the ring before it, while both are live.
    pub previous_version: Option<u64>,
    /// Devices that others stand in for.
    pub failed_devices: Vec<u32>,
    /// Those among them that the cluster noticed by itself, and takes back when they serve again.
    #[serde(default)]
    pub noticed_devices: Vec<u32>,
    /// When the last change was begun, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it was done.
    pub done_ms: Option<u64>,
    /// Bytes that each receiving device may be sent in a second; null: the nodes' default. 0 is no limit.
    pub bytes_per_second_max: Option<u64>,
    /// Copies of partitions that this change asks for.
    pub partitions_total: u64,
    /// Those that are made and verified.
    pub partitions_copied: u64,
    /// Those that were compared once more behind the fence; the change is done when all were.
    pub partitions_swept: u64,
    /// Bytes copied so far.
    pub bytes_copied: u64,
    /// About how many bytes there are to copy.
    pub bytes_total_estimate: u64,
    /// Blobs copied so far.
    pub blobs_copied: u64,
    /// Bytes copied in a second, since the change was begun.
    pub bytes_per_second: u64,
    /// About how long the copies will take, in seconds; null when nothing was copied yet.
    pub eta_s: Option<u64>,
    /// Each receiving device.
    pub devices: Vec<ReceiverLine>,
}

/// One receiving device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceiverLine {
    /// Its number in the ring.
    pub device: u32,
    /// Partitions it is to receive.
    pub total: u64,
    /// Those it has.
    pub copied: u64,
    /// Those compared once more.
    pub swept: u64,
    /// Bytes it was sent.
    pub bytes: u64,
    /// Why some wait.
    pub waiting: Option<String>,
    /// When it was last heard of, in milliseconds since the Unix epoch.
    pub updated_ms: Option<u64>,
}

/// `POST /v1/ring/apply`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewRing {
    /// The ring file, in hex.
    pub ring: String,
    /// Partitions that moved within so many hours do not move again.
    pub min_part_hours: u32,
    /// Copies may stand in fewer failure domains than now.
    #[serde(default)]
    pub accept_fewer_domains: bool,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to `POST /v1/ring/apply`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingApplied {
    /// False after a dry run.
    pub begun: bool,
    /// The ring's version.
    pub version: u64,
    /// Copies of partitions to be made.
    pub replicas_moved: u64,
    /// About how many bytes that is.
    pub bytes_moved_estimate: u64,
}

/// `POST /v1/ring/throttle`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewRate {
    /// Bytes that each receiving device may be sent in a second; 0 is no limit, null the nodes' default.
    pub bytes_per_second: Option<u64>,
}

/// `GET /v1/repair` (HEAL-1)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepairStatus {
    /// When the counts were taken, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// True when nothing lacks a copy, false when something does, null when a shard did not answer: then nobody knows.
    pub healed: Option<bool>,
    /// Chunks in the shards' queues.
    pub short_chunks: Option<u64>,
    /// Those of them without any known copy.
    pub lost_chunks: Option<u64>,
    /// Partitions of devices that lack more than a few blobs, and those on their way to a device.
    pub open_partitions: Option<u64>,
    /// When the oldest of them was opened.
    pub oldest_open_ms: Option<u64>,
    /// The queues.
    pub shards: Vec<ShardRepairLine>,
    /// The open partitions by device.
    pub jobs: Vec<RepairJobLine>,
    /// What the nodes' repair is doing.
    pub work: Vec<RepairWorkLine>,
    /// How far the devices' scrub is, as last noted.
    #[serde(default)]
    pub scrubs: Vec<ScrubLine>,
}

/// One device's scrub: everything it holds is read again and proven, over and over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubLine {
    /// The device.
    pub device: u32,
    /// How far this pass is.
    pub percent: u64,
    /// Damaged blobs that this pass has handed to repair.
    pub damaged: u64,
    /// Whole passes since the device is in the cluster.
    pub passes: u64,
    /// When the last whole pass ended, in milliseconds since the Unix epoch.
    pub last_ended_ms: Option<u64>,
    /// Blobs it read.
    pub last_blobs: Option<u64>,
    /// Bytes it read.
    pub last_bytes: Option<u64>,
    /// Damaged blobs it handed to repair.
    pub last_damaged: Option<u64>,
}

/// One shard's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRepairLine {
    /// The shard.
    pub shard: u64,
    /// Chunks that lack a copy.
    pub short_chunks: Option<u64>,
    /// Chunks without any known copy.
    pub lost_chunks: Option<u64>,
    /// Why nothing is known.
    pub problem: Option<String>,
}

/// One device's open partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairJobLine {
    /// The device that lacks them.
    pub device: u32,
    /// `repair` or `ring`: found by comparison, or asked for by a change of the ring.
    pub kind: String,
    /// How many.
    pub partitions: u64,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// One kind of work of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairWorkLine {
    /// The node.
    pub node: u64,
    /// Which work.
    pub name: String,
    /// What it is doing.
    pub state: String,
    /// Why the last step failed.
    pub last_error: Option<String>,
    /// What an operator is asked to do.
    #[serde(default)]
    pub asks: Option<String>,
}

/// `POST /v1/verify`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyCall {
    /// The bucket's name.
    pub bucket: String,
    /// Whose it is, when its name is not global.
    #[serde(default)]
    pub project: Option<String>,
    /// Where the page before ended.
    #[serde(default)]
    pub after: Option<VerifyPlace>,
    /// Versions looked at, at most.
    pub limit: usize,
    /// Read and verify every copy, instead of asking the devices what they believe to hold.
    #[serde(default)]
    pub read: bool,
}

/// A place in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPlace {
    /// The key, in hex: keys are any bytes.
    pub key: String,
    /// The version.
    pub version: u64,
}

/// Answer to `POST /v1/verify`: one page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPage {
    /// Versions looked at.
    pub versions: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// Good copies found.
    pub copies: u64,
    /// Objects that are not whole.
    pub problems: Vec<VerifyProblem>,
    /// Where the next page begins; null at the end.
    pub next: Option<VerifyPlace>,
}

/// An object that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProblem {
    /// The bucket.
    pub bucket: String,
    /// The key, with odd bytes replaced.
    pub key: String,
    /// The version, or `null`.
    pub version: String,
    /// `lost` (a chunk has no copy at all), `short` (too few), `unknown` (a device did not answer).
    pub kind: String,
    /// How many of its chunks.
    pub chunks: u64,
}
