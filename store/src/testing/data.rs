//! Devices in memory, on nodes that can fail.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metadata::ids::{DeviceId, NodeId};
use metadata::model::PolicyId;
use parking_lot::Mutex;
use ring::Ring;
use storage_node::client::{BlobError, DataPlane, Policy, PolicyKind, PolicyList};
use storage_node::device::{Blob, BlobHeader, BlobKey, BlobSlice, BlobStore, DeviceError, MemoryDevice};

use super::Shape;

/// How a device behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// As it should.
    #[default]
    Good,
    /// Its node refuses connections, and everybody knows.
    Down,
    /// Its node refuses connections, and nobody knows yet.
    JustDied,
    /// Its node accepts requests and never answers.
    Hangs,
    /// It answers after this time.
    Slow(Duration),
    /// It takes no writes.
    Full,
}

/// The data plane in memory.
pub struct MemoryData {
    ring: Arc<Ring>,
    policies: Mutex<Vec<(Policy, Arc<Ring>)>>,
    devices: BTreeMap<DeviceId, Slot>,
    in_flight: AtomicUsize,
    in_flight_bytes: AtomicUsize,
    in_flight_bytes_max: AtomicUsize,
}

struct Slot {
    node: NodeId,
    device: MemoryDevice,
    health: Mutex<Health>,
}

impl MemoryData {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut builder = ring::Builder::new(6, shape.replicas, 0).expect("the numbers are small");
        let mut devices = BTreeMap::new();
        for node in 1..=shape.nodes {
            for number in 0..shape.devices_per_node {
                let device = ring::Device {
                    id: ring::DeviceId(0),
                    region: 1,
                    zone: 1,
                    node,
                    address: format!("127.0.0.1:{}", 7000 + node),
                    name: format!("d{number}"),
                    weight: 1.0,
                    ..ring::Device::default()
                };
                let id = DeviceId(builder.add(device).expect("the device is new").0);
                let device = MemoryDevice::new(shape.options.cluster, shape.device_bytes);
                devices.insert(
                    id,
                    Slot {
                        node: NodeId(node),
                        device,
                        health: Mutex::default(),
                    },
                );
            }
        }
        builder.rebalance(1, 1).expect("there are as many devices as replicas");
        let ring = Arc::new(builder.ring().expect("it was balanced"));
        Self {
            ring,
            policies: Mutex::default(),
            devices,
            in_flight: AtomicUsize::new(0),
            in_flight_bytes: AtomicUsize::new(0),
            in_flight_bytes_max: AtomicUsize::new(0),
        }
    }

    /// Adds a policy over all devices.
    ///
    /// # Panics
    /// When there are too few of them.
    pub fn add_policy(&self, name: &str, kind: PolicyKind) -> PolicyId {
        let mut builder = ring::Builder::from_ring(&self.ring, 0);
        let slots = u32::try_from(kind.slots()).expect("the number is small");
        builder.set_replicas(f64::from(slots)).expect("the number is small");
        builder.rebalance(1, 1).expect("there are as many devices as slots");
        let ring = Arc::new(builder.ring().expect("it was balanced"));
        let mut policies = self.policies.lock();
        let id = PolicyId(u16::try_from(policies.len()).expect("they are few") + 1);
        let policy = Policy::new(id, name, kind).expect("the test names it well");
        policies.push((policy, ring));
        id
    }

    /// All devices.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceId> {
        self.devices.keys().copied().collect()
    }

    /// The node a device belongs to.
    #[must_use]
    pub fn node_of(&self, device: DeviceId) -> Option<NodeId> {
        self.devices.get(&device).map(|slot| slot.node)
    }

    /// Sets how one device behaves from now on.
    ///
    /// # Panics
    /// When there is no such device.
    pub fn set_health(&self, device: DeviceId, health: Health) {
        *self.devices.get(&device).expect("the device exists").health.lock() = health;
    }

    /// Sets how all devices of a node behave from now on.
    pub fn set_node_health(&self, node: NodeId, health: Health) {
        for slot in self.devices.values().filter(|slot| slot.node == node) {
            *slot.health.lock() = health;
        }
    }

    /// Every blob a device holds.
    ///
    /// # Panics
    /// When there is no such device.
    pub async fn blobs(&self, device: DeviceId) -> Vec<BlobKey> {
        let slot = self.devices.get(&device).expect("the device exists");
        let (mut keys, mut after): (Vec<BlobKey>, _) = (Vec::new(), None);
        loop {
            let page = slot
                .device
                .list(after, u64::MAX, 1000)
                .await
                .expect("a device in memory lists");
            after = page.last().map(|(key, _)| *key);
            keys.extend(page.iter().map(|(key, _)| *key));
            if page.is_empty() {
                return keys;
            }
        }
    }

    /// The number of copies on all devices.
    pub async fn copies(&self) -> usize {
        let mut copies = 0;
        for device in self.devices() {
            copies += self.blobs(device).await.len();
        }
        copies
    }

    /// Flips a bit of a copy.
    pub fn corrupt(&self, device: DeviceId, key: &BlobKey, byte: usize) {
        if let Some(slot) = self.devices.get(&device) {
            slot.device.flip(key, byte);
        }
    }

    /// Makes a device lose a copy.
    ///
    /// # Panics
    /// When there is no such device.
    pub async fn lose(&self, device: DeviceId, key: BlobKey) {
        let slot = self.devices.get(&device).expect("the device exists");
        slot.device.remove(vec![key]).await.expect("a device in memory removes");
    }

    /// Calls that have not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// The most payload bytes that were on their way to devices at once, copies counted each.
    #[must_use]
    pub fn in_flight_bytes_max(&self) -> usize {
        self.in_flight_bytes_max.load(Ordering::SeqCst)
    }

    async fn enter(&self, device: DeviceId, deadline: Duration, bytes: usize) -> Result<Entered<'_>, BlobError> {
        let unreachable = |why: &str| BlobError::Unreachable(device, why.to_owned());
        let slot = self.devices.get(&device).ok_or_else(|| unreachable("unknown"))?;
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let now = self.in_flight_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.in_flight_bytes_max.fetch_max(now, Ordering::SeqCst);
        let entered = Entered {
            plane: self,
            slot,
            bytes,
        };
        tokio::task::yield_now().await;
        let health = *slot.health.lock();
        match health {
            Health::Good | Health::Full => Ok(entered),
            Health::Down | Health::JustDied => Err(unreachable("refused")),
            Health::Hangs => {
                tokio::time::sleep(deadline).await;
                Err(unreachable("no answer in time"))
            }
            Health::Slow(time) => {
                tokio::time::sleep(time.min(deadline)).await;
                if time < deadline {
                    Ok(entered)
                } else {
                    Err(unreachable("no answer in time"))
                }
            }
        }
    }
}

/// A call on its way; counted until it is dropped.
struct Entered<'a> {
    plane: &'a MemoryData,
    slot: &'a Slot,
    bytes: usize,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.plane.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.plane.in_flight_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

fn told(device: DeviceId, error: &DeviceError) -> BlobError {
    match error {
        DeviceError::NotFound => BlobError::Absent(device),
        DeviceError::Corrupt(_) | DeviceError::Range => BlobError::Corrupt(device),
        DeviceError::Malformed(_) => BlobError::BadFrames(device),
        other => BlobError::Refused(device, other.to_string()),
    }
}

#[async_trait]
impl DataPlane for MemoryData {
    fn ring(&self, policy: PolicyId) -> Option<Arc<Ring>> {
        if policy == PolicyId::default() {
            return Some(self.ring.clone());
        }
        let policies = self.policies.lock();
        let found = policies.iter().find(|(known, _)| known.id() == policy);
        found.map(|(_, ring)| ring.clone())
    }

    fn policies(&self) -> Arc<PolicyList> {
        let mut list = PolicyList::default();
        let policies = self.policies.lock();
        policies.iter().for_each(|(policy, _)| list.push(policy.clone()));
        Arc::new(list)
    }

    fn writable(&self, device: DeviceId) -> bool {
        self.devices
            .get(&device)
            .is_some_and(|slot| !matches!(*slot.health.lock(), Health::Down | Health::Full))
    }

    fn local(&self, _device: DeviceId) -> bool {
        false
    }

    async fn put_blob(&self, device: DeviceId, blob: Blob, deadline: Duration) -> Result<(), BlobError> {
        let entered = self.enter(device, deadline, blob.payload.len()).await?;
        if *entered.slot.health.lock() == Health::Full {
            return Err(BlobError::Refused(device, "full".into()));
        }
        entered
            .slot
            .device
            .put(blob)
            .await
            .map_err(|error| told(device, &error))
    }

    async fn read_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        deadline: Duration,
    ) -> Result<BlobSlice, BlobError> {
        let entered = self.enter(device, deadline, 0).await?;
        entered
            .slot
            .device
            .read(key, range)
            .await
            .map_err(|error| told(device, &error))
    }

    async fn stat_blob(
        &self,
        device: DeviceId,
        key: BlobKey,
        deadline: Duration,
    ) -> Result<Option<BlobHeader>, BlobError> {
        let entered = self.enter(device, deadline, 0).await?;
        entered
            .slot
            .device
            .stat(key)
            .await
            .map_err(|error| told(device, &error))
    }

    async fn remove_blobs(&self, device: DeviceId, keys: Vec<BlobKey>, deadline: Duration) -> Result<(), BlobError> {
        let entered = self.enter(device, deadline, 0).await?;
        entered
            .slot
            .device
            .remove(keys)
            .await
            .map_err(|error| told(device, &error))
    }
}
