//! The ring: which devices hold which partition.
//!
//! Knows: devices, failure domains, weights, partitions, and the operator's commands on builder files. Must not know:
//! HTTP, disks, objects. It asks for no clock and no dice: hour and seed are parameters.
//!
//! ```text
//!  placement hash (64 bits)          Ring: partitions x replicas -> devices
//!  |<- part power ->|      |         +------+----+----+----+
//!  +----------------+------+         |    0 | 17 |  4 | 90 |   <- primaries(0): all different
//!  |  partition     |  ... | ------> |    1 |  8 | 51 | 23 |
//!  +----------------+------+         |  ... |    |    |    |
//!                                    +------+----+----+----+
//!  then handoffs(partition): everybody else, the emptiest failure domain first
//! ```
//!
//! A [`Builder`] is the operator's side: devices are added, removed and weighed, [`Builder::rebalance`] makes a new
//! table, [`Builder::ring`] hands it out as an immutable [`Ring`] with the next version. Both have a checksummed,
//! versioned file; the formats are drawn in `envelope`, `ring_file` and `builder_file`:
//!
//! ```text
//! | magic 8 | format 2 | 0 2 | length 8 | body: size, devices, 16-bit table, (hours of last moves) | BLAKE3 32 |
//! ```
//!
//! A ring is also written and read as a `.ring.gz` of OpenStack Swift (`swift_ring`), and cut into pieces for stores of
//! small records ([`RingFile`]). What a new ring would move, and what speaks against it, says [`change`].
//!
//! # How a table is made
//!
//! 1. **Shares** (`topology`). A device wants `partitions x replicas x weight / all weights` partitions, capped at all
//!    partitions, since copies of one partition are on different devices. With an `overload` shares go some of the way
//!    to an even spread over the domains. They are added up over region, zone and node and rounded down the tree:
//!    everybody's quota is its share rounded up or down, up where it shows least; among equals by what moves less.
//! 2. **Spread** follows from the quotas: a domain with share `s` per partition has floor(s) to ceil(s) copies of each
//!    partition. With three equal zones and three replicas that is exactly one copy in each. *Weights decide*: a zone
//!    with 40 % of the weight holds two of three copies of every fifth partition. [`Builder::validate`] says so.
//! 3. **First placement** (`fresh`). Copies are handed down the tree, exactly meeting quotas and spread. The candidate
//!    order of each partition comes from a consistent hash ring (`candidates`).
//! 4. **Later placements** (`rebalance`). Replicas of removed devices find a place first. Then copies that stand too close
//!    move apart, then devices above their quota give to those below (`shift`); the hash ring of those that want more
//!    gives the order in which they are asked. Where no single move helps, chains of moves over third devices do
//!    (`chain`). All else stays where it is, at the same position of [`Ring::primaries`].
//!
//! # What holds
//!
//! - The copies of a partition are on different devices, always.
//! - A rebalance moves at most one replica of a partition, and none within min-part-hours of the partition's last move.
//!   Replicas of removed devices are placed anew regardless: there is nothing left to protect. When one was, the
//!   partition's other replicas stay.
//! - After the first placement every device is within one partition of its share. Later, within 1 % or one partition,
//!   whichever is more, as soon as the rules above allow it.
//! - One device of equal weight added to N moves at most 1.1 / (N+1) of the replicas.
//! - The same builder, hour and seed give the same table, on any machine.
//! - Each rebalance counts the version up by one, also one that moves nothing.
//!
//! # Limits
//!
//! - Sizes: see [`limits`]. 2^18 partitions x 3 replicas on 1,000 devices take a fraction of a second to place, and to
//!   add a device; the loss of a tenth of the devices takes some seconds. Every search is bounded, so the worst
//!   rebalance of that size takes about ten seconds on one core and leaves the rest to the next.
//! - The number of replicas may be a fraction: the first partitions then have one copy more than the others.
//! - A change that asks for more than one move of a partition takes several rebalances; [`Moves`] says what is left.
//!   The rebalance right after a change holds to the bound on moves; a further one without a change takes the moves
//!   that finishing needs. Many large changes at once on a ring of full size (a second region, and every weight
//!   changed) may take ten.
//! - Not here: Swift's increase of the partition power, its composite rings, and its builder files (Python pickles): a
//!   builder is made from a ring file instead (`write_builder`).

mod builder;
mod builder_file;
mod candidates;
mod chain;
pub mod change;
pub mod command;
mod device;
mod envelope;
mod error;
mod figures;
mod fresh;
mod handoff;
mod layout;
pub mod limits;
mod mix;
mod overload;
mod rebalance;
mod report;
mod resize;
mod ring;
mod ring_file;
mod ring_parts;
mod settings;
mod shift;
mod swift_ring;
mod table;
#[cfg(test)]
mod testing;
mod tolerance;
mod topology;

pub use builder::Builder;
pub use device::{Device, DeviceId, PartitionId};
pub use error::RingError;
pub use figures::{Dispersion, MAX_BALANCE, Spread};
pub use rebalance::Moves;
pub use report::{DeviceLoad, Report, Together};
pub use ring::Ring;
pub use ring_parts::{MAX_PARTS, MIN_PART_BYTES, RingFile};
pub use settings::{DeviceChange, Place};
