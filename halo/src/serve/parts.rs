//! Settings of the configuration turned into those of the libraries, each part from its own section.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use identity::{Directory, Identity, IdentityOptions};
use metadata::ids::{ClusterId, DeviceId, NodeId};
use metadata::model::PolicyId;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proxy::http::{AdmissionOptions, Tls};
use proxy::s3::{S3Edge, S3Options};
use proxy::swift::{RateLimits, SwiftEdge, SwiftOptions, V1Auth};
use ring::Ring;
use storage_node::client::{ClientConfig, ClusterClient, RecordError};
use storage_node::device::DeviceOptions;
use storage_node::node::{DeviceConfig, NodeConfig, WorkOptions};
use storage_node::wire::{
    AddressBook, Credentials, NodeAddress, Role as WireRole, Secret as WireSecret, TcpCaller, Tls as PeerTls,
};
use store::{Planes, Store, StoreOptions};

use super::Chance;
use super::container_sync;
use super::directories::directories;
use crate::config::{ClusterSection, Config, ProxySection, StorageSection, SwiftSection, TlsSection};
use crate::secret::Secret;

/// How often metrics drop what is too old for their histograms.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How many of the first nodes vote in every shard of a new cluster (DESIGN §3.1: 3 or 5).
const FOUNDERS_MAX: usize = 3;
/// How long one attempt to make the first ring known may take.
const RING_MAX: Duration = Duration::from_secs(5);
/// The pause between two attempts.
const RING_PAUSE: Duration = Duration::from_millis(200);

/// The settings of this machine's storage node.
///
/// # Errors
/// When a file cannot be read or an address has no meaning.
pub(super) fn node_config(
    config: &Config,
    section: &StorageSection,
    cluster: ClusterId,
    has_token: bool,
) -> anyhow::Result<NodeConfig> {
    let shared = &config.cluster;
    let node = NodeId(section.node);
    let own = shared.nodes.iter().find(|other| other.id == section.node);
    let own = own.context("storage.node is not among cluster.nodes")?;
    let credentials = credentials(shared, cluster, WireRole::Storage(node))?;
    let founders = founders(shared);
    let mut settings = NodeConfig::new(cluster, node, section.metadata_dir.clone(), credentials.secret);
    settings.listen_wire = section.listen_wire.map_or_else(|| resolve(&own.wire), Ok)?;
    settings.listen_blobs = section.listen_blobs.map_or_else(|| resolve(&own.blobs), Ok)?;
    settings.advertise = Some(NodeAddress {
        wire: own.wire.clone(),
        blobs: own.blobs.clone(),
    });
    settings.book = address_book(shared);
    settings.welcome = has_token || shared.open || founders.contains(&node);
    settings.founders = founders.contains(&node).then_some(founders);
    settings.tls = credentials.tls;
    settings.shards.key_shards = shared.key_shards;
    settings.devices = section
        .devices
        .iter()
        .map(|device| DeviceConfig {
            id: DeviceId(device.id),
            path: device.path.clone(),
            options: DeviceOptions::default(),
        })
        .collect();
    settings.work = WorkOptions {
        reclaim_delay_ms: section.reclaim_delay_s * 1000,
        device_patience: Duration::from_secs(section.device_patience_s),
        node_patience: Duration::from_secs(section.node_patience_s),
        scrub_bytes_per_second: section.scrub_bytes_per_s,
        ..WorkOptions::default()
    };
    settings.sync_delay = Duration::from_millis(section.faults.sync_delay_ms);
    Ok(settings)
}

/// The nodes with the lowest ids; every node of a new cluster names the same.
fn founders(section: &ClusterSection) -> BTreeSet<NodeId> {
    let all: BTreeSet<NodeId> = section.nodes.iter().map(|node| NodeId(node.id)).collect();
    all.into_iter().take(FOUNDERS_MAX).collect()
}

fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let mut found = address
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {address}"))?;
    found.next().with_context(|| format!("{address} has no address"))
}

/// Makes the configured ring known to a new cluster; a cluster that has one keeps its own. Tries until somebody has.
pub(super) async fn install_first_ring(client: ClusterClient, ring: Ring) {
    loop {
        match client.install_ring(PolicyId::default(), &ring, RING_MAX).await {
            Ok(()) | Err(RecordError::NotNewer { .. }) => return,
            Err(error) => tracing::debug!(%error, "the first ring is not known yet"),
        }
        tokio::time::sleep(RING_PAUSE).await;
    }
}

/// The ring file of the configuration.
///
/// # Errors
/// When it cannot be read or is damaged.
pub(super) fn read_ring(section: &ClusterSection) -> anyhow::Result<Ring> {
    let path = &section.ring_file;
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the ring {}", path.display()))?;
    Ring::from_bytes(&bytes).with_context(|| path.display().to_string())
}

/// This process's proof of who it is (SEC-1).
fn credentials(section: &ClusterSection, cluster: ClusterId, role: WireRole) -> anyhow::Result<Credentials> {
    let secret = read_secret(&section.secret_file)?;
    let secret = WireSecret::new(secret.reveal().as_bytes())?;
    let tls = match &section.tls {
        None => None,
        Some(files) => {
            let read = |path: &PathBuf| std::fs::read(path).with_context(|| path.display().to_string());
            let (ca, certificate) = (read(&files.ca_file)?, read(&files.certificate_file)?);
            Some(Arc::new(PeerTls::from_pem(&ca, &certificate, &read(&files.key_file)?)?))
        }
    };
    Ok(Credentials {
        cluster,
        role,
        secret,
        tls,
    })
}

fn address_book(section: &ClusterSection) -> AddressBook {
    let entry = |node: &crate::config::NodeAddress| {
        (
            NodeId(node.id),
            NodeAddress {
                wire: node.wire.clone(),
                blobs: node.blobs.clone(),
            },
        )
    };
    AddressBook::new(section.nodes.iter().map(entry))
}

/// The client of a process without storage.
pub(super) fn remote_client(
    section: &ClusterSection,
    cluster: ClusterId,
    chance: &Chance,
) -> anyhow::Result<ClusterClient> {
    let credentials = credentials(section, cluster, WireRole::Proxy)?;
    let book = address_book(section);
    let caller = TcpCaller::new(credentials.clone(), book.clone(), chance.dice.clone());
    let config = ClientConfig {
        credentials,
        book,
        key_shards: section.key_shards,
        local: None,
    };
    Ok(ClusterClient::start(
        config,
        caller,
        chance.clock.clone(),
        chance.dice.clone(),
    ))
}

/// The store, its memory divided among writing, laggards and reading (MEM-1).
pub(super) fn store_over(config: &Config, cluster: ClusterId, planes: Planes, chance: &Chance) -> Store {
    let memory = config
        .proxy
        .as_ref()
        .map_or(crate::config::MEMORY_BYTES_DEFAULT, |proxy| proxy.memory_bytes);
    let ninth = usize::try_from(memory / 9).unwrap_or(usize::MAX / 9);
    let options = StoreOptions {
        write_pool_bytes: 4 * ninth,
        laggard_pool_bytes: ninth,
        read_pool_bytes: 4 * ninth,
        ..StoreOptions::new(cluster)
    };
    Store::new(planes, chance.clock.clone(), chance.dice.clone(), options)
}

pub(super) fn at_rest_key(section: &ClusterSection) -> anyhow::Result<[u8; 32]> {
    let path = &section.at_rest_key_file;
    let text = read_secret(path)?;
    let key = hex::decode(text.reveal()).ok().and_then(|bytes| bytes.try_into().ok());
    key.with_context(|| format!("{} must hold 64 hex digits", path.display()))
}

pub(super) fn read_secret(path: &std::path::Path) -> anyhow::Result<Secret> {
    if Secret::readable_by_others(path) {
        tracing::warn!(path = %path.display(), "a secret file can be read by others: chmod 600 it");
    }
    Ok(Secret::read(path)?)
}

pub(super) fn edge(section: &ProxySection, store: Store, directory: Arc<Directory>, chance: &Chance) -> S3Edge {
    let options = S3Options {
        region: section.region.clone(),
        domains: section.domains.clone(),
        sigv2: section.sigv2,
        admission: AdmissionOptions {
            bytes_max: section.memory_bytes,
            ..AdmissionOptions::default()
        },
        ..S3Options::default()
    };
    S3Edge::new(store, directory, chance.clock.clone(), chance.dice.clone(), options)
}

/// The Swift edge. Old tokens are signed with a key made of the cluster's own, so that every process can judge them.
///
/// # Errors
/// When the file of users cannot be read.
pub(super) fn swift_edge(
    proxy: &ProxySection,
    section: &SwiftSection,
    store: Store,
    identity: &Arc<Identity>,
    at_rest: &[u8; 32],
    chance: &Chance,
) -> anyhow::Result<SwiftEdge> {
    let users = match &section.v1_users_file {
        Some(path) => Some(read_secret(path)?),
        None => None,
    };
    let v1 = if users.is_some() || section.v1_access_keys {
        let users = users.as_ref().map_or("", |users| users.reveal());
        let keys = section
            .v1_access_keys
            .then(|| identity.directory() as Arc<dyn identity::KeySource>);
        Some(V1Auth::new(users, keys, at_rest)?)
    } else {
        None
    };
    let limits = &section.ratelimit;
    let mut rate_limits = RateLimits {
        account: limits.account,
        containers: limits.containers.clone(),
        listings: limits.listings.clone(),
        ..RateLimits::default()
    };
    rate_limits.containers.sort_unstable();
    rate_limits.listings.sort_unstable();
    if let Some(seconds) = limits.max_sleep_s {
        rate_limits.sleep_max = Duration::from_secs(seconds);
    }
    let options = SwiftOptions {
        policy: section.policy.clone(),
        v1,
        read_only: section.read_only,
        rate_limits,
        sync: container_sync::options(&section.container_sync)?,
        admission: AdmissionOptions {
            bytes_max: proxy.memory_bytes,
            ..AdmissionOptions::default()
        },
        ..SwiftOptions::default()
    };
    Ok(SwiftEdge::new(
        store,
        identity.clone(),
        chance.clock.clone(),
        chance.dice.clone(),
        options,
    ))
}

/// Identity of this process: every one judges tokens and keys, only those with the role serve it.
///
/// # Errors
/// When a directory of the configuration cannot be used.
pub(super) fn identity(config: &Config, store: Store, at_rest: &[u8; 32], chance: &Chance) -> anyhow::Result<Identity> {
    let ldap = directories(config.identity.as_ref())?;
    let options = config
        .identity
        .as_ref()
        .map_or_else(IdentityOptions::default, |section| IdentityOptions {
            token_ms: section.token_s.saturating_mul(1000),
            admin_project: section.admin_project.clone(),
            lockout_failures: (section.lockout_failures > 0).then_some(section.lockout_failures),
            lockout_ms: section.lockout_s.saturating_mul(1000),
            password_days: (section.password_days > 0).then_some(section.password_days),
            password_history: section.password_history,
            password_chars_min: section.password_chars_min,
            change_password_upon_first_use: section.change_password_upon_first_use,
            public_url: section.public_url.clone(),
            https: section.tls.is_some(),
            ldap,
        });
    let (clock, dice) = (chance.clock.clone(), chance.dice.clone());
    Ok(Identity::new(store, clock, dice, at_rest, options))
}

pub(super) fn read_certificate(section: &TlsSection) -> anyhow::Result<Tls> {
    Ok(Tls::from_files(&section.certificate_file, &section.key_file)?)
}

pub(super) fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
