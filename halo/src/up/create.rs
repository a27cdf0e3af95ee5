//! Creates a cluster's folder: secrets, credentials, ring, one configuration for each process.
//!
//! `cluster.json` is written last: a folder without it holds no cluster, and creating one there starts afresh, unless
//! some node has data already.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clock::{Dice, WallClock};
use ring::{Builder, Device, DeviceId};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::openstack;
use super::plan::{CLUSTER_FILE_VERSION, ClusterFile, PlannedProcess, partition_power};
use crate::config::{
    AdminSection, CONFIG_VERSION, ClusterSection, Config, ContainerSyncSection, DeviceSection, FaultSection,
    IdentitySection, KEY_SHARDS_DEFAULT, LogSection, NodeAddress, ProxySection, StorageSection, SwiftSection,
    TlsSection,
};
use crate::secret::{Secret, SecretError, write_private};

/// Bytes of the cluster secret, the at-rest key and the admin token.
const SECRET_BYTES: usize = 32;
/// Hours a partition rests after a move. A cluster on one machine is for trying things out, rebalances among them.
const MIN_PART_HOURS: u32 = 0;
/// The project of the generated access key.
const PROJECT: &str = "default";

/// The S3 access key that `halo up` generated.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The project it acts for.
    pub project: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The password of the user `admin`; empty in a folder from before there were users.
    #[serde(default)]
    pub admin_password: String,
}

/// Why a cluster cannot be created or found.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The folder cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file is not what this release writes.
    #[error("{} is not of this release: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// There is data, but nothing that says of which cluster.
    #[error("{} holds data of a cluster whose cluster.json is missing; give another --data", path.display())]
    Orphaned { path: PathBuf },
    /// No ring can be built.
    #[error("cannot build the ring")]
    Ring(#[from] ring::RingError),
    /// No certificate can be generated.
    #[error("cannot generate a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A secret cannot be kept.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Reads what was created in the folder; `None` when nothing was.
///
/// # Errors
/// When the file is there but cannot be used, or is missing beside data.
pub fn read(folder: &Folder) -> Result<Option<ClusterFile>, CreateError> {
    let path = folder.cluster_file();
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return if folder.process("node-1").join("metadata").exists() {
                Err(CreateError::Orphaned {
                    path: folder.path().to_owned(),
                })
            } else {
                Ok(None)
            };
        }
        Err(source) => {
            return Err(CreateError::Disk {
                doing: "read",
                path,
                source,
            });
        }
    };
    let malformed = |reason| CreateError::Malformed {
        path: path.clone(),
        reason,
    };
    let file: ClusterFile = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    if file.version != CLUSTER_FILE_VERSION {
        return Err(malformed(format!(
            "version is {}, this release reads {CLUSTER_FILE_VERSION}",
            file.version
        )));
    }
    Ok(Some(file))
}

/// Reads the generated access key.
///
/// # Errors
/// When the file is missing or not ours.
pub fn read_credentials(folder: &Folder) -> Result<Credentials, CreateError> {
    let path = folder.credentials_file();
    let text = std::fs::read(&path).map_err(|source| CreateError::Disk {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| CreateError::Malformed {
        path,
        reason: error.to_string(),
    })
}

/// Creates everything `plan` asks for.
///
/// # Errors
/// When the disk refuses; what was written is harmless and is written anew by the next attempt.
pub fn create(folder: &Folder, plan: &ClusterFile, clock: &dyn WallClock, dice: &dyn Dice) -> Result<(), CreateError> {
    make_folder(folder.path())?;
    for inner in ["secrets", "run"] {
        make_folder(&folder.path().join(inner))?;
    }
    for path in [folder.cluster_secret(), folder.at_rest_key(), folder.admin_token()] {
        write_private(&path, Secret::draw(dice, SECRET_BYTES).reveal().as_bytes())?;
    }
    let credentials = draw_credentials(dice);
    write_json(&folder.credentials_file(), &credentials)?;
    for (path, text) in openstack::files(folder, plan, &credentials) {
        write_private(&path, text.as_bytes())?;
    }
    if plan.tls {
        make_folder(&folder.path().join("tls"))?;
        write_certificate(folder)?;
    }
    write_ring(folder, plan, clock, dice)?;
    for process in &plan.processes {
        make_folder(&folder.process(&process.name))?;
        write_config(folder, plan, process)?;
    }
    write_json(&folder.cluster_file(), plan)
}

fn make_folder(path: &Path) -> Result<(), CreateError> {
    std::fs::create_dir_all(path).map_err(|source| CreateError::Disk {
        doing: "create",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), CreateError> {
    let text = serde_json::to_vec_pretty(value).expect("plain data has a JSON form");
    Ok(write_private(path, &text)?)
}

/// An access key and secret of the lengths AWS uses (20 and 40 characters), which some clients check.
fn draw_credentials(dice: &dyn Dice) -> Credentials {
    let access = Secret::draw(dice, 8);
    Credentials {
        project: PROJECT.to_owned(),
        access_key: format!("HALO{}", access.reveal().to_uppercase()),
        secret_key: Secret::draw(dice, 20).reveal().to_owned(),
        admin_password: Secret::draw(dice, 12).reveal().to_owned(),
    }
}

/// A self-signed certificate for this machine's own names; clients are given it as the authority to trust.
fn write_certificate(folder: &Folder) -> Result<(), CreateError> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    write_private(&folder.certificate(), made.cert.pem().as_bytes())?;
    Ok(write_private(
        &folder.certificate_key(),
        made.signing_key.serialize_pem().as_bytes(),
    )?)
}

/// One ring of all devices; every node is a zone of its own, so that copies go to different node processes (DUR-1).
fn write_ring(folder: &Folder, plan: &ClusterFile, clock: &dyn WallClock, dice: &dyn Dice) -> Result<(), CreateError> {
    let devices = plan.nodes().map(|node| node.devices.len()).sum::<usize>();
    let power = partition_power(u32::try_from(devices).unwrap_or(u32::MAX));
    let replicas = usize::try_from(plan.replicas()).expect("at most three");
    let mut builder = Builder::new(power, replicas, MIN_PART_HOURS)?;
    for process in plan.nodes() {
        let (Some(node), Some(blobs)) = (process.node, process.blobs) else {
            continue;
        };
        for (index, wanted) in process.devices.iter().enumerate() {
            let zone = u32::try_from(node).expect("node ids on one machine are small");
            let given = builder.add(Device {
                id: DeviceId(*wanted),
                region: 1,
                zone,
                node,
                address: blobs.to_string(),
                name: format!("device-{index}"),
                weight: 100.0,
                ..Device::default()
            })?;
            debug_assert_eq!(given, DeviceId(*wanted), "the plan numbers devices as the builder does");
        }
    }
    let hours = u32::try_from(clock.now_ms() / 3_600_000).unwrap_or(u32::MAX);
    builder.rebalance(hours, dice.u64())?;
    write_private(&folder.builder_file(), &builder.to_bytes())?;
    Ok(write_private(&folder.ring_file(), &builder.ring()?.to_bytes())?)
}

pub(super) fn write_config(folder: &Folder, plan: &ClusterFile, process: &PlannedProcess) -> Result<(), CreateError> {
    let config = config_of(folder, plan, process);
    let text = toml::to_string(&config).expect("a configuration has a TOML form");
    let header = "# Written by halo up. Every key is explained in docs/configuration.md.\n";
    Ok(write_private(
        &folder.process_config(&process.name),
        format!("{header}{text}").as_bytes(),
    )?)
}

/// The configuration of one process; its paths are relative to its file, so that the folder can be moved.
#[must_use]
pub fn config_of(folder: &Folder, plan: &ClusterFile, process: &PlannedProcess) -> Config {
    let near = |path: PathBuf| PathBuf::from("..").join(path.strip_prefix(folder.path()).unwrap_or(&path));
    let nodes = plan.nodes().filter_map(|node| {
        Some(NodeAddress {
            id: node.node?,
            wire: node.calls?.to_string(),
            blobs: node.blobs?.to_string(),
        })
    });
    let storage = process.node.map(|node| StorageSection {
        node,
        metadata_dir: PathBuf::from("metadata"),
        devices: (0..)
            .zip(&process.devices)
            .map(|(index, id)| DeviceSection {
                id: *id,
                path: PathBuf::from(format!("device-{index}")),
            })
            .collect(),
        listen_wire: None,
        listen_blobs: None,
        reclaim_delay_s: crate::config::RECLAIM_DELAY_S_DEFAULT,
        device_patience_s: crate::config::DEVICE_PATIENCE_S_DEFAULT,
        node_patience_s: crate::config::NODE_PATIENCE_S_DEFAULT,
        scrub_bytes_per_s: crate::config::SCRUB_BYTES_PER_S_DEFAULT,
        faults: FaultSection::default(),
    });
    let tls = plan.tls.then(|| TlsSection {
        certificate_file: near(folder.certificate()),
        key_file: near(folder.certificate_key()),
    });
    let identity = process
        .keystone
        .map(|address| IdentitySection::at(vec![address], tls.clone()));
    let proxy = process.s3.map(|s3| ProxySection {
        listen: vec![s3],
        region: plan.region.clone(),
        domains: Vec::new(),
        sigv2: false,
        memory_bytes: crate::config::MEMORY_BYTES_DEFAULT,
        tls,
        swift: process.swift.map(|address| SwiftSection {
            listen: vec![address],
            policy: crate::config::default_policy(),
            v1_users_file: None,
            v1_access_keys: false,
            read_only: false,
            ratelimit: crate::config::RateLimitSection::default(),
            container_sync: ContainerSyncSection::default(),
        }),
    });
    Config {
        version: CONFIG_VERSION,
        roles: process.roles().into_iter().collect::<BTreeSet<_>>(),
        cluster: ClusterSection {
            id: plan.id.clone(),
            secret_file: near(folder.cluster_secret()),
            at_rest_key_file: near(folder.at_rest_key()),
            key_shards: KEY_SHARDS_DEFAULT,
            ring_file: near(folder.ring_file()),
            nodes: nodes.collect(),
            // All its processes are this command's own.
            open: true,
            tls: None,
        },
        storage,
        proxy,
        identity,
        admin: AdminSection {
            listen: process.admin,
            token_file: near(folder.admin_token()),
        },
        log: LogSection::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::{FromBase, Shape, Wish, plan};
    use clock::{ManualClock, SeededDice};
    use std::os::unix::fs::PermissionsExt;

    fn created(shape: Shape, nodes: u64) -> (tempfile::TempDir, Folder, ClusterFile) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(&dir.path().join("data")).expect("absolute");
        let wish = Wish {
            nodes,
            devices_per_node: 2,
            shape,
            tls: true,
            region: "eu-north-1".into(),
        };
        let file = plan("0f".repeat(16), &wish, &mut FromBase(9000)).expect("ports");
        create(&folder, &file, &ManualClock::at(3_600_000), &SeededDice::new(1)).expect("created");
        (dir, folder, file)
    }

    #[test]
    fn every_configuration_passes_its_own_check() {
        for shape in [Shape::Separate, Shape::AllRoles] {
            let (_dir, folder, file) = created(shape, 3);
            for process in &file.processes {
                let path = folder.process_config(&process.name);
                let loaded = crate::config::load::load(&path, std::iter::empty()).expect("valid");
                assert_eq!(loaded.unknown, Vec::<String>::new());
                let secret = Secret::read(&loaded.config.cluster.secret_file).expect("the path leads to the secret");
                assert_eq!(secret.reveal().len(), 2 * SECRET_BYTES);
                assert!(loaded.config.cluster.ring_file.exists() && loaded.config.admin.token_file.exists());
            }
        }
    }

    #[test]
    fn what_was_created_is_found_again_and_private() {
        let (_dir, folder, file) = created(Shape::Separate, 1);
        assert_eq!(read(&folder).expect("readable"), Some(file));
        let credentials = read_credentials(&folder).expect("readable");
        assert_eq!((credentials.access_key.len(), credentials.secret_key.len()), (20, 40));
        for path in [
            folder.credentials_file(),
            folder.cluster_secret(),
            folder.at_rest_key(),
            folder.admin_token(),
        ] {
            let mode = std::fs::metadata(path).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn data_without_its_cluster_file_is_not_overwritten() {
        let (_dir, folder, _) = created(Shape::Separate, 1);
        std::fs::create_dir_all(folder.process("node-1").join("metadata")).expect("created");
        std::fs::remove_file(folder.cluster_file()).expect("removed");
        assert!(matches!(read(&folder), Err(CreateError::Orphaned { .. })));
    }

    #[test]
    fn the_ring_spreads_copies_over_node_processes() {
        let (_dir, folder, file) = created(Shape::Separate, 3);
        let ring = ring::Ring::from_bytes(&std::fs::read(folder.ring_file()).expect("read")).expect("a ring");
        assert_eq!(ring.replicas(), 3);
        let node_of = |device: DeviceId| {
            file.nodes()
                .find(|node| node.devices.contains(&device.0))
                .and_then(|n| n.node)
        };
        for partition in ring.partition_ids() {
            let nodes: BTreeSet<_> = ring
                .primaries(partition)
                .iter()
                .map(|device| node_of(*device))
                .collect();
            assert_eq!(nodes.len(), 3, "DUR-1: copies of {partition:?} share a node");
        }
    }
}
