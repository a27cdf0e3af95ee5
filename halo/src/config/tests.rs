//! Unit tests of configuration: types, environment, unknown keys, contradictions.

use std::path::Path;

use super::load::{Fault, Loaded, parse};
use super::{LogFormat, Role};

const GOOD: &str = r#"
version = 1
roles = ["storage", "proxy"]
[cluster]
id = "000102030405060708090a0b0c0d0e0f"
secret_file = "../secrets/cluster"
at_rest_key_file = "/etc/halo/at-rest"
ring_file = "../object.ring"
[[cluster.nodes]]
id = 1
wire = "127.0.0.1:9101"
blobs = "127.0.0.1:9201"
[storage]
node = 1
metadata_dir = "metadata"
devices = [{ id = 0, path = "device-0" }]
[proxy]
listen = ["127.0.0.1:9000"]
[admin]
listen = "127.0.0.1:9301"
token_file = "../secrets/admin"
"#;

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Fault> {
    let pairs = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(text, pairs, Path::new("/srv/halo/node-1"))
}

fn contradiction(text: &str) -> String {
    match read(text, &[]) {
        Err(Fault::Contradiction(reason)) => reason,
        other => panic!("expected a contradiction, got {other:?}"),
    }
}

#[test]
fn a_good_file_has_defaults_absolute_paths_and_nothing_unknown() {
    let loaded = read(GOOD, &[]).expect("good");
    assert_eq!(loaded.unknown, Vec::<String>::new());
    let config = loaded.config;
    assert!(config.has(Role::Storage) && config.has(Role::Proxy));
    assert_eq!(config.cluster.key_shards, 8);
    assert_eq!(
        config.cluster.secret_file,
        Path::new("/srv/halo/node-1/../secrets/cluster")
    );
    assert_eq!(config.cluster.at_rest_key_file, Path::new("/etc/halo/at-rest"));
    let storage = config.storage.expect("storage");
    assert_eq!(storage.devices[0].path, Path::new("/srv/halo/node-1/device-0"));
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn unknown_keys_are_named_with_their_section() {
    let text = GOOD
        .replace("[proxy]", "[proxy]\nlisten_adress = 1")
        .replace("path = \"device-0\"", "path = \"d\", weigth = 3");
    let loaded = read(&text, &[]).expect("still readable");
    assert_eq!(loaded.unknown, ["proxy.listen_adress", "storage.devices[0].weigth"]);
}

#[test]
fn environment_wins_over_the_file_and_its_unknown_keys_are_found_too() {
    let environment = [
        ("HALO_LOG__FORMAT", "json"),
        ("HALO_STORAGE__FAULTS__SYNC_DELAY_MS", "5"),
        ("HALO_PROXY__LISTEN", "[\"127.0.0.1:1\"]"),
        ("HALO_LOG__COLOUR", "red"),
        ("HALO_DATA", "/elsewhere"),
        ("PATH", "/bin"),
    ];
    let loaded = read(GOOD, &environment).expect("good");
    assert_eq!(loaded.unknown, ["log.colour"]);
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    assert_eq!(loaded.config.storage.expect("storage").faults.sync_delay_ms, 5);
    assert_eq!(loaded.config.proxy.expect("proxy").listen[0].port(), 1);
}

#[test]
fn a_variable_for_a_role_this_process_lacks_is_not_for_it() {
    let text = GOOD.replace("\"storage\", ", "");
    let (head, rest) = text.split_once("[storage]").expect("a section");
    let without = format!("{head}[proxy]{}", rest.split_once("[proxy]").expect("a section").1);
    let loaded = read(&without, &[("HALO_STORAGE__FAULTS__SYNC_DELAY_MS", "5")]).expect("good");
    assert!(loaded.config.storage.is_none() && loaded.unknown.is_empty());
}

#[test]
fn wrong_types_and_missing_keys_are_errors() {
    assert!(matches!(
        read(&GOOD.replace("node = 1", "node = \"one\""), &[]),
        Err(Fault::Toml(_))
    ));
    assert!(matches!(
        read(&GOOD.replace("metadata_dir = \"metadata\"", ""), &[]),
        Err(Fault::Toml(_))
    ));
}

#[test]
fn contradictions_are_refused_with_a_sentence() {
    assert!(contradiction(&GOOD.replace("version = 1", "version = 9")).contains("version is 9"));
    assert!(contradiction(&GOOD.replace("node = 1", "node = 4")).contains("storage.node is 4"));
    assert!(contradiction(&GOOD.replace("0001020304", "xx")).contains("cluster.id"));
    assert!(contradiction(&GOOD.replace("127.0.0.1:9301", "0.0.0.0:9301")).contains("loopback"));
    assert!(contradiction(&GOOD.replace(":9201", ":9101")).contains("twice"));
    assert!(contradiction(&GOOD.replace("127.0.0.1:9201", "127.0.0.1")).contains("HOST:PORT"));
    assert!(contradiction(&GOOD.replace("[\"storage\", \"proxy\"]", "[]")).contains("roles is empty"));
}

#[test]
fn what_is_written_reads_back_the_same() {
    let first = read(GOOD, &[]).expect("good").config;
    let text = toml::to_string(&first).expect("writable");
    let second = read(&text, &[]).expect("good");
    assert_eq!(second.unknown, Vec::<String>::new());
    assert_eq!(toml::to_string(&second.config).expect("writable"), text);
}
