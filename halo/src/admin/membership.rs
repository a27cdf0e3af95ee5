//! `halo admin node add | drain | remove` and `halo admin device add | drain`: the ring that an operator means, made from
//! the newest builder, and applied.
//!
//! The builder is the cluster folder's, or `--builder FILE`. When there is none, or it is older than the live ring, one is
//! made from the live ring; the file is written anew afterwards, so that `halo ring FILE` goes on from there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use clock::{Dice, SystemClock, SystemDice, WallClock};
use ring::{Builder, Device, DeviceId, Ring};

use super::client::AdminClient;
use super::{Shown, recovery};
use crate::admin_api::model::{DoneLine, Status};
use crate::admin_api::nodes::{KnownNode, LiveRingFile, Nodes, RemoveNode};
use crate::admin_api::ring_model::{NewRing, RingApplied};
use crate::secret::write_private;
use crate::terminal;
use crate::up::cluster::Cluster;
use crate::up::shrink;

const MS_PER_HOUR: u64 = 3_600_000;
/// Hours for which partitions rest in a builder made from a ring.
const MIN_PART_HOURS: u32 = 1;
/// How long a ring in which nothing moves may take to settle.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// The pause between two looks at it.
const SETTLE_LOOK: Duration = Duration::from_millis(500);

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

/// How a ring is made and applied.
#[derive(Args, Debug)]
pub(super) struct How {
    /// The builder file; the cluster folder's without this.
    #[arg(long, value_name = "FILE")]
    builder: Option<PathBuf>,
    /// Partitions that moved within so many hours do not move again; the builder's own without this.
    #[arg(long)]
    min_part_hours: Option<u32>,
    /// Let copies stand in fewer failure domains than now.
    #[arg(long)]
    accept_fewer_domains: bool,
    /// Only check, and say how much would move.
    #[arg(long)]
    dry_run: bool,
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
            let mut desk = Desk::open(client, data, &how).await?;
            let devices = desk.devices_of(node);
            if devices.is_empty() {
                bail!("the ring has no device of node {node}");
            }
            for device in devices {
                desk.builder.set_weight(device, 0.0)?;
            }
            desk.apply(&format!("node {node} is drained")).await?
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
    let mut desk = Desk::open(client, data, &wanted.how).await?;
    let nodes: Nodes = client.get("/v1/nodes").await?;
    let status: Status = client.get("/v1/status").await?;
    let device = describe(&wanted, &nodes.nodes, &status, &desk.builder)?;
    let number = desk.builder.add(device)?;
    if number.0 != wanted.device {
        bail!(
            "the ring's next device is number {number}: give it that number in its node's configuration, start the node \
             again, and add {number}"
        );
    }
    let done = desk.apply(&format!("device {number} gets its share")).await?;
    shown.show(&done, || terminal::line(&done.done))
}

pub(super) async fn drain_device(
    client: &AdminClient,
    data: Option<&Path>,
    device: u32,
    how: &How,
    shown: &Shown,
) -> anyhow::Result<()> {
    let mut desk = Desk::open(client, data, how).await?;
    desk.builder.set_weight(DeviceId(device), 0.0)?;
    let done = desk.apply(&format!("device {device} is drained")).await?;
    shown.show(&done, || terminal::line(&done.done))
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
    let mut desk = Desk::open(client, data, how).await?;
    let ring = desk.live.clone();
    let devices = desk.devices_of(node);
    let held = ring
        .partition_ids()
        .flat_map(|partition| ring.primaries(partition).iter())
        .filter(|device| devices.contains(device))
        .count();
    if held > 0 {
        bail!("{held} copies of partitions belong on node {node}: drain it first with `halo admin node drain {node}`");
    }
    let path = format!("/v1/nodes/{node}/remove");
    if how.dry_run {
        let done = format!("node {node} holds nothing and can be removed once its process is stopped");
        return Ok(DoneLine { done });
    }
    let done: DoneLine = client.post(&path, &RemoveNode {}).await?;
    if !devices.is_empty() {
        for device in devices {
            desk.builder.remove(device)?;
        }
        desk.apply("its devices leave the ring").await?;
        desk.settled().await?;
    }
    if let Some(data) = data {
        shrink::forget(&Cluster::find(data)?, node)?;
    }
    Ok(done)
}

/// A builder that follows the live ring, and where it is kept.
struct Desk<'a> {
    client: &'a AdminClient,
    how: &'a How,
    /// Builder and ring file; none when the cluster has no folder here and none was given.
    files: Option<(PathBuf, PathBuf)>,
    builder: Builder,
    live: Ring,
}

impl<'a> Desk<'a> {
    async fn open(client: &'a AdminClient, data: Option<&Path>, how: &'a How) -> anyhow::Result<Self> {
        let live: LiveRingFile = client.get("/v1/ring/file").await?;
        if live.moving && !how.dry_run {
            bail!("a change of the ring is under way: wait until `halo ring status` says it is settled, or abort it");
        }
        let bytes = hex::decode(&live.ring).context("the live ring is not in hex")?;
        let ring = Ring::from_bytes(&bytes)?;
        let files = match (&how.builder, data) {
            (Some(file), _) => Some((file.clone(), file.with_extension("ring"))),
            (None, Some(data)) => {
                let folder = Cluster::find(data)?.folder;
                Some((folder.builder_file(), folder.ring_file()))
            }
            (None, None) => None,
        };
        let kept = match &files {
            Some((file, _)) if file.exists() => {
                let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                Some(Builder::from_bytes(&bytes).with_context(|| file.display().to_string())?)
            }
            _ => None,
        };
        let builder = kept.filter(|builder| builder.version() >= ring.version());
        Ok(Self {
            client,
            how,
            files,
            builder: builder.unwrap_or_else(|| Builder::from_ring(&ring, MIN_PART_HOURS)),
            live: ring,
        })
    }

    fn devices_of(&self, node: u64) -> Vec<DeviceId> {
        let devices = self.builder.devices().filter(|device| device.node == node);
        devices.map(|device| device.id).collect()
    }

    /// Balances, applies, and keeps the builder.
    async fn apply(&mut self, what: &str) -> anyhow::Result<DoneLine> {
        let hours = u32::try_from(SystemClock.now_ms() / MS_PER_HOUR).unwrap_or(u32::MAX);
        // Copies in as many zones as before come before equal shares; the check of space has the last word.
        let wanted = self.builder.required_overload().max(self.builder.overload());
        let overload = wanted.min(ring::limits::MAX_OVERLOAD);
        self.builder.set_overload(overload)?;
        self.builder.rebalance(hours, SystemDice.u64())?;
        let ring = self.builder.ring()?;
        let wanted = NewRing {
            ring: hex::encode(ring.to_bytes()),
            min_part_hours: self.how.min_part_hours.unwrap_or(self.builder.min_part_hours()),
            accept_fewer_domains: self.how.accept_fewer_domains,
            dry_run: self.how.dry_run,
        };
        let applied: RingApplied = self.client.post("/v1/ring/apply", &wanted).await?;
        let RingApplied {
            replicas_moved,
            bytes_moved_estimate,
            version,
            ..
        } = applied;
        let bytes = terminal::bytes(bytes_moved_estimate);
        if !applied.begun {
            let done =
                format!("{what} by {replicas_moved} copies of partitions, about {bytes}; nothing has changed yet");
            return Ok(DoneLine { done });
        }
        if let Some((builder, file)) = &self.files {
            write_private(builder, &self.builder.to_bytes())?;
            write_private(file, &ring.to_bytes())?;
        }
        let waiting = match waiting(&ring) {
            0 => String::new(),
            left => format!("; {left} more wait for the next step: say it again when this one has settled"),
        };
        Ok(DoneLine {
            done: format!(
                "{what}: {replicas_moved} copies of partitions, about {bytes}, move to ring version {version}; see `halo ring \
                 status`{waiting}"
            ),
        })
    }

    /// Waits until one ring is live.
    async fn settled(&self) -> anyhow::Result<()> {
        let settled = async {
            loop {
                let live: LiveRingFile = self.client.get("/v1/ring/file").await?;
                if !live.moving {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        let waited = tokio::time::timeout(SETTLE_MAX, settled).await;
        waited.context("the ring has not settled yet; see `halo ring status`")?
    }
}

/// Copies that a ring still gives to drained devices: a rebalance moves one copy of a partition at a time.
fn waiting(ring: &Ring) -> usize {
    let drained = |id: &&DeviceId| ring.device(**id).is_some_and(|device| device.weight == 0.0);
    let copies = ring
        .partition_ids()
        .flat_map(|partition| ring.primaries(partition).iter());
    copies.filter(drained).count()
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
            how: How {
                builder: None,
                min_part_hours: None,
                accept_fewer_domains: false,
                dry_run: false,
            },
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
