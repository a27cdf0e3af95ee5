//! The builder as bytes: what an operator keeps beside the ring.
//!
//! ```text
//! envelope "HALOBLDR", version 1 or 2 (see `envelope`), around:
//!   1  partition power
//!   1  copies that every partition of the table has
//!   4  (version 2 only) partitions, from 0 on, that have one more
//!   8  (version 2 only) replicas asked for, and
//!   8  overload (IEEE 754 bits both)
//!   4  min-part-hours
//!   8  version of the last rebalance
//!   4  next device id
//!   1  1 when devices were changed since the last rebalance
//!   2  number of devices, n
//!   n  devices, as in a ring file
//!   1  1 when there was a rebalance; only then follow:
//!   2 x copies: the table, as in a ring file; 65535 where the device was removed
//!   4 x partitions: hour of the partition's last move since the Unix epoch, 0 for never
//! ```

use std::collections::BTreeMap;

use crate::builder::{Builder, LOST};
use crate::device::Device;
use crate::envelope::{Kind, Reader};
use crate::error::RingError;
use crate::layout::Layout;
use crate::limits::MAX_OVERLOAD;
use crate::ring_file::{put_devices, put_layout, put_slots, read_devices, read_layout, read_slots};

const BUILDER: Kind = Kind {
    what: "ring builder",
    magic: *b"HALOBLDR",
    version: 2,
};

impl Builder {
    /// The builder as a checksummed file. The same builder gives the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_layout(&mut body, self.layout, BUILDER.version);
        body.extend_from_slice(&self.replicas.to_bits().to_le_bytes());
        body.extend_from_slice(&self.overload.to_bits().to_le_bytes());
        body.extend_from_slice(&self.min_part_hours.to_le_bytes());
        body.extend_from_slice(&self.version.to_le_bytes());
        body.extend_from_slice(&self.next_id.to_le_bytes());
        body.push(u8::from(self.changed));
        put_devices(&mut body, self.devices.len(), self.devices.values(), BUILDER.version);
        body.push(u8::from(!self.slots.is_empty()));
        if !self.slots.is_empty() {
            let devices: Vec<Device> = self.devices.values().cloned().collect();
            put_slots(&mut body, &devices, &self.slots);
            body.extend(self.moved_at.iter().flat_map(|hour| hour.to_le_bytes()));
        }
        BUILDER.seal(&body)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`RingError::NotOurs`], [`RingError::OtherVersion`] or [`RingError::Damaged`]; never a panic, and never more
    /// memory than a small multiple of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        let (format, mut body) = BUILDER.open(bytes)?;
        let layout = read_layout(&mut body, format)?;
        let (replicas, overload) = if format >= 2 {
            (body.f64()?, body.f64()?)
        } else {
            (layout.replicas(), 0.0)
        };
        if Layout::new(layout.part_power, replicas).is_err() || !(0.0..=MAX_OVERLOAD).contains(&overload) {
            return Err(BUILDER.damaged("its settings are beyond the limits"));
        }
        let min_part_hours = body.u32()?;
        let version = body.u64()?;
        let next_id = body.u32()?;
        let changed = flag(&mut body)?;
        let devices = read_devices(&mut body, format)?;
        if devices.last().is_some_and(|last| last.id.0 >= next_id) {
            return Err(BUILDER.damaged("it would give a device id twice"));
        }
        let (mut slots, mut moved_at) = (Vec::new(), Vec::new());
        if flag(&mut body)? {
            slots = read_slots(&mut body, &devices, layout, Some(LOST))?;
            let hours = body.take(4 << layout.part_power)?;
            moved_at = hours
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&hour| u32::from_le_bytes(hour))
                .collect();
        }
        body.finish()?;
        if !changed && (slots.is_empty() || slots.contains(&LOST)) {
            return Err(BUILDER.damaged("its table does not fit its devices"));
        }
        let devices: BTreeMap<_, _> = devices.into_iter().map(|device| (device.id, device)).collect();
        Ok(Self {
            layout,
            replicas,
            overload,
            min_part_hours,
            version,
            changed,
            next_id,
            devices,
            slots,
            moved_at,
        })
    }
}

fn flag(body: &mut Reader<'_>) -> Result<bool, RingError> {
    match body.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BUILDER.damaged("a flag in it is neither 0 nor 1")),
    }
}
