//! What operators ask of a policy's rings, and what nodes note of a change: every step is one compare-and-set of the
//! policy's record in the system shard, so that two operators, or an operator and a failing disk, cannot undo each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use metadata::command::{Command, RecordCondition};
use metadata::ids::{DeviceId, ShardId};
use metadata::model::{PolicyId, Record};
use metadata::query::{Found, Query};
use metadata::reply::Refusal;
use ring::change::{
    Capacity, Change, ChangeRefused, Earlier, check_domains, check_pace, check_quorum, check_registered, check_slots,
    check_space, even_partition_bytes,
};
use ring::{Ring, RingError, RingFile};

use super::cluster::ClusterClient;
use super::operations::RecordError;
use super::ring_state::{LiveFile, RING_FILES_TABLE, RING_STATE_TABLE, RingRefusal, RingState, Says, piece_key};
use super::rings::{LiveRing, NODES_TABLE, NodeRecord, RINGS_TABLE, read_file};
use super::{MetadataPlane, PlaneError};
use crate::erasure::Code;

/// The longest piece of a ring file in one record, in bytes: a record is at most a mebibyte, and so is a call.
const PIECE_BYTES: usize = 512 * 1024;
/// How often a step is tried again when somebody else changed the record in between.
const TRIES_MAX: usize = 8;
/// How full a device may be at the end of a change, in percent (DESIGN §3.2: rebalance stops there).
pub const FULL_PERCENT_MAX: u64 = 85;
const MS_PER_HOUR: u64 = 3_600_000;

/// What an operator says beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// A partition that moved within so many hours does not move again; failed devices are exempt.
    pub min_part_hours: u32,
    /// Copies may stand in fewer failure domains than now: the operator says so.
    pub accept_fewer_domains: bool,
    /// Only check.
    pub dry_run: bool,
}

/// A ring that was applied, or would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The state after it.
    pub state: RingState,
    /// Replicas that have to be copied.
    pub replicas_moved: u64,
    /// About how many bytes that is.
    pub bytes_moved: u64,
}

/// Why a ring was not applied, or another step not taken.
#[derive(Debug, thiserror::Error)]
pub enum RingChangeError {
    /// The file is not a ring.
    #[error(transparent)]
    File(#[from] RingError),
    /// The change is not safe; the sentence says what to do.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
    /// The state of the rings does not allow it.
    #[error(transparent)]
    State(#[from] RingRefusal),
    /// The system shard did not answer or refused; a repeat is safe.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No ring is live.
    #[error("policy {0} has no ring yet")]
    NoRing(u16),
    /// Somebody else changed the rings all the time.
    #[error("the rings were changed by somebody else meanwhile: look at `halo ring status` and try again")]
    Contended,
    /// What is recorded cannot be read.
    #[error("the recorded ring cannot be read: {0}")]
    Recorded(String),
}

impl From<PlaneError> for RingChangeError {
    fn from(error: PlaneError) -> Self {
        Self::Record(error.into())
    }
}

/// The facts that a ring is checked against.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Which node has which device, as the nodes say.
    pub homes: BTreeMap<u32, u64>,
    /// Capacity and fill of each device whose node answers.
    pub capacities: BTreeMap<ring::DeviceId, Capacity>,
    /// Bytes of all copies together.
    pub stored_bytes: u64,
    /// Devices that failed.
    pub failed: BTreeSet<u32>,
    /// Now, in hours since the Unix epoch.
    pub now_hours: u32,
    /// Set when the policy keeps fragments.
    pub code: Option<Code>,
}

/// Whether `new` may follow `live` (REB-1): the sentences of refusal are the ring's own. Plain function.
///
/// # Errors
/// [`ChangeRefused`].
pub fn check_ring(
    live: &Ring,
    before: Option<Earlier<'_>>,
    new: &Ring,
    facts: &Facts,
    options: &ApplyOptions,
) -> Result<Change, ChangeRefused> {
    let change = Change::between(live, new)?;
    check_registered(new, |device| facts.homes.get(&device.id.0) == Some(&device.node))?;
    let gone = |device: ring::DeviceId| facts.failed.contains(&device.0);
    check_pace(&change, before, facts.now_hours, options.min_part_hours, gone)?;
    // A cluster of fewer nodes than a quorum goes on as it is (`halo up --nodes 1` says so).
    let active = live.devices().filter(|device| device.weight > 0.0);
    let nodes_now = active.map(|device| device.node).collect::<BTreeSet<_>>().len();
    match facts.code {
        None => check_quorum(new, (new.replicas() / 2 + 1).min(nodes_now))?,
        Some(code) => {
            let any = options.accept_fewer_domains.then_some(code.fragments());
            check_slots(new, code.fragments(), any.unwrap_or(code.parity()))?;
        }
    }
    if !options.accept_fewer_domains {
        check_domains(&change)?;
    }
    let bytes = even_partition_bytes(live, facts.stored_bytes);
    check_space(&change, |_| bytes, &facts.capacities, FULL_PERCENT_MAX)?;
    Ok(change)
}

impl ClusterClient {
    /// The rings of a policy as the system shard has them, with the record's version (`None`: never changed).
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn ring_state(
        &self,
        policy: PolicyId,
        deadline: Duration,
    ) -> Result<(RingState, Option<u64>), RingChangeError> {
        let key = policy.0.to_string();
        if let Some(record) = self.record(RING_STATE_TABLE, &key, deadline).await? {
            let state = RingState::decode(&record.value).map_err(RingChangeError::Recorded)?;
            return Ok((state, Some(record.version)));
        }
        let first = self.record(RINGS_TABLE, &key, deadline).await?;
        let first = first.ok_or(RingChangeError::NoRing(policy.0))?;
        let ring = Ring::from_bytes(&first.value)?;
        let file = LiveFile {
            epoch: ring.version(),
            version: ring.version(),
            file: String::new(),
            pieces: 0,
            failed: BTreeSet::new(),
        };
        Ok((RingState::first(file, 0), None))
    }

    /// A ring in use, read from the system shard.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn ring_of_file(
        &self,
        policy: PolicyId,
        file: &LiveFile,
        deadline: Duration,
    ) -> Result<LiveRing, RingChangeError> {
        let mut found: HashMap<(String, String), Bytes> = HashMap::new();
        let pieces = (0..file.pieces).map(|piece| (RING_FILES_TABLE, piece_key(&file.file, piece)));
        let first = file.file.is_empty().then(|| (RINGS_TABLE, policy.0.to_string()));
        for (table, key) in pieces.chain(first) {
            if let Some(record) = self.record(table, &key, deadline).await? {
                found.insert((table.to_owned(), key), record.value);
            }
        }
        let fetch = |table: &str, key: &str| found.get(&(table.to_owned(), key.to_owned())).cloned();
        read_file(policy, file, &fetch).map_err(RingChangeError::Recorded)
    }

    /// Checks a ring and begins the move to it.
    ///
    /// # Errors
    /// [`RingChangeError`]; then nothing has changed.
    pub async fn apply_ring(
        &self,
        policy: PolicyId,
        new: &Ring,
        options: ApplyOptions,
        deadline: Duration,
    ) -> Result<Applied, RingChangeError> {
        let (state, _) = self.ring_state(policy, deadline).await?;
        let file = RingFile::of(new);
        let name = hex::encode(&blake3::hash(file.bytes()).as_bytes()[..16]);
        let pieces = file.parts(PIECE_BYTES)?;
        let live_file = LiveFile {
            epoch: 0,
            version: new.version(),
            file: name.clone(),
            pieces: u32::try_from(pieces.len()).unwrap_or(u32::MAX),
            failed: BTreeSet::new(),
        };
        let next = state.apply(live_file.clone(), self.now_ms())?;
        let live = self.ring_of_file(policy, &state.current, deadline).await?;
        let before = match &state.before {
            Some(file) => self.ring_of_file(policy, file, deadline).await.ok(),
            None => None,
        };
        let earlier = before.as_ref().map(|before| Earlier {
            before: &before.ring,
            applied_at_hours: hours(state.since_ms),
        });
        let facts = Facts {
            code: self
                .policy_list(deadline)
                .await?
                .get(policy)
                .and_then(|policy| policy.kind.code()),
            ..self.facts(&state, deadline).await?
        };
        let change = check_ring(&live.ring, earlier, new, &facts, &options)?;
        let partition_bytes = even_partition_bytes(&live.ring, facts.stored_bytes);
        let applied = |state| Applied {
            state,
            replicas_moved: change.replicas_moved(),
            bytes_moved: change.bytes_moved(|_| partition_bytes),
        };
        if options.dry_run {
            return Ok(applied(next));
        }
        for (at, piece) in (0..).zip(pieces) {
            let key = piece_key(&name, at);
            self.put_record(RING_FILES_TABLE, &key, RecordCondition::Any, piece.into(), deadline)
                .await?;
        }
        let state = self
            .change_ring(policy, deadline, |now, now_ms| {
                now.apply(live_file.clone(), now_ms).map(Some)
            })
            .await?;
        Ok(applied(state))
    }

    /// Records a first ring that is too large for one record.
    pub(super) async fn install_in_pieces(
        &self,
        policy: PolicyId,
        ring: &Ring,
        deadline: Duration,
    ) -> Result<(), RecordError> {
        let file = RingFile::of(ring);
        let name = hex::encode(&blake3::hash(file.bytes()).as_bytes()[..16]);
        let parts = file.parts(PIECE_BYTES).map_err(|_| RecordError::Odd)?;
        let pieces = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (at, piece) in (0..).zip(parts) {
            let key = piece_key(&name, at);
            self.put_record(RING_FILES_TABLE, &key, RecordCondition::Any, piece.into(), deadline)
                .await?;
        }
        let version = ring.version();
        let file = LiveFile {
            epoch: version,
            version,
            file: name,
            pieces,
            failed: BTreeSet::new(),
        };
        let value = RingState::first(file, self.now_ms()).encode().into();
        let key = policy.0.to_string();
        self.put_record(RING_STATE_TABLE, &key, RecordCondition::Absent, value, deadline)
            .await?;
        Ok(())
    }

    /// Takes the change under way back.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn abort_ring(&self, policy: PolicyId, deadline: Duration) -> Result<RingState, RingChangeError> {
        self.change_ring(policy, deadline, |state, now_ms| state.abort(now_ms).map(Some))
            .await
    }

    /// Has the copies of a change rest, or go on.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn pause_ring(
        &self,
        policy: PolicyId,
        paused: bool,
        deadline: Duration,
    ) -> Result<RingState, RingChangeError> {
        self.change_ring(policy, deadline, |state, _| {
            Ok((state.paused != paused).then(|| RingState {
                paused,
                ..state.clone()
            }))
        })
        .await
    }

    /// Limits the copies, in bytes that each receiving device is sent in a second; `None`: the nodes' default.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn throttle_ring(
        &self,
        policy: PolicyId,
        bytes_per_second: Option<u64>,
        deadline: Duration,
    ) -> Result<RingState, RingChangeError> {
        self.change_ring(policy, deadline, |state, _| {
            Ok(Some(RingState {
                bytes_per_second,
                ..state.clone()
            }))
        })
        .await
    }

    /// Has other devices stand in for those that failed, or gives devices that returned their partitions back. Both move
    /// copies at once, whatever else is going on (DESIGN §3.4). A repeat changes nothing.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn devices_failed(
        &self,
        policy: PolicyId,
        devices: &BTreeSet<DeviceId>,
        failed: bool,
        says: Says,
        deadline: Duration,
    ) -> Result<RingState, RingChangeError> {
        let devices = devices.iter().map(|device| device.0).collect();
        self.change_ring(policy, deadline, |state, now_ms| {
            Ok(state.devices(&devices, failed, says, now_ms))
        })
        .await
    }

    /// As [`Self::devices_failed`] for one device, said by an operator.
    ///
    /// # Errors
    /// [`RingChangeError`].
    pub async fn device_failed(
        &self,
        policy: PolicyId,
        device: DeviceId,
        failed: bool,
        deadline: Duration,
    ) -> Result<RingState, RingChangeError> {
        self.devices_failed(policy, &BTreeSet::from([device]), failed, Says::Operator, deadline)
            .await
    }

    /// One step, by compare-and-set; `step` answers `None` when there is nothing to change.
    pub(crate) async fn change_ring(
        &self,
        policy: PolicyId,
        deadline: Duration,
        step: impl Fn(&RingState, u64) -> Result<Option<RingState>, RingRefusal>,
    ) -> Result<RingState, RingChangeError> {
        for _ in 0..TRIES_MAX {
            let (state, version) = self.ring_state(policy, deadline).await?;
            let Some(next) = step(&state, self.now_ms())? else {
                return Ok(state);
            };
            let expect = version.map_or(RecordCondition::Absent, RecordCondition::Version);
            let key = policy.0.to_string();
            let put = self.put_record(RING_STATE_TABLE, &key, expect, next.encode().into(), deadline);
            match put.await {
                Ok(_) => return Ok(next),
                Err(RecordError::Refused(Refusal::RecordConflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RingChangeError::Contended)
    }

    /// Removes a record, whatever it holds.
    ///
    /// # Errors
    /// When the system shard does not answer or refuses.
    pub async fn delete_record(&self, table: &str, key: &str, deadline: Duration) -> Result<(), RecordError> {
        let command = Command::DeleteRecord {
            table: table.to_owned(),
            key: key.to_owned(),
            expect: RecordCondition::Any,
        };
        let reply = self
            .propose(ShardId::SYSTEM, self.request_id(), command, deadline)
            .await?;
        reply.map(drop).map_err(RecordError::Refused)
    }

    /// One record, linearizably.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn record(&self, table: &str, key: &str, deadline: Duration) -> Result<Option<Record>, RecordError> {
        let query = Query::GetRecord {
            table: table.to_owned(),
            key: key.to_owned(),
        };
        match self.query(ShardId::SYSTEM, query, deadline).await? {
            Ok(Found::Record(record)) => Ok(record),
            Ok(_) => Err(RecordError::Odd),
            Err(refusal) => Err(RecordError::Refused(refusal)),
        }
    }

    /// All records of a table whose keys begin with `prefix`, linearizably.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn records(
        &self,
        table: &str,
        prefix: &str,
        deadline: Duration,
    ) -> Result<Vec<(String, Record)>, RecordError> {
        const PAGE: usize = 1000;
        let (mut after, mut all) = ((!prefix.is_empty()).then(|| prefix.to_owned()), Vec::new());
        loop {
            let query = Query::ListRecords {
                table: table.to_owned(),
                after: after.take(),
                limit: PAGE,
            };
            let (records, more) = match self.query(ShardId::SYSTEM, query, deadline).await? {
                Ok(Found::Records { records, more }) => (records, more),
                Ok(_) => return Err(RecordError::Odd),
                Err(refusal) => return Err(RecordError::Refused(refusal)),
            };
            let inside = records.last().is_some_and(|(key, _)| key.starts_with(prefix));
            after = records.last().map(|(key, _)| key.clone());
            all.extend(records.into_iter().filter(|(key, _)| key.starts_with(prefix)));
            if !more || !inside {
                return Ok(all);
            }
        }
    }

    /// What every node has recorded of itself, removed ones included.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn node_records(&self, deadline: Duration) -> Result<Vec<NodeRecord>, RecordError> {
        let records = self.records(NODES_TABLE, "", deadline).await?;
        let read = |(_, record): &(String, Record)| serde_json::from_slice(&record.value).ok();
        Ok(records.iter().filter_map(read).collect())
    }

    /// The facts of the moment that rings are checked against.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn facts(&self, state: &RingState, deadline: Duration) -> Result<Facts, RingChangeError> {
        let mut facts = Facts {
            failed: state.current.failed.clone(),
            now_hours: hours(self.now_ms()),
            ..Facts::default()
        };
        for node in self.node_records(deadline).await? {
            facts
                .homes
                .extend(node.devices.iter().map(|device| (device.0, node.node.0)));
        }
        let nodes = self.book().nodes();
        let asks = nodes.iter().map(|node| self.node_status(*node, deadline));
        for status in futures::future::join_all(asks).await.into_iter().flatten() {
            for device in status.devices {
                let Ok(usage) = device.usage else { continue };
                facts.stored_bytes += usage.live_bytes;
                let capacity = Capacity {
                    total_bytes: usage.capacity_bytes,
                    // Dead bytes make room when they are needed.
                    used_bytes: usage.live_bytes,
                };
                facts.capacities.insert(ring::DeviceId(device.device.0), capacity);
            }
        }
        Ok(facts)
    }
}

fn hours(ms: u64) -> u32 {
    u32::try_from(ms / MS_PER_HOUR).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(devices: u32) -> ring::Builder {
        let mut builder = ring::Builder::new(6, 3, 0).unwrap();
        for number in 0..devices {
            add(&mut builder, number);
        }
        builder.rebalance(1, 1).unwrap();
        builder
    }

    fn add(builder: &mut ring::Builder, number: u32) {
        let device = ring::Device {
            id: ring::DeviceId(0),
            region: 1,
            zone: 1,
            node: u64::from(number) + 1,
            address: format!("127.0.0.1:{}", 7000 + number),
            name: "d0".into(),
            weight: 1.0,
            ..ring::Device::default()
        };
        builder.add(device).unwrap();
    }

    fn facts(devices: u32) -> Facts {
        let capacity = Capacity {
            total_bytes: 1000,
            used_bytes: 100,
        };
        Facts {
            homes: (0..devices).map(|device| (device, u64::from(device) + 1)).collect(),
            capacities: (0..devices).map(|device| (ring::DeviceId(device), capacity)).collect(),
            stored_bytes: 300,
            failed: BTreeSet::new(),
            now_hours: 100,
            code: None,
        }
    }

    const OPTIONS: ApplyOptions = ApplyOptions {
        min_part_hours: 1,
        accept_fewer_domains: false,
        dry_run: false,
    };

    #[test]
    fn reb_1_a_ring_is_checked_before_anything_moves() {
        let mut builder = builder(3);
        let live = builder.ring().unwrap();
        assert!(matches!(
            check_ring(&live, None, &live, &facts(3), &OPTIONS),
            Err(ChangeRefused::Older { .. })
        ));
        add(&mut builder, 3);
        builder.rebalance(2, 1).unwrap();
        let new = builder.ring().unwrap();
        assert!(matches!(
            check_ring(&live, None, &new, &facts(3), &OPTIONS),
            Err(ChangeRefused::UnknownDevices { .. })
        ));
        let change = check_ring(&live, None, &new, &facts(4), &OPTIONS).unwrap();
        assert_eq!(change.replicas_moved(), 48);
        // The same partitions again within the hour: not yet.
        builder.remove(ring::DeviceId(3)).unwrap();
        builder.rebalance(3, 1).unwrap();
        let full = Facts {
            stored_bytes: 3 * 900,
            capacities: (0..4)
                .map(|device| {
                    let used_bytes = 900;
                    (
                        ring::DeviceId(device),
                        Capacity {
                            total_bytes: 1000,
                            used_bytes,
                        },
                    )
                })
                .collect(),
            ..facts(4)
        };
        assert!(matches!(
            check_ring(&live, None, &new, &full, &OPTIONS),
            Err(ChangeRefused::TooFull { .. })
        ));
    }
}
