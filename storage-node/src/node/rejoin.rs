//! How a node whose metadata store is gone comes back by itself (DUR-5); the rules are in `shard::renewal`.
//!
//! One loop, a look a second: quarantined -> have the others count without this node, then start over; new -> make the
//! store known, then ask the shards to take it in. Every step may be repeated, so a crash anywhere goes on where it was.

use std::collections::BTreeSet;
use std::time::Duration;

use metadata::ids::{NodeId, ShardId};
use tokio_util::sync::CancellationToken;

use super::admin::{AdminAnswer, AdminCall};
use super::status::NodeStatus;
use super::work::Workshop;
use crate::client::MetadataPlane;
use crate::shard::{Newcomer, ShardRole, ShardStatus, VOTERS_WANTED};

/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long a change of members may take before it is asked for again.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);
/// How long the log may take to come over.
const ADMIT_WITHIN: Duration = Duration::from_secs(3600);
/// A leader whose majority answered within this time decides, in milliseconds.
const QUORUM_AGE_MAX_MS: u64 = 3_000;

/// Looks after this node's membership until `stop`.
pub(super) async fn run(workshop: Workshop, stop: CancellationToken) {
    let looking = async {
        let mut said = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let outcome = look(&workshop).await.err().unwrap_or_default();
            if outcome != said && !outcome.is_empty() {
                tracing::warn!(why = outcome, "this node is not a member again yet");
            }
            said = outcome;
        }
    };
    stop.run_until_cancelled(looking).await;
}

/// One step; says why it could not be done.
async fn look(workshop: &Workshop) -> Result<(), String> {
    let shards = &workshop.shards;
    if shards.status().quarantine.is_some() {
        leave(workshop).await?;
        shards.start_over().await.map_err(|e| e.to_string())?;
        return Ok(());
    }
    if shards.newcomer() == Newcomer::No {
        return Ok(());
    }
    for node in shards.unwelcome() {
        welcome(workshop, node).await?;
        shards.welcomed_by(node);
    }
    if shards.newcomer() != Newcomer::Waiting {
        return Ok(());
    }
    enter(workshop).await?;
    shards.admitted().await.map_err(|e| e.to_string())?;
    tracing::info!("the shards have taken this node in again");
    Ok(())
}

/// Has every shard count without this node.
async fn leave(workshop: &Workshop) -> Result<(), String> {
    dismiss(workshop).await?;
    let me = workshop.node;
    let reports = reports(workshop).await;
    for shard in (0..=workshop.client.key_shards()).map(ShardId) {
        let led = leader_line(&reports, shard).ok_or_else(|| {
            format!(
                "shard {shard} has no majority without this node: when it is lost, run `halo admin shard recover --from \
                 NODE --accept-data-loss` with the node whose metadata is newest"
            )
        })?;
        if led.voters.contains(&me) || led.learners.contains(&me) {
            return Err(format!("shard {shard} still counts this node"));
        }
    }
    Ok(())
}

/// Has every leader take this node out.
async fn dismiss(workshop: &Workshop) -> Result<(), String> {
    let me = workshop.node;
    for node in others(workshop) {
        let call = AdminCall::Dismiss { node: me };
        if let Ok(AdminAnswer::Failed(why)) = workshop.client.admin(node, &call, CHANGE_WITHIN).await {
            return Err(format!("node {node}: {why}"));
        }
    }
    Ok(())
}

/// Makes the new store known to all that answer, and has every shard with too few voters take it in.
async fn enter(workshop: &Workshop) -> Result<(), String> {
    let me = workshop.node;
    let mut reports = reports(workshop).await;
    // A quarantined node counts nobody; it hears of this store when it joins again itself.
    reports.retain(|report| report.shards.quarantine.is_none());
    for report in &reports {
        if let Err(why) = welcome(workshop, report.node).await {
            // Somebody has made this node a member again before its store was known everywhere.
            dismiss(workshop).await?;
            return Err(why);
        }
    }
    let wanting = |led: &ShardStatus| led.voters.len() < VOTERS_WANTED && !led.voters.contains(&me);
    let mut leaders = BTreeSet::new();
    for shard in (0..=workshop.client.key_shards()).map(ShardId) {
        let led = leader_line(&reports, shard).ok_or_else(|| format!("shard {shard} has no leader"))?;
        leaders.extend(led.leader.filter(|_| wanting(led)));
    }
    for leader in &leaders {
        match workshop
            .client
            .admin(*leader, &AdminCall::Admit { node: me }, ADMIT_WITHIN)
            .await?
        {
            AdminAnswer::Done(_) => {}
            other => return Err(format!("node {leader}: {other:?}")),
        }
    }
    // Only a look that finds nothing left to do is the end.
    if leaders.is_empty() {
        Ok(())
    } else {
        Err("the shards are taking this node in".into())
    }
}

async fn welcome(workshop: &Workshop, node: NodeId) -> Result<(), String> {
    let Some(identity) = workshop.shards.identity() else {
        return Err("the metadata store is not open".into());
    };
    let call = AdminCall::Welcome {
        node: workshop.node,
        incarnation: identity.incarnation,
        votes_in: workshop.shards.votes_in(),
    };
    match workshop.client.admin(node, &call, ANSWER_WITHIN).await? {
        AdminAnswer::Done(_) => Ok(()),
        other => Err(format!("node {node}: {other:?}")),
    }
}

fn others(workshop: &Workshop) -> Vec<NodeId> {
    let mut nodes = workshop.client.book().nodes();
    nodes.retain(|node| *node != workshop.node);
    nodes
}

/// What the others that answer say of themselves.
async fn reports(workshop: &Workshop) -> Vec<NodeStatus> {
    let asked = others(workshop)
        .into_iter()
        .map(|node| workshop.client.node_status(node, ANSWER_WITHIN));
    let answered = futures::future::join_all(asked).await;
    answered.into_iter().flatten().collect()
}

/// A shard as its leader shows it, when that has a majority.
fn leader_line(reports: &[NodeStatus], shard: ShardId) -> Option<&ShardStatus> {
    let lines = reports.iter().flat_map(|report| &report.shards.shards);
    let leads = |line: &&ShardStatus| {
        let decides = line.quorum_age_ms.is_none_or(|age| age <= QUORUM_AGE_MAX_MS);
        line.shard == shard && line.role == ShardRole::Leader && decides
    };
    lines.filter(leads).max_by_key(|line| line.term)
}
