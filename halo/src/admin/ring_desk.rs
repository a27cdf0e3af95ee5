//! The builders of policies' rings, brought up to the live rings, changed, balanced and applied.
//!
//! A builder is the cluster folder's, or `--builder FILE`. When there is none, or it is older than the live ring, one is
//! made from the live ring; the file is written anew afterwards, so that `halo ring FILE` goes on from there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clock::{Dice, SystemClock, SystemDice, WallClock};
use ring::{Builder, Device, DeviceId, Ring};

use super::client::AdminClient;
use crate::admin_api::model::DoneLine;
use crate::admin_api::nodes::LiveRingFile;
use crate::admin_api::policies::{Policies, PolicyLine};
use crate::admin_api::ring_model::{NewRing, RingApplied};
use crate::secret::write_private;
use crate::sigv4::{Slash, encode};
use crate::terminal;
use crate::up::cluster::Cluster;

const MS_PER_HOUR: u64 = 3_600_000;
/// Hours for which partitions rest in a builder made from a ring.
const MIN_PART_HOURS: u32 = 1;
/// How long a ring in which nothing moves may take to settle.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// The pause between two looks at it.
const SETTLE_LOOK: Duration = Duration::from_millis(500);

/// How rings are made and applied.
#[derive(Args, Debug, Default)]
pub(super) struct How {
    /// Only the ring of this storage policy. Without it `add` means the default policy's, and all else every ring that
    /// names the device.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
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

impl How {
    pub(super) fn dry_run(&self) -> bool {
        self.dry_run
    }
}

/// The desks of the policies that one command concerns.
pub(super) struct Desks<'a> {
    client: &'a AdminClient,
    how: &'a How,
    desks: Vec<Desk>,
}

/// One policy's builder that follows its live ring, and where it is kept.
struct Desk {
    policy: PolicyLine,
    /// Builder and ring file; none when the cluster has no folder here and none was given.
    files: Option<(PathBuf, PathBuf)>,
    builder: Builder,
    live: Ring,
    moving: bool,
}

impl<'a> Desks<'a> {
    /// The policy that was named, else the default one.
    pub(super) async fn open_one(
        client: &'a AdminClient,
        data: Option<&Path>,
        how: &'a How,
    ) -> anyhow::Result<Desks<'a>> {
        let policies = policies(client).await?;
        let meant = policies.into_iter().find(|policy| match &how.policy {
            Some(name) => policy.name.eq_ignore_ascii_case(name),
            None => policy.default,
        });
        let Some(policy) = meant else {
            let name = how.policy.as_deref().unwrap_or_default();
            bail!("there is no policy `{name}`: see `halo admin policy list`");
        };
        let desks = vec![Desk::open(client, data, how, policy).await?];
        Self { client, how, desks }.at_rest()
    }

    /// Every policy whose ring has such a device; of those the one that was named.
    pub(super) async fn open_where(
        client: &'a AdminClient,
        data: Option<&Path>,
        how: &'a How,
        wanted: impl Fn(&Device) -> bool,
    ) -> anyhow::Result<Desks<'a>> {
        if how.policy.is_some() {
            let mut one = Self::open_one(client, data, how).await?;
            one.desks.retain(|desk| desk.builder.devices().any(&wanted));
            return Ok(one);
        }
        let mut desks = Vec::new();
        for policy in policies(client).await? {
            let desk = Desk::open(client, data, how, policy).await?;
            if desk.builder.devices().any(&wanted) {
                desks.push(desk);
            }
        }
        if desks.len() > 1 && how.builder.is_some() {
            bail!(
                "{} rings are meant, and --builder names one: say which with --policy",
                desks.len()
            );
        }
        Self { client, how, desks }.at_rest()
    }

    /// Refuses while a ring changes.
    fn at_rest(self) -> anyhow::Result<Self> {
        match self.desks.iter().find(|desk| desk.moving) {
            Some(desk) if !self.how.dry_run => {
                let option = desk.option();
                bail!(
                    "a change of the ring is under way: wait until `halo ring status{option}` says it is settled, or abort it"
                )
            }
            _ => Ok(self),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.desks.is_empty()
    }

    pub(super) fn builders(&mut self) -> impl Iterator<Item = &mut Builder> {
        self.desks.iter_mut().map(|desk| &mut desk.builder)
    }

    /// Refuses when a builder has the device and the live ring has not.
    pub(super) fn check_applied(&self, device: DeviceId) -> anyhow::Result<()> {
        let waits =
            |desk: &&Desk| desk.builder.devices().any(|one| one.id == device) && desk.live.device(device).is_none();
        if let Some((_, ring)) = self.desks.iter().find(waits).and_then(|desk| desk.files.as_ref()) {
            bail!(
                "the builder has device {device} already, and the ring it made is not applied yet: `halo ring apply {}`",
                ring.display()
            );
        }
        Ok(())
    }

    /// How many copies of partitions the live rings give to such devices.
    pub(super) fn copies_on(&self, wanted: impl Fn(&Device) -> bool) -> usize {
        let of_ring = |ring: &Ring| {
            let copies = ring.partition_ids().flat_map(|partition| ring.primaries(partition));
            copies.filter(|id| ring.device(**id).is_some_and(&wanted)).count()
        };
        self.desks.iter().map(|desk| of_ring(&desk.live)).sum()
    }

    /// Balances and applies, when all the rings can be applied, and keeps the builders.
    pub(super) async fn apply(&mut self, what: &str) -> anyhow::Result<DoneLine> {
        for desk in &mut self.desks {
            desk.balance(self.how.min_part_hours)?;
        }
        let mut checked = Vec::new();
        for desk in &self.desks {
            let applied = desk.send(self.client, self.how, true).await?;
            let waits = waiting(&desk.builder.ring()?);
            if applied.replicas_moved == 0 && waits > 0 {
                let (policy, hours) = (&desk.policy.name, desk.builder.min_part_hours());
                bail!(
                    "policy {policy}: {waits} copies of partitions shall leave, and none may yet, because they moved less than \
                     {hours} hour(s) ago: wait, or say --min-part-hours 0"
                );
            }
            checked.push(applied);
        }
        let mut applied = Vec::new();
        if !self.how.dry_run {
            for desk in &self.desks {
                applied.push(desk.send(self.client, self.how, false).await?);
                desk.keep()?;
            }
        }
        let lines = if self.how.dry_run { &checked } else { &applied };
        let mut parts = Vec::new();
        for (desk, line) in self.desks.iter().zip(lines) {
            parts.push(desk.told(line)?);
        }
        let parts = parts.join("; ");
        let done = if self.how.dry_run {
            format!("{what} by {parts}; nothing has changed yet")
        } else {
            let options: Vec<String> = self
                .desks
                .iter()
                .map(|desk| format!("`halo ring status{}`", desk.option()))
                .collect();
            format!("{what}: {parts}; see {}", options.join(", "))
        };
        Ok(DoneLine { done })
    }

    /// Waits until one ring of each policy is live.
    pub(super) async fn settled(&self) -> anyhow::Result<()> {
        let settled = async {
            for desk in &self.desks {
                while live_ring(self.client, &desk.policy).await?.moving {
                    tokio::time::sleep(SETTLE_LOOK).await;
                }
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(SETTLE_MAX, settled).await;
        waited.context("the ring has not settled yet; see `halo ring status`")?
    }
}

impl Desk {
    async fn open(client: &AdminClient, data: Option<&Path>, how: &How, policy: PolicyLine) -> anyhow::Result<Self> {
        let live = live_ring(client, &policy).await?;
        let bytes = hex::decode(&live.ring).context("the live ring is not in hex")?;
        let ring = Ring::from_bytes(&bytes)?;
        let file = match (&how.builder, data) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(data)) => Some(Cluster::find(data)?.folder.builder_of_policy(policy.id)),
            (None, None) => None,
        };
        let kept = match &file {
            Some(file) if file.exists() => {
                let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                Some(Builder::from_bytes(&bytes).with_context(|| file.display().to_string())?)
            }
            _ => None,
        };
        let builder = kept.filter(|builder| builder.version() >= ring.version());
        Ok(Self {
            policy,
            files: file.map(|file| (file.clone(), file.with_extension("ring"))),
            builder: builder.unwrap_or_else(|| Builder::from_ring(&ring, MIN_PART_HOURS)),
            live: ring,
            moving: live.moving,
        })
    }

    /// The option that names its policy where `halo ring` would mean another.
    fn option(&self) -> String {
        if self.policy.default {
            return String::new();
        }
        format!(" --policy {}", self.policy.name)
    }

    fn balance(&mut self, min_part_hours: Option<u32>) -> anyhow::Result<()> {
        let hours = u32::try_from(SystemClock.now_ms() / MS_PER_HOUR).unwrap_or(u32::MAX);
        // Copies in as many zones as before come before equal shares; the check of space has the last word.
        let wanted = self.builder.required_overload().max(self.builder.overload());
        self.builder.set_overload(wanted.min(ring::limits::MAX_OVERLOAD))?;
        let kept = self.builder.min_part_hours();
        self.builder.set_min_part_hours(min_part_hours.unwrap_or(kept));
        let balanced = self.builder.rebalance(hours, SystemDice.u64());
        self.builder.set_min_part_hours(kept);
        balanced.with_context(|| format!("policy {}", self.policy.name))?;
        Ok(())
    }

    async fn send(&self, client: &AdminClient, how: &How, dry_run: bool) -> anyhow::Result<RingApplied> {
        let wanted = NewRing {
            ring: hex::encode(self.builder.ring()?.to_bytes()),
            min_part_hours: how.min_part_hours.unwrap_or(self.builder.min_part_hours()),
            accept_fewer_domains: how.accept_fewer_domains,
            dry_run,
        };
        let sent = client.post(&policy_path("/v1/ring/apply", &self.policy), &wanted).await;
        sent.with_context(|| format!("policy {}", self.policy.name))
    }

    fn keep(&self) -> anyhow::Result<()> {
        if let Some((builder, file)) = &self.files {
            write_private(builder, &self.builder.to_bytes())?;
            write_private(file, &self.builder.ring()?.to_bytes())?;
        }
        Ok(())
    }

    /// What applying its ring does, in words.
    fn told(&self, applied: &RingApplied) -> anyhow::Result<String> {
        let RingApplied {
            replicas_moved,
            bytes_moved_estimate,
            version,
            ..
        } = applied;
        let bytes = terminal::bytes(*bytes_moved_estimate);
        let policy = if self.policy.default {
            String::new()
        } else {
            format!(" of policy {}", self.policy.name)
        };
        let mut told = format!("{replicas_moved} copies of partitions{policy}, about {bytes}");
        if applied.begun {
            told += &format!(", move to ring version {version}");
        }
        match waiting(&self.builder.ring()?) {
            0 => {}
            left => told += &format!(" ({left} more wait for the next step: say it again when this one has settled)"),
        }
        Ok(told)
    }
}

/// Policies that have a ring, the default one first.
async fn policies(client: &AdminClient) -> anyhow::Result<Vec<PolicyLine>> {
    let all: Policies = client.get("/v1/policies").await?;
    let mut placed: Vec<PolicyLine> = all
        .policies
        .into_iter()
        .filter(|one| one.ring_version.is_some())
        .collect();
    placed.sort_by_key(|policy| !policy.default);
    Ok(placed)
}

async fn live_ring(client: &AdminClient, policy: &PolicyLine) -> anyhow::Result<LiveRingFile> {
    Ok(client.get(&policy_path("/v1/ring/file", policy)).await?)
}

fn policy_path(path: &str, policy: &PolicyLine) -> String {
    format!("{path}?policy={}", encode(&policy.name, Slash::Encoded))
}

/// Copies that a ring still gives to drained devices: a rebalance moves one copy of a partition at a time.
fn waiting(ring: &Ring) -> usize {
    let drained = |id: &&DeviceId| ring.device(**id).is_some_and(|device| device.weight == 0.0);
    let copies = ring
        .partition_ids()
        .flat_map(|partition| ring.primaries(partition).iter());
    copies.filter(drained).count()
}
