//! `halo server`: one process, put together here and nowhere else.
//!
//! ```text
//! config -> credentials, addresses -> [storage] the node's devices and shards
//!                                  -> client of all nodes (the own one without a socket)
//!                                  -> store -> identity -> [proxy] S3 edge
//!                                                       -> [identity] Keystone v3
//!                                                       -> admin API
//! ```
//! It ends in the opposite order: no new requests, those in progress, background writes, then the disks.
//!
//! Knows: which part is made of which. Must not know: what a part does.

mod container_sync;
mod directories;
mod parts;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clock::{Dice, SystemClock, SystemDice, WallClock};
use hyper_util::service::TowerToHyperService;
use identity::Identity;
use metadata::ids::{ClusterId, NodeId};
use proxy::http::{Server, ServerOptions, Tls};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use storage_node::node::StorageNode;
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin_api::{self, AdminParts, Readiness};
use crate::config::load::{Loaded, load};
use crate::config::{Config, Role};
use crate::join::JoinDesk;
use crate::logging;
use crate::operator::WireOperator;
use crate::readiness::{EdgeReadiness, StorageReadiness};
use crate::terminal;

/// How long requests in progress may take after the end was asked for; `halo down` waits a little longer.
pub const DRAIN_MAX: Duration = Duration::from_secs(15);

/// Open files a process asks the system for, as far as it is allowed to.
const OPEN_FILES: u64 = 65_536;

/// Run one process of a cluster.
#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Its configuration, see docs/configuration.md.
    #[arg(long)]
    config: PathBuf,
    /// Only check the configuration; an unknown key is an error.
    #[arg(long)]
    check_config: bool,
    /// The first start of a node that joins a cluster that exists: the token that `halo admin node add` made there.
    #[arg(long, value_name = "TOKEN", env = "HALO_JOIN_TOKEN", hide_env_values = true)]
    join: Option<String>,
}

/// Runs `halo server` until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration is wrong or a part does not start.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let Loaded { config, unknown } = load(&args.config, std::env::vars())?;
    if args.check_config {
        if !unknown.is_empty() {
            bail!("the configuration has keys that nobody knows: {}", unknown.join(", "));
        }
        terminal::line("the configuration is good");
        return Ok(());
    }
    logging::start(&config.log).context("log.filter")?;
    for key in unknown {
        tracing::warn!(key, "the configuration has a key that nobody knows; it is ignored");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config, args.join.as_deref()));
    // Threads that wait for a disk that never answers must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Err(error) = &served {
        tracing::error!(error = format!("{error:#}"), "this process ends");
    }
    served
}

/// Segments, tables and connections are files; the usual soft limit of 1024 is there for programs that use select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = OPEN_FILES.min(limit.maximum.unwrap_or(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// The clock and the dice of the whole process.
#[derive(Clone)]
struct Chance {
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
}

async fn serve(config: Config, join: Option<&str>) -> anyhow::Result<()> {
    let chance = Chance {
        clock: Arc::new(SystemClock),
        dice: Arc::new(SystemDice),
    };
    let metrics = parts::start_metrics()?;
    let cluster: ClusterId = config.cluster.id.parse().context("cluster.id")?;
    // Bound first: a second start of the same process fails here, before it touches a disk.
    let listener = admin_api::bind(config.admin.listen).await?;
    let token = parts::read_secret(&config.admin.token_file)?;

    if let Some(token) = join {
        join_cluster(&config, cluster, token, &chance).await?;
    }
    let storage = start_storage(&config, cluster, &chance, join.is_some()).await?;
    let client = match &storage {
        Some(node) => node.client().clone(),
        None => parts::remote_client(&config.cluster, cluster, &chance)?,
    };
    let planes = client.planes();
    let store = parts::store_over(&config, cluster, planes.clone(), &chance);
    let at_rest = parts::at_rest_key(&config.cluster)?;
    let identity = Arc::new(parts::identity(&config, store.clone(), &at_rest, &chance)?);
    let directory = identity.directory();
    let edges = Edges::start(&config, &store, &identity, &at_rest, &chance).await?;
    let keystone = serve_identity(&config, &identity).await?;
    let readiness: Arc<dyn Readiness> = match &storage {
        Some(node) if !config.has(Role::Proxy) => Arc::new(StorageReadiness::new(node.shards().clone())),
        _ => Arc::new(EdgeReadiness::new(planes.clone())),
    };
    let operator = Arc::new(WireOperator::new(client, storage.as_ref().map(StorageNode::node)));
    let Chance { clock, dice } = chance;
    let desk = AdminParts {
        cluster,
        token,
        planes,
        store,
        directory,
        tokens: identity.clone(),
        identity,
        operator,
        readiness,
        metrics,
        clock,
        dice,
    };
    let admin_ending = CancellationToken::new();
    let admin = tokio::spawn(admin_api::serve(listener, desk, admin_ending.clone().cancelled_owned()));
    tracing::info!(roles = ?config.roles, admin = %config.admin.listen, "started");

    wait_for_end(edges.certificate.as_ref()).await?;
    tracing::info!("ending: requests in progress may take {} s", DRAIN_MAX.as_secs());
    tokio::join!(edges.end(), keystone.end());
    admin_ending.cancel();
    admin.await.context("the admin API")??;
    if let Some(node) = storage {
        node.stop().await;
    }
    tracing::info!("ended");
    Ok(())
}

/// Takes the token before anything of this node is known to the cluster.
async fn join_cluster(config: &Config, cluster: ClusterId, token: &str, chance: &Chance) -> anyhow::Result<()> {
    let section = config
        .storage
        .as_ref()
        .context("--join is for a process with role \"storage\"")?;
    let client = parts::remote_client(&config.cluster, cluster, chance)?;
    let desk = JoinDesk {
        metadata: client.planes().metadata,
        clock: chance.clock.clone(),
        dice: chance.dice.clone(),
    };
    desk.join(token, NodeId(section.node)).await?;
    tracing::info!(node = section.node, "joins the cluster");
    Ok(())
}

/// The storage node of a process with that role; the configured ring becomes the first one of a new cluster.
async fn start_storage(
    config: &Config,
    cluster: ClusterId,
    chance: &Chance,
    has_token: bool,
) -> anyhow::Result<Option<StorageNode>> {
    let Some(section) = config.storage.as_ref().filter(|_| config.has(Role::Storage)) else {
        return Ok(None);
    };
    let ring = parts::read_ring(&config.cluster)?;
    let settings = parts::node_config(config, section, cluster, has_token)?;
    let node = StorageNode::start(settings, chance.clock.clone(), chance.dice.clone()).await?;
    tokio::spawn(parts::install_first_ring(node.client().clone(), ring));
    Ok(Some(node))
}

/// The listeners of the identity service; none without that role.
async fn serve_identity(config: &Config, identity: &Arc<Identity>) -> anyhow::Result<Edges> {
    let mut edges = Edges::none();
    let Some(section) = config.identity.as_ref().filter(|_| config.has(Role::Identity)) else {
        return Ok(edges);
    };
    edges.certificate = section.tls.as_ref().map(parts::read_certificate).transpose()?;
    let service = TowerToHyperService::new(identity::http::router(identity.clone()));
    for address in &section.listen {
        let server = edges.bind(*address).await?;
        let ending = edges.ending.clone().cancelled_owned();
        edges.servers.spawn(server.run(service.clone(), ending));
    }
    let (identity, ending) = (identity.clone(), edges.ending.clone());
    edges.servers.spawn(async move {
        tokio::select! {
            () = identity.sweep() => {}
            () = ending.cancelled() => {}
        }
    });
    Ok(edges)
}

/// The listeners that serve S3 and Swift; none without that role.
struct Edges {
    certificate: Option<Tls>,
    ending: CancellationToken,
    servers: JoinSet<()>,
}

impl Edges {
    fn none() -> Self {
        Self {
            certificate: None,
            ending: CancellationToken::new(),
            servers: JoinSet::new(),
        }
    }

    async fn start(
        config: &Config,
        store: &Store,
        identity: &Arc<Identity>,
        at_rest: &[u8; 32],
        chance: &Chance,
    ) -> anyhow::Result<Self> {
        let mut edges = Self {
            certificate: None,
            ending: CancellationToken::new(),
            servers: JoinSet::new(),
        };
        let Some(section) = config.proxy.as_ref().filter(|_| config.has(Role::Proxy)) else {
            return Ok(edges);
        };
        edges.certificate = section.tls.as_ref().map(parts::read_certificate).transpose()?;
        let edge = parts::edge(section, store.clone(), identity.directory(), chance);
        for address in &section.listen {
            let server = edges.bind(*address).await?;
            edges
                .servers
                .spawn(server.run(edge.clone(), edges.ending.clone().cancelled_owned()));
        }
        if let Some(swift) = &section.swift {
            let edge = parts::swift_edge(section, swift, store.clone(), identity, at_rest, chance)?;
            for address in &swift.listen {
                let server = edges.bind_swift(*address).await?;
                edges
                    .servers
                    .spawn(server.run(edge.clone(), edges.ending.clone().cancelled_owned()));
            }
            let ending = edges.ending.clone();
            edges.servers.spawn(async move {
                tokio::select! {
                    () = edge.clone().sweep() => {}
                    () = edge.sync() => {}
                    () = ending.cancelled() => {}
                }
            });
        }
        Ok(edges)
    }

    async fn bind(&self, address: SocketAddr) -> anyhow::Result<Server> {
        self.bind_with(address, ServerOptions::default()).await
    }

    /// Swift's clients show header names as they come.
    async fn bind_swift(&self, address: SocketAddr) -> anyhow::Result<Server> {
        let options = ServerOptions {
            title_case: true,
            ..ServerOptions::default()
        };
        self.bind_with(address, options).await
    }

    async fn bind_with(&self, address: SocketAddr, options: ServerOptions) -> anyhow::Result<Server> {
        let options = ServerOptions {
            drain: DRAIN_MAX,
            ..options
        };
        Ok(Server::bind_with(address, self.certificate.clone(), options).await?)
    }

    /// Takes no new requests and waits, bounded by [`DRAIN_MAX`], for those in progress.
    async fn end(mut self) {
        self.ending.cancel();
        while self.servers.join_next().await.is_some() {}
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reads the certificate anew.
async fn wait_for_end(certificate: Option<&Tls>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                let Some(tls) = certificate.cloned() else { continue };
                match tokio::task::spawn_blocking(move || tls.reload()).await? {
                    Ok(()) => tracing::info!("the certificate was read anew"),
                    Err(error) => tracing::error!(%error, "the certificate stays what it was"),
                }
            }
        }
    }
}
