//! REB-1: never two replicas of a partition on the way at once, so that a reader always finds the others in place.

use super::{Change, ChangeRefused, PartitionMove};
use crate::device::DeviceId;
use crate::ring::Ring;

/// The change before this one.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// The ring before the live one.
    pub before: &'a Ring,
    /// When the live one was applied, in hours since the Unix epoch.
    pub applied_at_hours: u32,
}

/// Whether no partition moves two replicas at once, nor one within `min_part_hours` of its last move.
///
/// Replicas on devices that are `gone` (failed, or removed from the new ring) are exempt: they have to be made anew at
/// once, and no copy is put at risk by that. When one of a partition's replicas is gone, its others must stay.
///
/// # Errors
/// [`ChangeRefused::TwoAtOnce`] or [`ChangeRefused::TooSoon`].
pub fn check_pace(
    change: &Change,
    earlier: Option<Earlier<'_>>,
    now_hours: u32,
    min_part_hours: u32,
    gone: impl Fn(DeviceId) -> bool,
) -> Result<(), ChangeRefused> {
    let lost = |id: DeviceId| gone(id) || change.new_ring().device(id).is_none();
    // Working copies that are given up; a replica that is added without one given up puts nothing at risk.
    let leaving = |moved: &PartitionMove| moved.from.iter().filter(|&&id| !lost(id)).count();
    let at_once = |moved: &&PartitionMove| {
        let any_lost = moved.from.iter().any(|&id| lost(id));
        leaving(moved) + usize::from(any_lost) > 1
    };
    let mut twice = change.moves().iter().filter(at_once);
    if let Some(first) = twice.next() {
        return Err(ChangeRefused::TwoAtOnce {
            partitions: 1 + twice.count(),
            first: first.partition,
            live: change.live().version(),
        });
    }
    let Some(earlier) = earlier else { return Ok(()) };
    let hours_ago = now_hours.saturating_sub(earlier.applied_at_hours);
    if hours_ago >= min_part_hours || earlier.before.part_power() != change.live().part_power() {
        return Ok(());
    }
    let again = |moved: &&PartitionMove| {
        leaving(moved) > 0 && super::moved(earlier.before, change.live(), moved.partition).is_some()
    };
    let mut again = change.moves().iter().filter(again);
    match again.next() {
        None => Ok(()),
        Some(first) => Err(ChangeRefused::TooSoon {
            partitions: 1 + again.count(),
            first: first.partition,
            hours_ago,
            hours_left: min_part_hours - hours_ago,
        }),
    }
}
