//! The shards of one node: Raft groups over one ordered store.

pub mod calls;
