//! The house rules, as a test: `cargo xtask tidy`, and also run by the ordinary tests.

mod dependencies;
mod files;
mod promises;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::cargo::{output, root};

/// A file of the tree.
pub struct TrackedFile {
    /// Its path from the top of the tree, with slashes.
    pub path: String,
    /// Its text; empty when it is not UTF-8.
    pub text: String,
}

/// Runs all rules.
///
/// # Errors
/// With every complaint, one a line.
pub fn run() -> anyhow::Result<()> {
    let complaints = complaints()?;
    if !complaints.is_empty() {
        bail!("the tree is not tidy:\n{}", complaints.join("\n"));
    }
    eprintln!("== tidy");
    Ok(())
}

fn complaints() -> anyhow::Result<Vec<String>> {
    let tree = tree()?;
    let mut complaints = files::check(&tree);
    complaints.extend(dependencies::check(&tree)?);
    complaints.extend(promises::check(&tree));
    Ok(complaints)
}

/// Every file that is or would be committed.
fn tree() -> anyhow::Result<Vec<TrackedFile>> {
    let mut command = Command::new("git");
    command
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root());
    let listed = output(&mut command).context("the tree's files are listed by git")?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    let read = |path: &str| {
        let full: PathBuf = root().join(path);
        let bytes = std::fs::read(full).ok()?;
        Some(TrackedFile {
            path: path.to_owned(),
            text: String::from_utf8(bytes).unwrap_or_default(),
        })
    };
    Ok(paths.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let complaints = super::complaints().expect("the tree can be read");
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
