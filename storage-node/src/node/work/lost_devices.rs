//! Notices devices that are out for too long, has others stand in for them, and takes them back when they serve again
//! (HEAL-1). Done by the leader of the system shard, from what the nodes say of themselves.
//!
//! A device that is out is rebuilt at once everywhere else, so nothing is done in haste: a restart, a short cut of the
//! network or a change of cables costs no copy. When more than [`SHARE_MAX`] of the devices are gone it is no disk that
//! failed but a switch or a room, and an operator is asked. The time counted begins anew when another node leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::ids::{DeviceId, NodeId, ShardId};
use metadata::model::PolicyId;
use tokio::time::Instant;

use super::Workshop;
use crate::client::{DataPlane, LiveRings, Says, check_stand_in};
use crate::device::DeviceState;
use crate::node::NodeStatus;

const NAME: &str = "watch over devices";
/// How long a node may take to say something of itself.
const LOOK_DEADLINE: Duration = Duration::from_secs(3);
/// How long a change of the rings may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(15);
/// The share of all devices that may count as failed without an operator's word: one of so many. One always may.
const SHARE_MAX: usize = 3;

/// How a device is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Serves,
    /// Its node answers and says that it does not serve.
    Broken,
    /// Its node does not answer.
    Away,
}

/// One device of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    device: DeviceId,
    condition: Condition,
    /// How long it has been so.
    lasts: Duration,
    /// Others stand in for it.
    failed: bool,
    /// The cluster noticed that by itself.
    noticed: bool,
}

/// How long to wait; zero is for ever.
#[derive(Clone, Copy, Debug)]
struct Patience {
    device: Duration,
    node: Duration,
    back: Duration,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Rest,
    TakeBack(BTreeSet<DeviceId>),
    StandIn(BTreeSet<DeviceId>),
    /// So many at once: an operator shall look.
    TooMany(usize),
}

/// Decides. Plain function.
fn decide(devices: &[Watched], patience: Patience) -> Verdict {
    let longer = |lasts: Duration, than: Duration| !than.is_zero() && lasts >= than;
    let back: BTreeSet<DeviceId> = devices
        .iter()
        .filter(|one| one.noticed && one.condition == Condition::Serves && one.lasts >= patience.back)
        .map(|one| one.device)
        .collect();
    if !back.is_empty() {
        return Verdict::TakeBack(back);
    }
    let lost: BTreeSet<DeviceId> = devices
        .iter()
        .filter(|one| !one.failed)
        .filter(|one| match one.condition {
            Condition::Serves => false,
            Condition::Broken => longer(one.lasts, patience.device),
            Condition::Away => longer(one.lasts, patience.node),
        })
        .map(|one| one.device)
        .collect();
    if lost.is_empty() {
        return Verdict::Rest;
    }
    let gone = lost.len() + devices.iter().filter(|one| one.failed).count();
    if gone > (devices.len() / SHARE_MAX).max(1) {
        Verdict::TooMany(gone)
    } else {
        Verdict::StandIn(lost)
    }
}

/// Looks again and again while this node leads the system shard.
pub(super) async fn run(workshop: Workshop) {
    let mut seen: BTreeMap<PolicyId, Sightings> = BTreeMap::new();
    loop {
        tokio::time::sleep(workshop.options.devices_pause).await;
        if !workshop.leads(ShardId::SYSTEM) {
            seen.clear();
            continue;
        }
        for policy in workshop.client.placed_policies() {
            if let Err(why) = look(&workshop, policy, seen.entry(policy).or_default()).await {
                workshop.board.failed(&name(policy), why);
            }
        }
    }
}

/// How each device was when it was looked at last, and since when.
type Sightings = BTreeMap<DeviceId, (Condition, Instant)>;

/// The name of a policy's status line.
fn name(policy: PolicyId) -> String {
    if policy == PolicyId::default() {
        return NAME.to_owned();
    }
    format!("{NAME}, policy {}", policy.0)
}

async fn look(workshop: &Workshop, policy: PolicyId, seen: &mut Sightings) -> Result<(), String> {
    let Some(live) = workshop.client.rings(policy) else {
        return Ok(());
    };
    let reports = reports(workshop).await;
    let now = Instant::now();
    let conditions = conditions(&live, &reports, |device| workshop.client.home(device));
    seen.retain(|device, _| conditions.contains_key(device));
    let watched: Vec<Watched> = conditions
        .iter()
        .map(|(device, condition)| {
            let entry = seen.entry(*device).or_insert((*condition, now));
            if entry.0 != *condition {
                *entry = (*condition, now);
            }
            Watched {
                device: *device,
                condition: *condition,
                lasts: now.saturating_duration_since(entry.1),
                failed: live.state.current.failed.contains(&device.0),
                noticed: live.state.noticed.contains(&device.0),
            }
        })
        .collect();
    let patience = Patience {
        device: workshop.options.device_patience,
        node: workshop.options.node_patience,
        back: workshop.options.return_patience,
    };
    let verdict = decide(&watched, patience);
    let out = watched.iter().filter(|one| one.condition != Condition::Serves).count();
    workshop.board.state(
        &name(policy),
        format!("{out} of {} devices do not serve", watched.len()),
    );
    carry_out(workshop, policy, &live, verdict).await
}

async fn carry_out(workshop: &Workshop, policy: PolicyId, live: &LiveRings, verdict: Verdict) -> Result<(), String> {
    let client = &workshop.client;
    let (devices, failed) = match verdict {
        Verdict::Rest => {
            asks(workshop, policy, None);
            return Ok(());
        }
        Verdict::TooMany(count) => {
            let what = format!(
                "{count} devices are out, more than a disk or two: mend what they have in common, or say `halo admin \
                 device fail` for each that is lost"
            );
            asks(workshop, policy, Some(what));
            return Ok(());
        }
        Verdict::TakeBack(devices) => (devices, false),
        Verdict::StandIn(devices) => {
            let facts = client
                .facts(&live.state, CHANGE_DEADLINE)
                .await
                .map_err(|e| e.to_string())?;
            if let Err(why) = check_stand_in(&live.current.ring, &devices, &facts) {
                asks(
                    workshop,
                    policy,
                    Some(format!("device {} is out, and {why}", names(&devices))),
                );
                return Ok(());
            }
            (devices, true)
        }
    };
    let changed = client.devices_failed(policy, &devices, failed, Says::Watch, CHANGE_DEADLINE);
    changed.await.map_err(|e| e.to_string())?;
    let devices_named = names(&devices);
    if failed {
        tracing::error!(
            devices = devices_named,
            "devices are out for too long: others stand in for them"
        );
    } else {
        tracing::info!(devices = devices_named, "devices serve again and are taken back");
    }
    asks(workshop, policy, None);
    workshop.board.done(&name(policy), devices.len() as u64);
    Ok(())
}

fn asks(workshop: &Workshop, policy: PolicyId, what: Option<String>) {
    workshop.board.change(&name(policy), |line| line.asks = what);
}

fn names(devices: &BTreeSet<DeviceId>) -> String {
    let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// What every known node says of itself; nothing of one that does not answer.
async fn reports(workshop: &Workshop) -> BTreeMap<NodeId, NodeStatus> {
    let client = &workshop.client;
    let asked = client
        .book()
        .nodes()
        .into_iter()
        .map(|node| async move { (node, client.node_status(node, LOOK_DEADLINE).await) });
    let answered = futures::future::join_all(asked).await;
    answered
        .into_iter()
        .filter_map(|(node, said)| Some((node, said.ok()?)))
        .collect()
}

/// How each device is that the ring gives partitions to, or would if it had not failed. Plain function.
fn conditions(
    live: &LiveRings,
    reports: &BTreeMap<NodeId, NodeStatus>,
    home: impl Fn(DeviceId) -> Option<NodeId>,
) -> BTreeMap<DeviceId, Condition> {
    let failed = &live.state.current.failed;
    let devices = live.current.ring.devices();
    let devices = devices.filter(|device| device.weight > 0.0 || failed.contains(&device.id.0));
    let condition = |device: DeviceId| {
        let Some(report) = home(device).and_then(|node| reports.get(&node)) else {
            return Condition::Away;
        };
        let said = report.devices.iter().find(|said| said.device == device);
        match said.map(|said| &said.usage) {
            Some(Ok(usage)) if usage.state == DeviceState::Ok => Condition::Serves,
            _ => Condition::Broken,
        }
    };
    devices
        .map(|device| DeviceId(device.id.0))
        .map(|device| (device, condition(device)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        device: Duration::from_secs(300),
        node: Duration::from_secs(3600),
        back: Duration::from_secs(30),
    };

    fn watched(device: u32, condition: Condition, lasts: u64) -> Watched {
        Watched {
            device: DeviceId(device),
            condition,
            lasts: Duration::from_secs(lasts),
            failed: false,
            noticed: false,
        }
    }

    fn serving(count: u32) -> Vec<Watched> {
        (0..count).map(|device| watched(device, Condition::Serves, 1)).collect()
    }

    fn set(devices: &[u32]) -> BTreeSet<DeviceId> {
        devices.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn heal_1_a_device_that_is_out_for_long_is_stood_in_for_and_a_short_absence_costs_nothing() {
        let mut devices = serving(6);
        devices[2] = watched(2, Condition::Broken, 299);
        devices[3] = watched(3, Condition::Away, 3599);
        assert_eq!(decide(&devices, PATIENCE), Verdict::Rest);
        devices[2] = watched(2, Condition::Broken, 300);
        assert_eq!(decide(&devices, PATIENCE), Verdict::StandIn(set(&[2])));
        devices[3] = watched(3, Condition::Away, 3600);
        assert_eq!(decide(&devices, PATIENCE), Verdict::StandIn(set(&[2, 3])));
        let never = Patience {
            device: Duration::ZERO,
            ..PATIENCE
        };
        assert_eq!(decide(&devices, never), Verdict::StandIn(set(&[3])));
    }

    #[test]
    fn heal_1_a_room_that_goes_dark_is_no_failed_disk() {
        let mut devices = serving(6);
        for device in [1, 2, 3] {
            devices[device as usize] = watched(device, Condition::Away, 9_999);
        }
        assert_eq!(decide(&devices, PATIENCE), Verdict::TooMany(3));
        // What failed before counts too.
        devices[2].failed = true;
        devices[3].failed = true;
        assert_eq!(decide(&devices, PATIENCE), Verdict::TooMany(3));
        // A small cluster may lose one.
        let mut few = serving(2);
        few[0] = watched(0, Condition::Broken, 300);
        assert_eq!(decide(&few, PATIENCE), Verdict::StandIn(set(&[0])));
    }

    #[test]
    fn heal_1_what_the_watch_noticed_is_taken_back_once_it_serves_steadily() {
        let mut devices = serving(4);
        devices[1] = Watched {
            failed: true,
            noticed: true,
            ..watched(1, Condition::Serves, 29)
        };
        devices[2] = Watched {
            failed: true,
            ..watched(2, Condition::Serves, 9_999)
        };
        assert_eq!(decide(&devices, PATIENCE), Verdict::Rest);
        devices[1].lasts = Duration::from_secs(30);
        assert_eq!(decide(&devices, PATIENCE), Verdict::TakeBack(set(&[1])));
    }
}
