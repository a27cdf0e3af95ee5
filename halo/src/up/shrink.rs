//! A cluster's folder after a node was removed: its process is not planned any more. What it has on disk stays.

use super::cluster::Cluster;
use super::create::{CreateError, write_config, write_json};

/// Forgets the process of `node`, and writes the other processes' configurations without it.
///
/// # Errors
/// When a file cannot be written; what was written is written anew by the next attempt.
pub fn forget(cluster: &Cluster, node: u64) -> Result<(), CreateError> {
    let mut plan = cluster.plan.clone();
    plan.processes.retain(|process| process.node != Some(node));
    if plan.processes.len() == cluster.plan.processes.len() {
        return Ok(());
    }
    for process in &plan.processes {
        write_config(&cluster.folder, &plan, process)?;
    }
    write_json(&cluster.folder.cluster_file(), &plan)
}

#[cfg(test)]
mod tests {
    use clock::{ManualClock, SeededDice};

    use super::*;
    use crate::up::create::{create, read};
    use crate::up::folder::Folder;
    use crate::up::plan::{FromBase, Shape, Wish, plan};

    #[test]
    fn a_removed_node_is_not_started_again_and_nobody_is_configured_to_know_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(&dir.path().join("data")).expect("absolute");
        let wish = Wish {
            nodes: 4,
            devices_per_node: 1,
            shape: Shape::Separate,
            tls: false,
            region: "r".into(),
        };
        let plan = plan("0f".repeat(16), &wish, &mut FromBase(9000)).expect("ports");
        create(&folder, &plan, &ManualClock::at(3_600_000), &SeededDice::new(1)).expect("created");
        let cluster = Cluster {
            folder: folder.clone(),
            plan,
        };
        forget(&cluster, 4).expect("forgotten");
        let left = read(&folder).expect("readable").expect("a cluster");
        assert_eq!(left.nodes().count(), 3);
        let loaded = crate::config::load::load(&folder.process_config("node-1"), std::iter::empty()).expect("valid");
        assert_eq!(loaded.config.cluster.nodes.len(), 3);
    }
}
