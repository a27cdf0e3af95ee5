//! `halo admin node add | drain | remove` and `halo admin device add | drain`: what an operator means, as changes of the
//! rings of all policies that it concerns.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ring::{Builder, Device, DeviceId};

use super::client::AdminClient;
use super::ring_desk::{Desks, How};
use super::{Shown, recovery};
use crate::admin_api::model::{DoneLine, Status};
use crate::admin_api::nodes::{KnownNode, Nodes, RemoveNode};
use crate::terminal;
use crate::up::cluster::Cluster;
use crate::up::shrink;

/// How long a node that was started a moment ago may take to be heard of.
const START_MAX: Duration = Duration::from_secs(10);
/// The pause between two looks.
const START_LOOK: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub(super) enum NodeAction {
    /// Make a token with which one machine may join the cluster once. Its disks get data by `halo admin device add`.
    Add {
        /// How long it may be used, in hours.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=24 * 365))]
        valid_hours: u64,
    },
    /// Move everything off a node, alive or lost. `halo ring status` shows how far that is.
    Drain {
        /// Its id.
        node: u64,
        #[command(flatten)]
        how: How,
    },
    /// Forget a node that was drained and stopped. Its id never comes back.
    Remove {
        /// Its id.
        node: u64,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Args, Debug)]
pub(super) struct NewDevice {
    /// Its number in the ring, as its node's configuration says.
    device: u32,
    /// Its share of the data; by its size, compared with the others, without this.
    #[arg(long)]
    weight: Option<f64>,
    /// The zone of its node: a room or rack. Needed for a node's first device; then its node's id without this.
    #[arg(long)]
    zone: Option<u32>,
    /// The region of its node: a site.
    #[arg(long)]
    region: Option<u32>,
    #[command(flatten)]
    how: How,
}

pub(super) async fn node(
    client: &AdminClient,
    data: Option<&Path>,
    action: NodeAction,
    shown: &Shown,
) -> anyhow::Result<()> {
    let done = match action {
        NodeAction::Add { valid_hours } => return recovery::join_token(client, valid_hours, shown).await,
        NodeAction::Drain { node, how } => {
            let of_node = |device: &Device| device.node == node;
            let none = format!("no ring has a device of node {node} with a weight above 0");
            drain(client, data, &how, of_node, &format!("node {node}"), &none).await?
        }
        NodeAction::Remove { node, how } => remove(client, data, node, &how).await?,
    };
    shown.show(&done, || terminal::line(&done.done))
}

pub(super) async fn add_device(
    client: &AdminClient,
    data: Option<&Path>,
    wanted: NewDevice,
    shown: &Shown,
) -> anyhow::Result<()> {
    let mut desks = Desks::open_one(client, data, &wanted.how).await?;
    let nodes: Nodes = client.get("/v1/nodes").await?;
    let status = status_with(client, wanted.device).await?;
    let number = wanted.device;
    desks.check_applied(DeviceId(number))?;
    for builder in desks.builders() {
        builder.add_numbered(describe(&wanted, &nodes.nodes, &status, builder)?)?;
    }
    let done = desks.apply(&format!("device {number} gets its share")).await?;
    shown.show(&done, || terminal::line(&done.done))
}

/// The cluster's status; a node that was started a moment ago may not be heard of yet.
async fn status_with(client: &AdminClient, device: u32) -> anyhow::Result<Status> {
    let begun = Instant::now();
    loop {
        let status: Status = client.get("/v1/status").await?;
        if status.devices.iter().any(|line| line.device == device) || begun.elapsed() > START_MAX {
            return Ok(status);
        }
        tokio::time::sleep(START_LOOK).await;
    }
}

pub(super) async fn drain_device(
    client: &AdminClient,
    data: Option<&Path>,
    device: u32,
    how: &How,
    shown: &Shown,
) -> anyhow::Result<()> {
    let this = |one: &Device| one.id.0 == device;
    let none = format!("no ring has a device {device} with a weight above 0");
    let done = drain(client, data, how, this, &format!("device {device}"), &none).await?;
    shown.show(&done, || terminal::line(&done.done))
}

/// Takes the weight of some devices in every ring that names them.
async fn drain(
    client: &AdminClient,
    data: Option<&Path>,
    how: &How,
    leaves: impl Fn(&Device) -> bool,
    who: &str,
    none: &str,
) -> anyhow::Result<DoneLine> {
    let leaves = |device: &Device| leaves(device) && device.weight > 0.0;
    let mut desks = Desks::open_where(client, data, how, leaves).await?;
    if desks.is_empty() {
        bail!("{none}");
    }
    for builder in desks.builders() {
        let leaving: Vec<DeviceId> = builder.devices().filter(|one| leaves(one)).map(|one| one.id).collect();
        for device in leaving {
            builder.set_weight(device, 0.0)?;
        }
    }
    desks.apply(&format!("{who} is drained")).await
}

/// A new device as the ring shall have it. Plain function.
fn describe(wanted: &NewDevice, nodes: &[KnownNode], status: &Status, builder: &Builder) -> anyhow::Result<Device> {
    let number = wanted.device;
    if builder.devices().any(|device| device.id.0 == number) {
        bail!("device {number} is in the ring already; its share is changed with `halo ring FILE set_weight`");
    }
    let home = nodes.iter().find(|node| node.devices.contains(&number));
    let home = home.with_context(|| {
        format!("no node has device {number}: write it into [[storage.devices]] of its node, and start that node again")
    })?;
    let line = status.devices.iter().find(|line| line.device == number);
    let line = line.with_context(|| format!("node {} does not answer: start it first", home.node))?;
    if let Some(problem) = &line.problem {
        bail!("device {number} does not serve: {problem}");
    }
    let sibling = builder.devices().find(|device| device.node == home.node);
    let name = format!("device-{number}");
    let (region, zone) = match sibling {
        Some(sibling) => (sibling.region, sibling.zone),
        None => (
            wanted.region.unwrap_or(1),
            wanted.zone.unwrap_or(u32::try_from(home.node).unwrap_or(u32::MAX)),
        ),
    };
    if let Some(zone) = wanted.zone.filter(|wanted| *wanted != zone) {
        bail!(
            "node {} stands in another zone than {zone} already: leave --zone out",
            home.node
        );
    }
    Ok(Device {
        id: DeviceId(number),
        region,
        zone,
        node: home.node,
        address: sibling.map_or(home.blobs.clone(), |sibling| sibling.address.clone()),
        name,
        weight: match wanted.weight {
            Some(weight) => weight,
            None => fair_weight(line.capacity_bytes, status, builder),
        },
        ..Device::default()
    })
}

/// The weight that goes with a capacity, at the ring's own ratio of the two.
#[allow(clippy::cast_precision_loss, reason = "a weight need not be exact to the byte")]
fn fair_weight(capacity_bytes: u64, status: &Status, builder: &Builder) -> f64 {
    let capacity = |device: &Device| {
        let line = status.devices.iter().find(|line| line.device == device.id.0)?;
        (line.capacity_bytes > 0).then_some((device.weight, line.capacity_bytes as f64))
    };
    let known = builder
        .devices()
        .filter(|device| device.weight > 0.0)
        .filter_map(capacity);
    let (weights, bytes) = known.fold((0.0, 0.0), |(weights, bytes), (weight, capacity)| {
        (weights + weight, bytes + capacity)
    });
    if bytes == 0.0 {
        return 100.0;
    }
    (weights / bytes * capacity_bytes as f64 * 100.0).round() / 100.0
}

async fn remove(client: &AdminClient, data: Option<&Path>, node: u64, how: &How) -> anyhow::Result<DoneLine> {
    let of_node = |device: &Device| device.node == node;
    let mut desks = Desks::open_where(client, data, how, of_node).await?;
    let held = desks.copies_on(of_node);
    if held > 0 {
        bail!("{held} copies of partitions belong on node {node}: drain it first with `halo admin node drain {node}`");
    }
    let path = format!("/v1/nodes/{node}/remove");
    if how.dry_run() {
        let done = format!("node {node} holds nothing and can be removed once its process is stopped");
        return Ok(DoneLine { done });
    }
    let done: DoneLine = client.post(&path, &RemoveNode {}).await?;
    if !desks.is_empty() {
        for builder in desks.builders() {
            let gone: Vec<DeviceId> = builder.devices().filter(|one| of_node(one)).map(|one| one.id).collect();
            for device in gone {
                builder.remove(device)?;
            }
        }
        desks.apply("its devices leave the rings").await?;
        desks.settled().await?;
    }
    if let Some(data) = data {
        shrink::forget(&Cluster::find(data)?, node)?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin_api::model::DeviceLine;

    fn builder() -> Builder {
        let mut builder = Builder::new(4, 2, 0).expect("a builder");
        for node in 1..=2_u64 {
            let device = Device {
                region: 1,
                zone: u32::try_from(node).expect("small") * 10,
                node,
                address: format!("10.0.0.{node}:7000"),
                name: "device-0".into(),
                weight: 100.0,
                ..Device::default()
            };
            builder.add(device).expect("added");
        }
        builder
    }

    fn wanted(device: u32) -> NewDevice {
        NewDevice {
            device,
            weight: None,
            zone: None,
            region: None,
            how: How::default(),
        }
    }

    fn line(device: u32, node: u64, capacity_bytes: u64) -> DeviceLine {
        DeviceLine {
            device,
            node,
            path: String::new(),
            state: "ok".into(),
            problem: None,
            capacity_bytes,
            used_bytes: 0,
            live_bytes: 0,
            blobs: 0,
            segments: 1,
            corrupt_records: 0,
        }
    }

    fn status(devices: Vec<DeviceLine>) -> Status {
        Status {
            cluster: String::new(),
            taken_ms: 0,
            healthy: true,
            short_chunks: Some(0),
            lost_chunks: Some(0),
            nodes: Vec::new(),
            devices,
            shards: Vec::new(),
        }
    }

    fn known(node: u64, devices: &[u32]) -> KnownNode {
        KnownNode {
            node,
            blobs: format!("10.0.0.{node}:7000"),
            devices: devices.to_vec(),
            removed: false,
        }
    }

    #[test]
    fn a_new_disk_gets_its_nodes_zone_and_a_weight_by_its_size() {
        let nodes = [known(1, &[0, 2]), known(2, &[1]), known(3, &[3])];
        let status = status(vec![
            line(0, 1, 1000),
            line(1, 2, 1000),
            line(2, 1, 4000),
            line(3, 3, 500),
        ]);
        let second = describe(&wanted(2), &nodes, &status, &builder()).expect("known");
        assert_eq!((second.node, second.zone, second.weight), (1, 10, 400.0));
        let elsewhere = describe(&wanted(3), &nodes, &status, &builder()).expect("known");
        assert_eq!((elsewhere.node, elsewhere.zone, elsewhere.weight), (3, 3, 50.0));
        let said = |wanted| {
            describe(&wanted, &nodes, &status, &builder())
                .expect_err("refused")
                .to_string()
        };
        assert!(said(wanted(9)).contains("[[storage.devices]]"));
        assert!(said(wanted(0)).contains("in the ring already"));
        let other_zone = NewDevice {
            zone: Some(7),
            ..wanted(2)
        };
        assert!(said(other_zone).contains("another zone"));
    }
}
