//! Which nodes and devices failed lately: hints for choosing others, never proof, forgotten after seconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use metadata::ids::{DeviceId, NodeId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the first failure is remembered; every further one in a row doubles it.
const DOWN_MIN: Duration = Duration::from_secs(1);
/// The longest time a failure is remembered before the next attempt may probe.
const DOWN_MAX: Duration = Duration::from_secs(5);

/// Failures of nodes and refusals of devices.
#[derive(Debug, Default)]
pub(super) struct Hints {
    nodes: Mutex<HashMap<NodeId, Failure>>,
    devices: Mutex<HashMap<DeviceId, Failure>>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    in_a_row: u32,
    until: Instant,
}

impl Hints {
    /// The node refused a connection or broke one.
    pub(super) fn node_failed(&self, node: NodeId) {
        failed(&mut self.nodes.lock(), node, Instant::now());
    }

    /// The node did what was asked.
    pub(super) fn node_answered(&self, node: NodeId) {
        self.nodes.lock().remove(&node);
    }

    pub(super) fn node_is_down(&self, node: NodeId) -> bool {
        self.nodes
            .lock()
            .get(&node)
            .is_some_and(|failure| Instant::now() < failure.until)
    }

    /// The device is full, read-only or out.
    pub(super) fn device_refused(&self, device: DeviceId) {
        failed(&mut self.devices.lock(), device, Instant::now());
    }

    pub(super) fn device_took(&self, device: DeviceId) {
        self.devices.lock().remove(&device);
    }

    pub(super) fn device_refuses(&self, device: DeviceId) -> bool {
        self.devices
            .lock()
            .get(&device)
            .is_some_and(|failure| Instant::now() < failure.until)
    }
}

fn failed<K: Hash + Eq>(failures: &mut HashMap<K, Failure>, key: K, now: Instant) {
    let failure = failures.entry(key).or_insert(Failure {
        in_a_row: 0,
        until: now,
    });
    // Many requests that failed together count once.
    if failure.in_a_row > 0 && now < failure.until {
        return;
    }
    let pause = DOWN_MIN.saturating_mul(1 << failure.in_a_row.min(8)).min(DOWN_MAX);
    *failure = Failure {
        in_a_row: failure.in_a_row + 1,
        until: now + pause,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_for_a_growing_bounded_time_and_one_success_forgets_it() {
        let (hints, node) = (Hints::default(), NodeId(1));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            hints.node_failed(node);
            hints.node_failed(node);
            let begun = Instant::now();
            while hints.node_is_down(node) {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            pauses.push(begun.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5]);
        hints.node_failed(node);
        hints.node_answered(node);
        assert!(!hints.node_is_down(node));
    }
}
