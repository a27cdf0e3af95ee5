//! What a storage node is told at its start. Settings only; clock and dice come beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use metadata::ids::{ClusterId, DeviceId, NodeId};

use crate::blob_http::Admission;
use crate::device::DeviceOptions;
use crate::shard::ShardOptions;
use crate::wire::{AddressBook, Credentials, NodeAddress, Role, Secret, Tls};

/// The settings of one storage node. [`NodeConfig::new`] gives defaults for all that is not named there.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The cluster; stores and devices of another one are refused.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Where raft and metadata calls are taken; port 0 picks one.
    pub listen_wire: SocketAddr,
    /// Where blob bodies are taken; port 0 picks one.
    pub listen_blobs: SocketAddr,
    /// How others reach this node; unset: the addresses it listens on.
    pub advertise: Option<NodeAddress>,
    /// The nodes known at the start, this one included or not.
    pub book: AddressBook,
    /// The voters of a cluster that may be new: shards without members are initialized with them. Unset for a node
    /// that joins a cluster that exists.
    pub founders: Option<BTreeSet<NodeId>>,
    /// Whether this node becomes a member of a cluster that does not know it. A member that comes back needs no welcome.
    pub welcome: bool,
    /// The cluster's secret.
    pub secret: Secret,
    /// Certificates for traffic off loopback.
    pub tls: Option<std::sync::Arc<Tls>>,
    /// The metadata store and Raft; its cluster, node and sync delay are set from here.
    pub shards: ShardOptions,
    /// The devices.
    pub devices: Vec<DeviceConfig>,
    /// Memory of the devices' indexes together, in bytes.
    pub index_cache_bytes: usize,
    /// Pools of body bytes.
    pub admission: Admission,
    /// Background work.
    pub work: WorkOptions,
    /// Every sync, of shards and of devices, takes this much longer (fault injection); zero in production.
    pub sync_delay: Duration,
}

/// One device of a node.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its id in the ring.
    pub id: DeviceId,
    /// Its folder.
    pub path: PathBuf,
    /// Sizes and limits.
    pub options: DeviceOptions,
}

/// Pace and patience of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// How long deleted blobs stay readable for slow readers (DESIGN §3.2), in milliseconds of shard time.
    pub reclaim_delay_ms: u64,
    /// How long reclaim waits for a device that is down before it leaves the device's copies to orphan collection.
    pub reclaim_patience_ms: u64,
    /// Blobs younger than this are no orphans yet, in milliseconds by the wall clock. About cost, never safety (DUR-3).
    pub orphan_grace_ms: u64,
    /// The pause between two walks over a device in search of orphans.
    pub orphan_interval: Duration,
    /// The pause between two pages of such a walk.
    pub orphan_pause: Duration,
    /// The pause between two pages of the search for missing copies.
    pub missing_pause: Duration,
    /// The pause between two whole searches for missing copies.
    pub missing_interval: Duration,
    /// Bytes that scrub reads on each device in a second.
    pub scrub_bytes_per_second: u64,
    /// The pause between looks at queues that are empty.
    pub idle_pause: Duration,
    /// A bucket in the middle of a deletion is finished by others after this time.
    pub bucket_patience: Duration,
    /// Chunks repaired at once by this node.
    pub repairs_at_once: usize,
    /// Bytes that each device may be sent in a second by a change of the ring, unless an operator says otherwise; 0 is
    /// no limit.
    pub move_bytes_per_second: u64,
    /// Partitions compared at once for each device that receives; chunks travel eight at a time.
    pub moves_at_once: usize,
    /// The pause between two whole comparisons of a device with the others.
    pub repair_interval: Duration,
    /// The pause between two partitions of such a comparison.
    pub repair_pause: Duration,
    /// A partition that lacks more blobs than this gets a job of its own; less goes through the shards' queues.
    pub repair_queued_max: u64,
    /// The pause between two looks at which nodes vote in which shard.
    pub seats_pause: Duration,
    /// The pause between two looks of the system shard's leader at all devices.
    pub devices_pause: Duration,
    /// How long a device of a node that answers may be out before others stand in for it; zero: an operator decides.
    pub device_patience: Duration,
    /// The same for the devices of a node that does not answer.
    pub node_patience: Duration,
    /// How long a device that others stand in for must serve again before it is taken back.
    pub return_patience: Duration,
}

impl Default for WorkOptions {
    fn default() -> Self {
        Self {
            reclaim_delay_ms: 3_600_000,
            reclaim_patience_ms: 24 * 3_600_000,
            orphan_grace_ms: 24 * 3_600_000,
            orphan_interval: Duration::from_secs(3600),
            orphan_pause: Duration::from_millis(200),
            missing_pause: Duration::from_millis(500),
            missing_interval: Duration::from_secs(600),
            scrub_bytes_per_second: 4 * 1024 * 1024,
            idle_pause: Duration::from_secs(1),
            bucket_patience: Duration::from_secs(10),
            repairs_at_once: 12,
            move_bytes_per_second: 32 * 1024 * 1024,
            moves_at_once: 16,
            repair_interval: Duration::from_secs(600),
            repair_pause: Duration::from_millis(5),
            repair_queued_max: 64,
            seats_pause: Duration::from_secs(10),
            devices_pause: Duration::from_secs(2),
            device_patience: Duration::from_secs(300),
            node_patience: Duration::from_secs(3600),
            return_patience: Duration::from_secs(30),
        }
    }
}

impl NodeConfig {
    /// A node on loopback ports of the system's choice, with default options and no devices yet.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, metadata_dir: PathBuf, secret: Secret) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            cluster,
            node,
            listen_wire: loopback,
            listen_blobs: loopback,
            advertise: None,
            book: AddressBook::default(),
            founders: None,
            welcome: true,
            secret,
            tls: None,
            shards: ShardOptions::new(cluster, node, metadata_dir),
            devices: Vec::new(),
            index_cache_bytes: 32 * 1024 * 1024,
            admission: Admission::default(),
            work: WorkOptions::default(),
            sync_delay: Duration::ZERO,
        }
    }

    /// What the node proves itself with.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials {
            cluster: self.cluster,
            role: Role::Storage(self.node),
            secret: self.secret.clone(),
            tls: self.tls.clone(),
        }
    }
}
