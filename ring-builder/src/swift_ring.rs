//! Rings in the file format of OpenStack Swift (`.ring.gz`, format 1), so that Swift's own tools read ours, and we theirs.
//!
//! ```text
//! gzip around:
//!   4  "R1NG"
//!   2  format version, 1           (big-endian)
//!   4  length of the header, n     (big-endian)
//!   n  header: JSON {"byteorder", "devs": [device or null, by id], "part_shift", "replica_count", "version"}
//!   2 x partitions, for each replica: the device's id, in the header's byte order; the last may be shorter
//! ```
//! A device is {"id", "region", "zone", "ip", "port", "replication_ip", "replication_port", "device", "weight", "meta"}.
//! We add "node", which Swift carries along; without it each (region, zone, ip) is one node, numbered in order of
//! appearance.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};

use crate::builder::same_node;
use crate::device::{Device, DeviceId, join_address};
use crate::error::RingError;
use crate::layout::Layout;
use crate::limits::{MAX_DEVICES, MAX_SLOTS};
use crate::ring::{Inner, Ring};
use crate::ring_file::doubles;

const WHAT: &str = "Swift ring";
const MAGIC: &[u8; 4] = b"R1NG";
const FORMAT: u16 = 1;
/// How every gzip file begins.
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bits of the placement hash that Swift uses.
const HASH_BITS: u8 = 32;
/// No header is longer: 2,000 bytes for each of the most devices.
const MAX_HEADER_BYTES: u32 = 2_000 * 65_536;
/// Largest device id: the table has 16 bits, and 65535 means none.
const MAX_ID: u32 = 65_534;

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(default = "little")]
    byteorder: String,
    devs: Vec<Option<SwiftDevice>>,
    part_shift: u8,
    replica_count: usize,
    #[serde(default)]
    version: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SwiftDevice {
    device: String,
    id: u32,
    ip: String,
    #[serde(default)]
    meta: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    port: u16,
    #[serde(default = "one")]
    region: u32,
    #[serde(default)]
    replication_ip: Option<String>,
    #[serde(default)]
    replication_port: Option<u16>,
    weight: f64,
    zone: u32,
}

fn little() -> String {
    "little".to_owned()
}

fn one() -> u32 {
    1
}

fn damaged(why: &'static str) -> RingError {
    RingError::Damaged { what: WHAT, why }
}

impl Ring {
    /// Reads a `.ring.gz` of Swift.
    ///
    /// # Errors
    /// [`RingError::NotOurs`], [`RingError::OtherVersion`], [`RingError::Damaged`], or what [`crate::Builder::add`]
    /// says about a device that cannot be one of ours; never a panic, and never more memory than the limits allow.
    pub fn from_swift(bytes: &[u8]) -> Result<Self, RingError> {
        if !bytes.starts_with(&GZIP) {
            return Err(RingError::NotOurs { what: WHAT });
        }
        let mut reader = GzDecoder::new(bytes);
        let header = read_header(&mut reader)?;
        let devices = devices(header.devs)?;
        let part_power = HASH_BITS
            .checked_sub(header.part_shift)
            .ok_or(damaged("its size makes no sense"))?;
        let order = match header.byteorder.as_str() {
            "little" => u16::from_le_bytes,
            "big" => u16::from_be_bytes,
            _ => return Err(damaged("its byte order is unknown")),
        };
        let (layout, rows) = read_rows(&mut reader, part_power, header.replica_count, order)?;
        let mut slots = Vec::with_capacity(layout.slots());
        for partition in 0..layout.partitions() {
            slots.extend(
                rows[..layout.copies(partition)]
                    .iter()
                    .map(|row| DeviceId(u32::from(row[partition as usize]))),
            );
        }
        let is_known = |id: &DeviceId| devices.binary_search_by_key(id, |device| device.id).is_ok();
        if !slots.iter().all(is_known) {
            return Err(damaged("its table names a device that it does not list"));
        }
        if doubles(layout, &slots, None) {
            return Err(damaged("a partition has two copies on one device"));
        }
        let version = header.version.unwrap_or(0);
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                layout,
                devices,
                slots,
            }),
        })
    }

    /// The ring as a `.ring.gz` of Swift. The same ring gives the same bytes.
    ///
    /// # Errors
    /// [`RingError::IdTooLarge`]: Swift's table has 16 bits for an id.
    pub fn to_swift(&self) -> Result<Vec<u8>, RingError> {
        let Inner {
            version,
            layout,
            devices,
            slots,
        } = &*self.inner;
        let last = devices.last().map_or(0, |device| device.id.0);
        if last > MAX_ID {
            return Err(RingError::IdTooLarge(DeviceId(last)));
        }
        let mut devs: Vec<Option<SwiftDevice>> = Vec::new();
        for device in devices {
            devs.resize_with(device.id.0 as usize, || None);
            devs.push(Some(to_swift_device(device)));
        }
        let header = Header {
            byteorder: little(),
            devs,
            part_shift: HASH_BITS - layout.part_power,
            replica_count: layout.most(),
            version: Some(*version),
        };
        let header = serde_json::to_vec(&header).expect("plain data has a JSON form");
        let length = u32::try_from(header.len()).expect("at most MAX_DEVICES devices of bounded size");
        let mut file = Vec::with_capacity(10 + header.len() + slots.len() * 2);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&FORMAT.to_be_bytes());
        file.extend_from_slice(&length.to_be_bytes());
        file.extend_from_slice(&header);
        for copy in 0..layout.most() {
            let with_it = (0..layout.partitions()).take_while(|&partition| layout.copies(partition) > copy);
            for partition in with_it {
                let id = slots[layout.range(partition).start + copy].0;
                file.extend_from_slice(&u16::try_from(id).expect("at most MAX_ID").to_le_bytes());
            }
        }
        let mut zipped = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        let written = zipped.write_all(&file).and_then(|()| zipped.finish());
        Ok(written.expect("memory takes all that is written"))
    }
}

fn read_header(reader: &mut impl Read) -> Result<Header, RingError> {
    let mut start = [0; 10];
    reader
        .read_exact(&mut start)
        .map_err(|_| damaged("it ends too early, or is no gzip file"))?;
    let [m0, m1, m2, m3, v0, v1, l0, l1, l2, l3] = start;
    if &[m0, m1, m2, m3] != MAGIC {
        return Err(RingError::NotOurs { what: WHAT });
    }
    let found = u16::from_be_bytes([v0, v1]);
    if found != FORMAT {
        return Err(RingError::OtherVersion {
            what: WHAT,
            found,
            known: FORMAT,
        });
    }
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    if length > MAX_HEADER_BYTES {
        return Err(damaged("its header is longer than any ring needs"));
    }
    let mut text = Vec::new();
    let read = reader.take(u64::from(length)).read_to_end(&mut text);
    if read.ok() != Some(length as usize) {
        return Err(damaged("it ends too early"));
    }
    serde_json::from_slice(&text).map_err(|_| damaged("its header is not one"))
}

/// The rows of the table, one for each replica; only the last may be shorter than the number of partitions.
fn read_rows(
    reader: &mut impl Read,
    part_power: u8,
    count: usize,
    order: fn([u8; 2]) -> u16,
) -> Result<(Layout, Vec<Vec<u16>>), RingError> {
    let whole = Layout {
        part_power,
        whole: count,
        extra: 0,
    };
    if count == 0 {
        return Err(damaged("nothing was placed yet: run `rebalance` on its builder"));
    }
    if !whole.is_allowed() {
        return Err(damaged("its size is beyond the limits"));
    }
    let mut table = Vec::new();
    reader
        .take(2 * MAX_SLOTS + 1)
        .read_to_end(&mut table)
        .map_err(|_| damaged("its end cannot be unpacked"))?;
    let row_bytes = 2 << part_power;
    let rows: Vec<Vec<u16>> = table
        .chunks(row_bytes)
        .map(|row| row.as_chunks::<2>().0.iter().map(|&entry| order(entry)).collect())
        .collect();
    if rows.len() != count || table.len() % 2 != 0 {
        return Err(damaged("it is shorter or longer than it says"));
    }
    let last = rows.last().map_or(0, Vec::len);
    let short = last < 1 << part_power;
    let layout = if short {
        let extra = u32::try_from(last).expect("fewer than the partitions");
        Layout {
            part_power,
            whole: count - 1,
            extra,
        }
    } else {
        whole
    };
    if !layout.is_allowed() {
        return Err(damaged("its size is beyond the limits"));
    }
    Ok((layout, rows))
}

fn devices(devs: Vec<Option<SwiftDevice>>) -> Result<Vec<Device>, RingError> {
    if devs.len() > MAX_DEVICES {
        return Err(RingError::TooManyDevices);
    }
    let mut next_node = 1 + devs.iter().flatten().filter_map(|dev| dev.node).max().unwrap_or(0);
    let mut numbers: BTreeMap<(u32, u32, String), u64> = BTreeMap::new();
    let mut nodes: BTreeMap<u64, Device> = BTreeMap::new();
    let mut devices: Vec<Device> = Vec::new();
    for (at, dev) in (0..).zip(devs) {
        let Some(dev) = dev else { continue };
        if dev.id != at {
            return Err(damaged("a device does not stand at its id"));
        }
        let place = (dev.region, dev.zone, dev.ip.clone());
        let node = dev.node.unwrap_or_else(|| {
            *numbers.entry(place).or_insert_with(|| {
                next_node += 1;
                next_node - 1
            })
        });
        let device = from_swift_device(dev, node);
        device.check()?;
        same_node(nodes.entry(node).or_insert_with(|| device.clone()), &device)?;
        devices.push(device);
    }
    Ok(devices)
}

fn from_swift_device(dev: SwiftDevice, node: u64) -> Device {
    let address = join_address(&dev.ip, dev.port);
    let replication_ip = dev.replication_ip.as_deref().unwrap_or(&dev.ip);
    let replication = join_address(replication_ip, dev.replication_port.unwrap_or(dev.port));
    Device {
        id: DeviceId(dev.id),
        region: dev.region,
        zone: dev.zone,
        node,
        name: dev.device,
        weight: dev.weight,
        replication: Some(replication).filter(|other| *other != address),
        address,
        meta: dev.meta,
    }
}

fn to_swift_device(device: &Device) -> SwiftDevice {
    let (replication_ip, replication_port) = device.replication_host_port();
    SwiftDevice {
        device: device.name.clone(),
        id: device.id.0,
        ip: device.host().to_owned(),
        meta: device.meta.clone(),
        node: Some(device.node),
        port: device.port(),
        region: device.region,
        replication_ip: Some(replication_ip.to_owned()),
        replication_port: Some(replication_port),
        weight: device.weight,
        zone: device.zone,
    }
}

#[cfg(test)]
mod tests;
