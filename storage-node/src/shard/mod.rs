//! The shards of one node: Raft groups over one ordered store (DESIGN §3.1).
//!
//! ```text
//!  propose ─> packer ─> raft ──append──> log ──> writer thread ──> store: write, one sync for all shards
//!                        │ commits                                    ^
//!                        └─────> machine ─> state: apply ─────────────┘ rows + applied id, unsynced, same WAL
//!  query ──> read index (one round for all that wait) ─> applied? ─> view of the store ─> metadata::query::answer
//! ```
//! Read in this order: [`calls`] (what is asked from outside), `shards` (a node), `group` (one replica), `packer`,
//! `log` and `writer` (durability), `state` (rows), `read_index`, `snapshot`, `network` and `incoming` (between nodes),
//! `opening` (start).
//!
//! # Promises kept here
//! - **DUR-1** A proposal is answered after its entry is synced on a majority: openraft counts an append only after
//!   `writer` called back, and `writer` calls back only after the sync.
//! - **DUR-4** A failed sync is never retried; every shard of the node stops ([`ShardFault::Fatal`]).
//! - **CON-1** Commands carry request ids; `metadata::apply` keeps the replies in the shard's rows, so a repeat at any
//!   leader gets the first one. Reads wait for a read index that a majority confirmed after they began; no leases.
//! - **CON-2** Rows of an acknowledged entry are visible before its reply is sent.
//! - **MEM-1** Queues, caches, batches, pools and pages have named limits; snapshots pass in parts.
//!
//! # DUR-5: a store that lost something does not vote
//! Every store has a random *incarnation*. Beside the database lies a small file that notes, after each sync, the
//! sequence number that sync has covered, so a database that opens below it has lost synced writes, and an empty one
//! beside a note was emptied. Both open *quarantined*: no Raft is started, every call answers
//! [`ShardFault::Quarantined`] with a sentence that says what to do. For a folder that was emptied altogether the
//! peers speak: each Raft message and answer shows its sender's incarnation and the one it expects at the other end;
//! every node keeps, synced, the first incarnation it met of each node id and refuses another, and a node that is told
//! so quarantines itself. It comes back as a new member, with an empty store and a new incarnation: the steps are in
//! `renewal`, the table of verdicts in `identity`, the file in `synced_note`.
//!
//! # What follows from openraft 0.9
//! - It awaits each append, so throughput comes from packing ([`Packing`]).
//! - Its snapshots and purges go by counts: `group` drives them from bytes and age ([`LogLimits`]).
//! - It purges the log while a snapshot is still being installed: `log` makes that purge durable only with the install.
//! - It has no leadership transfer: `handover` builds one from an election that the leader itself asks for.
//!
//! Knows: Raft, RocksDB, the trait of the wire. Must not know: sockets, objects, what commands mean.
//!
//! [`ShardFault::Fatal`]: calls::ShardFault::Fatal
//! [`ShardFault::Quarantined`]: calls::ShardFault::Quarantined

mod backup;
mod backup_file;
mod balance;
pub mod calls;
mod envelope;
mod faulty;
mod feed;
mod freshness;
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
mod renewal;
mod restore;
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
mod tidier;
mod types;
mod watch;
mod writer;

pub use backup::BackedUp;
pub use calls::{ReadFrom, ShardFault};
pub use faulty::{FaultyStore, StoreFaults};
pub use identity::StoreIdentity;
pub use memory::MemoryStore;
pub use opening::OpenError;
pub use options::{Damage, Packing, RaftTimers, ShardOptions, Upkeep};
pub use peers::CLOCK_SKEW_MAX_MS;
pub use renewal::{Newcomer, VOTERS_WANTED};
pub use restore::{RESTORED_KEY, RESTORED_TABLE, Restored, restore};
pub use retention::LogLimits;
pub use rocks::{OpenFailed, RocksMemory, RocksStore};
pub use shards::Shards;
pub use status::{ShardRole, ShardStatus, ShardsStatus};
pub use store::{ReadPurpose, ReadSpaces, RowStore, Space, SpaceRow, StoreFailed, WriteSet};

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod suite_tests;
