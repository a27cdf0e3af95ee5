//! Enough free space at the end of a move.

use std::collections::BTreeMap;

use super::{Change, ChangeRefused};
use crate::device::{DeviceId, PartitionId};

/// What a device's node says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// All of it.
    pub total_bytes: u64,
    /// What is in use.
    pub used_bytes: u64,
}

/// How full a device is and will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// The device.
    pub device: DeviceId,
    /// What its node says of it.
    pub capacity: Capacity,
    /// Bytes in use once it has received all and dropped what left.
    pub used_after_bytes: u64,
    /// Bytes in use when it has received all and dropped nothing yet: copies are added before any is removed.
    pub used_at_most_bytes: u64,
}

impl Projection {
    /// How full the device is in the end, in whole percent, rounded up.
    #[must_use]
    pub fn percent_after(&self) -> u64 {
        let percent = (u128::from(self.used_after_bytes) * 100).div_ceil(u128::from(self.capacity.total_bytes.max(1)));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// The devices that take part in `change`, and how full they will be. A device of unknown capacity is absent.
pub fn projections(
    change: &Change,
    partition_bytes: impl Fn(PartitionId) -> u64,
    capacities: &BTreeMap<DeviceId, Capacity>,
) -> Vec<Projection> {
    let traffic = change.traffic(partition_bytes);
    let known = traffic
        .into_iter()
        .filter_map(|(device, traffic)| Some((device, traffic, *capacities.get(&device)?)));
    let project = |(device, traffic, capacity): (DeviceId, super::Traffic, Capacity)| {
        let used_at_most_bytes = capacity.used_bytes.saturating_add(traffic.bytes_in);
        let used_after_bytes = used_at_most_bytes.saturating_sub(traffic.bytes_out);
        Projection {
            device,
            capacity,
            used_after_bytes,
            used_at_most_bytes,
        }
    };
    known.map(project).collect()
}

/// Whether no device that receives copies is more than `percent_max` percent full in the end.
///
/// # Errors
/// [`ChangeRefused::TooFull`] names the fullest; [`ChangeRefused::NoCapacity`] a receiver that is not in `capacities`.
pub fn check_space(
    change: &Change,
    partition_bytes: impl Fn(PartitionId) -> u64,
    capacities: &BTreeMap<DeviceId, Capacity>,
    percent_max: u64,
) -> Result<(), ChangeRefused> {
    let receivers = change.traffic(&partition_bytes);
    let is_receiver = |id: &DeviceId| receivers.get(id).is_some_and(|traffic| traffic.partitions_in > 0);
    if let Some(&silent) = receivers
        .keys()
        .find(|id| is_receiver(id) && !capacities.contains_key(id))
    {
        return Err(ChangeRefused::NoCapacity(silent));
    }
    let all = projections(change, partition_bytes, capacities);
    let too_full = all
        .iter()
        .filter(|one| is_receiver(&one.device) && one.percent_after() > percent_max);
    let devices = too_full.clone().count();
    match too_full.max_by_key(|one| one.percent_after()) {
        None => Ok(()),
        Some(fullest) => Err(ChangeRefused::TooFull {
            id: fullest.device,
            percent_after: fullest.percent_after(),
            percent_max,
            devices,
        }),
    }
}
