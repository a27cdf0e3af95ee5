//! Names of partitions and devices, and what a device is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::RingError;
use crate::limits::{MAX_ADDRESS_BYTES, MAX_META_BYTES, MAX_NAME_BYTES, MAX_WEIGHT};

/// One device of a ring. Given by the builder, never reused inside a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub u32);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition: the placement hashes that share their top bits. From 0 to `Ring::partitions() - 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One disk of one node, and the failure domains it stands in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Given by [`Builder::add`](crate::Builder::add), which ignores the value it is handed.
    pub id: DeviceId,
    /// Widest failure domain: a site.
    pub region: u32,
    /// A room or rack inside its region; zone 1 of region 1 and zone 1 of region 2 are two zones.
    pub zone: u32,
    /// One machine. It stands in one zone and has one address.
    pub node: u64,
    /// `host:port` of the node. The host is the same for all devices of a node; the port may differ.
    pub address: String,
    /// Folder name of the device on its node, for example `d0`.
    pub name: String,
    /// Share of the data, relative to the other devices; 0 drains the device.
    pub weight: f64,
    /// `host:port` for traffic between nodes, where a network of its own carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<String>,
    /// Whatever the operator wants to remember: a serial number, a model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub meta: String,
}

impl Device {
    /// Whether name, address and weight are usable.
    pub(crate) fn check(&self) -> Result<(), RingError> {
        check_weight(self.weight)?;
        check_address(&self.address)?;
        self.replication.as_deref().map_or(Ok(()), check_address)?;
        if self.meta.len() > MAX_META_BYTES || self.meta.contains(['\n', '\r']) {
            return Err(RingError::BadMeta(self.meta.chars().take(MAX_META_BYTES).collect()));
        }
        let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let name = self.name.as_bytes();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name[0] == b'.' || !name.iter().all(|&b| usual(b)) {
            return Err(RingError::BadName(self.name.clone()));
        }
        Ok(())
    }

    /// The host of [`Self::address`], without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        split_address(&self.address).0
    }

    /// The port of [`Self::address`].
    #[must_use]
    pub fn port(&self) -> u16 {
        split_address(&self.address).1
    }

    /// Host and port for traffic between nodes: those of [`Self::replication`], or else the usual ones.
    #[must_use]
    pub fn replication_host_port(&self) -> (&str, u16) {
        split_address(self.replication.as_deref().unwrap_or(&self.address))
    }
}

/// Host, without brackets, and port of an address that was checked; port 0 of one that was not.
fn split_address(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.trim_matches(['[', ']']), port.parse().unwrap_or(0))
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn join_address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

pub(crate) fn check_weight(weight: f64) -> Result<(), RingError> {
    if (0.0..=MAX_WEIGHT).contains(&weight) {
        Ok(())
    } else {
        Err(RingError::BadWeight(weight))
    }
}

pub(crate) fn check_address(address: &str) -> Result<(), RingError> {
    let bad = || RingError::BadAddress(address.chars().take(MAX_ADDRESS_BYTES).collect());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let plain = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => plain && !host.is_empty(),
    };
    let port_ok = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if address.len() > MAX_ADDRESS_BYTES || !host_ok || !port_ok {
        Err(bad())
    } else {
        Ok(())
    }
}
