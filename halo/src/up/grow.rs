//! More node processes for a cluster that exists in a folder.
//!
//! The new ones get ports, folders and configurations of their own; the others learn of them from their records. The
//! folder's builder gets their devices and a new ring is written: nothing moves before that ring is applied.

use clock::{Dice, WallClock};
use ring::{Builder, Device, DeviceId};

use super::create::{CreateError, write_config, write_json};
use super::folder::Folder;
use super::plan::{ClusterFile, NODES_MAX, PlannedProcess, PortSource, REPLICAS, Shape};
use crate::secret::write_private;

/// Why a cluster does not grow.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// Fewer nodes than it has.
    #[error(
        "the folder holds a cluster of {has} nodes; --nodes {wanted} cannot make it smaller: drain a node with a ring \
         that does not name it"
    )]
    Smaller { has: u64, wanted: u64 },
    /// Its ring keeps fewer copies than a larger cluster should.
    #[error(
        "a cluster born with {has} nodes keeps {has} copies of everything and does not grow: give another --data and copy \
         the objects"
    )]
    FewCopies { has: u64 },
    /// Every process has all roles.
    #[error(
        "a cluster of --all-roles processes does not grow by halo up: write the configuration of the new node by hand"
    )]
    AllRoles,
    /// No ports.
    #[error("no free ports were found")]
    Ports,
    /// A file.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Adds nodes until there are `wanted`.
///
/// # Errors
/// [`GrowError`]; what was written is written anew by the next attempt.
pub fn grow(
    folder: &Folder,
    mut plan: ClusterFile,
    wanted: u64,
    ports: &mut dyn PortSource,
    clock: &dyn WallClock,
    dice: &dyn Dice,
) -> Result<ClusterFile, GrowError> {
    let has = plan.nodes().count() as u64;
    if wanted < has {
        return Err(GrowError::Smaller { has, wanted });
    }
    if plan.shape != Shape::Separate {
        return Err(GrowError::AllRoles);
    }
    if has < REPLICAS {
        return Err(GrowError::FewCopies { has });
    }
    let mut builder = read_builder(folder)?;
    for _ in has..wanted.min(NODES_MAX) {
        let process = next_process(&plan, ports).ok_or(GrowError::Ports)?;
        add_devices(&mut builder, &process)?;
        let at = plan.nodes().count();
        plan.processes.insert(at, process);
    }
    let hours = u32::try_from(clock.now_ms() / 3_600_000).unwrap_or(u32::MAX);
    builder.rebalance(hours, dice.u64()).map_err(CreateError::from)?;
    for process in plan.nodes().skip(usize::try_from(has).unwrap_or(usize::MAX)) {
        let path = folder.process(&process.name);
        std::fs::create_dir_all(&path).map_err(|source| CreateError::Disk {
            doing: "create",
            path,
            source,
        })?;
        write_config(folder, &plan, process)?;
    }
    let ring = builder.ring().map_err(CreateError::from)?;
    write_private(&folder.builder_file(), &builder.to_bytes()).map_err(CreateError::from)?;
    write_private(&folder.ring_file(), &ring.to_bytes()).map_err(CreateError::from)?;
    write_json(&folder.cluster_file(), &plan)?;
    Ok(plan)
}

fn read_builder(folder: &Folder) -> Result<Builder, CreateError> {
    let path = folder.builder_file();
    let bytes = std::fs::read(&path).map_err(|source| CreateError::Disk {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    Ok(Builder::from_bytes(&bytes)?)
}

/// The next node, made like the first.
fn next_process(plan: &ClusterFile, ports: &mut dyn PortSource) -> Option<PlannedProcess> {
    let first = plan.nodes().next()?;
    let node = plan.nodes().filter_map(|process| process.node).max()? + 1;
    let device = plan.nodes().flat_map(|process| process.devices.iter().copied()).max()? + 1;
    let slot = u16::try_from(plan.processes.len()).ok()?;
    let mut address = |kind: u16, like: std::net::SocketAddr| {
        let port = ports.port(kind, slot)?;
        Some(std::net::SocketAddr::new(like.ip(), port))
    };
    Some(PlannedProcess {
        name: format!("node-{node}"),
        node: Some(node),
        devices: (device..device + u32::try_from(first.devices.len()).ok()?).collect(),
        calls: Some(address(1, first.calls?)?),
        blobs: Some(address(2, first.blobs?)?),
        admin: address(3, first.admin)?,
        ..first.clone()
    })
}

fn add_devices(builder: &mut Builder, process: &PlannedProcess) -> Result<(), CreateError> {
    let (Some(node), Some(blobs)) = (process.node, process.blobs) else {
        return Ok(());
    };
    for (index, wanted) in process.devices.iter().enumerate() {
        builder.add(Device {
            id: DeviceId(*wanted),
            region: 1,
            zone: u32::try_from(node).unwrap_or(u32::MAX),
            node,
            address: blobs.to_string(),
            name: format!("device-{index}"),
            weight: 100.0,
            ..Device::default()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::create::{create, read};
    use crate::up::plan::{FromBase, Wish, plan};
    use clock::{ManualClock, SeededDice};

    fn created(nodes: u64) -> (tempfile::TempDir, Folder, ClusterFile) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::at(&dir.path().join("data")).expect("absolute");
        let wish = Wish {
            nodes,
            devices_per_node: 2,
            shape: Shape::Separate,
            tls: false,
            region: "r".into(),
        };
        let file = plan("0f".repeat(16), &wish, &mut FromBase(9000)).expect("ports");
        create(&folder, &file, &ManualClock::at(3_600_000), &SeededDice::new(1)).expect("created");
        (dir, folder, file)
    }

    #[test]
    fn a_fourth_node_gets_its_own_folder_devices_and_place_in_the_ring() {
        let (_dir, folder, file) = created(3);
        let (clock, dice) = (ManualClock::at(7_200_000), SeededDice::new(2));
        let grown = grow(&folder, file.clone(), 4, &mut FromBase(20_000), &clock, &dice).expect("grown");
        assert_eq!(read(&folder).expect("readable"), Some(grown.clone()));
        assert_eq!(grown.nodes().count(), 4);
        assert_eq!(grown.processes.len(), file.processes.len() + 1);
        let fourth = grown.nodes().last().expect("four");
        assert_eq!(
            (fourth.name.as_str(), fourth.devices.as_slice()),
            ("node-4", &[6, 7][..])
        );
        let loaded = crate::config::load::load(&folder.process_config("node-4"), std::iter::empty()).expect("valid");
        assert_eq!(loaded.config.cluster.nodes.len(), 4);
        let ring = ring::Ring::from_bytes(&std::fs::read(folder.ring_file()).expect("read")).expect("a ring");
        let used = ring
            .partition_ids()
            .flat_map(|partition| ring.primaries(partition).to_vec());
        assert!(
            used.into_iter().any(|device| device == DeviceId(7)),
            "the new ring uses it"
        );
    }

    #[test]
    fn what_cannot_grow_says_why() {
        let (_dir, folder, file) = created(3);
        let (clock, dice) = (ManualClock::at(7_200_000), SeededDice::new(2));
        let smaller = grow(&folder, file, 2, &mut FromBase(20_000), &clock, &dice);
        assert!(matches!(smaller, Err(GrowError::Smaller { has: 3, wanted: 2 })));
        let (_dir, folder, file) = created(1);
        let few = grow(&folder, file, 4, &mut FromBase(20_000), &clock, &dice);
        assert!(matches!(few, Err(GrowError::FewCopies { has: 1 })));
    }
}
