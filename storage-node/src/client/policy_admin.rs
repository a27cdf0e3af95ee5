//! Making policies. A policy's record is claimed first, by compare-and-set, and its ring is installed then: two operators
//! never get one number, and what a crash leaves is ended by the same command again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metadata::command::RecordCondition;
use metadata::model::PolicyId;
use metadata::reply::Refusal;
use ring::change::{ChangeRefused, check_quorum, check_registered, check_slots};
use ring::{Builder, Ring, RingError};

use super::MetadataPlane;
use super::cluster::ClusterClient;
use super::operations::RecordError;
use super::policies::{DEFAULT_POLICY, POLICIES_TABLE, Policy, PolicyKind, PolicyList, policy_key};
use super::ring_admin::RingChangeError;
use super::ring_state::LiveFile;
use super::rings::{LEVEL_OF_ERASURE_CODING, LEVEL_OF_POLICIES, below_level};
use crate::erasure::{Code, FragmentRule};

/// Why a policy was not made.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Another one has the name.
    #[error("there is a policy `{0}` already: a policy never changes, choose another name")]
    Exists(String),
    /// The name, the numbers or the ring do not fit; the sentence says why.
    #[error("{0}")]
    Unfit(String),
    /// Some nodes run a release that does not know this kind.
    #[error("node {0} runs a release that knows no policies of this kind: upgrade all nodes first")]
    OldNodes(String),
    /// The ring is not safe.
    #[error(transparent)]
    Ring(#[from] RingChangeError),
    /// The system shard did not answer or refused; a repeat is safe.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<RingError> for PolicyError {
    fn from(error: RingError) -> Self {
        Self::Ring(error.into())
    }
}

impl From<ChangeRefused> for PolicyError {
    fn from(refused: ChangeRefused) -> Self {
        Self::Ring(refused.into())
    }
}

/// Whether a ring is fit to be a policy's first one; the sentences say what to do. Plain function.
///
/// # Errors
/// [`PolicyError`].
fn check_first_ring(
    kind: PolicyKind,
    ring: &Ring,
    homes: &BTreeMap<u32, u64>,
    accept_fewer_domains: bool,
) -> Result<(), PolicyError> {
    let slots = kind.slots();
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    if (ring.replica_count() - slots as f64).abs() > f64::EPSILON {
        return Err(PolicyError::Unfit(format!(
            "the ring names {} devices for a partition, and the policy needs {slots}",
            ring.replica_count()
        )));
    }
    check_registered(ring, |device| homes.get(&device.id.0) == Some(&device.node))?;
    let active = ring.devices().filter(|device| device.weight > 0.0);
    let nodes = active.map(|device| device.node).collect::<BTreeSet<_>>().len();
    match kind {
        PolicyKind::Replicated { copies } => {
            let wanted = copies / 2 + 1;
            if nodes < wanted && !accept_fewer_domains {
                return Err(PolicyError::Unfit(format!(
                    "{copies} copies need {wanted} nodes for a write quorum and the ring has {nodes}: add nodes, or \
                     accept that one failure may take them all"
                )));
            }
            check_quorum(ring, wanted.min(nodes))?;
        }
        PolicyKind::ErasureCoded { parity, .. } => {
            let any = accept_fewer_domains.then_some(slots);
            check_slots(ring, slots, any.unwrap_or(parity))?;
        }
    }
    Ok(())
}

/// Whether chunks of an erasure coded policy find enough devices while any one node is down (DUR-1). Plain function.
#[must_use]
pub fn takes_writes_without_a_node(code: Code, ring: &Ring) -> bool {
    let active = || ring.devices().filter(|device| device.weight > 0.0);
    let nodes: BTreeSet<u64> = active().map(|device| device.node).collect();
    let rule = FragmentRule::new(code, nodes.len());
    let node_of = |id: ring::DeviceId| ring.device(id).map(|device| device.node);
    let enough = |down: u64, partition| {
        let row = ring.primaries(partition);
        let mut spares = ring.handoffs(partition).filter(|id| node_of(*id) != Some(down));
        let held = (0_u8..).zip(row).filter_map(|(number, id)| {
            let home = Some(*id)
                .filter(|id| node_of(*id) != Some(down))
                .or_else(|| spares.next());
            Some((number, node_of(home?)?))
        });
        rule.met(held.collect::<Vec<_>>())
    };
    nodes
        .iter()
        .all(|down| ring.partition_ids().all(|partition| enough(*down, partition)))
}

impl ClusterClient {
    /// The policies as the system shard has them, linearizably; the default one is not among them.
    ///
    /// # Errors
    /// When the system shard does not answer.
    pub async fn policy_list(&self, deadline: Duration) -> Result<PolicyList, RecordError> {
        let records = self.records(POLICIES_TABLE, "", deadline).await?;
        Ok(PolicyList::read(&records))
    }

    /// Makes a policy with its first ring; without one given it gets the default policy's devices and weights. Returns
    /// when every process knows it. The same again ends what a crash has left.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub async fn create_policy(
        &self,
        name: &str,
        kind: PolicyKind,
        ring: Option<Ring>,
        accept_fewer_domains: bool,
        deadline: Duration,
    ) -> Result<Policy, PolicyError> {
        let nodes = self.node_records(deadline).await?;
        let level = match kind {
            PolicyKind::Replicated { .. } => LEVEL_OF_POLICIES,
            PolicyKind::ErasureCoded { .. } => LEVEL_OF_ERASURE_CODING,
        };
        if let Some(old) = below_level(&nodes, level).first() {
            return Err(PolicyError::OldNodes(old.to_string()));
        }
        let ring = match ring {
            Some(ring) => ring,
            None => self.ring_like_default(kind, deadline).await?,
        };
        let homes = nodes
            .iter()
            .flat_map(|node| node.devices.iter().map(|device| (device.0, node.node.0)))
            .collect();
        check_first_ring(kind, &ring, &homes, accept_fewer_domains)?;
        let policy = self.claim(name, kind, deadline).await?;
        match self.install_ring(policy.id(), &ring, deadline).await {
            Ok(()) | Err(RecordError::NotNewer { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.settle_system_copies().await;
        Ok(policy)
    }

    /// Takes the next number for a policy; the one it has when it is there without a ring.
    async fn claim(&self, name: &str, kind: PolicyKind, deadline: Duration) -> Result<Policy, PolicyError> {
        loop {
            let records = self.records(POLICIES_TABLE, "", deadline).await?;
            let list = PolicyList::read(&records);
            if name.eq_ignore_ascii_case(DEFAULT_POLICY) {
                return Err(PolicyError::Exists(DEFAULT_POLICY.to_owned()));
            }
            if let Some(there) = list.named(name) {
                let unfinished = matches!(
                    self.ring_state(there.id(), deadline).await,
                    Err(RingChangeError::NoRing(_))
                );
                return if unfinished && there.kind == kind {
                    Ok(there.clone())
                } else {
                    Err(PolicyError::Exists(there.name.clone()))
                };
            }
            // Also numbers whose records this release cannot read are taken.
            let last = records.iter().filter_map(|(key, _)| key.parse::<u16>().ok()).max();
            let id = PolicyId(last.unwrap_or(0) + 1);
            let policy = Policy::new(id, name, kind).map_err(PolicyError::Unfit)?;
            let (key, value) = (policy_key(id), policy.encode().into());
            match self
                .put_record(POLICIES_TABLE, &key, RecordCondition::Absent, value, deadline)
                .await
            {
                Ok(_) => return Ok(policy),
                // Somebody else took the number; numbers are few, so this ends.
                Err(RecordError::Refused(Refusal::RecordConflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The default policy's devices, each partition on as many of them as the policy needs.
    async fn ring_like_default(&self, kind: PolicyKind, deadline: Duration) -> Result<Ring, PolicyError> {
        let default = PolicyId::default();
        let (state, _) = self.ring_state(default, deadline).await?;
        // As the operator built it, without what stands in for failed devices.
        let file = LiveFile {
            failed: BTreeSet::new(),
            ..state.current
        };
        let live = self.ring_of_file(default, &file, deadline).await?;
        ring_like(&live.ring, kind)
    }
}

/// A ring of the same devices and partitions for another number of slots. Plain function.
fn ring_like(ring: &Ring, kind: PolicyKind) -> Result<Ring, PolicyError> {
    let mut builder = Builder::from_ring(ring, 0);
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    builder.set_replicas(kind.slots() as f64)?;
    let in_use = builder.devices().filter(|device| device.weight > 0.0).count();
    if in_use < kind.slots() {
        return Err(PolicyError::Unfit(format!(
            "{} need {} devices, and the default policy's ring has {in_use} in use",
            kind.words(),
            kind.slots()
        )));
    }
    builder.rebalance(1, ring.version())?;
    Ok(builder.ring()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(nodes: u32, devices: u32, replicas: usize) -> Ring {
        let mut builder = Builder::new(6, replicas, 0).unwrap();
        for number in 0..nodes * devices {
            let device = ring::Device {
                region: 1,
                zone: 1,
                node: u64::from(number / devices) + 1,
                address: format!("127.0.0.1:{}", 7000 + number / devices),
                name: format!("d{}", number % devices),
                weight: 1.0,
                ..ring::Device::default()
            };
            builder.add(device).unwrap();
        }
        builder.rebalance(1, 1).unwrap();
        builder.ring().unwrap()
    }

    fn homes(ring: &Ring) -> BTreeMap<u32, u64> {
        ring.devices().map(|device| (device.id.0, device.node)).collect()
    }

    #[test]
    fn a_ring_for_more_or_fewer_copies_keeps_its_devices_and_partitions() {
        let three = ring(3, 2, 3);
        for copies in [1, 2, 5] {
            let kind = PolicyKind::Replicated { copies };
            let other = ring_like(&three, kind).unwrap();
            assert_eq!((other.replicas(), other.partitions()), (copies, three.partitions()));
            assert_eq!(homes(&other), homes(&three));
            check_first_ring(kind, &other, &homes(&three), copies == 1).unwrap();
        }
        let refused = ring_like(&three, PolicyKind::Replicated { copies: 7 });
        assert!(refused.unwrap_err().to_string().contains("has 6 in use"));
    }

    #[test]
    fn dur_1_a_first_ring_has_its_quorum_on_different_nodes_and_known_devices() {
        let one = ring(1, 3, 3);
        let kind = PolicyKind::Replicated { copies: 3 };
        assert!(check_first_ring(kind, &one, &homes(&one), false).is_err());
        assert!(check_first_ring(kind, &one, &homes(&one), true).is_ok());
        let three = ring(3, 1, 3);
        assert!(check_first_ring(kind, &three, &homes(&three), false).is_ok());
        assert!(check_first_ring(kind, &three, &BTreeMap::new(), false).is_err());
        let two = PolicyKind::Replicated { copies: 2 };
        assert!(check_first_ring(two, &three, &homes(&three), false).is_err());
    }

    #[test]
    fn dur_1_a_first_ring_of_fragments_bears_the_loss_of_a_node_and_says_whether_writes_go_on_without_one() {
        let coded = PolicyKind::ErasureCoded { data: 4, parity: 2 };
        let code = coded.code().unwrap();
        for (nodes, devices, goes_on) in [(3, 2, false), (3, 4, false), (4, 2, true), (6, 1, true), (5, 2, true)] {
            let six = ring(nodes, devices, 6);
            check_first_ring(coded, &six, &homes(&six), false).unwrap();
            assert_eq!(
                takes_writes_without_a_node(code, &six),
                goes_on,
                "{nodes} nodes of {devices}"
            );
        }
        let two = ring(2, 3, 6);
        let refused = check_first_ring(coded, &two, &homes(&two), false).unwrap_err();
        assert!(refused.to_string().contains("more parity"), "{refused}");
        assert!(check_first_ring(coded, &two, &homes(&two), true).is_ok());
        assert!(check_first_ring(coded, &ring(3, 2, 5), &homes(&two), true).is_err());
    }
}
