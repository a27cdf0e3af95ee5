//! What can go wrong, each with a sentence that says what to do next.

use crate::device::DeviceId;
use crate::limits::{
    MAX_DEVICES, MAX_META_BYTES, MAX_NAME_BYTES, MAX_OVERLOAD, MAX_PART_POWER, MAX_REPLICAS, MAX_SLOTS, MAX_WEIGHT,
};

/// Every error of this crate. Nothing has changed when one is returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RingError {
    /// The partition power is above the limit.
    #[error("partition power {0} is too large: choose one from 0 to {MAX_PART_POWER}")]
    BadPartPower(u8),
    /// The number of replicas is below one or above the limit.
    #[error("{0} replicas are not possible: choose a number from 1 to {MAX_REPLICAS}")]
    BadReplicas(f64),
    /// Partitions times replicas is above the limit.
    #[error(
        "2^{part_power} partitions x {replicas} replicas is more than {MAX_SLOTS}: choose a smaller partition power"
    )]
    TooLarge {
        /// The partition power asked for.
        part_power: u8,
        /// The replicas asked for.
        replicas: usize,
    },
    /// A weight that is no weight.
    #[error("weight {0} is not usable: give a number from 0 (drain the device) to {MAX_WEIGHT:e}")]
    BadWeight(f64),
    /// A device name that could not be a folder's name.
    #[error(
        "device name {0:?} is not usable: give 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`, not starting with `.`"
    )]
    BadName(String),
    /// A remark that is too long or has line breaks.
    #[error("remark {0:?} is not usable: give at most {MAX_META_BYTES} bytes in one line")]
    BadMeta(String),
    /// An overload that is none.
    #[error("overload {0} is not usable: give a number from 0 to {MAX_OVERLOAD}, for example 0.1 or 10%")]
    BadOverload(f64),
    /// An address that is not `host:port`.
    #[error("address {0:?} is not usable: give it as host:port, for example 10.0.0.1:7000 or [fd00::1]:7000")]
    BadAddress(String),
    /// The same device of the same node is already there.
    #[error("node {node} already has a device {name:?} (id {id}): choose another name, or change that one's weight")]
    DuplicateDevice {
        /// The node that has it.
        node: u64,
        /// Its folder name.
        name: String,
        /// The id it has.
        id: DeviceId,
    },
    /// A node is one machine, so it stands in one zone and has one host name.
    #[error(
        "node {node} is already known in region {region}, zone {zone}, at {address}: give the same ones for all its \
         devices, or another node number"
    )]
    NodeDiffers {
        /// The node.
        node: u64,
        /// Where it is known to be.
        region: u32,
        /// Where it is known to be.
        zone: u32,
        /// The address it is known by.
        address: String,
    },
    /// No node has this number.
    #[error("there is no node {0}: `show` lists those that exist")]
    UnknownNode(u64),
    /// No device has this id, or it was removed.
    #[error("there is no device {0}: `show` lists those that exist")]
    UnknownDevice(DeviceId),
    /// The limit of devices is reached.
    #[error("a ring holds at most {MAX_DEVICES} devices: remove some first")]
    TooManyDevices,
    /// Copies of one partition must be on different devices.
    #[error(
        "{replicas} replicas need {replicas} devices with a weight above 0, and there are {devices}: add devices first"
    )]
    TooFewDevices {
        /// Replicas of the ring.
        replicas: usize,
        /// Devices that may hold one.
        devices: usize,
    },
    /// Nothing was placed yet, or devices changed after it was.
    #[error("devices were changed since the last rebalance (ring version {0}): run `rebalance` first")]
    NotBalanced(u64),
    /// Swift's ring files have 16 bits for an id.
    #[error("device {0} cannot stand in a Swift ring, whose ids end at 65534: write the ring in our own format")]
    IdTooLarge(DeviceId),
    /// The bytes are something else.
    #[error("this is not a {what} file: check the path")]
    NotOurs {
        /// `ring` or `ring builder`.
        what: &'static str,
    },
    /// A format this program does not know.
    #[error(
        "this {what} file has format version {found}, and this program reads those up to {known}: use the program that wrote it"
    )]
    OtherVersion {
        /// `ring` or `ring builder`.
        what: &'static str,
        /// The version in the file.
        found: u16,
        /// The version this program reads.
        known: u16,
    },
    /// The file is shorter or longer than it says, or its checksum differs.
    #[error("this {what} file is damaged ({why}): restore it from a copy")]
    Damaged {
        /// `ring` or `ring builder`.
        what: &'static str,
        /// What was found.
        why: &'static str,
    },
    /// A ring file cannot be cut into pieces of this size.
    #[error(
        "a ring file of {bytes} bytes cannot be stored in pieces of {max_bytes}: raise the limit, or choose a smaller partition power"
    )]
    PartsTooSmall {
        /// The limit asked for.
        max_bytes: usize,
        /// The file's length.
        bytes: usize,
    },
}
