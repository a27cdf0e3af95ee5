//! Why a ring is not taken, each with a sentence that says what to do.

use super::domains::Thinner;
use crate::device::{DeviceId, PartitionId};

/// A ring is refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChangeRefused {
    /// The file's version is not above the live ring's.
    #[error(
        "this ring has version {new}, and version {live} is live: run `rebalance` on the newest builder file, and apply what it writes"
    )]
    Older {
        /// The live version.
        live: u64,
        /// The file's version.
        new: u64,
    },
    /// The number of partitions differs.
    #[error(
        "this ring has 2^{new} partitions, and the live one 2^{live}: the number of partitions cannot change; make the ring with the builder file of this policy"
    )]
    OtherPartitions {
        /// The live ring's power of two.
        live: u8,
        /// The file's.
        new: u8,
    },
    /// No device is in both rings.
    #[error("this ring and the live one have no device in common: is it of another cluster or policy?")]
    OtherCluster,
    /// Every device has another address than in the live ring.
    #[error(
        "device {id} is at {new} in this ring and at {live} in the live one, and no device is where it was: is it of \
         another cluster? Machines that got new addresses keep their old ones in the ring: nodes are not found by it"
    )]
    OtherMachines {
        /// The first device of both.
        id: DeviceId,
        /// Its address in the live ring.
        live: String,
        /// Its address in the file.
        new: String,
    },
    /// One id means two devices.
    #[error(
        "device {id} is {live_name} of node {live_node} in the live ring, and {new_name} of node {new_node} in this one: \
         is it of another cluster or policy? make it with the builder file that made the live one"
    )]
    OtherDevice {
        /// The id.
        id: DeviceId,
        /// Its node in the live ring.
        live_node: u64,
        /// Its name in the live ring.
        live_name: String,
        /// Its node in the file.
        new_node: u64,
        /// Its name in the file.
        new_name: String,
    },
    /// The ring gives data to devices that no node has reported.
    #[error(
        "{count} device(s) of this ring are unknown to the cluster, first device {id} ({name} of node {node}): \
         start that node with the device configured, or remove it from the builder"
    )]
    UnknownDevices {
        /// How many.
        count: usize,
        /// The first.
        id: DeviceId,
        /// Its node.
        node: u64,
        /// Its name.
        name: String,
    },
    /// A partition would move two replicas at once.
    #[error(
        "{partitions} partition(s) would move two or more replicas at once, first partition {first}: \
         `rebalance` moves one at a time, so apply the rings between the live one (version {live}) and this one first"
    )]
    TwoAtOnce {
        /// How many.
        partitions: usize,
        /// The first.
        first: PartitionId,
        /// The live version.
        live: u64,
    },
    /// A partition that moved a short time ago would move again.
    #[error(
        "{partitions} partition(s) moved {hours_ago} hour(s) ago and would move again, first partition {first}: \
         wait {hours_left} more hour(s), or make the ring without `pretend_min_part_hours_passed`"
    )]
    TooSoon {
        /// How many.
        partitions: usize,
        /// The first.
        first: PartitionId,
        /// When the last change was applied.
        hours_ago: u32,
        /// Until min-part-hours have passed.
        hours_left: u32,
    },
    /// Copies would stand closer together than they do now.
    #[error("{0}")]
    Thinner(Thinner),
    /// Fewer devices or nodes than a write needs.
    #[error(
        "partition {partition} would have its {copies} copies on {nodes} node(s), and a write needs {quorum} in \
         different ones: add nodes, or weight to other nodes"
    )]
    TooSmall {
        /// The first such partition.
        partition: PartitionId,
        /// Its copies.
        copies: usize,
        /// The nodes that hold them.
        nodes: usize,
        /// The nodes a write needs.
        quorum: usize,
    },
    /// A partition does not name as many different devices as the policy has fragments.
    #[error(
        "partition {partition} names {devices} different device(s), and the policy needs {slots}: make the ring with \
         `create ... {slots}` as its replicas, over at least {slots} devices"
    )]
    OtherSlots {
        /// The first such partition.
        partition: PartitionId,
        /// Its different devices.
        devices: usize,
        /// What the policy needs.
        slots: usize,
    },
    /// One node would hold more fragments of a chunk than the policy can lose.
    #[error(
        "partition {partition} has {count} fragments on node {node}, and the policy bears the loss of {per_node_max}: \
         add nodes, give the nodes more equal weights, or make the policy with more parity"
    )]
    Crowded {
        /// The first such partition.
        partition: PartitionId,
        /// The node.
        node: u64,
        /// Its fragments of a chunk.
        count: usize,
        /// How many the policy bears to lose.
        per_node_max: usize,
    },
    /// A device would be too full in the end.
    #[error(
        "device {id} would be {percent_after} % full in the end, and at most {percent_max} % are allowed \
         ({devices} device(s) in all): lower its weight, add devices, or free space first"
    )]
    TooFull {
        /// The fullest device.
        id: DeviceId,
        /// How full it would be.
        percent_after: u64,
        /// How full it may be.
        percent_max: u64,
        /// How many devices would be too full.
        devices: usize,
    },
    /// A device that is to receive copies has not said how large it is.
    #[error(
        "device {0} is to receive copies and has not reported its capacity: start its node, or set its weight to 0"
    )]
    NoCapacity(DeviceId),
}
