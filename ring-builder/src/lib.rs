//! The ring: which devices hold which partition.
//!
//! Knows: devices, failure domains, weights, partitions. Must not know: HTTP, disks, objects.

mod builder;
mod builder_file;
mod candidates;
mod chain;
pub mod command;
mod device;
mod envelope;
mod error;
mod fresh;
mod handoff;
pub mod limits;
mod mix;
mod rebalance;
mod report;
mod ring;
mod ring_file;
mod shift;
mod table;
#[cfg(test)]
mod testing;
mod tolerance;
mod topology;

pub use builder::Builder;
pub use device::{Device, DeviceId, PartitionId};
pub use error::RingError;
pub use rebalance::Moves;
pub use report::{DeviceLoad, Report, Together};
pub use ring::Ring;
