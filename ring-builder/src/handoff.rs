//! Who stands in for a primary that is down.

use std::collections::HashMap;

use crate::device::{Device, DeviceId, PartitionId};
use crate::mix::mix;

/// A failure domain of a device: (region), (region, zone) or (region, zone, node).
type Domain = (u32, Option<u32>, Option<u64>);

fn domains(device: &Device) -> [Domain; 3] {
    let Device { region, zone, node, .. } = *device;
    [
        (region, None, None),
        (region, Some(zone), None),
        (region, Some(zone), Some(node)),
    ]
}

/// Draws one device after the other, each time from the emptiest failure domain.
///
/// Each draw looks at all devices left: a caller wants one or two, hardly ever all.
pub(crate) struct Handoffs<'a> {
    left: Vec<(&'a Device, u64)>,
    copies: HashMap<Domain, usize>,
}

impl<'a> Handoffs<'a> {
    pub(crate) fn new(devices: &'a [Device], primaries: &[DeviceId], partition: PartitionId) -> Self {
        let mut handoffs = Self {
            left: Vec::with_capacity(devices.len()),
            copies: HashMap::new(),
        };
        let salt = mix(u64::from(partition.0));
        for device in devices {
            if primaries.contains(&device.id) {
                handoffs.occupy(device);
            } else if device.weight > 0.0 {
                handoffs.left.push((device, mix(salt ^ u64::from(device.id.0))));
            }
        }
        handoffs
    }

    fn occupy(&mut self, device: &Device) {
        for domain in domains(device) {
            *self.copies.entry(domain).or_default() += 1;
        }
    }
}

impl Iterator for Handoffs<'_> {
    type Item = DeviceId;

    fn next(&mut self) -> Option<DeviceId> {
        let crowd = |domain: &Domain| self.copies.get(domain).copied().unwrap_or(0);
        let rank = |&(device, hash): &(&Device, u64)| (domains(device).map(|domain| crowd(&domain)), hash, device.id);
        let (at, _) = self.left.iter().enumerate().min_by_key(|(_, entry)| rank(entry))?;
        let (device, _) = self.left.swap_remove(at);
        self.occupy(device);
        Some(device.id)
    }
}

#[cfg(test)]
mod tests;
