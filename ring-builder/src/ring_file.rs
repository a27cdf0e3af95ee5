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
        put_devices(&mut body, devices);
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
        let slots = read_slots(&mut body, &devices, part_power, replicas)?;
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

pub(crate) fn put_devices(body: &mut Vec<u8>, devices: &[Device]) {
    let count = u16::try_from(devices.len()).expect("at most MAX_DEVICES");
    body.extend_from_slice(&count.to_le_bytes());
    for device in devices {
        put_device(body, device);
    }
}

/// Writes each slot as the device's position in `devices`, which are sorted by id.
pub(crate) fn put_slots(body: &mut Vec<u8>, devices: &[Device], slots: &[DeviceId]) {
    for id in slots {
        let at = devices
            .binary_search_by_key(id, |device| device.id)
            .expect("slots name devices of the ring");
        body.extend_from_slice(&u16::try_from(at).expect("at most MAX_DEVICES").to_le_bytes());
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
    for _ in 0..count {
        let device = body.device()?;
        if devices.last().is_some_and(|last| last.id >= device.id) {
            return Err(body.kind.damaged("its devices are not sorted by id"));
        }
        devices.push(device);
    }
    Ok(devices)
}

/// The table: every entry names a device, and no partition names one twice.
pub(crate) fn read_slots(
    body: &mut Reader<'_>,
    devices: &[Device],
    part_power: u8,
    replicas: usize,
) -> Result<Vec<DeviceId>, RingError> {
    let kind = body.kind;
    let bytes = body.take((replicas << part_power) * 2)?;
    let mut slots = Vec::with_capacity(replicas << part_power);
    for pair in bytes.as_chunks::<2>().0 {
        let device = devices.get(usize::from(u16::from_le_bytes(*pair)));
        slots.push(
            device
                .ok_or_else(|| kind.damaged("its table names a device that it does not list"))?
                .id,
        );
    }
    let repeats = |copies: &[DeviceId]| (1..copies.len()).any(|at| copies[..at].contains(&copies[at]));
    if slots.chunks_exact(replicas).any(repeats) {
        return Err(kind.damaged("a partition has two copies on one device"));
    }
    Ok(slots)
}
