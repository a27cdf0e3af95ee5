//! The limits of a ring. They bound what a file can make us allocate and how long a rebalance can take.

/// Largest partition power: 16 million partitions.
pub const MAX_PART_POWER: u8 = 24;
/// Most replicas (or fragments) of one partition.
pub const MAX_REPLICAS: usize = 32;
/// Most partitions x replicas of one ring: 64 million, 256 MiB in memory.
pub const MAX_SLOTS: u64 = 1 << 26;
/// Most devices of one ring. The table of a ring file has 16-bit entries, one value of which means "no device".
pub const MAX_DEVICES: usize = 65_535;
/// Largest weight; sums of 65,535 of them stay exact enough.
pub const MAX_WEIGHT: f64 = 1e15;
/// Longest device folder name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest remark on a device, in bytes.
pub const MAX_META_BYTES: usize = 300;
/// Largest overload: a device may hold eleven times its share.
pub const MAX_OVERLOAD: f64 = 10.0;
/// Longest node address, in bytes (a DNS name has at most 253).
pub const MAX_ADDRESS_BYTES: usize = 300;
