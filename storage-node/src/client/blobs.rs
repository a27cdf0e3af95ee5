//! Blobs of all devices: the own ones directly, the others over HTTP; failures become hints.

use std::future::Future;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use metadata::ids::{DeviceId, NodeId};
use metadata::model::PolicyId;

use super::BlobError;
use super::hints::Hints;
use super::local::LocalNode;
use super::rings::Rings;
use crate::blob_http::{BlobClientError, Fault, ListCall, RemoteBlobs};
use crate::device::{Blob, BlobHeader, BlobKey, BlobSlice, BlobStore, DeviceError, DeviceState, Digest, Purpose};

/// Reaches every device.
pub(super) struct Blobs {
    local: Option<LocalNode>,
    remote: Arc<dyn RemoteBlobs>,
    rings: Arc<Rings>,
    hints: Arc<Hints>,
}

/// Where a device is.
enum Place {
    Here(Arc<dyn BlobStore>),
    There(NodeId),
}

impl Blobs {
    pub(super) fn new(
        local: Option<LocalNode>,
        remote: Arc<dyn RemoteBlobs>,
        rings: Arc<Rings>,
        hints: Arc<Hints>,
    ) -> Self {
        Self {
            local,
            remote,
            rings,
            hints,
        }
    }

    pub(super) fn is_local(&self, device: DeviceId) -> bool {
        self.local.as_ref().is_some_and(|local| local.devices.contains(device))
    }

    pub(super) fn node_seems_up(&self, node: NodeId) -> bool {
        !self.hints.node_is_down(node)
    }

    pub(super) fn writable(&self, device: DeviceId) -> bool {
        if self.hints.device_refuses(device) {
            return false;
        }
        match self.place(device) {
            Ok(Place::Here(store)) => store.usage().state == DeviceState::Ok,
            Ok(Place::There(node)) => self.node_seems_up(node),
            Err(_) => false,
        }
    }

    pub(super) async fn put(&self, device: DeviceId, blob: Blob, deadline: Duration) -> Result<(), BlobError> {
        let done = match self.place(device)? {
            Place::Here(store) => here(device, deadline, store.put(blob)).await,
            Place::There(node) => {
                self.there(device, node, deadline, self.remote.put(node, device, &blob))
                    .await
            }
        };
        match &done {
            Ok(()) => self.hints.device_took(device),
            Err(BlobError::Refused(..)) => self.hints.device_refused(device),
            Err(_) => {}
        }
        done
    }

    pub(super) async fn read(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        purpose: Purpose,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        match self.place(device)? {
            Place::Here(store) => {
                let read = match purpose {
                    Purpose::Serve => store.read(key, range),
                    Purpose::Upkeep => store.read_for_upkeep(key, range),
                };
                here(device, deadline, read).await
            }
            Place::There(node) => {
                let read = self.remote.read(node, device, key, range, purpose);
                self.there(device, node, deadline, read).await
            }
        }
    }

    pub(super) async fn stat(
        &self,
        device: DeviceId,
        key: BlobKey,
        deadline: Duration,
    ) -> Result<Option<BlobHeader>, BlobError> {
        match self.place(device)? {
            Place::Here(store) => here(device, deadline, store.stat(key)).await,
            Place::There(node) => {
                self.there(device, node, deadline, self.remote.stat(node, device, key))
                    .await
            }
        }
    }

    pub(super) async fn stat_many(
        &self,
        device: DeviceId,
        keys: Vec<BlobKey>,
        deadline: Duration,
    ) -> Result<Vec<Option<BlobHeader>>, BlobError> {
        match self.place(device)? {
            Place::Here(store) => {
                let stats = async {
                    let mut headers = Vec::with_capacity(keys.len());
                    for key in keys {
                        headers.push(store.stat(key).await?);
                    }
                    Ok(headers)
                };
                here(device, deadline, stats).await
            }
            Place::There(node) => {
                self.there(device, node, deadline, self.remote.stat_many(node, device, keys))
                    .await
            }
        }
    }

    pub(super) async fn remove(
        &self,
        device: DeviceId,
        keys: Vec<BlobKey>,
        deadline: Duration,
    ) -> Result<(), BlobError> {
        match self.place(device)? {
            Place::Here(store) => here(device, deadline, store.remove(keys)).await,
            Place::There(node) => {
                self.there(device, node, deadline, self.remote.remove(node, device, &keys))
                    .await
            }
        }
    }

    pub(super) async fn list(
        &self,
        device: DeviceId,
        call: ListCall,
        deadline: Duration,
    ) -> Result<Vec<(BlobKey, BlobHeader)>, BlobError> {
        match self.place(device)? {
            Place::Here(store) => {
                let listed = store.list(call.after, call.until_placement, call.limit as usize);
                here(device, deadline, listed).await
            }
            Place::There(node) => {
                self.there(device, node, deadline, self.remote.list(node, device, call))
                    .await
            }
        }
    }

    pub(super) async fn digest(
        &self,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        policy: PolicyId,
        deadline: Duration,
    ) -> Result<Digest, BlobError> {
        match self.place(device)? {
            Place::Here(store) => here(device, deadline, store.digest(placements, policy)).await,
            Place::There(node) => {
                self.there(
                    device,
                    node,
                    deadline,
                    self.remote.digest(node, device, placements, policy),
                )
                .await
            }
        }
    }

    fn place(&self, device: DeviceId) -> Result<Place, BlobError> {
        if let Some(store) = self.local.as_ref().and_then(|local| local.devices.get(device)) {
            return Ok(Place::Here(store));
        }
        let node = self.rings.home(device);
        let node = node.ok_or_else(|| BlobError::Unreachable(device, "no ring and no node names it".to_owned()))?;
        if self.local.as_ref().is_some_and(|local| local.node == node) {
            return Err(BlobError::Unreachable(device, "it is not open on this node".to_owned()));
        }
        Ok(Place::There(node))
    }

    /// Awaits another node's answer; what it shows about the node is remembered.
    async fn there<T>(
        &self,
        device: DeviceId,
        node: NodeId,
        deadline: Duration,
        asked: impl Future<Output = Result<T, BlobClientError>>,
    ) -> Result<T, BlobError> {
        match tokio::time::timeout(deadline, asked).await {
            Ok(Ok(answer)) => {
                self.hints.node_answered(node);
                Ok(answer)
            }
            Ok(Err(BlobClientError::Fault(fault, why))) => {
                self.hints.node_answered(node);
                Err(of_fault(device, fault, why))
            }
            Ok(Err(e @ (BlobClientError::Refused(_) | BlobClientError::Broken(_)))) => {
                self.hints.node_failed(node);
                Err(BlobError::Unreachable(device, e.to_string()))
            }
            // Slow is not down: nothing is remembered.
            Err(_) => Err(BlobError::Unreachable(
                device,
                "no answer before the deadline".to_owned(),
            )),
        }
    }
}

/// Awaits a device of this process.
async fn here<T>(
    device: DeviceId,
    deadline: Duration,
    asked: impl Future<Output = Result<T, DeviceError>>,
) -> Result<T, BlobError> {
    match tokio::time::timeout(deadline, asked).await {
        Ok(answer) => answer.map_err(|e| of_fault(device, Fault::from(&e), e.to_string())),
        Err(_) => Err(BlobError::Unreachable(
            device,
            "no answer before the deadline".to_owned(),
        )),
    }
}

/// What a fault means for the caller. Plain function, no `_` arm: a new fault asks its question here.
fn of_fault(device: DeviceId, fault: Fault, why: String) -> BlobError {
    match fault {
        Fault::Absent => BlobError::Absent(device),
        // A blob shorter than its manifest says is damaged as far as this reader is concerned.
        Fault::Corrupt | Fault::Range => BlobError::Corrupt(device),
        Fault::Malformed => BlobError::BadFrames(device),
        Fault::Conflict
        | Fault::ForeignCluster
        | Fault::Full
        | Fault::ReadOnly
        | Fault::Busy
        | Fault::TooLarge
        | Fault::Slow => BlobError::Refused(device, why),
        Fault::Out | Fault::Io | Fault::NoSuchDevice | Fault::BadRequest => BlobError::Unreachable(device, why),
    }
}
