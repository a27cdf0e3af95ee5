//! What one simulated node stands on, and what is left of it after a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metadata::ids::DeviceId;
use parking_lot::Mutex;
use storage_node::device::{Disk, Index, MapIndex};
use storage_node::ground::Ground;
use storage_node::shard::{FaultyStore, MemoryStore, OpenFailed, RowStore, StoreFaults};

use crate::dice::SimDice;
use crate::disk::{DiskFaults, SimDisk};

/// How a node's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process alone: what it wrote is in the system's cache.
    Kill,
    /// The whole machine: what was not synced is lost, kept or torn.
    PowerCut,
}

/// The disks of one node.
pub(crate) struct NodeGround {
    dice: SimDice,
    note: SimDisk,
    rows: Mutex<Arc<MemoryStore>>,
    row_faults: Mutex<Arc<StoreFaults>>,
    row_syncs_fail: AtomicBool,
    devices: BTreeMap<DeviceId, DeviceGround>,
}

struct DeviceGround {
    disk: SimDisk,
    index: Mutex<Arc<MapIndex>>,
}

impl fmt::Debug for NodeGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeGround")
    }
}

impl NodeGround {
    pub(crate) fn new(dice: SimDice, devices: &[DeviceId]) -> Self {
        let device = |id: &DeviceId| {
            let ground = DeviceGround {
                disk: SimDisk::new(dice.clone()),
                index: Mutex::default(),
            };
            (*id, ground)
        };
        Self {
            note: SimDisk::new(dice.clone()),
            rows: Mutex::new(Arc::new(MemoryStore::new())),
            row_faults: Mutex::default(),
            row_syncs_fail: AtomicBool::new(false),
            devices: devices.iter().map(device).collect(),
            dice,
        }
    }

    pub(crate) fn device_ids(&self) -> Vec<DeviceId> {
        self.devices.keys().copied().collect()
    }

    /// The process is gone; leaves the disks as the next one finds them.
    pub(crate) fn die(&self, death: Death) {
        let mut rows = self.rows.lock();
        let mut faults = self.row_faults.lock();
        let kept = match death {
            Death::Kill => rows.unsynced(),
            Death::PowerCut => self.dice.below(rows.unsynced() as u64 + 1) as usize,
        };
        *rows = Arc::new(rows.crash(kept));
        *faults = Arc::default();
        self.row_syncs_fail.store(false, Ordering::SeqCst);
        match death {
            Death::Kill => self.note.unlock(),
            Death::PowerCut => self.note.power_cut(),
        }
        for device in self.devices.values() {
            let mut index = device.index.lock();
            let kept = match death {
                Death::Kill => {
                    device.disk.unlock();
                    index.unsynced()
                }
                Death::PowerCut => {
                    device.disk.power_cut();
                    self.dice.below(index.unsynced() as u64 + 1) as usize
                }
            };
            *index = Arc::new(index.after_power_cut(kept));
        }
    }

    /// The metadata store and its note are gone, as when somebody put a new disk in (DUR-5).
    pub(crate) fn lose_metadata(&self) {
        *self.rows.lock() = Arc::new(MemoryStore::new());
        self.note.wipe();
    }

    /// An empty disk is in the device's place. Only while no process runs.
    pub(crate) fn lose_disk(&self, device: DeviceId) {
        if let Some(device) = self.devices.get(&device) {
            device.disk.wipe();
            *device.index.lock() = Arc::default();
        }
    }

    /// From now on syncs of the metadata store fail, until the process ends.
    pub(crate) fn fail_row_syncs(&self) {
        self.row_syncs_fail.store(true, Ordering::SeqCst);
        self.row_faults.lock().fail_syncs();
    }

    /// True when only a new process will see good syncs again.
    pub(crate) fn row_syncs_fail(&self) -> bool {
        self.row_syncs_fail.load(Ordering::SeqCst)
    }

    pub(crate) fn set_disk_faults(&self, device: DeviceId, faults: DiskFaults) {
        if let Some(device) = self.devices.get(&device) {
            device.disk.set_faults(faults);
        }
    }

    pub(crate) fn flip_a_bit(&self, device: DeviceId) -> Option<String> {
        self.devices.get(&device)?.disk.flip_a_bit()
    }
}

impl Ground for NodeGround {
    fn note(&self) -> Arc<dyn Disk> {
        Arc::new(self.note.clone())
    }

    fn metadata(&self) -> Result<Arc<dyn RowStore>, OpenFailed> {
        let rows = Arc::<MemoryStore>::clone(&self.rows.lock());
        let faults = Arc::clone(&self.row_faults.lock());
        Ok(Arc::new(FaultyStore::new(rows, faults)))
    }

    fn device(&self, device: DeviceId) -> (Arc<dyn Disk>, Arc<dyn Index>) {
        let ground = self
            .devices
            .get(&device)
            .expect("the node is configured with its own devices");
        (
            Arc::new(ground.disk.clone()),
            Arc::<MapIndex>::clone(&ground.index.lock()),
        )
    }
}
