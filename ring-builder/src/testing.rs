//! Devices and checkers for this crate's tests.

use crate::device::{Device, DeviceId};

/// A device of `region` / `zone` / `node`, numbered `n` on it.
pub(crate) fn device(region: u32, zone: u32, node: u64, n: u32, weight: f64) -> Device {
    let address = format!("10.{region}.{zone}.{node}:7000");
    Device {
        id: DeviceId(n),
        region,
        zone,
        node,
        address,
        name: format!("d{n}"),
        weight,
    }
}
