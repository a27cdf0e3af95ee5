//! What `halo up` creates, decided once: processes, roles and ports.
//!
//! Knows: how many processes a cluster on one machine has and which ports they get. Must not know: how they start.
//! The result is kept in `cluster.json`, so that a second start uses the same ports and the same data.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::Role;

/// The version of `cluster.json` this release reads and writes.
pub const CLUSTER_FILE_VERSION: u32 = 1;
/// The most node processes on one machine.
pub const NODES_MAX: u64 = 32;
/// The most folders a node process keeps data in.
pub const DEVICES_MAX: u32 = 16;
/// Copies of every object, as far as there are nodes to hold them.
pub const REPLICAS: u64 = 3;
/// The port of the first S3 endpoint when nothing else is asked for.
pub const PORT_BASE_DEFAULT: u16 = 9000;
/// The name of the process that only serves S3.
pub const PROXY_NAME: &str = "proxy";

/// Ports count from the base in steps of this, one step for each kind of port.
const PORT_STEP: u16 = 100;
/// S3, node calls, blob bodies, admin.
const PORT_KINDS: u16 = 4;
/// The kind of the Swift port, which lies so far below the base that 8080 goes with 9000.
const SWIFT_KIND: u16 = 100;
const SWIFT_BELOW: u16 = 920;

/// The kind of the identity service's port, which lies so far below the base that 5000 goes with 9000.
const IDENTITY_KIND: u16 = 101;
const IDENTITY_BELOW: u16 = 4000;

/// What was created in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// Format: [`CLUSTER_FILE_VERSION`].
    pub version: u32,
    /// The cluster's id, 32 hex digits.
    pub id: String,
    /// The region clients sign for.
    pub region: String,
    /// How roles are spread over processes.
    pub shape: Shape,
    /// Whether S3 is served over HTTPS with a generated certificate.
    pub tls: bool,
    /// Every process, in the order they start.
    pub processes: Vec<PlannedProcess>,
}

/// How roles are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Storage-node processes, and one proxy process of its own.
    Separate,
    /// Every process has all roles.
    AllRoles,
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedProcess {
    /// `node-1`, ... or `proxy`; also the name of its folder.
    pub name: String,
    /// Its node id, when it is a storage node.
    pub node: Option<u64>,
    /// Numbers of its devices in the ring.
    pub devices: Vec<u32>,
    /// Where it serves S3, if it does.
    pub s3: Option<SocketAddr>,
    /// Where it serves Swift, if it does.
    #[serde(default)]
    pub swift: Option<SocketAddr>,
    /// Where it serves the identity service, if it does.
    #[serde(default)]
    pub keystone: Option<SocketAddr>,
    /// Where it answers Raft and metadata calls, if it is a storage node.
    pub calls: Option<SocketAddr>,
    /// Where it takes blob bodies, if it is a storage node.
    pub blobs: Option<SocketAddr>,
    /// Health, metrics, administration.
    pub admin: SocketAddr,
}

impl PlannedProcess {
    /// Its roles.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let storage = self.node.map(|_| Role::Storage);
        let proxy = self.s3.map(|_| Role::Proxy);
        let identity = self.keystone.map(|_| Role::Identity);
        storage.into_iter().chain(proxy).chain(identity).collect()
    }

    /// One word for its roles, for people and scripts.
    #[must_use]
    pub fn role_name(&self) -> &'static str {
        match (self.node, self.s3) {
            (Some(_), Some(_)) => "storage+proxy",
            (Some(_), None) => "storage",
            _ => "proxy",
        }
    }

    /// Every address it listens on, with what it is for.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let optional = [
            ("S3", self.s3),
            ("Swift", self.swift),
            ("identity", self.keystone),
            ("node calls", self.calls),
            ("blobs", self.blobs),
            ("admin", Some(self.admin)),
        ];
        optional
            .into_iter()
            .filter_map(|(purpose, address)| Some((purpose, address?)))
            .collect()
    }
}

/// What is asked of a new cluster.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Node processes.
    pub nodes: u64,
    /// Data folders of each.
    pub devices_per_node: u32,
    /// How roles are spread.
    pub shape: Shape,
    /// HTTPS.
    pub tls: bool,
    /// The region clients sign for.
    pub region: String,
}

/// Where ports come from.
pub trait PortSource {
    /// The port of the `index`th process (from 0) for the `kind`th purpose (from 0); `None` when there is none left.
    fn port(&mut self, kind: u16, index: u16) -> Option<u16>;
}

/// Ports counted from a base: S3 at the base, Swift 920 and identity 4000 below it, the other purposes 100, 200 and 300
/// above it.
#[derive(Clone, Copy, Debug)]
pub struct FromBase(pub u16);

impl PortSource for FromBase {
    fn port(&mut self, kind: u16, index: u16) -> Option<u16> {
        if kind == SWIFT_KIND {
            return self.0.checked_sub(SWIFT_BELOW)?.checked_add(index);
        }
        if kind == IDENTITY_KIND {
            return self.0.checked_sub(IDENTITY_BELOW)?.checked_add(index);
        }
        debug_assert!(kind < PORT_KINDS && index < PORT_STEP);
        self.0.checked_add(kind * PORT_STEP)?.checked_add(index)
    }
}

/// Lays out a new cluster; `None` when the ports run out.
pub fn plan(id: String, wish: &Wish, ports: &mut dyn PortSource) -> Option<ClusterFile> {
    let mut processes = Vec::new();
    let mut next_device = 0;
    for index in 0..wish.nodes {
        let slot = u16::try_from(index).ok()?;
        let devices: Vec<u32> = (next_device..next_device + wish.devices_per_node).collect();
        next_device += wish.devices_per_node;
        let (s3, swift) = match wish.shape {
            Shape::AllRoles => (
                Some(loopback(ports.port(0, slot)?)),
                Some(loopback(ports.port(SWIFT_KIND, slot)?)),
            ),
            Shape::Separate => (None, None),
        };
        processes.push(PlannedProcess {
            name: format!("node-{}", index + 1),
            node: Some(index + 1),
            devices,
            s3,
            swift,
            keystone: match wish.shape {
                Shape::AllRoles => Some(loopback(ports.port(IDENTITY_KIND, slot)?)),
                Shape::Separate => None,
            },
            calls: Some(loopback(ports.port(1, slot)?)),
            blobs: Some(loopback(ports.port(2, slot)?)),
            admin: loopback(ports.port(3, slot)?),
        });
    }
    if wish.shape == Shape::Separate {
        let slot = u16::try_from(wish.nodes).ok()?;
        processes.push(PlannedProcess {
            name: PROXY_NAME.to_owned(),
            node: None,
            devices: Vec::new(),
            s3: Some(loopback(ports.port(0, 0)?)),
            swift: Some(loopback(ports.port(SWIFT_KIND, 0)?)),
            keystone: Some(loopback(ports.port(IDENTITY_KIND, 0)?)),
            calls: None,
            blobs: None,
            admin: loopback(ports.port(3, slot)?),
        });
    }
    Some(ClusterFile {
        version: CLUSTER_FILE_VERSION,
        id,
        region: wish.region.clone(),
        shape: wish.shape,
        tls: wish.tls,
        processes,
    })
}

impl ClusterFile {
    /// The storage nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &PlannedProcess> {
        self.processes.iter().filter(|process| process.node.is_some())
    }

    /// How many copies of every object the cluster keeps (DUR-1: node processes are its failure domains).
    #[must_use]
    pub fn replicas(&self) -> u64 {
        REPLICAS.min(self.nodes().count() as u64)
    }

    /// The URLs S3 is served under.
    #[must_use]
    pub fn s3_endpoints(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.processes
            .iter()
            .filter_map(|process| Some(format!("{scheme}://{}", process.s3?)))
            .collect()
    }

    /// The URLs Swift is served under.
    #[must_use]
    pub fn swift_endpoints(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.processes
            .iter()
            .filter_map(|process| Some(format!("{scheme}://{}", process.swift?)))
            .collect()
    }

    /// The URLs the identity service is served under, without the version.
    #[must_use]
    pub fn keystone_endpoints(&self) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.processes
            .iter()
            .filter_map(|process| Some(format!("{scheme}://{}", process.keystone?)))
            .collect()
    }

    /// The URLs of the admin API; the first belongs to a process that serves S3.
    #[must_use]
    pub fn admin_endpoints(&self) -> Vec<String> {
        let serving = self.processes.iter().filter(|process| process.s3.is_some());
        let others = self.processes.iter().filter(|process| process.s3.is_none());
        serving
            .chain(others)
            .map(|process| format!("http://{}", process.admin))
            .collect()
    }
}

/// The partition power for a ring of `devices`: about 256 partitions on each device and copy, so that a cluster can
/// grow tenfold and stay balanced, while one node's repair has few enough jobs to watch.
#[must_use]
pub fn partition_power(devices: u32) -> u8 {
    const PARTITIONS_PER_DEVICE: u32 = 256;
    let wanted = devices.max(1).saturating_mul(PARTITIONS_PER_DEVICE);
    u8::try_from(wanted.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(nodes: u64, shape: Shape) -> Wish {
        Wish {
            nodes,
            devices_per_node: 1,
            shape,
            tls: false,
            region: "us-east-1".into(),
        }
    }

    #[test]
    fn separate_roles_put_the_proxy_alone_on_the_base_port() {
        let file = plan("id".into(), &wish(3, Shape::Separate), &mut FromBase(9000)).expect("ports");
        let names: Vec<_> = file
            .processes
            .iter()
            .map(|p| (p.name.as_str(), p.role_name()))
            .collect();
        assert_eq!(
            names,
            [
                ("node-1", "storage"),
                ("node-2", "storage"),
                ("node-3", "storage"),
                ("proxy", "proxy")
            ]
        );
        assert_eq!(file.s3_endpoints(), ["http://127.0.0.1:9000"]);
        assert_eq!(file.swift_endpoints(), ["http://127.0.0.1:8080"]);
        assert_eq!(file.keystone_endpoints(), ["http://127.0.0.1:5000"]);
        assert_eq!(file.admin_endpoints()[0], "http://127.0.0.1:9303");
        assert_eq!(file.replicas(), 3);
    }

    #[test]
    fn all_roles_serve_s3_everywhere() {
        let file = plan("id".into(), &wish(3, Shape::AllRoles), &mut FromBase(9000)).expect("ports");
        assert_eq!(file.processes.len(), 3);
        assert!(file.processes.iter().all(|p| p.role_name() == "storage+proxy"));
        assert_eq!(file.s3_endpoints().len(), 3);
    }

    #[test]
    fn no_address_is_given_twice_and_devices_are_numbered_through() {
        for shape in [Shape::Separate, Shape::AllRoles] {
            let wish = Wish {
                devices_per_node: 3,
                ..wish(NODES_MAX, shape)
            };
            let file = plan("id".into(), &wish, &mut FromBase(9000)).expect("ports");
            let mut addresses: Vec<_> = file.processes.iter().flat_map(PlannedProcess::addresses).collect();
            let all = addresses.len();
            addresses.sort_by_key(|(_, address)| *address);
            addresses.dedup_by_key(|(_, address)| *address);
            assert_eq!(addresses.len(), all);
            let devices: Vec<_> = file.processes.iter().flat_map(|p| p.devices.clone()).collect();
            assert_eq!(
                devices,
                (0..3 * u32::try_from(NODES_MAX).expect("small")).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn fewer_nodes_keep_fewer_copies() {
        let copies = |nodes| {
            plan("id".into(), &wish(nodes, Shape::Separate), &mut FromBase(9000))
                .expect("ports")
                .replicas()
        };
        assert_eq!([copies(1), copies(2), copies(5)], [1, 2, 3]);
    }

    #[test]
    fn a_base_too_high_is_refused() {
        assert_eq!(
            plan("id".into(), &wish(3, Shape::Separate), &mut FromBase(65_500)),
            None
        );
    }

    #[test]
    fn the_partition_power_follows_the_devices() {
        assert_eq!(
            [partition_power(1), partition_power(3), partition_power(96)],
            [8, 10, 15]
        );
    }
}
