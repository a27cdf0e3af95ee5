//! `[proxy.swift.container_sync]`: which clusters containers may be synced with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Realms and hosts; without any nothing is sent anywhere and nothing is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSyncSection {
    /// `//realm/cluster` of this cluster, as `/info` tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Realms by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub realms: BTreeMap<String, RealmSection>,
    /// Hosts that a plain URL in `X-Container-Sync-To` may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether requests are taken that carry the container's key itself instead of a signature.
    #[serde(default)]
    pub key_header: bool,
    /// The pause between two looks at what waits, in seconds.
    #[serde(default = "default_interval_s")]
    pub interval_s: u64,
    /// The certificates that those of other clusters are checked against, PEM; the system's without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for ContainerSyncSection {
    fn default() -> Self {
        Self {
            current: None,
            realms: BTreeMap::new(),
            hosts: Vec::new(),
            key_header: false,
            interval_s: default_interval_s(),
            ca_file: None,
        }
    }
}

/// Clusters that share a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmSection {
    /// File with the realm's key.
    pub key_file: PathBuf,
    /// File with a second key that is accepted as well, while keys are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key2_file: Option<PathBuf>,
    /// Endpoint of each cluster, `https://host/v1/`.
    #[serde(default)]
    pub clusters: BTreeMap<String, String>,
}

impl ContainerSyncSection {
    /// Makes relative paths absolute.
    pub(super) fn resolve_paths(&mut self, resolve: impl Fn(&mut PathBuf)) {
        let keys = self.realms.values_mut();
        keys.flat_map(|realm| std::iter::once(&mut realm.key_file).chain(&mut realm.key2_file))
            .chain(&mut self.ca_file)
            .for_each(resolve);
    }
}

fn default_interval_s() -> u64 {
    10
}
