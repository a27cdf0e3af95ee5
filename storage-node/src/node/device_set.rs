//! The devices of one node, by their id in the ring.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::ids::DeviceId;
use parking_lot::RwLock;

use crate::device::BlobStore;

/// Open devices, shared by the blob server, the local client and the background work. Cheap to clone.
#[derive(Clone, Default)]
pub struct DeviceSet(Arc<RwLock<BTreeMap<DeviceId, Arc<dyn BlobStore>>>>);

impl DeviceSet {
    /// A set of these devices.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = (DeviceId, Arc<dyn BlobStore>)>) -> Self {
        Self(Arc::new(RwLock::new(devices.into_iter().collect())))
    }

    /// One device.
    #[must_use]
    pub fn get(&self, id: DeviceId) -> Option<Arc<dyn BlobStore>> {
        self.0.read().get(&id).cloned()
    }

    /// Whether the device is here.
    #[must_use]
    pub fn contains(&self, id: DeviceId) -> bool {
        self.0.read().contains_key(&id)
    }

    /// All devices, by id.
    #[must_use]
    pub fn all(&self) -> Vec<(DeviceId, Arc<dyn BlobStore>)> {
        self.0
            .read()
            .iter()
            .map(|(id, device)| (*id, Arc::clone(device)))
            .collect()
    }

    /// Opens or replaces a device.
    pub fn insert(&self, id: DeviceId, device: Arc<dyn BlobStore>) {
        self.0.write().insert(id, device);
    }

    /// Takes a device out of service; the answer keeps it open until its last user is done.
    #[must_use]
    pub fn remove(&self, id: DeviceId) -> Option<Arc<dyn BlobStore>> {
        self.0.write().remove(&id)
    }
}
