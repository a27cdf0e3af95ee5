//! Reads a configuration: file, then environment over it, then checks.
//!
//! A key that no section knows survives neither parsing nor writing back; that is how unknown keys are found, without
//! a second list of names. `HALO_PROXY__LISTEN` stands for `listen` in `[proxy]`; its value is TOML, or else a string.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{CONFIG_VERSION, Config, KEY_SHARDS_MAX, Role};

/// Environment variables with this prefix and a double underscore, or named in [`TOP_LEVEL`], are settings.
const ENV_PREFIX: &str = "HALO_";
const TOP_LEVEL: [&str; 1] = ["HALO_ROLES"];
/// Sections that belong to a role.
const OPTIONAL_SECTIONS: [&str; 3] = ["storage", "proxy", "identity"];

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, a wrong type or a missing key.
    #[error("the configuration {} is wrong", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The values contradict each other.
    #[error("the configuration {} is wrong: {reason}", path.display())]
    Contradiction { path: PathBuf, reason: String },
}

/// A configuration and the keys in it that nobody knows.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, paths absolute.
    pub config: Config,
    /// Dotted names of unknown keys, in the file's order: an error for `--check-config`, a warning at start.
    pub unknown: Vec<String>,
}

/// Reads `path` and lays `environment` over it.
///
/// # Errors
/// [`ConfigError`]; the operator corrects the file.
pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let absolute = std::path::absolute(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let base = absolute.parent().unwrap_or_else(|| Path::new("/"));
    parse(&text, environment, base).map_err(|fault| match fault {
        Fault::Toml(source) => ConfigError::Malformed {
            path: path.to_owned(),
            source,
        },
        Fault::Contradiction(reason) => ConfigError::Contradiction {
            path: path.to_owned(),
            reason,
        },
    })
}

#[derive(Debug)]
pub(super) enum Fault {
    Toml(Box<toml::de::Error>),
    Contradiction(String),
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self::Toml(Box::new(error))
    }
}

pub(super) fn parse(
    text: &str,
    environment: impl Iterator<Item = (String, String)>,
    base: &Path,
) -> Result<Loaded, Fault> {
    let mut table: Table = toml::from_str(text)?;
    let changed = overlay(&mut table, environment);
    // Without a variable in the way the text itself is read, so that errors name its lines.
    let mut config: Config = if changed {
        table.clone().try_into()?
    } else {
        toml::from_str(text)?
    };
    let mut unknown = Vec::new();
    let known = Table::try_from(&config).map_err(|error| Fault::Contradiction(error.to_string()))?;
    find_unknown(&table, &known, "", &mut unknown);
    config.resolve_paths(base);
    check(&config).map_err(Fault::Contradiction)?;
    Ok(Loaded { config, unknown })
}

/// Lays environment variables over the table; true when there was one.
fn overlay(table: &mut Table, environment: impl Iterator<Item = (String, String)>) -> bool {
    let mut changed = false;
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        if !rest.contains("__") && !TOP_LEVEL.contains(&name.as_str()) {
            continue;
        }
        let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        // One environment may serve several processes of a machine; a section this one does not have is not for it.
        if OPTIONAL_SECTIONS.contains(&path[0].as_str()) && !table.contains_key(&path[0]) {
            continue;
        }
        set(table, &path, value_of(&text));
        changed = true;
    }
    changed
}

fn set(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

fn value_of(text: &str) -> Value {
    let parsed: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    match parsed.map(|mut table| table.remove("value")) {
        Ok(Some(value)) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn find_unknown(given: &Table, known: &Table, prefix: &str, unknown: &mut Vec<String>) {
    for (key, value) in given {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match (value, known.get(key)) {
            (_, None) => unknown.push(name),
            (Value::Table(given), Some(Value::Table(known))) => find_unknown(given, known, &name, unknown),
            (Value::Array(given), Some(Value::Array(known))) => {
                for (index, pair) in given.iter().zip(known).enumerate() {
                    if let (Value::Table(given), Value::Table(known)) = pair {
                        find_unknown(given, known, &format!("{name}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }
}

/// What types cannot say.
fn check(config: &Config) -> Result<(), String> {
    if config.version != CONFIG_VERSION {
        return Err(format!(
            "version is {}, this release reads {CONFIG_VERSION}",
            config.version
        ));
    }
    if config.roles.is_empty() {
        return Err("roles is empty: name at least one of \"storage\", \"proxy\", \"identity\"".to_owned());
    }
    check_cluster(config)?;
    if config.has(Role::Storage) {
        check_storage(config)?;
    }
    if config.has(Role::Proxy) {
        let proxy = config.proxy.as_ref().ok_or("role \"proxy\" needs a section [proxy]")?;
        if proxy.listen.is_empty() {
            return Err("proxy.listen names no address".to_owned());
        }
    }
    if config.has(Role::Identity) {
        let identity = config.identity.as_ref();
        let identity = identity.ok_or("role \"identity\" needs a section [identity]")?;
        if identity.listen.is_empty() {
            return Err("identity.listen names no address".to_owned());
        }
        if identity.token_s == 0 {
            return Err("identity.token_s must be at least 1".to_owned());
        }
    }
    if !config.admin.listen.ip().is_loopback() {
        return Err("admin.listen must be a loopback address: its token travels unencrypted".to_owned());
    }
    Ok(())
}

fn check_cluster(config: &Config) -> Result<(), String> {
    let cluster = &config.cluster;
    if cluster.id.parse::<metadata::ids::ClusterId>().is_err() {
        return Err("cluster.id must be 32 lower-case hex digits".to_owned());
    }
    if cluster.key_shards == 0 || cluster.key_shards > KEY_SHARDS_MAX {
        return Err(format!("cluster.key_shards must be 1 to {KEY_SHARDS_MAX}"));
    }
    let mut seen_ids = std::collections::BTreeSet::new();
    let mut seen_addresses = std::collections::BTreeSet::new();
    for node in &cluster.nodes {
        if node.id == 0 {
            return Err("cluster.nodes: node ids begin at 1".to_owned());
        }
        if !seen_ids.insert(node.id) {
            return Err(format!("cluster.nodes names node {} twice", node.id));
        }
        for address in [&node.wire, &node.blobs] {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return Err(format!("cluster.nodes: {address} is not of the form HOST:PORT"));
            }
            if !seen_addresses.insert(address) {
                return Err(format!("cluster.nodes names the address {address} twice"));
            }
        }
    }
    if seen_ids.is_empty() {
        return Err("cluster.nodes is empty".to_owned());
    }
    Ok(())
}

fn check_storage(config: &Config) -> Result<(), String> {
    let storage = config
        .storage
        .as_ref()
        .ok_or("role \"storage\" needs a section [storage]")?;
    if !config.cluster.nodes.iter().any(|node| node.id == storage.node) {
        return Err(format!(
            "storage.node is {}, which cluster.nodes does not name",
            storage.node
        ));
    }
    if storage.devices.is_empty() {
        return Err("storage.devices is empty".to_owned());
    }
    for (index, device) in storage.devices.iter().enumerate() {
        let others = &storage.devices[..index];
        if others
            .iter()
            .any(|other| other.id == device.id || other.path == device.path)
        {
            return Err(format!(
                "storage.devices names device {} or its folder twice",
                device.id
            ));
        }
    }
    Ok(())
}
