//! Container sync's settings, its keys read from their files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use proxy::swift::{SyncOptions, SyncRealm};

use super::parts::read_secret;
use crate::config::ContainerSyncSection;

/// The settings of the Swift edge.
///
/// # Errors
/// When a key cannot be read or is empty, or `current` names no cluster.
pub(super) fn options(section: &ContainerSyncSection) -> anyhow::Result<SyncOptions> {
    let mut realms = Vec::new();
    for (name, realm) in &section.realms {
        let key = |path: &PathBuf| -> anyhow::Result<String> {
            let key = read_secret(path)?.reveal().to_owned();
            ensure!(!key.is_empty(), "the key of the realm {name} is empty");
            Ok(key)
        };
        realms.push(SyncRealm {
            name: name.clone(),
            key: key(&realm.key_file)?,
            key2: realm.key2_file.as_ref().map(key).transpose()?,
            clusters: realm.clusters.clone().into_iter().collect(),
        });
    }
    let current = section.current.as_ref().map(|text| {
        let named = text.trim_matches('/').split_once('/');
        let (realm, cluster) = named.context("container_sync.current must be //realm/cluster")?;
        Ok::<_, anyhow::Error>((realm.to_owned(), cluster.to_owned()))
    });
    Ok(SyncOptions {
        realms,
        current: current.transpose()?,
        hosts: section.hosts.clone(),
        key_header: section.key_header,
        every: Duration::from_secs(section.interval_s.max(1)),
        authorities: section.ca_file.clone(),
    })
}
