//! A whole cluster in memory, for the tests of this crate and of those above: real metadata decisions over rows in
//! memory, real placement by a ring, devices in memory with switches for every fault.
//!
//! Nothing here is part of the product. Time is tokio's, so a test may pause it; the wall clock stands still until it is
//! moved.

mod data;
mod metadata_plane;

use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, ManualClock, SeededDice, WallClock};
use metadata::ids::{ClusterId, DeviceId, NodeId, RequestId};
use storage_node::client::Planes;

pub use data::{Health, MemoryData};
pub use metadata_plane::{MemoryMetadata, Outage};

use crate::context::RequestContext;
use crate::options::StoreOptions;
use crate::request::Body;
use crate::store::Store;

/// The cluster id of every test cluster.
pub const CLUSTER: ClusterId = ClusterId(0xc1);
/// Where the wall clock stands at first.
pub const START_MS: u64 = 1_700_000_000_000;

/// How a test cluster is built.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Storage nodes, each a failure domain.
    pub nodes: u64,
    /// Devices of each node.
    pub devices_per_node: u32,
    /// Copies of each chunk.
    pub replicas: usize,
    /// Key shards beside the system shard.
    pub key_shards: u64,
    /// Capacity of each device in bytes.
    pub device_bytes: u64,
    /// The store's settings.
    pub options: StoreOptions,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            nodes: 3,
            devices_per_node: 1,
            replicas: 3,
            key_shards: 2,
            device_bytes: 1 << 30,
            options: StoreOptions::new(CLUSTER),
        }
    }
}

/// A cluster in memory.
pub struct Cluster {
    /// The door.
    pub store: Store,
    /// The shards.
    pub metadata: Arc<MemoryMetadata>,
    /// The devices.
    pub data: Arc<MemoryData>,
    /// The wall clock of shards and store.
    pub clock: ManualClock,
    dice: Arc<SeededDice>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new(Shape::default())
    }
}

impl Cluster {
    /// Three nodes, three copies, and the given chunk size, so that small bodies have many chunks.
    #[must_use]
    pub fn with_chunks_of(chunk_bytes: u32) -> Self {
        let mut shape = Shape::default();
        shape.options.chunk_bytes = chunk_bytes;
        Self::new(shape)
    }

    /// A cluster of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let clock = ManualClock::at(START_MS);
        let dice = Arc::new(SeededDice::new(1));
        let metadata = Arc::new(MemoryMetadata::new(shape.key_shards, clock.clone()));
        let data = Arc::new(MemoryData::new(&shape));
        let planes = Planes {
            metadata: metadata.clone(),
            data: data.clone(),
        };
        let wall: Arc<dyn WallClock> = Arc::new(clock.clone());
        let store = Store::new(planes, wall, dice.clone(), shape.options);
        Self {
            store,
            metadata,
            data,
            clock,
            dice,
        }
    }

    /// A new request of project `p`.
    #[must_use]
    pub fn request(&self) -> RequestContext {
        self.request_of("p")
    }

    /// A new request of a project.
    #[must_use]
    pub fn request_of(&self, project: &str) -> RequestContext {
        let request = RequestId::new(self.clock.now_ms(), self.dice.u128());
        RequestContext::new(request, project.to_owned(), Duration::from_secs(5))
    }

    /// The node a device belongs to.
    #[must_use]
    pub fn node_of(&self, device: DeviceId) -> Option<NodeId> {
        self.data.node_of(device)
    }
}

/// A body in pieces of `piece_bytes`.
#[must_use]
pub fn body_in_pieces(bytes: &[u8], piece_bytes: usize) -> Body {
    let pieces: Vec<_> = bytes
        .chunks(piece_bytes.max(1))
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    Box::pin(futures::stream::iter(pieces))
}

/// A body in one piece.
#[must_use]
pub fn body(bytes: &[u8]) -> Body {
    body_in_pieces(bytes, bytes.len())
}
