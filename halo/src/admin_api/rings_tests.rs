use std::collections::BTreeSet;

use metadata::ids::ShardId;
use metadata::query::Summary;
use storage_node::client::LiveFile;

use storage_node::node::work::repair::OpenJobs;

use super::super::repairs::repair_status;
use super::*;

fn state(phase: Phase) -> RingState {
    let file = |version| LiveFile {
        epoch: version,
        version,
        file: String::new(),
        pieces: 0,
        failed: BTreeSet::new(),
    };
    RingState {
        phase,
        previous: (phase != Phase::Settled).then(|| file(6)),
        reason: Reason::Apply,
        done_ms: None,
        ..RingState::first(file(7), 1_000)
    }
}

fn half_done() -> BTreeMap<DeviceId, Progress> {
    let mut one = Progress::new(DeviceId(3), 4);
    one.note(Phase::Copying, 0);
    one.note(Phase::Copying, 1);
    one.bytes = 2_000;
    BTreeMap::from([(DeviceId(3), one)])
}

#[test]
fn reb_1_progress_is_shown_with_rate_and_time_left() {
    let wanted = [(DeviceId(3), 4), (DeviceId(4), 1)];
    let status = ring_status(&state(Phase::Copying), &wanted, &half_done(), 1_000, 11_000);
    assert_eq!((status.partitions_copied, status.partitions_total), (2, 5));
    assert_eq!((status.bytes_copied, status.bytes_total_estimate), (2_000, 5_000));
    assert_eq!((status.bytes_per_second, status.eta_s), (200, Some(15)));
    assert_eq!((status.version, status.previous_version), (7, Some(6)));
    // A device that has noted nothing yet is shown all the same.
    assert_eq!(
        (
            status.devices[1].device,
            status.devices[1].total,
            status.devices[1].copied
        ),
        (4, 1, 0)
    );
}

#[test]
fn heal_1_healed_is_said_only_when_every_shard_answers_and_no_partition_is_open() {
    let said = |short_chunks| {
        Ok(Summary {
            short_chunks,
            ..Summary::default()
        })
    };
    let cluster = |shards: Vec<Result<Summary, String>>| ClusterStatus {
        nodes: Vec::new(),
        shards: (0..).map(ShardId).zip(shards).collect(),
    };
    let settled = ring_status(&state(Phase::Settled), &[], &BTreeMap::new(), 0, 5);
    let healed = |cluster: &ClusterStatus, jobs: &[OpenJobs], ring: &RingStatus| {
        repair_status(cluster, jobs, std::slice::from_ref(ring)).healed
    };
    assert_eq!(healed(&cluster(vec![said(0), said(0)]), &[], &settled), Some(true));
    assert_eq!(healed(&cluster(vec![said(0), said(2)]), &[], &settled), Some(false));
    assert_eq!(healed(&cluster(vec![said(0), Err("away".into())]), &[], &settled), None);
    let jobs = OpenJobs {
        device: 2,
        partitions: BTreeSet::from([1, 9]),
        since_ms: 77,
        ..OpenJobs::default()
    };
    let status = repair_status(&cluster(vec![said(0)]), &[jobs], std::slice::from_ref(&settled));
    assert_eq!(
        (status.healed, status.open_partitions, status.oldest_open_ms),
        (Some(false), Some(2), Some(77))
    );
    let moving = ring_status(&state(Phase::Copying), &[(DeviceId(3), 4)], &half_done(), 0, 5);
    assert_eq!(healed(&cluster(vec![said(0)]), &[], &moving), Some(false));
}
