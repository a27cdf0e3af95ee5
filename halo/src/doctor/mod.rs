//! `halo doctor`: what this machine lacks, and the command that fixes it.
//!
//! Knows: limits, disks, clocks, ports and clients of one machine. Must not know: clusters. It changes nothing; the
//! file it writes to measure a sync is removed.

mod disk;
mod machine;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::terminal::{self, Colour};

/// Look for what this machine lacks.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Where a cluster's data would lie.
    #[arg(long, env = "HALO_DATA", default_value = "./halo-data")]
    data: PathBuf,
    /// The first port it would use.
    #[arg(long, default_value_t = crate::up::plan::PORT_BASE_DEFAULT)]
    port_base: u16,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, with a drawback.
    Poor,
    /// It will not work.
    Bad,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Good,
            found: found.into(),
            remedy: None,
        }
    }

    pub(super) fn poor(subject: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Poor,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(super) fn bad(subject: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Bad,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Runs `halo doctor`; false when something will not work.
///
/// # Errors
/// When the result cannot be printed.
pub fn run(args: &DoctorArgs) -> anyhow::Result<bool> {
    let data = std::path::absolute(&args.data)?;
    let place = disk::existing_ancestor(&data);
    let mut findings = vec![disk::space(&place), disk::sync_speed(&place)];
    findings.push(machine::open_files());
    findings.push(machine::memory());
    findings.push(machine::clock());
    findings.push(machine::ports(args.port_base, data.join("cluster.json").exists()));
    findings.extend(machine::clients());
    if args.json {
        terminal::json(&findings)?;
    } else {
        print(&findings);
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Bad))
}

fn print(findings: &[Finding]) {
    let mut table = terminal::table(&["", "what", "found", "what helps"]);
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => terminal::coloured("good", Colour::Green),
            Verdict::Poor => terminal::coloured("poor", Colour::Yellow),
            Verdict::Bad => terminal::coloured("bad", Colour::Red),
        };
        table.add_row([
            mark.as_str(),
            finding.subject,
            &finding.found,
            finding.remedy.as_deref().unwrap_or(""),
        ]);
    }
    terminal::line(table.to_string());
}
