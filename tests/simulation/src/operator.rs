//! An operator who changes the ring while everything else goes wrong: rings are applied, paused, aborted; devices are
//! said to have failed and taken back. The cluster may refuse; nothing it accepts may cost a byte.

use std::time::Duration;

use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use storage_node::client::{ApplyOptions, DataPlane, Phase};

use crate::cluster::{Held, ProxyMachine};
use crate::dice::SimDice;

/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the operator asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// A ring in which this device weighs so much, in quarters.
    Weigh(DeviceId, u8),
    Abort,
    Pause(bool),
    /// Others shall stand in for the device, or it shall have its partitions back.
    Failed(DeviceId, bool),
}

impl Order {
    /// The next one, for a cluster of `devices` devices.
    pub(crate) fn draw(dice: &SimDice, devices: u64) -> Self {
        // Ids of a simulated cluster's devices count from 0.
        let device = DeviceId(dice.below(devices) as u32);
        match dice.below(10) {
            0..6 => Self::Weigh(device, [0, 1, 2, 4, 8][dice.below(5) as usize]),
            6 => Self::Abort,
            7 => Self::Pause(dice.chance(500)),
            _ => Self::Failed(device, dice.chance(600)),
        }
    }
}

impl ProxyMachine {
    /// Gives an order once; says what became of it.
    pub(crate) fn obey(&self, order: Order, seed: u64) -> impl Future<Output = String> + Send + use<> {
        let held = self.held();
        async move {
            match held.order(order, seed).await {
                Ok(()) => format!("{order:?}: done"),
                Err(why) => format!("{order:?}: {why}"),
            }
        }
    }
}

impl Held {
    /// Of one of the policies.
    async fn order(&self, order: Order, seed: u64) -> Result<(), String> {
        let client = &self.client;
        let policies = client.placed_policies();
        let which = seed % policies.len().max(1) as u64;
        let policy = *policies.get(which as usize).ok_or("this proxy knows no ring")?;
        match order {
            Order::Weigh(device, quarters) => self.weigh(policy, device, f64::from(quarters) / 4.0, seed).await,
            Order::Abort => told(client.abort_ring(policy, DEADLINE).await),
            Order::Pause(paused) => told(client.pause_ring(policy, paused, DEADLINE).await),
            Order::Failed(device, failed) => told(client.device_failed(policy, device, failed, DEADLINE).await),
        }
    }

    async fn weigh(&self, policy: PolicyId, device: DeviceId, weight: f64, seed: u64) -> Result<(), String> {
        let client = &self.client;
        let (state, _) = client.ring_state(policy, DEADLINE).await.map_err(|e| e.to_string())?;
        let live = client.ring_of_file(policy, &state.current, DEADLINE).await;
        let mut builder = ring::Builder::from_ring(&live.map_err(|e| e.to_string())?.ring, 0);
        let changed = builder.set_weight(ring::DeviceId(device.0), weight);
        changed.map_err(|e| e.to_string())?;
        builder.rebalance(1, seed).map_err(|e| e.to_string())?;
        let ring = builder.ring().map_err(|e| e.to_string())?;
        let options = ApplyOptions {
            min_part_hours: 0,
            accept_fewer_domains: false,
            dry_run: false,
        };
        told(client.apply_ring(policy, &ring, options, DEADLINE).await)
    }

    /// Whether every policy has one live ring and no device is stood in for.
    pub(crate) async fn rings_rest(&self) -> Result<(), String> {
        let policies = self.client.placed_policies();
        if policies.is_empty() {
            return Err("this proxy knows no ring".to_owned());
        }
        for policy in policies {
            self.ring_rests(policy).await?;
        }
        Ok(())
    }

    /// What only the operator can do for that is done: the last orders may have taken effect late.
    async fn ring_rests(&self, policy: PolicyId) -> Result<(), String> {
        let client = &self.client;
        let (state, _) = client.ring_state(policy, DEADLINE).await.map_err(|e| e.to_string())?;
        if state.paused {
            told(client.pause_ring(policy, false, DEADLINE).await)?;
        }
        for device in state.current.failed.difference(&state.noticed) {
            told(client.device_failed(policy, DeviceId(*device), false, DEADLINE).await)?;
        }
        match state.phase {
            Phase::Settled if state.current.failed.is_empty() => {}
            phase => return Err(format!("the ring is {phase:?}, failed: {:?}", state.current.failed)),
        }
        // This proxy shall know it too.
        match client.rings(policy) {
            Some(live) if live.state == state => Ok(()),
            _ => Err("this proxy knows an older ring, or none".to_owned()),
        }
    }
}

fn told<T>(said: Result<T, impl std::fmt::Display>) -> Result<(), String> {
    said.map(|_| ()).map_err(|e| e.to_string())
}
