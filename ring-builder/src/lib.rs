//! The ring: which devices hold which partition.
//!
//! Knows: devices, failure domains, weights, partitions. Must not know: HTTP, disks, objects.

mod builder;
mod candidates;
mod device;
mod envelope;
mod error;
mod fresh;
mod handoff;
pub mod limits;
mod mix;
mod rebalance;
mod ring;
mod ring_file;
#[cfg(test)]
mod testing;
mod topology;

pub use builder::Builder;
pub use device::{Device, DeviceId, PartitionId};
pub use error::RingError;
pub use rebalance::Moves;
pub use ring::Ring;
