//! The names of this crate's metrics; units last.

/// Bytes of bodies stored, counted once whatever the number of copies.
pub(crate) const WRITTEN_BYTES: &str = "halo_store_written_bytes";
/// Bytes of bodies read and verified.
pub(crate) const READ_BYTES: &str = "halo_store_read_bytes";
/// Copies asked of devices, by `outcome` (stored, failed, given_up).
pub(crate) const REPLICA_WRITES: &str = "halo_store_replica_writes_total";
/// Chunks committed with less than all their primaries.
pub(crate) const SHORT_CHUNKS: &str = "halo_store_short_chunks_total";
/// Writes that found no quorum.
pub(crate) const NO_QUORUM: &str = "halo_store_no_quorum_total";
/// Commits whose ring was retired meanwhile, so that their copies were placed again.
pub(crate) const PLACED_AGAIN: &str = "halo_store_placed_again_total";
/// Copies met by reads that fail their checksum (INT-1).
pub(crate) const CORRUPT_COPIES: &str = "halo_store_corrupt_copies_total";
/// Copies that a primary should have and has not.
pub(crate) const ABSENT_COPIES: &str = "halo_store_absent_copies_total";
/// Reads of referenced chunks of which no copy is good.
pub(crate) const LOST_READS: &str = "halo_store_lost_reads_total";
/// Second copies asked because the first was slow.
pub(crate) const HEDGED_READS: &str = "halo_store_hedged_reads_total";
/// Reads of erasure coded chunks that had to decode.
pub(crate) const DEGRADED_READS: &str = "halo_store_degraded_reads_total";
/// Findings of readers not told to the shard because too many were on their way.
pub(crate) const UNTOLD_FINDINGS: &str = "halo_store_untold_findings_total";
/// Bodies that were broken off, their blobs removed at once or left to the collector, by `removal` (now, later).
pub(crate) const UNFINISHED_BODIES: &str = "halo_store_unfinished_bodies_total";
/// Waits for memory that ended in a refusal, by `pool`.
pub(crate) const POOL_REFUSALS: &str = "halo_store_pool_refusals_total";
/// Bytes in use, by `pool`.
pub(crate) const POOL_USED_BYTES: &str = "halo_store_pool_used_bytes";
