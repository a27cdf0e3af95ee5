//! The shards of one node: Raft groups over one ordered store.

mod balance;
pub mod calls;
mod envelope;
mod faulty;
mod feed;
mod group;
mod handover;
mod identity;
mod incoming;
mod layout;
mod log;
mod machine;
mod memory;
mod network;
mod node;
mod opening;
mod options;
mod packer;
mod peers;
mod pool;
mod read_index;
mod retention;
mod rocks;
mod rounds;
mod serve;
mod shard_rows;
mod shards;
mod snapshot;
mod state;
mod status;
mod store;
mod synced_note;
mod types;
mod watch;
mod writer;

pub use calls::{ReadFrom, ShardFault};
pub use faulty::{FaultyStore, StoreFaults};
pub use identity::StoreIdentity;
pub use memory::MemoryStore;
pub use opening::OpenError;
pub use options::{Damage, Packing, RaftTimers, ShardOptions, Upkeep};
pub use retention::LogLimits;
pub use rocks::{RocksMemory, RocksStore};
pub use shards::Shards;
pub use status::{ShardRole, ShardStatus, ShardsStatus};

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod suite_tests;
