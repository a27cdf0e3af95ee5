//! The store's limits and times. Every queue, buffer and wait of this crate is bounded by one of them (MEM-1).

use std::time::Duration;

use metadata::ids::ClusterId;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Settings of a [`Store`](crate::Store).
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The cluster whose devices are written; blobs carry it.
    pub cluster: ClusterId,
    /// Objects up to this many bytes live in the metadata plane; at most [`metadata::INLINE_BYTES_MAX`].
    pub inline_bytes_max: usize,
    /// Bytes of every chunk but the last; at most a blob's limit.
    pub chunk_bytes: u32,
    /// The longest body of one PUT or one part, in bytes (AWS: 5 GiB).
    pub body_bytes_max: u64,
    /// The smallest part but the last that Complete takes, in bytes (AWS: 5 MiB).
    pub part_bytes_min: u64,

    /// Memory of all bodies that are being written, in bytes.
    pub write_pool_bytes: usize,
    /// Memory of chunks that reached their quorum while a slow replica still takes them, in bytes.
    pub laggard_pool_bytes: usize,
    /// Memory of all bodies that are being read, in bytes.
    pub read_pool_bytes: usize,
    /// How long a body waits for memory before its first byte is taken; then the client is told to slow down.
    pub pool_wait: Duration,
    /// How long a body that has begun waits for memory.
    pub pool_wait_begun: Duration,

    /// Chunks of one body that may be on their way to a quorum at once.
    pub chunks_in_flight: usize,
    /// How long one device may take to store a blob.
    pub write_deadline: Duration,
    /// When a replica that has not answered gets company by a handoff, as long as there is no quorum.
    pub slow_replica: Duration,
    /// How long after its quorum a chunk is still offered to slow replicas.
    pub laggard_time: Duration,
    /// How long a commit waits for slow replicas of chunks that have their quorum, before it counts them as short.
    pub laggard_grace: Duration,

    /// The most bytes that one read asks of one device.
    pub read_slice_bytes: u32,
    /// Slices read ahead of the one that is being sent, memory allowing.
    pub read_ahead: usize,
    /// How long one device may take to answer a read.
    pub read_deadline: Duration,
    /// After this time without an answer the next copy is asked too.
    pub hedge_delay: Duration,

    /// The oldest a process's copy of the system shard may be while it is used (DESIGN §3.1).
    pub staleness_bound: Duration,
}

impl StoreOptions {
    /// The defaults, for a cluster.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            inline_bytes_max: metadata::INLINE_BYTES_MAX,
            chunk_bytes: 4 * 1024 * 1024,
            body_bytes_max: 5 * 1024 * 1024 * 1024,
            part_bytes_min: 5 * 1024 * 1024,
            write_pool_bytes: 96 * MIB,
            laggard_pool_bytes: 24 * MIB,
            read_pool_bytes: 64 * MIB,
            pool_wait: Duration::from_secs(5),
            pool_wait_begun: Duration::from_secs(30),
            chunks_in_flight: 3,
            write_deadline: Duration::from_secs(10),
            slow_replica: Duration::from_secs(2),
            laggard_time: Duration::from_secs(5),
            laggard_grace: Duration::from_secs(1),
            read_slice_bytes: 1024 * 1024,
            read_ahead: 3,
            read_deadline: Duration::from_secs(10),
            hedge_delay: Duration::from_millis(100),
            staleness_bound: Duration::from_secs(2),
        }
    }
}
