//! What ring files and builder files have in common: a magic, a version, a length and a checksum around a body.
//!
//! ```text
//! offset  bytes
//!      0      8  magic: "HALORING" or "HALOBLDR"
//!      8      2  format version
//!     10      2  0
//!     12      8  length of the body
//!     20      n  body
//!   20+n     32  BLAKE3 of everything before
//! ```
//! All numbers are little-endian. The checksum is verified before a single field of the body is believed, and what
//! is allocated is never more than a small multiple of the bytes given.

use crate::device::{Device, DeviceId};
use crate::error::RingError;

const HEADER: usize = 20;
const CHECKSUM: usize = 32;

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 8],
    /// The newest version; older ones are read too.
    pub(crate) version: u16,
}

impl Kind {
    pub(crate) fn damaged(self, why: &'static str) -> RingError {
        RingError::Damaged { what: self.what, why }
    }

    /// Puts header and checksum around `body`, which is of the newest version.
    pub(crate) fn seal(self, body: &[u8]) -> Vec<u8> {
        self.seal_as(self.version, body)
    }

    /// Puts header and checksum around a `body` of this version.
    pub(crate) fn seal_as(self, version: u16, body: &[u8]) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEADER + body.len() + CHECKSUM);
        file.extend_from_slice(&self.magic);
        file.extend_from_slice(&version.to_le_bytes());
        file.extend_from_slice(&[0; 2]);
        file.extend_from_slice(&(body.len() as u64).to_le_bytes());
        file.extend_from_slice(body);
        let sum = blake3::hash(&file);
        file.extend_from_slice(sum.as_bytes());
        file
    }

    /// Verifies the envelope and returns the format version and a reader of the body.
    pub(crate) fn open(self, file: &[u8]) -> Result<(u16, Reader<'_>), RingError> {
        let prefix = &file[..file.len().min(self.magic.len())];
        if prefix.is_empty() || !self.magic.starts_with(prefix) {
            return Err(RingError::NotOurs { what: self.what });
        }
        let mut header = Reader::new(self, file);
        header.take(self.magic.len())?;
        let found = header.u16()?;
        if !(1..=self.version).contains(&found) {
            return Err(RingError::OtherVersion {
                what: self.what,
                found,
                known: self.version,
            });
        }
        let reserved = header.u16()?;
        let length = usize::try_from(header.u64()?).map_err(|_| self.damaged("its length is absurd"))?;
        if header.rest.len().checked_sub(CHECKSUM) != Some(length) {
            return Err(self.damaged("it is shorter or longer than it says"));
        }
        let (covered, sum) = file.split_at(HEADER + length);
        let sum: [u8; CHECKSUM] = sum.try_into().map_err(|_| self.damaged("it has no checksum"))?;
        if blake3::hash(covered) != blake3::Hash::from_bytes(sum) || reserved != 0 {
            return Err(self.damaged("its checksum differs"));
        }
        Ok((found, Reader::new(self, &covered[HEADER..])))
    }
}

/// Reads little-endian fields from the front of a body; never beyond its end.
pub(crate) struct Reader<'a> {
    pub(crate) kind: Kind,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { kind, rest: bytes }
    }

    /// All bytes that were not read yet.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], RingError> {
        let (head, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or_else(|| self.kind.damaged("it ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RingError> {
        let head = self.take(N)?;
        Ok(head.try_into().expect("take returned N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RingError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RingError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RingError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RingError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, RingError> {
        self.u64().map(f64::from_bits)
    }

    fn text(&mut self) -> Result<String, RingError> {
        let length = usize::from(self.u16()?);
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.kind.damaged("a text in it is not UTF-8"))
    }

    /// One device as [`put_device`] wrote it in this version of a file, its fields checked.
    pub(crate) fn device(&mut self, version: u16) -> Result<Device, RingError> {
        let mut device = Device {
            id: DeviceId(self.u32()?),
            region: self.u32()?,
            zone: self.u32()?,
            node: self.u64()?,
            weight: self.f64()?,
            address: self.text()?,
            name: self.text()?,
            ..Device::default()
        };
        if version >= 2 {
            device.replication = Some(self.text()?).filter(|text| !text.is_empty());
            device.meta = self.text()?;
        }
        device
            .check()
            .map_err(|_| self.kind.damaged("a device in it is not usable"))?;
        Ok(device)
    }

    /// The body must have been read to its end.
    pub(crate) fn finish(self) -> Result<(), RingError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.kind.damaged("it has bytes after its end"))
        }
    }
}

/// Appends a device: id, region, zone (4 bytes each), node, weight (8 each), address and name (2 bytes of length, text);
/// from version 2 on, replication address (empty for none) and remark in the same way.
pub(crate) fn put_device(body: &mut Vec<u8>, device: &Device, version: u16) {
    body.extend_from_slice(&device.id.0.to_le_bytes());
    body.extend_from_slice(&device.region.to_le_bytes());
    body.extend_from_slice(&device.zone.to_le_bytes());
    body.extend_from_slice(&device.node.to_le_bytes());
    body.extend_from_slice(&device.weight.to_bits().to_le_bytes());
    let replication = device.replication.as_deref().unwrap_or_default();
    let texts = [
        device.address.as_str(),
        device.name.as_str(),
        replication,
        device.meta.as_str(),
    ];
    for text in &texts[..if version >= 2 { 4 } else { 2 }] {
        let length = u16::try_from(text.len()).expect("checked when the device was added: at most 300 bytes");
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    }
}
