//! One rebalance: from the devices and the old table to the new table.

use crate::builder::{Builder, NEVER};
use crate::device::DeviceId;
use crate::fresh;
use crate::topology::Topology;

/// What a rebalance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Replicas placed for the first time.
    pub placed: u64,
    /// Replicas of removed devices placed anew.
    pub refilled: u64,
    /// Replicas moved from a device that is still there.
    pub moved: u64,
}

pub(crate) fn run(builder: &mut Builder, _now_hours: u32, seed: u64) -> Moves {
    let devices: Vec<_> = builder.devices.values().cloned().collect();
    let tree = Topology::new(
        &devices,
        builder.partitions(),
        builder.replicas,
        &vec![0; devices.len()],
    );
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let table = fresh::place(&tree, builder.partitions(), builder.replicas, seed);
    builder.slots = table.into_iter().map(|device| ids[device]).collect();
    builder.moved_at = vec![NEVER; builder.partitions() as usize];
    Moves {
        placed: builder.slots.len() as u64,
        ..Moves::default()
    }
}
