//! What the admin API answers, as JSON. `halo admin` reads the same types; other programs may too.

use serde::{Deserialize, Serialize};

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id.
    pub cluster: String,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// True when nothing needs an eye.
    pub healthy: bool,
    /// Chunks that lack a copy: the sum over all shards (HEAL-1). Null when a shard could not be asked, because then
    /// nobody knows.
    pub short_chunks: Option<u64>,
    /// Chunks of which no copy is known. Null as above.
    pub lost_chunks: Option<u64>,
    /// Every storage node.
    pub nodes: Vec<NodeLine>,
    /// Every device of the nodes that answered.
    pub devices: Vec<DeviceLine>,
    /// Every shard.
    pub shards: Vec<ShardLine>,
}

/// A storage node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its id.
    pub node: u64,
    /// Whether it answers.
    pub up: bool,
    /// How many shards it leads.
    pub leads: u64,
    /// Syncs of its log and its devices since it started.
    pub syncs: u64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLine {
    /// Its number in the ring.
    pub device: u32,
    /// Its node.
    pub node: u64,
    /// Its folder.
    pub path: String,
    /// `ok`, `read-only` or `out`.
    pub state: String,
    /// Why it is not `ok`.
    pub problem: Option<String>,
    /// What it can hold, in bytes.
    pub capacity_bytes: u64,
    /// What its segments take, in bytes.
    pub used_bytes: u64,
    /// What its blobs take, in bytes.
    pub live_bytes: u64,
    /// Its blobs.
    pub blobs: u64,
    /// Its segments.
    pub segments: u64,
    /// Damaged records met since it was opened.
    pub corrupt_records: u64,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLine {
    /// Its number; 0 is the system shard.
    pub shard: u64,
    /// Who leads it.
    pub leader: Option<u64>,
    /// How it is.
    pub health: ShardHealth,
    /// Its voters.
    pub members: Vec<MemberLine>,
    /// Its chunks that lack a copy; null when it could not be asked.
    pub short_chunks: Option<u64>,
    /// Its chunks of which no copy is known; null when it could not be asked.
    pub lost_chunks: Option<u64>,
    /// Its live streams of blobs; null when it could not be asked.
    pub streams: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// How a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardHealth {
    /// It decides, and every member keeps up.
    Ok,
    /// It decides, and a member is away or far behind.
    Degraded,
    /// It does not decide.
    Down,
}

/// One replica of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLine {
    /// Its node.
    pub node: u64,
    /// `leader`, `follower`, `candidate`, `learner`, `stopped` or `away`.
    pub role: String,
    /// Index of the last entry it has applied.
    pub applied: Option<u64>,
    /// How many entries it is behind the one that is ahead.
    pub behind: Option<u64>,
}

/// `GET /v1/buckets`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// All buckets, by id.
    pub buckets: Vec<BucketLine>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLine {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Whose it is.
    pub project: String,
    /// Whether its name is also the global S3 name.
    pub global: bool,
    /// The shard that owns its keys.
    pub shard: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// `active` or `deleting`.
    pub state: String,
    /// Current objects; null when its shard could not be asked.
    pub objects: Option<u64>,
    /// Bytes of all versions; null when its shard could not be asked.
    pub bytes: Option<u64>,
}

/// `POST /v1/projects`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewProject {
    /// What people call it.
    pub name: String,
    /// Its id; drawn when absent.
    #[serde(default)]
    pub id: Option<String>,
}

/// `GET /v1/projects`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Projects {
    /// All projects, by id.
    pub projects: Vec<ProjectLine>,
}

/// A project.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProjectLine {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// `POST /v1/keys`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewKey {
    /// The project it acts for.
    pub project: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// An access key that is brought along, together with its secret; both are drawn when absent.
    #[serde(default)]
    pub access_key: Option<String>,
    /// Its secret.
    #[serde(default)]
    pub secret_key: Option<String>,
}

/// A key just made: the only time its secret is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuedKeyLine {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The project it acts for.
    pub project: String,
}

/// `GET /v1/keys`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keys {
    /// All keys, without their secrets.
    pub keys: Vec<KeyLine>,
}

/// A key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyLine {
    /// The access key.
    pub access_key: String,
    /// The project it acts for.
    pub project: String,
    /// What it is for.
    pub description: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// `POST /v1/objects/where`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Where {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// A version; the newest when absent. `null` names the null version.
    #[serde(default)]
    pub version: Option<String>,
    /// Whose bucket it is, when its name is not global.
    #[serde(default)]
    pub project: Option<String>,
    /// True: every copy is read and verified; false: the devices are asked what they believe to hold.
    #[serde(default)]
    pub verify: bool,
}

/// Where an object's bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version; `null` for the null version.
    pub version: String,
    /// Length in bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: String,
    /// The shard that owns the key.
    pub shard: u64,
    /// True when the bytes lie in the metadata plane, beside the key.
    pub inline: bool,
    /// The streams of a larger object, in their order.
    pub streams: Vec<StreamLine>,
    /// True when there are more chunks than were asked for.
    pub truncated: bool,
}

/// The body of a PUT or of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamLine {
    /// The part's number, for a multipart object.
    pub part: Option<u16>,
    /// The name its blobs carry.
    pub write: String,
    /// Length in bytes.
    pub size: u64,
    /// Its chunks.
    pub chunks: Vec<ChunkLine>,
}

/// A chunk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkLine {
    /// Its number.
    pub chunk: u32,
    /// Its partition in the ring.
    pub partition: u32,
    /// Its copies.
    pub copies: Vec<CopyLine>,
}

/// A copy, or the place where one should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopyLine {
    /// The device.
    pub device: u32,
    /// Which fragment of the chunk it is; null: all of it.
    #[serde(default)]
    pub fragment: Option<u8>,
    /// Whether the ring names the device for it.
    pub primary: bool,
    /// `ok`, `absent`, `corrupt` or `unreachable`.
    pub state: String,
}

/// What an action did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DoneLine {
    /// A sentence for people.
    pub done: String,
}
