//! Every promise (DUR-1 … SEC-1) is stated, asserted and tested: in the table of `ARCHITECTURE.md`, in a documentation
//! comment of the code that keeps it, in an assertion's text, and in a test's name.

use super::TrackedFile;

/// The promises.
const PROMISES: [&str; 14] = [
    "DUR-1", "DUR-2", "DUR-3", "DUR-4", "DUR-5", "CON-1", "CON-2", "CON-3", "INT-1", "KEY-1", "MEM-1", "SEC-1",
    "HEAL-1", "REB-1",
];
/// What begins an assertion.
const ASSERTIONS: [&str; 3] = ["assert!(", "assert_eq!(", "assert_ne!("];

/// What is missing of each.
pub fn check(tree: &[TrackedFile]) -> Vec<String> {
    let missing = PROMISES.iter().flat_map(|tag| {
        let code = || {
            tree.iter()
                .filter(|file| file.path.ends_with(".rs") && !file.path.starts_with("xtask/"))
        };
        let table = tree
            .iter()
            .any(|file| file.path == "ARCHITECTURE.md" && file.text.contains(&format!("| {tag} |")));
        let stated = code().any(|file| file.text.lines().any(|line| is_doc(line) && line.contains(tag)));
        let asserted = code().any(|file| assertions(&file.text).any(|text| text.contains(tag)));
        let name = tag.to_lowercase();
        let names = [
            format!("fn {}_", name.replace('-', "_")),
            format!("fn {}_", name.replace('-', "")),
        ];
        let tested = code().any(|file| names.iter().any(|name| file.text.contains(name)));
        [
            (table, "in the table of ARCHITECTURE.md"),
            (stated, "in a documentation comment"),
            (asserted, "in the text of an assertion"),
            (tested, "in the name of a test"),
        ]
        .into_iter()
        .filter(|(there, _)| !there)
        .map(move |(_, place)| format!("{tag} is missing {place}"))
    });
    missing.collect()
}

fn is_doc(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//!") || line.starts_with("///")
}

/// The text of each assertion, up to the end of its statement.
fn assertions(text: &str) -> impl Iterator<Item = &str> {
    let begins = ASSERTIONS.iter().flat_map(|begin| text.match_indices(begin));
    begins.map(|(at, _)| {
        let rest = &text[at..];
        &rest[..rest.find(");\n").unwrap_or(rest.len())]
    })
}
