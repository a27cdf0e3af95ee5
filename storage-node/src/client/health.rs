//! Asks every other node now and then how it is, so that a full or read-only device is avoided before a write meets it,
//! and a node that came back is used again without a request having to try it first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metadata::ids::NodeId;

use super::hints::Hints;
use crate::device::DeviceState;
use crate::node::NodeStatus;
use crate::shard::calls::decode;
use crate::wire::{AddressBook, CallKind, Channel, SharedCaller, WireError};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a node may take to say how it is.
const DEADLINE: Duration = Duration::from_secs(2);
/// From this fill on, in thousandths, a device is left to those who already write to it (DESIGN: writes stop at 90 %).
const FULL_PERMILLE: u64 = 900;

/// Where it asks, and what it learns.
pub(super) struct Health {
    pub(super) caller: SharedCaller,
    pub(super) book: AddressBook,
    pub(super) hints: Arc<Hints>,
    /// The own node, which needs no asking.
    pub(super) local: Option<NodeId>,
}

impl Health {
    /// Asks until the task is dropped.
    pub(super) async fn run(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let others = self.book.nodes().into_iter().filter(|node| Some(*node) != self.local);
            futures::future::join_all(others.map(|node| self.look(node))).await;
        }
    }

    async fn look(&self, node: NodeId) {
        let asked = self
            .caller
            .call(node, Channel::Metadata, CallKind::NodeStatus, Bytes::new(), DEADLINE)
            .await;
        let status = match asked.map(|body| decode::<NodeStatus>(&body)) {
            Ok(Ok(status)) => status,
            Err(WireError::Unreachable { .. }) => return self.hints.node_failed(node),
            // Slow, busy or of another release is not down.
            Ok(Err(_)) | Err(_) => return,
        };
        self.hints.node_answered(node);
        for device in status.devices {
            match device.usage {
                Ok(usage) if usage.state == DeviceState::Ok && usage.fill_permille() < FULL_PERMILLE => {
                    self.hints.device_took(device.device);
                }
                _ => self.hints.device_refused(device.device),
            }
        }
    }
}
