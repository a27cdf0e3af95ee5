//! Rules for single files: length, names, first paragraphs.

use super::TrackedFile;

/// A longer file has two subjects.
const LINES_MAX: usize = 800;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "helpers", "helper", "manager", "common", "misc", "stuff",
];

pub(super) fn check(tree: &[TrackedFile]) -> Vec<String> {
    tree.iter().flat_map(complaints).collect()
}

fn complaints(file: &TrackedFile) -> Vec<String> {
    let TrackedFile { path, text } = file;
    let mut found = Vec::new();
    let parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    for name in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        found.push(format!("{path}: the name {name} says nothing; name what is inside"));
    }
    let code = path.ends_with(".rs") || path.ends_with(".py");
    if code && text.lines().count() > LINES_MAX {
        found.push(format!(
            "{path}: {} lines, split it (limit {LINES_MAX})",
            text.lines().count()
        ));
    }
    let page = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    if page && !text.starts_with("//!") {
        found.push(format!("{path}: say in //! what this crate knows and must not know"));
    }
    if page && !first_page(text).contains("ust not know") && !path.starts_with("ring-builder/src/main") {
        found.push(format!("{path}: its //! does not say what it must not know"));
    }
    found
}

/// The comment at the top.
fn first_page(text: &str) -> String {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        complaints(&TrackedFile {
            path: path.into(),
            text: text.into(),
        })
    }

    #[test]
    fn each_rule_is_noticed() {
        let good = "//! Knows: one thing. Must not know: others.\n";
        assert!(of("store/src/lib.rs", good).is_empty());
        assert_eq!(of("store/src/lib.rs", "pub mod x;").len(), 2);
        assert_eq!(of("store/src/lib.rs", "//! A page.").len(), 1);
        assert_eq!(of("store/src/utils.rs", "").len(), 1);
        assert_eq!(of("store/src/common/disk.rs", "").len(), 1);
        assert_eq!(of("store/src/long.rs", &"\n".repeat(801)).len(), 1);
        assert!(of("docs/long.md", &"\n".repeat(801)).is_empty());
    }
}
