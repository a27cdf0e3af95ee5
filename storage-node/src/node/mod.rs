//! One storage node, put together: ports, shards, devices, the client of its own process, background work.
//!
//! ```text
//! wire port --> NodeService --> Shards (Raft over one RocksDB)
//! blob port --> DeviceSet   --> DiskDevice ...
//! background work --> ClusterClient --> own shards and devices directly, those of others over wire and blob ports
//! ```
//! Knows: everything of this crate, in order to wire it. Must not know: objects, users, HTTP of the edges.

pub mod admin;
mod config;
mod device_care;
mod device_set;
mod node_core;
mod open_devices;
mod rejoin;
mod service;
mod status;
mod storage_node;
mod watchers;
pub mod work;

pub use config::{DeviceConfig, NodeConfig, WorkOptions};
pub use device_set::DeviceSet;
pub use node_core::{Links, NodeCore};
pub use status::{ClusterStatus, DeviceStatus, NodeStatus};
pub use storage_node::{BoundNode, StartError, StorageNode};
