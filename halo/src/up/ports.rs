//! Whether ports are free, and which to take when the caller does not care.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use clock::Dice;

use super::plan::{PlannedProcess, PortSource};

/// Chosen ports lie below the range from which Linux takes ports of outgoing connections, so that no client's socket
/// sits on a remembered port at the next start.
const CHOSEN: std::ops::Range<u16> = 12_000..32_000;
/// How many ports are tried before giving up.
const TRIES_MAX: u32 = 2_000;

/// A port that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {} ({purpose} of {process}) is taken by another program{}", address.port(), hint(*ours))]
pub struct PortTaken {
    /// Whose port it would be.
    pub process: String,
    /// What for.
    pub purpose: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Whether the cluster exists already, so that its ports are fixed.
    pub ours: bool,
}

fn hint(fixed: bool) -> &'static str {
    if fixed {
        "; this cluster was created with it: stop the other program"
    } else {
        "; choose other ports with --port-base P, or --port-base 0 for any free ones"
    }
}

/// Checks that nothing listens on the addresses of `process`.
///
/// # Errors
/// The first taken port.
pub fn check_free(process: &PlannedProcess, cluster_exists: bool) -> Result<(), PortTaken> {
    for (purpose, address) in process.addresses() {
        if TcpListener::bind(address).is_err() {
            return Err(PortTaken {
                process: process.name.clone(),
                purpose,
                address,
                ours: cluster_exists,
            });
        }
    }
    Ok(())
}

/// Chooses free ports and keeps them until it is dropped, so that none is given twice.
pub struct FreePorts<'a> {
    dice: &'a dyn Dice,
    held: Vec<TcpListener>,
}

impl<'a> FreePorts<'a> {
    /// Draws with `dice`.
    #[must_use]
    pub fn new(dice: &'a dyn Dice) -> Self {
        Self { dice, held: Vec::new() }
    }
}

impl PortSource for FreePorts<'_> {
    fn port(&mut self, _kind: u16, _index: u16) -> Option<u16> {
        let width = u64::from(CHOSEN.end - CHOSEN.start);
        for _ in 0..TRIES_MAX {
            let port = CHOSEN.start + u16::try_from(self.dice.u64() % width).expect("the range is 16 bits wide");
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                self.held.push(listener);
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::{FromBase, Shape, Wish, plan};
    use clock::SystemDice;

    fn wish() -> Wish {
        Wish {
            nodes: 3,
            devices_per_node: 1,
            shape: Shape::Separate,
            tls: false,
            region: "r".into(),
        }
    }

    #[test]
    fn chosen_ports_differ_and_are_free() {
        let mut source = FreePorts::new(&SystemDice);
        let file = plan("id".into(), &wish(), &mut source).expect("ports");
        drop(source);
        let mut ports: Vec<_> = file
            .processes
            .iter()
            .flat_map(PlannedProcess::addresses)
            .map(|(_, a)| a.port())
            .collect();
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
        assert!(ports.iter().all(|port| CHOSEN.contains(port)));
        assert!(file.processes.iter().all(|process| check_free(process, true).is_ok()));
    }

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let taken = holder.local_addr().expect("bound");
        let mut file = plan("id".into(), &wish(), &mut FromBase(9000)).expect("ports");
        file.processes[3].s3 = Some(taken);
        let message = check_free(&file.processes[3], false).expect_err("taken").to_string();
        assert!(
            message.contains(&taken.port().to_string()) && message.contains("--port-base"),
            "{message}"
        );
        let message = check_free(&file.processes[3], true).expect_err("taken").to_string();
        assert!(!message.contains("--port-base"), "{message}");
    }
}
