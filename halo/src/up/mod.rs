//! `halo up` and `halo down`: a whole cluster on this machine, as real processes.
//!
//! Knows: the folder of such a cluster, its processes, their ports and secrets. Must not know: what a process does;
//! each is this same program, started as `halo server --config DIR/NAME/node.toml`.

pub mod cluster;
pub mod create;
pub mod folder;
pub mod grow;
pub mod lock;
pub mod openstack;
pub mod page;
pub mod plan;
pub mod ports;
pub mod processes;
pub mod shrink;
pub mod start;
pub mod stop;
pub mod summary;

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clock::{Dice, SystemClock, SystemDice};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use self::cluster::Cluster;
use self::folder::Folder;
use self::lock::FolderLock;
use self::plan::{DEVICES_MAX, FromBase, NODES_MAX, PORT_BASE_DEFAULT, Shape, Wish};
use self::ports::{FreePorts, check_free};
use self::processes::Processes;
use self::start::Launch;
use self::summary::Summary;
use crate::terminal;

/// How often a staying `halo up` looks after its processes.
const WATCH: Duration = Duration::from_millis(500);
const NODES_DEFAULT: u64 = 3;

/// Start a whole cluster on this machine.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Folder of the cluster; created when absent, found again when not.
    #[arg(long, env = "HALO_DATA", default_value = "./halo-data")]
    data: PathBuf,
    /// Storage-node processes (3 unless the folder says otherwise); 1 keeps a single copy.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: Option<u64>,
    /// Data folders of each node process.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    devices: Option<u32>,
    /// First port (9000 unless the folder says otherwise): S3 there, other purposes 100, 200 and 300 above; 0 chooses
    /// free ones. They are kept in the folder.
    #[arg(long)]
    port_base: Option<u16>,
    /// Every process has all roles, instead of a proxy process of its own.
    #[arg(long)]
    all_roles: bool,
    /// Serve S3 over HTTPS, with a certificate generated for it.
    #[arg(long)]
    tls: bool,
    /// The region clients sign for (us-east-1 unless the folder says otherwise).
    #[arg(long)]
    region: Option<String>,
    /// Return when the cluster serves, and leave it running; start again only what has died.
    #[arg(long)]
    detach: bool,
    /// Print one JSON object for scripts instead of the page for people.
    #[arg(long)]
    json: bool,
    /// Measurements only: every sync takes this many milliseconds longer, in processes started now.
    #[arg(long, value_name = "MS")]
    sync_delay_ms: Option<u64>,
}

/// Stop a cluster started by `halo up`.
#[derive(Args, Debug)]
pub struct DownArgs {
    /// Folder of the cluster.
    #[arg(long, env = "HALO_DATA", default_value = "./halo-data")]
    data: PathBuf,
    /// Print one JSON object for scripts.
    #[arg(long)]
    json: bool,
}

/// Runs `halo up`.
///
/// # Errors
/// With a sentence for people.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    let folder = Folder::at(&args.data)?;
    let lock = FolderLock::take(&folder).await?;
    let cluster = find_or_create(&folder, &args)?;
    let launch = launch(&args)?;
    let progress = Progress::new();
    let mut children = start::start_missing(&cluster, &launch)?;
    let served = start::wait_serving(&cluster, &|text| progress.say(text)).await;
    progress.finish();
    if let Err(error) = served {
        if !args.detach {
            stop::stop_all(&folder, &cluster.plan).await?;
        }
        return Err(error.into());
    }
    drop(lock);
    report(&cluster, args.json)?;
    if !args.detach {
        stay(&cluster, &mut children).await?;
    }
    Ok(())
}

/// Runs `halo down`. Fails when a process had to be killed.
///
/// # Errors
/// With a sentence for people.
pub async fn down(args: DownArgs) -> anyhow::Result<()> {
    let cluster = Cluster::find(&args.data)?;
    let _lock = FolderLock::take(&cluster.folder).await?;
    let stopped = stop::stop_all(&cluster.folder, &cluster.plan).await?;
    if args.json {
        let value = json!({ "stopped": stopped.cleanly, "killed": stopped.killed, "stuck": stopped.stuck });
        terminal::json(&value)?;
    }
    tell_stopped(&stopped)
}

fn find_or_create(folder: &Folder, args: &UpArgs) -> anyhow::Result<Cluster> {
    if let Some(plan) = create::read(folder)? {
        let plan = match args.nodes {
            Some(wanted) if wanted != plan.nodes().count() as u64 => grown(folder, plan, wanted)?,
            _ => plan,
        };
        check_same(&plan, args)?;
        return Ok(Cluster {
            folder: folder.clone(),
            plan,
        });
    }
    let wish = Wish {
        nodes: args.nodes.unwrap_or(NODES_DEFAULT),
        devices_per_node: args.devices.unwrap_or(1),
        shape: if args.all_roles {
            Shape::AllRoles
        } else {
            Shape::Separate
        },
        tls: args.tls,
        region: args.region.clone().unwrap_or_else(crate::config::default_region),
    };
    let id = format!("{:032x}", SystemDice.u128());
    let plan = match args.port_base {
        Some(0) => plan::plan(id, &wish, &mut FreePorts::new(&SystemDice)).context("no free ports were found")?,
        base => {
            let base = base.unwrap_or(PORT_BASE_DEFAULT);
            let plan = plan::plan(id, &wish, &mut FromBase(base));
            let plan = plan.with_context(|| format!("--port-base {base} leaves no room for the ports above it"))?;
            plan.processes
                .iter()
                .try_for_each(|process| check_free(process, false))?;
            plan
        }
    };
    create::create(folder, &plan, &SystemClock, &SystemDice)?;
    Ok(Cluster {
        folder: folder.clone(),
        plan,
    })
}

/// A cluster with more nodes than before; nothing moves to them until the operator says so.
fn grown(folder: &Folder, plan: plan::ClusterFile, wanted: u64) -> anyhow::Result<plan::ClusterFile> {
    let before = plan.nodes().count();
    let plan = grow::grow(
        folder,
        plan,
        wanted,
        &mut FreePorts::new(&SystemDice),
        &SystemClock,
        &SystemDice,
    )?;
    let names: Vec<&str> = plan.nodes().skip(before).map(|process| process.name.as_str()).collect();
    terminal::note(format!(
        "{} added; once the cluster serves, give data to it with: halo ring apply {} --data {}",
        names.join(", "),
        folder.ring_file().display(),
        folder.path().display()
    ));
    Ok(plan)
}

/// What a cluster was created with cannot be changed by starting it; asking for it again is fine.
fn check_same(plan: &plan::ClusterFile, args: &UpArgs) -> anyhow::Result<()> {
    if args.all_roles && plan.shape != Shape::AllRoles {
        bail!("the folder holds a cluster with a proxy process of its own; --all-roles cannot change it");
    }
    if args.tls && !plan.tls {
        bail!("the folder holds a cluster without HTTPS; --tls cannot change it");
    }
    if let Some(region) = args.region.as_ref().filter(|region| **region != plan.region) {
        bail!(
            "the folder holds a cluster for region {}; --region {region} cannot change it",
            plan.region
        );
    }
    let devices = plan.nodes().next().map_or(0, |node| node.devices.len());
    if args.devices.is_some_and(|wanted| wanted as usize != devices) {
        bail!("the folder holds a cluster with {devices} data folders a node; --devices cannot change it");
    }
    let first = plan
        .processes
        .iter()
        .find_map(|process| process.s3)
        .map_or(0, |address| address.port());
    if let Some(wanted) = args.port_base.filter(|wanted| *wanted != 0 && *wanted != first) {
        bail!("the folder holds a cluster on port {first}; --port-base {wanted} cannot change it");
    }
    Ok(())
}

fn launch(args: &UpArgs) -> anyhow::Result<Launch> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let delay = args
        .sync_delay_ms
        .map(|ms| ("HALO_STORAGE__FAULTS__SYNC_DELAY_MS".to_owned(), ms.to_string()));
    Ok(Launch {
        program,
        environment: delay.into_iter().collect(),
    })
}

fn report(cluster: &Cluster, as_json: bool) -> anyhow::Result<()> {
    let credentials = cluster.credentials()?;
    if as_json {
        let record = Processes::read(&cluster.folder)?;
        let token = cluster.admin_token()?;
        let summary = Summary::of(&cluster.folder, &cluster.plan, &credentials, &token, &record);
        return Ok(terminal::json(&summary)?);
    }
    terminal::line(page::page(&cluster.folder, &cluster.plan, &credentials));
    Ok(())
}

/// Stays until a signal, says when a process dies, then stops everything.
async fn stay(cluster: &Cluster, children: &mut [(String, Child)]) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    terminal::note("Ctrl-C stops the cluster.");
    let mut said = vec![false; children.len()];
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
            () = tokio::time::sleep(WATCH) => tell_dead(cluster, children, &mut said),
        }
    }
    terminal::note("stopping");
    let _lock = FolderLock::take(&cluster.folder).await?;
    let stopped = stop::stop_all(&cluster.folder, &cluster.plan).await?;
    tell_stopped(&stopped)
}

/// Collects children that ended, and says so once for each.
fn tell_dead(cluster: &Cluster, children: &mut [(String, Child)], said: &mut [bool]) {
    for ((name, child), said) in children.iter_mut().zip(said) {
        if let Ok(Some(status)) = child.try_wait()
            && !*said
        {
            *said = true;
            let data = cluster.folder.path().display();
            terminal::note(format!(
                "{name} ended ({status}); halo up --data {data} --detach starts it again"
            ));
        }
    }
}

fn tell_stopped(stopped: &stop::Stopped) -> anyhow::Result<()> {
    if stopped.cleanly.is_empty() && stopped.killed.is_empty() && stopped.stuck.is_empty() {
        terminal::note("nothing was running");
    } else if !stopped.cleanly.is_empty() {
        terminal::note(format!("stopped cleanly: {}", stopped.cleanly.join(", ")));
    }
    if !stopped.stuck.is_empty() {
        bail!("still running after SIGKILL: {}", stopped.stuck.join(", "));
    }
    if !stopped.killed.is_empty() {
        bail!("did not stop in time and were killed: {}", stopped.killed.join(", "));
    }
    Ok(())
}

/// One line that changes on a terminal, separate lines elsewhere.
struct Progress(indicatif::ProgressBar);

impl Progress {
    fn new() -> Self {
        let bar = indicatif::ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    fn say(&self, text: String) {
        self.0.set_message(text);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
