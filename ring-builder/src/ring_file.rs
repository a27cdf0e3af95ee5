//! The ring as bytes.
//!
//! ```text
//! envelope "HALORING", version 1 (see `envelope`), around:
//!   8  ring version
//!   1  partition power
//!   1  replicas
//!   2  number of devices, n
//!   n  devices by rising id: id 4, region 4, zone 4, node 8, weight 8 (IEEE 754 bits), address 2+text, name 2+text
//!   2 x replicas x partitions: for each partition, for each replica, the device's position in the list above
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::device::{Device, DeviceId};
use crate::envelope::{Kind, Reader, put_device};
use crate::error::RingError;
use crate::limits::{MAX_PART_POWER, MAX_REPLICAS, MAX_SLOTS};
use crate::ring::{Inner, Ring};

const RING: Kind = Kind {
    what: "ring",
    magic: *b"HALORING",
    version: 1,
};

/// No ring file is longer: the largest table, and 400 bytes for each of the most devices.
pub(crate) const MAX_RING_BYTES: u64 = 2 * MAX_SLOTS + 400 * 65_536;

impl Ring {
    /// The ring as a checksummed file. The same ring gives the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Inner {
            version,
            part_power,
            replicas,
            devices,
            slots,
        } = &*self.inner;
        let mut body = Vec::with_capacity(16 + devices.len() * 64 + slots.len() * 2);
        body.extend_from_slice(&version.to_le_bytes());
        body.push(*part_power);
        body.push(u8::try_from(*replicas).expect("at most MAX_REPLICAS"));
        put_devices(&mut body, devices.len(), devices.iter());
        put_slots(&mut body, devices, slots);
        RING.seal(&body)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`RingError::NotOurs`], [`RingError::OtherVersion`] or [`RingError::Damaged`]; never a panic, and never more
    /// memory than a small multiple of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        let mut body = RING.open(bytes)?;
        let version = body.u64()?;
        let (part_power, replicas) = read_size(&mut body)?;
        let devices = read_devices(&mut body)?;
        let slots = read_slots(&mut body, &devices, (part_power, replicas), None)?;
        body.finish()?;
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                part_power,
                replicas,
                devices,
                slots,
            }),
        })
    }
}

pub(crate) fn put_devices<'a>(body: &mut Vec<u8>, count: usize, devices: impl Iterator<Item = &'a Device>) {
    let count = u16::try_from(count).expect("at most MAX_DEVICES");
    body.extend_from_slice(&count.to_le_bytes());
    for device in devices {
        put_device(body, device);
    }
}

/// Entry of the table of a builder file for a replica whose device was removed. A ring file has none.
const NO_DEVICE: u16 = u16::MAX;

/// Writes each slot as the device's position in `devices`, which are sorted by id.
pub(crate) fn put_slots(body: &mut Vec<u8>, devices: &[Device], slots: &[DeviceId]) {
    for id in slots {
        let at = devices.binary_search_by_key(id, |device| device.id);
        let at = at.map_or(NO_DEVICE, |at| u16::try_from(at).expect("at most MAX_DEVICES"));
        body.extend_from_slice(&at.to_le_bytes());
    }
}

/// Partition power and replicas, inside the limits.
pub(crate) fn read_size(body: &mut Reader<'_>) -> Result<(u8, usize), RingError> {
    let (part_power, replicas) = (body.u8()?, usize::from(body.u8()?));
    let fits = part_power <= MAX_PART_POWER
        && (1..=MAX_REPLICAS).contains(&replicas)
        && (replicas as u64) << part_power <= MAX_SLOTS;
    if fits {
        Ok((part_power, replicas))
    } else {
        Err(body.kind.damaged("its size is beyond the limits"))
    }
}

pub(crate) fn read_devices(body: &mut Reader<'_>) -> Result<Vec<Device>, RingError> {
    let count = body.u16()?;
    let mut devices: Vec<Device> = Vec::new();
    let mut names = BTreeSet::new();
    let mut nodes = BTreeMap::new();
    for _ in 0..count {
        let device = body.device()?;
        if devices.last().is_some_and(|last| last.id >= device.id) {
            return Err(body.kind.damaged("its devices are not sorted by id"));
        }
        if !names.insert((device.node, device.name.clone())) {
            return Err(body.kind.damaged("it lists a device twice"));
        }
        let place = (device.region, device.zone, device.address.clone());
        if *nodes.entry(device.node).or_insert_with(|| place.clone()) != place {
            return Err(body.kind.damaged("a node in it stands in two places"));
        }
        devices.push(device);
    }
    Ok(devices)
}

/// The table: every entry names a device (or is `lost`, when that is allowed), and no partition names one twice.
pub(crate) fn read_slots(
    body: &mut Reader<'_>,
    devices: &[Device],
    (part_power, replicas): (u8, usize),
    lost: Option<DeviceId>,
) -> Result<Vec<DeviceId>, RingError> {
    let kind = body.kind;
    let bytes = body.take((replicas << part_power) * 2)?;
    let mut slots = Vec::with_capacity(replicas << part_power);
    for pair in bytes.as_chunks::<2>().0 {
        let at = u16::from_le_bytes(*pair);
        let device = devices
            .get(usize::from(at))
            .map(|device| device.id)
            .or(lost.filter(|_| at == NO_DEVICE));
        slots.push(device.ok_or_else(|| kind.damaged("its table names a device that it does not list"))?);
    }
    let twice = |copies: &[DeviceId], at: usize| copies[..at].contains(&copies[at]) && Some(copies[at]) != lost;
    if slots
        .chunks_exact(replicas)
        .any(|copies| (1..replicas).any(|at| twice(copies, at)))
    {
        return Err(kind.damaged("a partition has two copies on one device"));
    }
    Ok(slots)
}

#[cfg(test)]
mod tests;
