//! How far a device may be from its share.

/// A device may be off by this part of its share ...
pub(crate) const PART_OF_SHARE: f64 = 0.01;
/// ... or by this many partitions, whichever is more.
pub(crate) const PARTITIONS: f64 = 1.0;

/// Whether holding `held` partitions is right for a device whose share is `ideal`. An inactive device (weight 0) is
/// right only when it is empty.
pub(crate) fn holds(held: u64, ideal: f64, active: bool) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "at most 2^MAX_PART_POWER")]
    let held = held as f64;
    if active {
        (held - ideal).abs() <= (ideal * PART_OF_SHARE).max(PARTITIONS) + 1e-6
    } else {
        held == 0.0
    }
}
