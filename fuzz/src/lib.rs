//! Fuzzers of the parsers that face a socket or a disk.
//!
//! Knows: how bytes are mutated, and the entrance of every parser. Must not know: what a parsed thing is good for.
//!
//! ```text
//! corpus (seeds and whatever led to a new outcome) -> Mutator -> Target::run -> outcome, or a panic: a Finding
//! ```
//! A target tells what became of its input in a few words ("AuthorizationHeaderMalformed", "PutObject: Refused(..)");
//! an input with an outcome nobody saw before joins the corpus. That is less than a compiler's coverage tells, but it
//! needs no nightly compiler and no second build of everything, so every target runs a little with the ordinary tests
//! (`tests/short_runs.rs`, fixed seed), and for as long as one likes by `cargo run --release -p fuzz -- TARGET`.
//!
//! What must hold of every input: no panic, an answer within [`SLOW`], and what the target itself asserts; most of them
//! that what was read is what is written again.

mod campaign;
mod mutator;
mod targets;

use std::time::Duration;

pub use campaign::{Campaign, Finding};
pub use mutator::Mutator;
pub use targets::targets;

/// An input that takes longer is a finding: parsers work in time proportional to their input, and inputs are small.
pub const SLOW: Duration = Duration::from_secs(5);
/// The longest input, in bytes.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// One parser.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Parses; tells what became of the input, in words whose number is bounded.
    pub run: fn(&[u8]) -> String,
    /// Inputs that are well formed, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the parser's language, that chance would not find.
    pub words: &'static [&'static [u8]],
}

/// Inputs that once were findings: the files of `fuzz/regressions/TARGET/`.
#[must_use]
pub fn regressions(target: &Target) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(target.name);
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read(file.path()).ok()).collect()
}
