//! Opening, closing and reopening the folders that are this node's devices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clock::{Dice, WallClock};
use metadata::ids::{ClusterId, DeviceId};
use parking_lot::Mutex;
use rocksdb::Cache;

use super::config::DeviceConfig;
use super::device_care::FolderMark;
use super::device_set::DeviceSet;
use crate::device::{
    BlobKey, BlobStore, DeviceError, DeviceState, DiskDevice, DiskFaults, FaultyDisk, Identity, OpenReport, Parts,
    RealDisk, Usage,
};
use crate::ground::Ground;
use crate::threads;

/// How often a closed device's index is tried again while its last users let go of it.
const LET_GO_TRIES: u32 = 200;
/// The pause in between.
const LET_GO_PAUSE: Duration = Duration::from_millis(50);

/// The devices of this node: those that serve, and why others do not.
pub(crate) struct OpenDevices {
    cluster: ClusterId,
    configs: BTreeMap<DeviceId, DeviceConfig>,
    sync_delay: Duration,
    clock: Arc<dyn WallClock>,
    dice: Arc<dyn Dice>,
    cache: Cache,
    /// Where the devices lie when not in their folders.
    ground: Option<Arc<dyn Ground>>,
    set: DeviceSet,
    state: Mutex<State>,
    /// Whoever closes and opens devices takes turns.
    turn: tokio::sync::Mutex<Stopping>,
}

/// Set once the node is stopping: nothing is opened any more.
#[derive(Default)]
struct Stopping(bool);

#[derive(Default)]
struct State {
    open: BTreeMap<DeviceId, DiskDevice>,
    closed: BTreeMap<DeviceId, String>,
    /// The folders that devices were opened in.
    folders: BTreeMap<DeviceId, FolderMark>,
    suspects: Vec<(DeviceId, Vec<BlobKey>)>,
}

impl OpenDevices {
    /// Opens every configured device. One that does not open is out, with its reason in the status; the node goes on.
    pub(crate) async fn open(
        cluster: ClusterId,
        configs: Vec<DeviceConfig>,
        cache_bytes: usize,
        sync_delay: Duration,
        ground: Option<Arc<dyn Ground>>,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
    ) -> Arc<Self> {
        let configs = configs.into_iter().map(|config| (config.id, config)).collect();
        let cache = Cache::new_lru_cache(cache_bytes);
        let (set, state) = (DeviceSet::default(), Mutex::default());
        let devices = Arc::new(Self {
            cluster,
            configs,
            sync_delay,
            clock,
            dice,
            cache,
            ground,
            set,
            state,
            turn: tokio::sync::Mutex::default(),
        });
        let ids: Vec<DeviceId> = devices.configs.keys().copied().collect();
        for id in ids {
            devices.open_one(id).await;
        }
        devices
    }

    /// The devices that serve.
    pub(crate) fn set(&self) -> &DeviceSet {
        &self.set
    }

    /// All configured devices.
    pub(crate) fn ids(&self) -> Vec<DeviceId> {
        self.configs.keys().copied().collect()
    }

    /// The open devices with what only real ones can do: scrub, reclaim of segments.
    pub(crate) fn disks(&self) -> Vec<(DeviceId, DiskDevice)> {
        self.state
            .lock()
            .open
            .iter()
            .map(|(id, device)| (*id, device.clone()))
            .collect()
    }

    /// Blobs that recovery could not vouch for, once.
    pub(crate) fn take_suspects(&self) -> Vec<(DeviceId, Vec<BlobKey>)> {
        std::mem::take(&mut self.state.lock().suspects)
    }

    /// Folder and usage of each device, or why it is out.
    pub(crate) fn report(&self) -> Vec<(DeviceId, String, Result<Usage, String>)> {
        let state = self.state.lock();
        let one = |(id, config): (&DeviceId, &DeviceConfig)| {
            let usage = state.open.get(id).map(|device| device.usage()).ok_or_else(|| {
                state
                    .closed
                    .get(id)
                    .cloned()
                    .unwrap_or_else(|| "it is being opened".to_owned())
            });
            (*id, config.path.display().to_string(), usage)
        };
        self.configs.iter().map(one).collect()
    }

    /// A device's path, its state unless it is closed, and the folder it was opened in last.
    pub(super) fn sight(&self, id: DeviceId) -> Option<(PathBuf, Option<DeviceState>, Option<FolderMark>)> {
        let path = self.configs.get(&id)?.path.clone();
        let state = self.state.lock();
        let device = state.open.get(&id).map(|device| device.usage().state);
        Some((path, device, state.folders.get(&id).copied()))
    }

    /// Takes a device out of service whose disk is gone.
    pub(super) async fn close_gone(&self, id: DeviceId, why: &str) {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.close_one(id, why).await {
            tracing::debug!(device = %id, %error, "the device did not close in good order");
        }
    }

    /// Why a device is out by now.
    pub(super) fn still_closed(&self, id: DeviceId, why: String) {
        let mut state = self.state.lock();
        if !state.open.contains_key(&id) {
            state.closed.insert(id, why);
        }
    }

    /// Opens a device that does not serve, or serves no writes; true when it does both afterwards.
    pub(super) async fn reopen(&self, id: DeviceId) -> bool {
        let turn = self.turn.lock().await;
        let serves = || {
            self.sight(id)
                .is_some_and(|(_, state, _)| state == Some(DeviceState::Ok))
        };
        if turn.0 || serves() {
            return serves();
        }
        let open = self.state.lock().open.contains_key(&id);
        if open && let Err(error) = self.close_one(id, "it is being opened again").await {
            tracing::debug!(device = %id, %error, "the device did not close in good order");
        }
        self.open_one(id).await;
        serves()
    }

    /// Where a device lies, for an operator's order to open it.
    pub(crate) async fn replaced(&self, id: DeviceId) -> Result<String, String> {
        if !self.configs.contains_key(&id) {
            return Err(format!("device {id} is not configured on this node"));
        }
        if self.reopen(id).await {
            return Ok(format!("device {id} serves"));
        }
        let why = self.state.lock().closed.get(&id).cloned().unwrap_or_default();
        Err(format!("device {id} does not serve: {why}"))
    }

    async fn open_one(&self, id: DeviceId) {
        let Some(config) = self.configs.get(&id).cloned() else {
            return;
        };
        let path = config.path.clone();
        let identity = Identity {
            cluster: self.cluster,
            device: id,
        };
        let (clock, dice, cache) = (Arc::clone(&self.clock), Arc::clone(&self.dice), self.cache.clone());
        let delay = self.sync_delay;
        let ground = self.ground.clone();
        let opening = threads::blocking(move || {
            if let Some(ground) = ground {
                let (disk, index) = ground.device(id);
                let parts = Parts {
                    disk,
                    index,
                    clock,
                    dice,
                };
                return DiskDevice::open_parts(parts, identity, config.options);
            }
            std::fs::create_dir_all(&config.path)
                .map_err(|e| DeviceError::Refused(format!("making {}: {e}", config.path.display())))?;
            if delay.is_zero() {
                return DiskDevice::open(&config.path, identity, config.options, clock, dice, Some(&cache));
            }
            let real = RealDisk::open(&config.path).map_err(|e| DeviceError::Refused(e.to_string()))?;
            let faults = Arc::new(DiskFaults::default());
            faults
                .sync_delay_us
                .store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let slow = Arc::new(FaultyDisk::new(Arc::new(real), faults));
            DiskDevice::open_on_disk(slow, &config.path, identity, config.options, clock, dice, Some(&cache))
        });
        let opened = opening.await.unwrap_or_else(|e| Err(DeviceError::Out(e.to_string())));
        let folder = if self.ground.is_none() && opened.is_ok() {
            threads::blocking(move || FolderMark::of(&path).ok())
                .await
                .ok()
                .flatten()
        } else {
            None
        };
        let mut state = self.state.lock();
        match opened {
            Ok((device, report)) => {
                note(id, &report);
                if let Some(folder) = folder {
                    state.folders.insert(id, folder);
                }
                if !report.suspects.is_empty() {
                    state.suspects.push((id, report.suspects));
                }
                self.set.insert(id, Arc::new(device.clone()));
                state.closed.remove(&id);
                state.open.insert(id, device);
            }
            Err(error) => {
                tracing::error!(device = %id, %error, "a device does not open");
                state.closed.insert(id, error.to_string());
            }
        }
    }

    async fn close_one(&self, id: DeviceId, why: &str) -> Result<(), DeviceError> {
        let device = {
            let mut state = self.state.lock();
            state.closed.insert(id, why.to_owned());
            state.open.remove(&id)
        };
        drop(self.set.remove(id));
        match device {
            Some(device) => device.close().await,
            None => Ok(()),
        }
    }

    /// Takes a device out of service, builds its index from its segments, and opens it again.
    ///
    /// # Errors
    /// When the device is not configured here, or its folder does not allow it; the device may be out afterwards.
    pub(crate) async fn rebuild_index(&self, id: DeviceId) -> Result<OpenReport, DeviceError> {
        let config = self.configs.get(&id).cloned();
        let config =
            config.ok_or_else(|| DeviceError::Refused(format!("device {id} is not configured on this node")))?;
        let _turn = self.turn.lock().await;
        if let Err(error) = self.close_one(id, "its index is being rebuilt").await {
            tracing::warn!(device = %id, %error, "the device did not close in good order");
        }
        let identity = Identity {
            cluster: self.cluster,
            device: id,
        };
        let (clock, dice) = (Arc::clone(&self.clock), Arc::clone(&self.dice));
        let mut tries = 0;
        let built = loop {
            let (config, clock, dice) = (config.clone(), Arc::clone(&clock), Arc::clone(&dice));
            let building = threads::blocking(move || {
                DiskDevice::rebuild_index(&config.path, identity, config.options, clock, dice)
            });
            match building.await.unwrap_or_else(|e| Err(DeviceError::Out(e.to_string()))) {
                // The last user of the closed device has not let go of the index yet.
                Err(DeviceError::Out(_)) if tries < LET_GO_TRIES => tries += 1,
                built => break built,
            }
            tokio::time::sleep(LET_GO_PAUSE).await;
        };
        self.open_one(id).await;
        built
    }

    /// Closes all devices in good order.
    pub(crate) async fn close(&self) {
        let mut turn = self.turn.lock().await;
        turn.0 = true;
        for (id, _) in self.disks() {
            if let Err(error) = self.close_one(id, "the node is stopping").await {
                tracing::warn!(device = %id, %error, "the device did not close in good order");
            }
        }
    }
}

fn note(id: DeviceId, report: &OpenReport) {
    let OpenReport {
        replayed,
        torn_bytes,
        rot_regions,
        blobs,
        ..
    } = report;
    tracing::info!(device = %id, blobs, replayed, torn_bytes, rot_regions, "a device is open");
    if let Some(why) = &report.rebuilt {
        tracing::warn!(device = %id, why, "the index was rebuilt from the segments");
    }
}
