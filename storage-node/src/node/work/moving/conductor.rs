//! Takes a change of the ring from phase to phase; done by the leader of the system shard. Every step may be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metadata::command::Command;
use metadata::ids::{DeviceId, ShardId};
use metadata::model::PolicyId;

use super::arrivals::receivers;
use super::progress::{Progress, RING_PROGRESS_TABLE, progress_prefix};
use crate::client::{
    DataPlane, LEVEL_OF_FENCES, LiveFile, LiveRings, MetadataPlane, Phase, RING_FILES_TABLE, RING_STATE_TABLE,
    RingState, below_level, piece_key,
};
use crate::node::work::{SHARD_DEADLINE, Workshop};

const NAME: &str = "change of the ring";

/// Looks after the change under way while this node leads the system shard.
pub(in crate::node::work) async fn run(workshop: Workshop) {
    let mut known: BTreeMap<PolicyId, Option<Receivers>> = BTreeMap::new();
    loop {
        tokio::time::sleep(workshop.options.idle_pause).await;
        if !workshop.leads(ShardId::SYSTEM) {
            known.clear();
            continue;
        }
        for policy in workshop.client.placed_policies() {
            if let Err(why) = look(&workshop, policy, known.entry(policy).or_default()).await {
                workshop.board.failed(&name(policy), why);
            }
        }
    }
}

/// An epoch, and who receives how many partitions in it.
type Receivers = (u64, Vec<(DeviceId, u64)>);

/// The name of a policy's status line.
fn name(policy: PolicyId) -> String {
    if policy == PolicyId::default() {
        return NAME.to_owned();
    }
    format!("{NAME} of policy {}", policy.0)
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is under way.
    Rest,
    /// These devices are not done.
    Wait(Vec<DeviceId>),
    /// Fences, then sweeping.
    Fence,
    /// The ring before is retired.
    Retire,
}

/// Decides from what the devices have noted. Plain function.
fn decide(state: &RingState, receivers: &[(DeviceId, u64)], progress: &BTreeMap<DeviceId, Progress>) -> Step {
    let done = |device: &DeviceId, total: u64| {
        let noted = progress.get(device).filter(|noted| noted.total == total);
        noted.is_some_and(|noted| noted.complete(state.phase))
    };
    let behind: Vec<DeviceId> = receivers
        .iter()
        .filter(|(device, total)| !done(device, *total))
        .map(|(device, _)| *device)
        .collect();
    match state.phase {
        Phase::Settled => Step::Rest,
        _ if !behind.is_empty() => Step::Wait(behind),
        Phase::Copying => Step::Fence,
        Phase::Sweeping => Step::Retire,
    }
}

async fn look(workshop: &Workshop, policy: PolicyId, known: &mut Option<Receivers>) -> Result<(), String> {
    let Some(live) = workshop.client.rings(policy) else {
        return Ok(());
    };
    let state = live.state.clone();
    let epoch = state.current.epoch;
    if state.phase == Phase::Settled {
        *known = None;
        workshop.board.state(&name(policy), "no change is under way");
        return Ok(());
    }
    if known.as_ref().is_none_or(|(of, _)| *of != epoch) {
        *known = Some((epoch, find_receivers(live).await?));
    }
    let receivers = known.as_ref().map_or(&[][..], |(_, receivers)| receivers);
    let prefix = progress_prefix(policy, epoch);
    let records = workshop
        .client
        .records(RING_PROGRESS_TABLE, &prefix, SHARD_DEADLINE)
        .await;
    let records = records.map_err(|e| e.to_string())?;
    let progress = records.iter().filter_map(|(_, record)| Progress::decode(&record.value));
    let progress = progress.map(|progress| (DeviceId(progress.device), progress)).collect();
    match decide(&state, receivers, &progress) {
        Step::Rest => {}
        Step::Wait(behind) => {
            let paused = if state.paused { "paused; " } else { "" };
            let line = format!(
                "{paused}{:?}: {} of {} devices are not done",
                state.phase,
                behind.len(),
                receivers.len()
            );
            workshop.board.state(&name(policy), line);
        }
        Step::Fence => raise_fences(workshop, policy, epoch).await?,
        Step::Retire => retire(workshop, policy, epoch).await?,
    }
    Ok(())
}

async fn find_receivers(live: Arc<LiveRings>) -> Result<Vec<(DeviceId, u64)>, String> {
    crate::threads::blocking(move || receivers(&live))
        .await
        .map_err(|e| e.to_string())
}

/// From here on no shard takes a commit of the ring before (DESIGN §3.4); only then the sweep may begin.
async fn raise_fences(workshop: &Workshop, policy: PolicyId, epoch: u64) -> Result<(), String> {
    let nodes = workshop.client.node_records(SHARD_DEADLINE).await;
    let behind = below_level(&nodes.map_err(|e| e.to_string())?, LEVEL_OF_FENCES);
    if !behind.is_empty() {
        let behind: Vec<String> = behind.iter().map(ToString::to_string).collect();
        return Err(format!(
            "node {} runs a release that does not know fences: upgrade it, or remove it with `halo admin node remove`",
            behind.join(", ")
        ));
    }
    workshop.board.state(&name(policy), "raising the fence in every shard");
    for shard in (1..=workshop.client.key_shards()).map(ShardId) {
        let ring_version = epoch;
        workshop
            .tell(shard, Command::RaiseFence { policy, ring_version })
            .await?;
    }
    let changed = workshop
        .client
        .change_ring(policy, SHARD_DEADLINE, |state, _| Ok(state.fenced(epoch)));
    changed.await.map_err(|e| e.to_string())?;
    tracing::info!(
        epoch,
        "all copies are made and no shard takes commits of the ring before; sweeping"
    );
    Ok(())
}

async fn retire(workshop: &Workshop, policy: PolicyId, epoch: u64) -> Result<(), String> {
    let client = &workshop.client;
    let (old, _) = client
        .ring_state(policy, SHARD_DEADLINE)
        .await
        .map_err(|e| e.to_string())?;
    let changed = client.change_ring(policy, SHARD_DEADLINE, |state, now_ms| Ok(state.retired(epoch, now_ms)));
    let state = changed.await.map_err(|e| e.to_string())?;
    tracing::info!(epoch, "the change of the ring is done");
    workshop.board.done(&name(policy), 1);
    tidy(workshop, policy, &old, &state).await
}

/// Removes the notes of changes that are done, and the files that `old` named and no policy names any more. Others are
/// left alone: somebody may be about to apply them.
async fn tidy(workshop: &Workshop, policy: PolicyId, old: &RingState, state: &RingState) -> Result<(), String> {
    let client = &workshop.client;
    let of_policy = format!("{}/", policy.0);
    let notes = client.records(RING_PROGRESS_TABLE, &of_policy, SHARD_DEADLINE).await;
    let kept = progress_prefix(policy, state.current.epoch);
    for (key, _) in notes.map_err(|e| e.to_string())? {
        if key < kept {
            let deleted = client.delete_record(RING_PROGRESS_TABLE, &key, SHARD_DEADLINE).await;
            deleted.map_err(|e| e.to_string())?;
        }
    }
    let in_use = files_in_use(workshop).await?;
    for file in named_by(old).filter(|file| !in_use.contains(&file.file)) {
        for piece in 0..file.pieces {
            let key = piece_key(&file.file, piece);
            let deleted = client.delete_record(RING_FILES_TABLE, &key, SHARD_DEADLINE).await;
            deleted.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn named_by(state: &RingState) -> impl Iterator<Item = &LiveFile> {
    let files = [Some(&state.current), state.previous.as_ref(), state.before.as_ref()];
    files.into_iter().flatten()
}

/// The ring files that some policy's state names. Of a state that this release cannot read nothing is known: an error.
async fn files_in_use(workshop: &Workshop) -> Result<BTreeSet<String>, String> {
    let states = workshop.client.records(RING_STATE_TABLE, "", SHARD_DEADLINE).await;
    let mut named = BTreeSet::new();
    for (_, record) in states.map_err(|e| e.to_string())? {
        let state = RingState::decode(&record.value)?;
        named.extend(named_by(&state).map(|file| file.file.clone()));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase) -> RingState {
        let file = LiveFile {
            epoch: 4,
            version: 4,
            file: "f".into(),
            pieces: 1,
            failed: BTreeSet::new(),
        };
        RingState {
            phase,
            ..RingState::first(file, 0)
        }
    }

    #[test]
    fn reb_1_a_phase_ends_when_every_receiver_has_noted_all_of_its_own() {
        let receivers = [(DeviceId(3), 2), (DeviceId(4), 1)];
        let mut progress: BTreeMap<DeviceId, Progress> = BTreeMap::new();
        let wait = Step::Wait(vec![DeviceId(3), DeviceId(4)]);
        assert_eq!(decide(&state(Phase::Copying), &receivers, &progress), wait);
        for (device, total) in receivers {
            progress.insert(device, Progress::new(device, total));
        }
        let note = |progress: &mut BTreeMap<DeviceId, Progress>, device, phase, job| {
            progress.get_mut(&DeviceId(device)).unwrap().note(phase, job);
        };
        note(&mut progress, 3, Phase::Copying, 0);
        note(&mut progress, 4, Phase::Copying, 0);
        assert_eq!(
            decide(&state(Phase::Copying), &receivers, &progress),
            Step::Wait(vec![DeviceId(3)])
        );
        note(&mut progress, 3, Phase::Copying, 1);
        assert_eq!(decide(&state(Phase::Copying), &receivers, &progress), Step::Fence);
        // What was copied before the fence counts for nothing after it.
        assert_eq!(decide(&state(Phase::Sweeping), &receivers, &progress), wait);
        note(&mut progress, 3, Phase::Sweeping, 0);
        note(&mut progress, 3, Phase::Sweeping, 1);
        note(&mut progress, 4, Phase::Sweeping, 0);
        assert_eq!(decide(&state(Phase::Sweeping), &receivers, &progress), Step::Retire);
        assert_eq!(decide(&state(Phase::Settled), &receivers, &progress), Step::Rest);
        // Notes of another pair of rings prove nothing.
        let other = [(DeviceId(3), 3), (DeviceId(4), 1)];
        assert_eq!(
            decide(&state(Phase::Sweeping), &other, &progress),
            Step::Wait(vec![DeviceId(3)])
        );
    }
}
