//! [`NodeCore`]: everything of a node but its sockets, so that a simulation can join nodes by other means.

use std::path::Path;
use std::sync::Arc;

use clock::{Dice, WallClock};
use metadata::command::RecordCondition;
use metadata::ids::{DeviceId, NodeId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{DeviceConfig, NodeConfig};
use super::device_care;
use super::device_set::DeviceSet;
use super::open_devices::OpenDevices;
use super::rejoin;
use super::service::NodeService;
use super::status::NodeStatus;
use super::storage_node::{REGISTER_DEADLINE, REGISTER_PAUSE, STOP_EACH, StartError};
use super::watchers::Watchers;
use super::work::{self, Approvals, WorkBoard, Workshop};
use crate::blob_http::RemoteBlobs;
use crate::client::{COMMANDS_LEVEL, ClientConfig, ClusterClient, LocalNode, NODES_TABLE, NodeRecord, RecordError};
use crate::device::DeviceError;
use crate::shard::{ShardFault, Shards};
use crate::threads;
use crate::wire::{NodeAddress, Service, SharedCaller};

/// How a node reaches the others.
#[derive(Clone)]
pub struct Links {
    /// Calls of Raft and metadata.
    pub caller: SharedCaller,
    /// Blobs.
    pub blobs: Arc<dyn RemoteBlobs>,
    /// The number its calls carry, see [`Peer::process`](crate::wire::Peer::process).
    pub process: u64,
}

/// A node's shards, devices, client and background work.
pub struct NodeCore {
    node: NodeId,
    service: Arc<NodeService>,
    shards: Shards,
    devices: Arc<OpenDevices>,
    client: ClusterClient,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl NodeCore {
    /// Opens the store and the devices and starts background work. `serve` is given what answers the calls and the
    /// devices of this node as soon as they can be served.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &NodeConfig,
        address: NodeAddress,
        links: Links,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        serve: impl FnOnce(Arc<dyn Service>, DeviceSet) + Send,
    ) -> Result<Self, StartError> {
        let mut shard_options = config.shards.clone();
        shard_options.cluster = config.cluster;
        shard_options.node = config.node;
        shard_options.sync_delay = config.sync_delay;
        shard_options.expected = shard_options.ground.is_none() && devices_hold_data(&config.devices).await;
        let key_shards = shard_options.key_shards;
        let opening = Shards::open(
            shard_options,
            Arc::clone(&links.caller),
            Arc::clone(&clock),
            Arc::clone(&dice),
        );
        let shards = opening.await?;
        let devices = OpenDevices::open(
            config.cluster,
            config.devices.clone(),
            config.index_cache_bytes,
            config.sync_delay,
            config.shards.ground.clone(),
            Arc::clone(&clock),
            Arc::clone(&dice),
        );
        let devices = devices.await;

        let service = Arc::new(NodeService {
            node: config.node,
            address: address.clone(),
            started_ms: clock.now_ms(),
            shards: shards.clone(),
            devices: Arc::clone(&devices),
            watchers: Watchers::default(),
            board: WorkBoard::default(),
            approvals: Approvals::default(),
            clock: Arc::clone(&clock),
        });
        serve(Arc::<NodeService>::clone(&service), devices.set().clone());
        if let Some(founders) = &config.founders {
            bootstrap(&shards, founders).await?;
        }

        let local = LocalNode {
            node: config.node,
            service: Arc::<NodeService>::clone(&service),
            devices: devices.set().clone(),
            process: links.process,
        };
        let client_config = ClientConfig {
            credentials: config.credentials(),
            book: config.book.clone(),
            key_shards,
            local: Some(local),
        };
        let Links { caller, blobs, .. } = links;
        let client = ClusterClient::start_over(client_config, caller, blobs, Arc::clone(&clock), dice);

        let stop = CancellationToken::new();
        let workshop = Workshop {
            node: config.node,
            client: client.clone(),
            shards: shards.clone(),
            devices: Arc::clone(&devices),
            board: service.board.clone(),
            approvals: service.approvals.clone(),
            clock,
            options: config.work,
        };
        let record = NodeRecord {
            version: 1,
            node: config.node,
            address,
            devices: devices.ids(),
            commands: COMMANDS_LEVEL,
            removed: false,
        };
        let mut tasks = work::start(&workshop, &stop);
        tasks.push(tokio::spawn(register(
            client.clone(),
            record,
            config.welcome,
            stop.clone(),
        )));
        if config.shards.ground.is_none() {
            tasks.push(tokio::spawn(device_care::run(Arc::clone(&devices), stop.clone())));
            tasks.push(tokio::spawn(rejoin::run(workshop, stop.clone())));
        }
        Ok(Self {
            node: config.node,
            service,
            shards,
            devices,
            client,
            stop,
            tasks,
        })
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The cluster as this node's process sees it: own shards and devices without a socket.
    #[must_use]
    pub fn client(&self) -> &ClusterClient {
        &self.client
    }

    /// Its shards.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Its open devices.
    #[must_use]
    pub fn devices(&self) -> &DeviceSet {
        self.devices.set()
    }

    /// What an operator may want to know.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.service.status()
    }

    /// Takes a device out of service, builds its index again from its segments, and opens it; answers how many blobs
    /// it has.
    ///
    /// # Errors
    /// When the device is not of this node, or its folder does not allow it.
    pub async fn rebuild_index(&self, device: DeviceId) -> Result<u64, DeviceError> {
        Ok(self.devices.rebuild_index(device).await?.blobs)
    }

    /// Ends background work: the first step of a stop in good order.
    pub(super) async fn stop_work(&mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks.drain(..) {
            // Aborted or done, both are the end.
            let _ = task.await;
        }
    }

    /// Stops the shards.
    pub(super) async fn stop_shards(&self) {
        if tokio::time::timeout(STOP_EACH, self.shards.stop()).await.is_err() {
            tracing::warn!("the shards did not stop in time");
        }
    }

    /// Closes the devices.
    pub(super) async fn close_devices(&self) {
        if tokio::time::timeout(STOP_EACH, self.devices.close()).await.is_err() {
            tracing::warn!("the devices did not close in time");
        }
    }
}

/// Whether a device was in use before: then the node had a metadata store too (DUR-5).
async fn devices_hold_data(devices: &[DeviceConfig]) -> bool {
    let folders: Vec<_> = devices.iter().map(|device| device.path.clone()).collect();
    let holds_data = |folder: &Path| {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        names
            .into_iter()
            .any(|entry| entry.file_name() == "index" || entry.path().extension().is_some_and(|kind| kind == "seg"))
    };
    let looked = threads::blocking(move || folders.iter().any(|folder| holds_data(folder)));
    looked.await.unwrap_or(false)
}

/// A quarantined store is no reason not to start: its devices serve, and an operator has somebody to ask.
async fn bootstrap(shards: &Shards, founders: &std::collections::BTreeSet<NodeId>) -> Result<(), StartError> {
    match shards.bootstrap(founders).await {
        Err(ShardFault::Quarantined(reason)) => {
            tracing::error!(%reason, "this node takes no part in any shard");
            Ok(())
        }
        other => other.map_err(StartError::Bootstrap),
    }
}

/// Writes the node's record until it stands as it should, then is done. A node that was removed stays removed, and one that
/// nobody knows needs a welcome.
async fn register(client: ClusterClient, record: NodeRecord, welcome: bool, stop: CancellationToken) {
    let value = bytes::Bytes::from(serde_json::to_vec(&record).expect("a record has nothing JSON cannot write"));
    let key = record.node.to_string();
    let trying = async {
        loop {
            match standing(&client, &key).await {
                Err(error) => tracing::debug!(%error, "whether the node is a member is not known yet"),
                Ok(Membership::Removed) => {
                    tracing::error!(
                        node = key,
                        "this node was removed from the cluster: stop it; a machine that joins again needs an empty folder, \
                         a node id of its own, and a token of `halo admin node add`"
                    );
                    return;
                }
                Ok(Membership::Stranger) if !welcome => {
                    tracing::error!(
                        node = key,
                        "this node is no member of the cluster, and has no token: stop it, make one there with `halo admin \
                         node add`, and start it with --join"
                    );
                    return;
                }
                Ok(Membership::Member | Membership::Stranger) => {
                    let (key, any) = (&key, RecordCondition::Any);
                    let put = client.put_record(NODES_TABLE, key, any, value.clone(), REGISTER_DEADLINE);
                    match put.await {
                        Ok(_) => return,
                        Err(error) => tracing::debug!(%error, "the node's record is not written yet"),
                    }
                }
            }
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    };
    stop.run_until_cancelled(trying).await;
}

/// What the cluster has on record of a node.
enum Membership {
    Member,
    /// An operator has removed it.
    Removed,
    Stranger,
}

async fn standing(client: &ClusterClient, key: &str) -> Result<Membership, RecordError> {
    let Some(record) = client.record(NODES_TABLE, key, REGISTER_DEADLINE).await? else {
        return Ok(Membership::Stranger);
    };
    let removed = serde_json::from_slice::<NodeRecord>(&record.value).is_ok_and(|record| record.removed);
    Ok(if removed {
        Membership::Removed
    } else {
        Membership::Member
    })
}
