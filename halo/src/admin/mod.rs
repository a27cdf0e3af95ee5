//! `halo admin`: a client of the admin API, nothing private.
//!
//! Knows: the API's paths and answers, and how to show them. Must not know: the cluster's inside.

pub mod client;
mod membership;
mod policy;
mod recovery;
mod repair;
mod ring_desk;
mod tables;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use url::Url;

pub use self::client::AdminClient;
use crate::admin_api::model::{
    Buckets, DoneLine, IssuedKeyLine, Keys, NewKey, NewProject, Place, ProjectLine, Projects, Status, Where,
};
use crate::admin_api::ring_model::RepairStatus;
use crate::secret::Secret;
use crate::sigv4::{Slash, encode};
use crate::terminal;
use crate::up::cluster::Cluster;

/// Look after a running cluster.
#[derive(Args, Debug)]
pub struct AdminArgs {
    /// Folder of a cluster started by `halo up`.
    #[arg(long, env = "HALO_DATA", default_value = "./halo-data", global = true)]
    data: PathBuf,
    /// Admin API of any process, instead of --data.
    #[arg(long, env = "HALO_ADMIN_ENDPOINT", requires = "token_file", global = true)]
    endpoint: Option<Url>,
    /// File with the bearer token, for --endpoint.
    #[arg(long, env = "HALO_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Nodes, devices, shards, and how many chunks lack a copy. Exit code 1 when a majority cannot be reached.
    Status,
    /// S3 access keys.
    #[command(subcommand)]
    Key(KeyAction),
    /// Projects, which own buckets.
    #[command(subcommand)]
    Project(ProjectAction),
    /// Buckets.
    #[command(subcommand)]
    Bucket(BucketAction),
    /// Objects.
    #[command(subcommand)]
    Object(ObjectAction),
    /// Devices.
    #[command(subcommand)]
    Device(DeviceAction),
    /// Storage policies: how many copies, on which devices.
    #[command(subcommand)]
    Policy(policy::PolicyAction),
    /// Whether everything has its copies, by the shards' log.
    #[command(subcommand)]
    Repair(RepairAction),
    /// Count every copy of every version anew: metadata against devices. Exit code 1 unless all is well.
    Verify(repair::VerifyArgs),
    /// Nodes.
    #[command(subcommand)]
    Node(membership::NodeAction),
    /// Shards that have lost their majority.
    #[command(subcommand)]
    Shard(recovery::ShardAction),
    /// Backups of the metadata.
    #[command(subcommand)]
    Metadata(recovery::MetadataAction),
    /// Users and tokens; everything else about them is done with the openstack client.
    #[command(subcommand)]
    Identity(IdentityAction),
}

#[derive(Subcommand, Debug)]
enum KeyAction {
    /// Make a key; its secret is shown once.
    Create {
        /// The project it acts for.
        #[arg(long, default_value = "default")]
        project: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// All keys, without their secrets.
    List,
    /// Take a key away; returns when no process accepts it any more.
    Revoke {
        /// The access key.
        access_key: String,
    },
}

#[derive(Subcommand, Debug)]
enum ProjectAction {
    /// Make a project.
    Create {
        /// Its name.
        name: String,
        /// Its id; drawn without it.
        #[arg(long)]
        id: Option<String>,
    },
    /// All projects.
    List,
}

#[derive(Subcommand, Debug)]
enum BucketAction {
    /// All buckets with their shards and totals.
    List,
}

#[derive(Subcommand, Debug)]
enum ObjectAction {
    /// Where an object's bytes lie: every copy of every chunk, and its state.
    Where {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// A version id; the newest without it.
        #[arg(long)]
        version: Option<String>,
        /// Whose bucket it is, when its name is not global.
        #[arg(long)]
        project: Option<String>,
        /// Read and verify every copy, instead of asking the devices what they believe to hold.
        #[arg(long)]
        verify: bool,
    },
}

#[derive(Subcommand, Debug)]
enum RepairAction {
    /// What lacks a copy, since when, and who is on it. Exit code 1 unless nothing does.
    Status,
}

#[derive(Subcommand, Debug)]
enum IdentityAction {
    /// Make a new token key and forget the oldest of three. Twice within the life of a token ends tokens early.
    RotateKeys,
}

#[derive(Subcommand, Debug)]
enum DeviceAction {
    /// Throw a device's index away and build it anew from its segments.
    RebuildIndex {
        /// Its number in the ring.
        device: u32,
    },
    /// Give a new disk its share of the data.
    Add(membership::NewDevice),
    /// Move everything off a disk that still works. `halo ring status` shows how far that is.
    Drain {
        /// Its number in the ring.
        device: u32,
        #[command(flatten)]
        how: ring_desk::How,
    },
    /// A disk is lost: have others stand in for it and make its copies anew there.
    Fail {
        /// Its number in the ring.
        device: u32,
    },
    /// A disk that counted as failed is back, or an empty one is in its place: give it its partitions again.
    Replace {
        /// Its number in the ring.
        device: u32,
    },
    /// The collector found suspiciously many unreferenced blobs on a device and asks: let it remove them.
    ApproveOrphans {
        /// Its number in the ring.
        device: u32,
    },
}

/// Runs `halo admin`; false when the cluster is in a state that needs a human at once.
///
/// # Errors
/// With a sentence for people.
pub async fn run(args: AdminArgs) -> anyhow::Result<bool> {
    let shown = Shown { json: args.json };
    if let Action::Metadata(recovery::MetadataAction::Restore { from, config }) = &args.action {
        let done = recovery::restored(from, config)?;
        shown.show(&done, || terminal::line(&done.done))?;
        return Ok(true);
    }
    let client = client(&args)?;
    match args.action {
        Action::Status => {
            let status: Status = client.get("/v1/status").await?;
            shown.show(&status, || tables::status(&status))?;
            return Ok(status.short_chunks.is_some());
        }
        Action::Node(action) => {
            membership::node(&client, folder(&args.data, args.endpoint.as_ref()), action, &shown).await?
        }
        Action::Shard(action) => recovery::shard(&client, action, &shown).await?,
        Action::Metadata(action) => recovery::metadata(&client, action, &shown).await?,
        Action::Key(action) => key(&client, action, &shown).await?,
        Action::Project(ProjectAction::Create { name, id }) => {
            let made: ProjectLine = client.post("/v1/projects", &NewProject { name, id }).await?;
            shown.show(&made, || terminal::line(format!("project {} ({})", made.id, made.name)))?;
        }
        Action::Project(ProjectAction::List) => {
            let projects: Projects = client.get("/v1/projects").await?;
            shown.show(&projects, || tables::projects(&projects))?;
        }
        Action::Bucket(BucketAction::List) => {
            let buckets: Buckets = client.get("/v1/buckets").await?;
            shown.show(&buckets, || tables::buckets(&buckets))?;
        }
        Action::Object(ObjectAction::Where {
            bucket,
            key,
            version,
            project,
            verify,
        }) => {
            let wanted = Where {
                bucket,
                key,
                version,
                project,
                verify,
            };
            let place: Place = client.post("/v1/objects/where", &wanted).await?;
            shown.show(&place, || tables::place(&place))?;
        }
        Action::Policy(action) => policy::run(&client, action, &shown).await?,
        Action::Repair(RepairAction::Status) => {
            let status: RepairStatus = client.get("/v1/repair").await?;
            shown.show(&status, || repair::show_status(&status))?;
            return Ok(status.healed == Some(true));
        }
        Action::Verify(what) => {
            let verified = repair::verify(&client, &what).await?;
            shown.show(&verified, || repair::show(&verified))?;
            return Ok(verified.whole);
        }
        Action::Identity(IdentityAction::RotateKeys) => {
            let done: DoneLine = client.post("/v1/identity/rotate-keys", &serde_json::json!({})).await?;
            shown.show(&done, || terminal::line(&done.done))?;
        }
        Action::Device(DeviceAction::Add(wanted)) => {
            let data = folder(&args.data, args.endpoint.as_ref());
            membership::add_device(&client, data, wanted, &shown).await?;
        }
        Action::Device(DeviceAction::Drain { device, how }) => {
            let data = folder(&args.data, args.endpoint.as_ref());
            membership::drain_device(&client, data, device, &how, &shown).await?;
        }
        Action::Device(action) => {
            let failed = serde_json::json!({ "failed": matches!(action, DeviceAction::Fail { .. }) });
            let path = match action {
                DeviceAction::Fail { device } | DeviceAction::Replace { device } => {
                    format!("/v1/devices/{device}/failed")
                }
                DeviceAction::Add(_) | DeviceAction::Drain { .. } => unreachable!("matched above"),
                DeviceAction::RebuildIndex { device } => format!("/v1/devices/{device}/rebuild-index"),
                DeviceAction::ApproveOrphans { device } => format!("/v1/devices/{device}/approve-orphans"),
            };
            let done: DoneLine = client.post(&path, &failed).await?;
            shown.show(&done, || terminal::line(&done.done))?;
        }
    }
    Ok(true)
}

async fn key(client: &AdminClient, action: KeyAction, shown: &Shown) -> anyhow::Result<()> {
    match action {
        KeyAction::Create { project, description } => {
            let wanted = NewKey {
                project,
                description,
                access_key: None,
                secret_key: None,
            };
            let made: IssuedKeyLine = client.post("/v1/keys", &wanted).await?;
            shown.show(&made, || {
                terminal::line(format!(
                    "access key  {}\nsecret key  {}",
                    made.access_key, made.secret_key
                ));
                terminal::note("The secret is not shown again.");
            })
        }
        KeyAction::List => {
            let keys: Keys = client.get("/v1/keys").await?;
            shown.show(&keys, || tables::keys(&keys))
        }
        KeyAction::Revoke { access_key } => {
            client
                .delete(&format!("/v1/keys/{}", encode(&access_key, Slash::Encoded)))
                .await?;
            let done = DoneLine {
                done: format!("{access_key} opens nothing any more"),
            };
            shown.show(&done, || terminal::line(&done.done))
        }
    }
}

/// The cluster's folder, when it is reached by it.
fn folder<'a>(data: &'a Path, endpoint: Option<&Url>) -> Option<&'a Path> {
    endpoint.is_none().then_some(data)
}

fn client(args: &AdminArgs) -> anyhow::Result<AdminClient> {
    reach(&args.data, args.endpoint.as_ref(), args.token_file.as_deref())
}

/// A client of the cluster in `data`, or of the process at `endpoint`.
///
/// # Errors
/// When there is no cluster, or its token cannot be read.
pub fn reach(data: &Path, endpoint: Option<&Url>, token_file: Option<&Path>) -> anyhow::Result<AdminClient> {
    if let Some(endpoint) = endpoint {
        let Some(token_file) = token_file else {
            bail!("--endpoint needs --token-file")
        };
        return Ok(AdminClient::new(vec![endpoint.clone()], Secret::read(token_file)?));
    }
    let cluster = Cluster::find(data)?;
    cluster.admin_client().context("cannot read the admin token")
}

/// How results are shown.
struct Shown {
    json: bool,
}

impl Shown {
    fn show<T: Serialize>(&self, value: &T, people: impl FnOnce()) -> anyhow::Result<()> {
        if self.json {
            terminal::json(value)?;
        } else {
            people();
        }
        Ok(())
    }
}
