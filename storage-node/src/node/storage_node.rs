//! [`StorageNode`]: the parts of one node, built and wired in one visible place, and stopped in good order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, WallClock};
use metadata::command::RecordCondition;
use metadata::ids::{DeviceId, NodeId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::NodeConfig;
use super::device_set::DeviceSet;
use super::open_devices::OpenDevices;
use super::open_files::wait_until_closed;
use super::service::NodeService;
use super::status::NodeStatus;
use super::watchers::Watchers;
use super::work::{self, Approvals, WorkBoard, Workshop};
use crate::blob_http::{BlobServer, BoundBlobs};
use crate::client::{ClientConfig, ClusterClient, LocalNode, NODES_TABLE, NodeRecord};
use crate::device::DeviceError;
use crate::shard::{OpenError, ShardFault, Shards};
use crate::wire::{AddressBook, BoundWire, ListenError, NodeAddress, SharedCaller, TcpCaller, WireServer};

/// How long each part gets to end in good order.
const STOP_EACH: Duration = Duration::from_secs(5);
/// How long one attempt to write the node's record may take.
const REGISTER_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between such attempts.
const REGISTER_PAUSE: Duration = Duration::from_secs(1);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be used; correct the configuration.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metadata store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The shards did not take their members.
    #[error("the shards could not be initialized")]
    Bootstrap(#[source] ShardFault),
}

/// A node whose ports are bound, so that its addresses can be told to others before anything runs.
pub struct BoundNode {
    config: NodeConfig,
    wire: BoundWire,
    blobs: BoundBlobs,
    address: NodeAddress,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
}

/// A running storage node.
pub struct StorageNode {
    node: NodeId,
    address: NodeAddress,
    service: Arc<NodeService>,
    shards: Shards,
    devices: Arc<OpenDevices>,
    client: ClusterClient,
    wire: WireServer,
    blobs: BlobServer,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// Where its files are.
    folders: Vec<PathBuf>,
}

impl StorageNode {
    /// Binds the node's ports.
    ///
    /// # Errors
    /// When an address cannot be bound, or needs certificates that are not configured (SEC-1).
    pub async fn bind(
        config: NodeConfig,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
    ) -> Result<BoundNode, StartError> {
        let me = config.credentials();
        let wire = BoundWire::bind(me.clone(), config.node, config.listen_wire, Arc::clone(&dice)).await?;
        let blobs = BoundBlobs::bind(me, config.node, config.listen_blobs, Arc::clone(&dice)).await?;
        let own = NodeAddress {
            wire: wire.address().to_string(),
            blobs: blobs.address().to_string(),
        };
        let address = config.advertise.clone().unwrap_or(own);
        config.book.set(config.node, address.clone());
        Ok(BoundNode {
            config,
            wire,
            blobs,
            address,
            clock,
            dice,
        })
    }

    /// Binds and starts in one go.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: NodeConfig, clock: Arc<dyn WallClock>, dice: Arc<dyn Dice>) -> Result<Self, StartError> {
        Self::bind(config, clock, dice).await?.start().await
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// Where blob bodies are taken.
    #[must_use]
    pub fn blobs_address(&self) -> SocketAddr {
        self.blobs.address()
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

    /// Stops in good order, within a bounded time: no new work, no new calls, shards, devices.
    pub async fn stop(self) {
        let Self {
            service,
            shards,
            devices,
            client,
            wire,
            blobs,
            stop,
            tasks,
            folders,
            ..
        } = self;
        stop.cancel();
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            // Aborted or done, both are the end.
            let _ = task.await;
        }
        blobs.stop(STOP_EACH).await;
        if tokio::time::timeout(STOP_EACH, shards.stop()).await.is_err() {
            tracing::warn!("the shards did not stop in time");
        }
        wire.stop(STOP_EACH).await;
        if tokio::time::timeout(STOP_EACH, devices.close()).await.is_err() {
            tracing::warn!("the devices did not close in time");
        }
        drop((service, shards, devices, client, wire, blobs));
        if !wait_until_closed(folders, STOP_EACH).await {
            tracing::warn!("somebody still uses this node's databases");
        }
    }
}

impl BoundNode {
    /// Where the node will be reached.
    #[must_use]
    pub fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// The nodes it knows; entries may be added before it starts.
    #[must_use]
    pub fn book(&self) -> &AddressBook {
        &self.config.book
    }

    /// Opens the store and the devices, starts serving and background work.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self) -> Result<StorageNode, StartError> {
        let Self {
            config,
            wire,
            blobs,
            address,
            clock,
            dice,
        } = self;
        let me = config.credentials();
        let caller = TcpCaller::new(me.clone(), config.book.clone(), Arc::clone(&dice));
        let remote: SharedCaller = Arc::<TcpCaller>::clone(&caller);

        let mut shard_options = config.shards.clone();
        shard_options.cluster = config.cluster;
        shard_options.node = config.node;
        shard_options.sync_delay = config.sync_delay;
        let key_shards = shard_options.key_shards;
        let opening = Shards::open(
            shard_options,
            Arc::clone(&remote),
            Arc::clone(&clock),
            Arc::clone(&dice),
        );
        let shards = opening.await?;
        let devices = OpenDevices::open(
            config.cluster,
            config.devices.clone(),
            config.index_cache_bytes,
            config.sync_delay,
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
        let wire = wire.serve(Arc::<NodeService>::clone(&service));
        let blobs = blobs.serve(devices.set().clone(), config.admission);
        if let Some(founders) = &config.founders {
            bootstrap(&shards, founders).await?;
        }

        let local = LocalNode {
            node: config.node,
            service: Arc::<NodeService>::clone(&service),
            devices: devices.set().clone(),
            process: caller.process(),
        };
        let client_config = ClientConfig {
            credentials: me,
            book: config.book.clone(),
            key_shards,
            local: Some(local),
        };
        let client = ClusterClient::start(client_config, remote, Arc::clone(&clock), dice);

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
            address: address.clone(),
            devices: devices.ids(),
        };
        let mut tasks = work::start(&workshop, &stop);
        tasks.push(tokio::spawn(register(client.clone(), record, stop.clone())));
        let folders = folders(&config).await;
        Ok(StorageNode {
            node: config.node,
            address,
            service,
            shards,
            devices,
            client,
            wire,
            blobs,
            stop,
            tasks,
            folders,
        })
    }
}

/// The folders this node keeps files open in, as the system names them.
async fn folders(config: &NodeConfig) -> Vec<PathBuf> {
    let devices = config.devices.iter().map(|device| device.path.clone());
    let all: Vec<PathBuf> = devices.chain([config.shards.dir.clone()]).collect();
    let named = tokio::task::spawn_blocking(|| {
        let named = |folder: PathBuf| folder.canonicalize().unwrap_or(folder);
        all.into_iter().map(named).collect()
    });
    named.await.unwrap_or_default()
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

/// Writes the node's record until it stands as it should, then is done.
async fn register(client: ClusterClient, record: NodeRecord, stop: CancellationToken) {
    let value = bytes::Bytes::from(serde_json::to_vec(&record).expect("a record has nothing JSON cannot write"));
    let key = record.node.to_string();
    let trying = async {
        loop {
            let put = client.put_record(
                NODES_TABLE,
                &key,
                RecordCondition::Any,
                value.clone(),
                REGISTER_DEADLINE,
            );
            match put.await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "the node's record is not written yet"),
            }
            tokio::time::sleep(REGISTER_PAUSE).await;
        }
    };
    stop.run_until_cancelled(trying).await;
}
