//! Rules for `Cargo.toml`: dependencies point one way, and each is used.

use anyhow::Context;
use toml::Table;

use super::TrackedFile;

/// Which rooms a room may use. A room that is not listed is refused until it is entered here.
const MAY_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("metadata", &["clock"]),
    ("ring-builder", &["clock"]),
    ("storage-node", &["clock", "metadata", "ring-builder"]),
    ("store", &["clock", "metadata", "ring-builder", "storage-node"]),
    ("identity", &["clock", "store"]),
    ("proxy", &["clock", "store", "identity"]),
    (
        "halo",
        &[
            "clock",
            "metadata",
            "ring-builder",
            "storage-node",
            "store",
            "identity",
            "proxy",
        ],
    ),
    ("fuzz", &["metadata", "ring-builder", "storage-node", "proxy"]),
    (
        "simulation",
        &["clock", "metadata", "ring-builder", "storage-node", "store"],
    ),
    ("xtask", &["clock"]),
];
/// Libraries whose name in the code is not the package's.
const OTHER_NAMES: [(&str, &str); 2] = [("ring-builder", "ring"), ("md-5", "md5")];

pub(super) fn check(tree: &[TrackedFile]) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in tree.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let manifest: Table = toml::from_str(&file.text).with_context(|| file.path.clone())?;
        let Some(name) = manifest
            .get("package")
            .and_then(|package| package.get("name")?.as_str())
        else {
            continue;
        };
        let folder = file.path.trim_end_matches("Cargo.toml");
        let code = code_of(tree, folder);
        for section in ["dependencies", "dev-dependencies"] {
            let Some(Table { .. }) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            let used = manifest[section].as_table().expect("looked at above").keys();
            for dependency in used {
                complaints.extend(direction(name, section, dependency));
                complaints.extend(unused(&file.path, dependency, &code));
            }
        }
    }
    Ok(complaints)
}

fn direction(name: &str, section: &str, dependency: &str) -> Option<String> {
    let ours = MAY_USE.iter().any(|(room, _)| *room == dependency);
    let Some((_, allowed)) = MAY_USE.iter().find(|(room, _)| *room == name) else {
        return Some(format!("{name}: enter this room in xtask/src/tidy/dependencies.rs"));
    };
    let refused = ours && !allowed.contains(&dependency) && section == "dependencies";
    refused.then(|| format!("{name} must not use {dependency}: dependencies point one way"))
}

fn unused(manifest: &str, dependency: &str, code: &str) -> Option<String> {
    let other = OTHER_NAMES.iter().find(|(package, _)| *package == dependency);
    let name = other.map_or_else(|| dependency.replace('-', "_"), |(_, name)| (*name).to_owned());
    (!mentions(code, &name)).then(|| format!("{manifest}: {dependency} is not used"))
}

fn mentions(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

fn code_of(tree: &[TrackedFile], folder: &str) -> String {
    let inside = tree
        .iter()
        .filter(|file| file.path.starts_with(folder) && file.path.ends_with(".rs"));
    inside.map(|file| file.text.as_str()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_against_the_direction_is_refused() {
        assert!(direction("metadata", "dependencies", "storage-node").is_some());
        assert!(direction("store", "dependencies", "proxy").is_some());
        assert!(direction("store", "dependencies", "storage-node").is_none());
        assert!(direction("store", "dependencies", "bytes").is_none());
        assert!(direction("a-new-room", "dependencies", "bytes").is_some());
    }

    #[test]
    fn a_dependency_nobody_names_is_found() {
        assert!(unused("x", "md-5", "use md5::Md5;").is_none());
        assert!(unused("x", "http-body", "use http_body_util::Full;").is_some());
        assert!(unused("x", "http-body", "impl http_body::Body for X {}").is_none());
    }
}
