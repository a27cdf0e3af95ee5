//! The ring as bytes.
//!
//! ```text
//! envelope "HALORING", version 1 or 2 (see `envelope`), around:
//!   8  ring version
//!   1  partition power
//!   1  copies that every partition has
//!   4  (version 2 only) partitions, from 0 on, that have one more
//!   2  number of devices, n
//!   n  devices by rising id: id 4, region 4, zone 4, node 8, weight 8 (IEEE 754 bits), address 2+text, name 2+text,
//!      (version 2 only) replication address 2+text, remark 2+text
//!   2 x copies: for each partition, for each copy, the device's position in the list above
//! ```
//! A ring that needs nothing of version 2 is written as version 1, so that older programs of a cluster read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::device::{Device, DeviceId};
use crate::envelope::{Kind, Reader, put_device};
use crate::error::RingError;
use crate::layout::Layout;
use crate::limits::MAX_SLOTS;
use crate::ring::{Inner, Ring};
use crate::swift_ring::GZIP;

const RING: Kind = Kind {
    what: "ring",
    magic: *b"HALORING",
    version: 2,
};

/// No ring file is longer: the largest table, and 1,100 bytes for each of the most devices.
pub(crate) const MAX_RING_BYTES: u64 = 2 * MAX_SLOTS + 1_100 * 65_536;

impl Ring {
    /// The ring as a checksummed file. The same ring gives the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Inner {
            version,
            layout,
            devices,
            slots,
        } = &*self.inner;
        let plain = |device: &Device| device.meta.is_empty() && device.replication.is_none();
        let format = if layout.extra == 0 && devices.iter().all(plain) {
            1
        } else {
            2
        };
        let mut body = Vec::with_capacity(16 + devices.len() * 64 + slots.len() * 2);
        body.extend_from_slice(&version.to_le_bytes());
        put_layout(&mut body, *layout, format);
        put_devices(&mut body, devices.len(), devices.iter(), format);
        put_slots(&mut body, devices, slots);
        RING.seal_as(format, &body)
    }

    /// Reads what [`Self::to_bytes`] or [`Self::to_swift`] wrote; which of them, the first bytes tell.
    ///
    /// # Errors
    /// [`RingError::NotOurs`], [`RingError::OtherVersion`] or [`RingError::Damaged`]; never a panic, and never more
    /// memory than a small multiple of `bytes`, or what [`Self::from_swift`] says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        if bytes.starts_with(&GZIP) {
            return Self::from_swift(bytes);
        }
        let (format, mut body) = RING.open(bytes)?;
        let version = body.u64()?;
        let layout = read_layout(&mut body, format)?;
        let devices = read_devices(&mut body, format)?;
        let slots = read_slots(&mut body, &devices, layout, None)?;
        body.finish()?;
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                layout,
                devices,
                slots,
            }),
        })
    }
}

pub(crate) fn put_layout(body: &mut Vec<u8>, layout: Layout, format: u16) {
    body.push(layout.part_power);
    body.push(u8::try_from(layout.whole).expect("at most MAX_REPLICAS"));
    if format >= 2 {
        body.extend_from_slice(&layout.extra.to_le_bytes());
    }
}

pub(crate) fn put_devices<'a>(
    body: &mut Vec<u8>,
    count: usize,
    devices: impl Iterator<Item = &'a Device>,
    format: u16,
) {
    let count = u16::try_from(count).expect("at most MAX_DEVICES");
    body.extend_from_slice(&count.to_le_bytes());
    for device in devices {
        put_device(body, device, format);
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
pub(crate) fn read_layout(body: &mut Reader<'_>, format: u16) -> Result<Layout, RingError> {
    let (part_power, whole) = (body.u8()?, usize::from(body.u8()?));
    let extra = if format >= 2 { body.u32()? } else { 0 };
    let layout = Layout {
        part_power,
        whole,
        extra,
    };
    if layout.is_allowed() {
        Ok(layout)
    } else {
        Err(body.kind.damaged("its size is beyond the limits"))
    }
}

pub(crate) fn read_devices(body: &mut Reader<'_>, format: u16) -> Result<Vec<Device>, RingError> {
    let count = body.u16()?;
    let mut devices: Vec<Device> = Vec::new();
    let mut names = BTreeSet::new();
    let mut nodes = BTreeMap::new();
    for _ in 0..count {
        let device = body.device(format)?;
        if devices.last().is_some_and(|last| last.id >= device.id) {
            return Err(body.kind.damaged("its devices are not sorted by id"));
        }
        if !names.insert((device.node, device.name.clone())) {
            return Err(body.kind.damaged("it lists a device twice"));
        }
        let place = (device.region, device.zone, device.host().to_owned());
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
    layout: Layout,
    lost: Option<DeviceId>,
) -> Result<Vec<DeviceId>, RingError> {
    let kind = body.kind;
    let bytes = body.take(layout.slots() * 2)?;
    let mut slots = Vec::with_capacity(layout.slots());
    for pair in bytes.as_chunks::<2>().0 {
        let at = u16::from_le_bytes(*pair);
        let device = devices
            .get(usize::from(at))
            .map(|device| device.id)
            .or(lost.filter(|_| at == NO_DEVICE));
        slots.push(device.ok_or_else(|| kind.damaged("its table names a device that it does not list"))?);
    }
    if doubles(layout, &slots, lost) {
        return Err(kind.damaged("a partition has two copies on one device"));
    }
    Ok(slots)
}

/// Whether a partition names a device twice.
pub(crate) fn doubles(layout: Layout, slots: &[DeviceId], lost: Option<DeviceId>) -> bool {
    let twice = |copies: &[DeviceId], at: usize| copies[..at].contains(&copies[at]) && Some(copies[at]) != lost;
    (0..layout.partitions()).any(|partition| {
        let copies = &slots[layout.range(partition)];
        (1..copies.len()).any(|at| twice(copies, at))
    })
}

#[cfg(test)]
mod tests;
