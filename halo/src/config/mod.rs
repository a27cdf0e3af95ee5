//! Configuration of one process: TOML and environment, parsed once, typed; each part is handed only its own section.
//!
//! ```toml
//! version = 1
//! roles = ["storage", "proxy"]
//! [cluster]   # the same on every machine
//! [storage]   # with role "storage": this machine's node id, devices, addresses
//! [proxy]     # with role "proxy": the S3 edge
//! [identity]  # with role "identity": the identity service (Keystone v3)
//! [admin]     # every process: health, metrics, administration
//! [log]
//! ```
//! Knows: names, types and defaults of settings. Must not know: what a part does with them.
//! `docs/configuration.md` lists every key.

pub mod container_sync;
pub mod ldap;
pub mod load;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use container_sync::ContainerSyncSection;
pub use ldap::LdapSection;

/// The version of the file format this release reads and writes.
pub const CONFIG_VERSION: u32 = 1;
/// How many key shards a cluster gets at its birth unless told otherwise (DESIGN §3.1).
pub const KEY_SHARDS_DEFAULT: u64 = 8;
/// The most key shards that may be asked for.
pub const KEY_SHARDS_MAX: u64 = 256;
/// The memory budget of a process unless told otherwise, in bytes (MEM-1).
pub const MEMORY_BYTES_DEFAULT: u64 = 384 * 1024 * 1024;

/// How long a deleted blob stays readable unless told otherwise, in seconds.
pub const RECLAIM_DELAY_S_DEFAULT: u64 = 3600;
/// How fast a disk is read again unless told otherwise: 4 TB take eleven days.
pub const SCRUB_BYTES_PER_S_DEFAULT: u64 = 4 * 1024 * 1024;
/// How long a disk may be out unless told otherwise, in seconds.
pub const DEVICE_PATIENCE_S_DEFAULT: u64 = 300;
/// How long a node may be away before others stand in for its disks, in seconds.
pub const NODE_PATIENCE_S_DEFAULT: u64 = 3600;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Devices and shards of one machine.
    Storage,
    /// The S3 edge.
    Proxy,
    /// The identity service.
    Identity,
}

/// Everything one process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Format of the file: [`CONFIG_VERSION`].
    pub version: u32,
    /// What this process does.
    pub roles: BTreeSet<Role>,
    /// The cluster it belongs to.
    pub cluster: ClusterSection,
    /// For role `storage`.
    #[serde(default)]
    pub storage: Option<StorageSection>,
    /// For role `proxy`.
    #[serde(default)]
    pub proxy: Option<ProxySection>,
    /// For role `identity`; every process reads its settings about tokens.
    #[serde(default)]
    pub identity: Option<IdentitySection>,
    /// Health, metrics and administration.
    pub admin: AdminSection,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
}

/// The same on every machine of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterSection {
    /// 32 hex digits, drawn once; devices and stores carry it.
    pub id: String,
    /// File with the secret all processes of the cluster share.
    pub secret_file: PathBuf,
    /// File with the key under which S3 secret keys are encrypted at rest.
    pub at_rest_key_file: PathBuf,
    /// How many key shards the cluster has; fixed at its creation.
    #[serde(default = "default_key_shards")]
    pub key_shards: u64,
    /// The ring file the cluster starts with.
    pub ring_file: PathBuf,
    /// The storage nodes the cluster starts with.
    pub nodes: Vec<NodeAddress>,
    /// Whether storage nodes become members without a token.
    #[serde(default)]
    pub open: bool,
    /// Certificates for the traffic between processes; needed as soon as an address is not loopback (SEC-1).
    #[serde(default)]
    pub tls: Option<PeerTlsSection>,
}

/// The cluster's own CA, and what this process proves itself with; all PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTlsSection {
    /// The cluster's CA.
    pub ca_file: PathBuf,
    /// This process's certificate chain, for `node-ID.halo.internal` or `proxy.halo.internal`.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Where a storage node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Given once, never reused.
    pub id: u64,
    /// Raft and metadata calls, `host:port`.
    pub wire: String,
    /// Blob bodies, `host:port`.
    pub blobs: String,
}

/// One machine's devices and shards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StorageSection {
    /// Which of `cluster.nodes` this process is.
    pub node: u64,
    /// Folder of the shards' RocksDB.
    pub metadata_dir: PathBuf,
    /// The disks.
    pub devices: Vec<DeviceSection>,
    /// Where Raft and metadata calls are taken, if not at the node's address in `cluster.nodes`.
    #[serde(default)]
    pub listen_wire: Option<SocketAddr>,
    /// Where blob bodies are taken, if not at the node's address in `cluster.nodes`.
    #[serde(default)]
    pub listen_blobs: Option<SocketAddr>,
    /// How long a deleted blob stays readable for slow readers, in seconds.
    #[serde(default = "default_reclaim_delay_s")]
    pub reclaim_delay_s: u64,
    /// How long a disk may be out before others stand in for it, in seconds; 0: an operator decides.
    #[serde(default = "default_device_patience_s")]
    pub device_patience_s: u64,
    /// The same for all disks of a node that does not answer.
    #[serde(default = "default_node_patience_s")]
    pub node_patience_s: u64,
    /// How fast each disk is read again and verified, in bytes a second; the disks of a node go at one pace.
    #[serde(default = "default_scrub_bytes_per_s")]
    pub scrub_bytes_per_s: u64,
    /// Deliberate faults, for measurements only.
    #[serde(default)]
    pub faults: FaultSection,
}

/// One disk: a folder on a file system of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSection {
    /// Its number in the ring.
    pub id: u32,
    /// Its folder.
    pub path: PathBuf,
}

/// Deliberate faults, for measurements only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSection {
    /// Every sync of a device or of the log takes this much longer, in milliseconds.
    #[serde(default)]
    pub sync_delay_ms: u64,
}

/// The S3 edge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProxySection {
    /// Where S3 is served.
    pub listen: Vec<SocketAddr>,
    /// The region clients sign for.
    #[serde(default = "default_region")]
    pub region: String,
    /// Domains under which a bucket may be the first label of the host name (virtual-hosted style).
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whether signature version 2 is accepted.
    #[serde(default)]
    pub sigv2: bool,
    /// Memory for bodies in flight, in bytes (MEM-1).
    #[serde(default = "default_memory_bytes")]
    pub memory_bytes: u64,
    /// HTTPS; plain HTTP without it.
    #[serde(default)]
    pub tls: Option<TlsSection>,
    /// The Swift edge; not served without it.
    #[serde(default)]
    pub swift: Option<SwiftSection>,
}

/// The Swift edge. It shares the memory and the certificate of the S3 edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwiftSection {
    /// Where Swift is served.
    pub listen: Vec<SocketAddr>,
    /// The name under which the default storage policy is shown.
    #[serde(default = "default_policy")]
    pub policy: String,
    /// Users of the old authentication (`/auth/v1.0`), one line each: `account user key [group ...]`.
    #[serde(default)]
    pub v1_users_file: Option<PathBuf>,
    /// Whether S3 access keys open their project over the old authentication (`project:access-key`).
    #[serde(default)]
    pub v1_access_keys: bool,
    /// Refuses every write over Swift.
    #[serde(default)]
    pub read_only: bool,
    /// How often accounts and containers may be written to and listed; each process counts by itself.
    #[serde(default)]
    pub ratelimit: RateLimitSection,
    /// Which clusters containers may be synced with.
    #[serde(default)]
    pub container_sync: ContainerSyncSection,
}

/// Rate limits of the Swift edge, with the meaning of Swift's own; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitSection {
    /// Containers made and deleted in one account, per second; 0: no limit.
    #[serde(default)]
    pub account: u32,
    /// Writes per second to a container that holds so many objects: `[[objects, rate], ...]`, ascending.
    #[serde(default)]
    pub containers: Vec<(u64, u32)>,
    /// Listings per second, likewise.
    #[serde(default)]
    pub listings: Vec<(u64, u32)>,
    /// The longest that a request waits, in seconds (60 without); beyond it 498.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sleep_s: Option<u64>,
}

/// The identity service (Keystone v3). Lifetimes and rules must be the same on every process that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySection {
    /// Where it is served.
    pub listen: Vec<SocketAddr>,
    /// The URL clients reach it under; from the request's Host header without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// How long a token lives, in seconds.
    #[serde(default = "default_token_s")]
    pub token_s: u64,
    /// The project whose admins administer the whole cluster.
    #[serde(default = "default_admin_project")]
    pub admin_project: String,
    /// Wrong passwords in a row after which a user is locked; 0: never.
    #[serde(default = "default_lockout_failures")]
    pub lockout_failures: u32,
    /// How long a user stays locked, in seconds.
    #[serde(default = "default_lockout_s")]
    pub lockout_s: u64,
    /// After how many days a password must be changed; 0: never.
    #[serde(default)]
    pub password_days: u64,
    /// How many earlier passwords may not be used again.
    #[serde(default)]
    pub password_history: usize,
    /// The least length of a password, in characters.
    #[serde(default = "default_password_chars_min")]
    pub password_chars_min: usize,
    /// Whether a password that somebody else set must be changed before it is used.
    #[serde(default)]
    pub change_password_upon_first_use: bool,
    /// HTTPS; plain HTTP without it.
    #[serde(default)]
    pub tls: Option<TlsSection>,
    /// Directories that keep the users of some domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ldap: Vec<LdapSection>,
}

impl IdentitySection {
    /// Served at `listen`, all rules as they are by default.
    #[must_use]
    pub fn at(listen: Vec<SocketAddr>, tls: Option<TlsSection>) -> Self {
        Self {
            listen,
            public_url: None,
            token_s: default_token_s(),
            admin_project: default_admin_project(),
            lockout_failures: default_lockout_failures(),
            lockout_s: default_lockout_s(),
            password_days: 0,
            password_history: 0,
            password_chars_min: default_password_chars_min(),
            change_password_upon_first_use: false,
            tls,
            ldap: Vec::new(),
        }
    }
}

/// A certificate and its key, both PEM; read again on SIGHUP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSection {
    /// The certificate chain.
    pub certificate_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// Health, metrics and administration of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdminSection {
    /// A loopback address: the token travels unencrypted.
    pub listen: SocketAddr,
    /// File with the bearer token.
    pub token_file: PathBuf,
}

/// Logging, to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSection {
    /// Text for people, JSON for collectors.
    #[serde(default)]
    pub format: LogFormat,
    /// What is logged, in the syntax of tracing's `EnvFilter`.
    #[serde(default = "default_log_filter")]
    pub filter: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: default_log_filter(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line of text an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

impl Config {
    /// Whether the process has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Makes every relative path absolute, seen from `base` (the folder of the file).
    pub fn resolve_paths(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| *path = base.join(&*path);
        let cluster = &mut self.cluster;
        [
            &mut cluster.secret_file,
            &mut cluster.at_rest_key_file,
            &mut cluster.ring_file,
            &mut self.admin.token_file,
        ]
        .into_iter()
        .for_each(resolve);
        if let Some(tls) = &mut cluster.tls {
            [&mut tls.ca_file, &mut tls.certificate_file, &mut tls.key_file]
                .into_iter()
                .for_each(resolve);
        }
        if let Some(storage) = &mut self.storage {
            resolve(&mut storage.metadata_dir);
            storage.devices.iter_mut().for_each(|device| resolve(&mut device.path));
        }
        let swift = self.proxy.as_mut().and_then(|proxy| proxy.swift.as_mut());
        if let Some(swift) = swift {
            swift.v1_users_file.iter_mut().for_each(resolve);
            swift.container_sync.resolve_paths(resolve);
        }
        if let Some(tls) = self.identity.as_mut().and_then(|identity| identity.tls.as_mut()) {
            resolve(&mut tls.certificate_file);
            resolve(&mut tls.key_file);
        }
        if let Some(tls) = self.proxy.as_mut().and_then(|proxy| proxy.tls.as_mut()) {
            resolve(&mut tls.certificate_file);
            resolve(&mut tls.key_file);
        }
    }
}

fn default_key_shards() -> u64 {
    KEY_SHARDS_DEFAULT
}

fn default_reclaim_delay_s() -> u64 {
    RECLAIM_DELAY_S_DEFAULT
}

fn default_device_patience_s() -> u64 {
    DEVICE_PATIENCE_S_DEFAULT
}

fn default_scrub_bytes_per_s() -> u64 {
    SCRUB_BYTES_PER_S_DEFAULT
}

fn default_node_patience_s() -> u64 {
    NODE_PATIENCE_S_DEFAULT
}

pub(crate) fn default_region() -> String {
    "us-east-1".to_owned()
}

pub(crate) fn default_policy() -> String {
    "Policy-0".to_owned()
}

fn default_token_s() -> u64 {
    3600
}

fn default_admin_project() -> String {
    "default".to_owned()
}

fn default_lockout_failures() -> u32 {
    10
}

fn default_lockout_s() -> u64 {
    300
}

fn default_password_chars_min() -> usize {
    1
}

fn default_memory_bytes() -> u64 {
    MEMORY_BYTES_DEFAULT
}

/// Raft's own library reports every vote and every message that was not delivered; what an operator needs of it, the
/// shards say themselves, once.
fn default_log_filter() -> String {
    "info,openraft=off".to_owned()
}

#[cfg(test)]
mod tests;
