//! [`StorageNode`]: the parts of one node, built and wired in one visible place, and stopped in good order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::{Dice, WallClock};
use metadata::ids::{DeviceId, NodeId};

use super::config::NodeConfig;
use super::device_set::DeviceSet;
use super::node_core::{Links, NodeCore};
use super::status::NodeStatus;
use crate::blob_http::{BlobClient, BlobServer, BoundBlobs};
use crate::client::ClusterClient;
use crate::device::DeviceError;
use crate::open_files::wait_until_closed;
use crate::shard::{OpenError, ShardFault, Shards};
use crate::threads;
use crate::wire::{AddressBook, BoundWire, ListenError, NodeAddress, Service, TcpCaller, WireServer};

/// How long each part gets to end in good order.
pub(super) const STOP_EACH: Duration = Duration::from_secs(5);
/// How long one attempt to write the node's record may take.
pub(super) const REGISTER_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between such attempts.
pub(super) const REGISTER_PAUSE: Duration = Duration::from_secs(1);

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
    core: NodeCore,
    address: NodeAddress,
    wire: WireServer,
    blobs: BlobServer,
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
        self.core.node()
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
        self.core.client()
    }

    /// Its shards.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        self.core.shards()
    }

    /// Its open devices.
    #[must_use]
    pub fn devices(&self) -> &DeviceSet {
        self.core.devices()
    }

    /// What an operator may want to know.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.core.status()
    }

    /// Takes a device out of service, builds its index again from its segments, and opens it; answers how many blobs
    /// it has.
    ///
    /// # Errors
    /// When the device is not of this node, or its folder does not allow it.
    pub async fn rebuild_index(&self, device: DeviceId) -> Result<u64, DeviceError> {
        self.core.rebuild_index(device).await
    }

    /// Stops in good order, within a bounded time: no new work, no new calls, shards, devices.
    pub async fn stop(self) {
        let Self {
            mut core,
            wire,
            blobs,
            folders,
            ..
        } = self;
        core.stop_work().await;
        blobs.stop(STOP_EACH).await;
        core.stop_shards().await;
        wire.stop(STOP_EACH).await;
        core.close_devices().await;
        drop((core, wire, blobs));
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
        let caller = TcpCaller::new(config.credentials(), config.book.clone(), Arc::clone(&dice));
        let blob_client = BlobClient::new(config.credentials(), config.book.clone(), Arc::clone(&dice));
        let process = caller.process();
        let links = Links {
            caller,
            blobs: Arc::new(blob_client),
            process,
        };
        let mut servers = None;
        let serve = |service: Arc<dyn Service>, devices: DeviceSet| {
            servers = Some((wire.serve(service), blobs.serve(devices, config.admission)));
        };
        let core = NodeCore::start(&config, address.clone(), links, clock, dice, serve).await?;
        let (wire, blobs) = servers.expect("a core that started was served");
        let folders = folders(&config).await;
        Ok(StorageNode {
            core,
            address,
            wire,
            blobs,
            folders,
        })
    }
}

/// The folders this node keeps files open in, as the system names them.
async fn folders(config: &NodeConfig) -> Vec<PathBuf> {
    let devices = config.devices.iter().map(|device| device.path.clone());
    let all: Vec<PathBuf> = devices.chain([config.shards.dir.clone()]).collect();
    let named = threads::blocking(|| {
        let named = |folder: PathBuf| folder.canonicalize().unwrap_or(folder);
        all.into_iter().map(named).collect()
    });
    named.await.unwrap_or_default()
}
