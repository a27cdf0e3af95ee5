//! `halo admin repair status` and `halo admin verify`: whether everything has its copies, by the log and by a count.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::client::AdminClient;
use crate::admin_api::model::Buckets;
use crate::admin_api::ring_model::{RepairStatus, VerifyCall, VerifyPage, VerifyPlace, VerifyProblem};
use crate::terminal;

/// Versions asked for at once.
const PAGE: usize = 200;
/// Problems named in the result; all are counted.
const NAMED_MAX: usize = 10_000;

/// What to verify.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The bucket; all of them without it.
    bucket: Option<String>,
    /// Read and verify every copy, instead of asking the devices what they believe to hold.
    #[arg(long)]
    read: bool,
    /// Versions looked at in a second, at the most.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Remembers here how far it is, and goes on from there when it is started again.
    #[arg(long)]
    resume: Option<PathBuf>,
}

/// The sum of a verification, as `--json` shows it and `--resume` keeps it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Verified {
    /// True when nothing is amiss.
    pub(super) whole: bool,
    versions: u64,
    chunks: u64,
    copies: u64,
    /// Objects of which a chunk has no copy at all.
    lost: u64,
    /// Objects of which a chunk has too few copies.
    short: u64,
    /// Objects that a silent device may or may not have.
    unknown: u64,
    problems: Vec<VerifyProblem>,
    /// Buckets that are done.
    done: Vec<String>,
    /// Where the bucket at hand goes on.
    next: Option<VerifyPlace>,
}

pub(super) fn show_status(status: &RepairStatus) {
    let verdict = match status.healed {
        Some(true) => "healed: nothing lacks a copy".to_owned(),
        Some(false) => "not healed".to_owned(),
        None => "not known: a shard does not answer".to_owned(),
    };
    let number = |count: Option<u64>| count.map_or("unknown".to_owned(), |count| count.to_string());
    terminal::line(format!(
        "{verdict} (counted at {}, from the shards' log)",
        terminal::date(status.taken_ms)
    ));
    terminal::line(format!(
        "{} chunks short of a copy, {} without any, {} partitions open{}",
        number(status.short_chunks),
        number(status.lost_chunks),
        number(status.open_partitions),
        status
            .oldest_open_ms
            .map(|since| format!(", the oldest since {}", terminal::date(since)))
            .unwrap_or_default()
    ));
    if !status.jobs.is_empty() {
        let mut jobs = terminal::table(&["device", "for", "open partitions", "since"]);
        for job in &status.jobs {
            jobs.add_row([
                job.device.to_string(),
                job.kind.clone(),
                job.partitions.to_string(),
                terminal::date(job.since_ms),
            ]);
        }
        terminal::line(jobs.to_string());
    }
    let mut work = terminal::table(&["node", "work", "state", "last error"]);
    for line in &status.work {
        work.add_row([
            line.node.to_string(),
            line.name.clone(),
            line.state.clone(),
            line.last_error.clone().unwrap_or_default(),
        ]);
    }
    terminal::line(work.to_string());
    if !status.scrubs.is_empty() {
        let mut scrubs = terminal::table(&["scrub of", "this pass", "damaged", "last whole pass", "read", "damaged"]);
        for scrub in &status.scrubs {
            scrubs.add_row([
                format!("device {}", scrub.device),
                format!("{} %", scrub.percent),
                scrub.damaged.to_string(),
                scrub.last_ended_ms.map_or("none yet".to_owned(), terminal::date),
                scrub.last_bytes.map_or_else(String::new, terminal::bytes),
                scrub.last_damaged.map_or_else(String::new, |count| count.to_string()),
            ]);
        }
        terminal::line(scrubs.to_string());
    }
    for line in &status.work {
        if let Some(asks) = &line.asks {
            terminal::line(format!("node {}, {}: {asks}", line.node, line.name));
        }
    }
}

/// Looks at everything and counts.
pub(super) async fn verify(client: &AdminClient, args: &VerifyArgs) -> anyhow::Result<Verified> {
    let buckets: Buckets = client.get("/v1/buckets").await?;
    let wanted: Vec<_> = buckets
        .buckets
        .into_iter()
        .filter(|bucket| args.bucket.as_ref().is_none_or(|name| *name == bucket.name))
        .collect();
    if let (true, Some(name)) = (wanted.is_empty(), &args.bucket) {
        anyhow::bail!("there is no bucket {name}");
    }
    let mut verified = args.resume.as_deref().map_or_else(|| Ok(Verified::default()), load)?;
    let total = wanted.iter().filter_map(|bucket| bucket.objects).sum();
    let bar = progress_bar(total);
    bar.set_position(verified.versions);
    for bucket in wanted {
        if verified.done.contains(&bucket.name) {
            continue;
        }
        loop {
            let begun = Instant::now();
            let call = VerifyCall {
                bucket: bucket.name.clone(),
                project: Some(bucket.project.clone()),
                after: verified.next.take(),
                limit: PAGE.min(args.rate.max(1) as usize),
                read: args.read,
            };
            let page: VerifyPage = client.post("/v1/verify", &call).await?;
            let versions = page.versions;
            let more = page.next.is_some();
            verified.add(page);
            if !more {
                verified.done.push(bucket.name.clone());
            }
            if let Some(path) = &args.resume {
                save(path, &verified)?;
            }
            bar.set_position(verified.versions);
            if !more {
                break;
            }
            let pace = Duration::from_secs_f64(versions as f64 / f64::from(args.rate.max(1)));
            tokio::time::sleep(pace.saturating_sub(begun.elapsed())).await;
        }
    }
    bar.finish_and_clear();
    verified.whole = verified.lost + verified.short + verified.unknown == 0;
    Ok(verified)
}

pub(super) fn show(verified: &Verified) {
    terminal::line(format!(
        "{} versions, {} chunks, {} good copies: {}",
        verified.versions,
        verified.chunks,
        verified.copies,
        if verified.whole {
            "all is well"
        } else {
            "not all is well"
        }
    ));
    if verified.whole {
        return;
    }
    terminal::line(format!(
        "{} objects have a chunk without any copy, {} lack copies, {} are not known because a device is silent",
        verified.lost, verified.short, verified.unknown
    ));
    let mut table = terminal::table(&["bucket", "key", "version", "state", "chunks"]);
    for problem in &verified.problems {
        table.add_row([
            problem.bucket.clone(),
            problem.key.clone(),
            problem.version.clone(),
            problem.kind.clone(),
            problem.chunks.to_string(),
        ]);
    }
    terminal::line(table.to_string());
}

impl Verified {
    fn add(&mut self, page: VerifyPage) {
        self.versions += page.versions;
        self.chunks += page.chunks;
        self.copies += page.copies;
        for problem in page.problems {
            match problem.kind.as_str() {
                "lost" => self.lost += 1,
                "short" => self.short += 1,
                _ => self.unknown += 1,
            }
            // What is lost is named before what only lacks a copy.
            if self.problems.len() < NAMED_MAX {
                self.problems.push(problem);
            } else if problem.kind == "lost"
                && let Some(other) = self.problems.iter_mut().find(|other| other.kind != "lost")
            {
                *other = problem;
            }
        }
        self.next = page.next;
    }
}

fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} versions, {per_sec}, {eta} left");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn load(path: &Path) -> anyhow::Result<Verified> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is not the state of a verification: remove it to begin anew",
                path.display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Verified::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Written beside and put in place in one step, so that a crash leaves the old state or the new one.
fn save(path: &Path, verified: &Verified) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(verified)?)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heal_1_what_is_lost_is_named_first_and_everything_is_counted() {
        let problem = |kind: &str, key: usize| VerifyProblem {
            bucket: "b".into(),
            key: key.to_string(),
            version: "null".into(),
            kind: kind.into(),
            chunks: 1,
        };
        let mut verified = Verified::default();
        verified.add(VerifyPage {
            problems: (0..NAMED_MAX).map(|key| problem("short", key)).collect(),
            ..VerifyPage::default()
        });
        verified.add(VerifyPage {
            problems: vec![problem("lost", 77), problem("short", 78), problem("unknown", 79)],
            ..VerifyPage::default()
        });
        assert_eq!(
            (verified.lost, verified.short, verified.unknown),
            (1, NAMED_MAX as u64 + 1, 1)
        );
        assert_eq!(verified.problems.len(), NAMED_MAX);
        assert_eq!(
            verified
                .problems
                .iter()
                .filter(|problem| problem.kind == "lost")
                .count(),
            1
        );
    }

    #[test]
    fn a_verification_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(load(&path).unwrap().versions, 0);
        let verified = Verified {
            versions: 9,
            next: Some(VerifyPlace {
                key: "00".into(),
                version: 3,
            }),
            ..Verified::default()
        };
        save(&path, &verified).unwrap();
        let again = load(&path).unwrap();
        assert_eq!((again.versions, again.next), (9, verified.next));
        std::fs::write(&path, b"?").unwrap();
        assert!(load(&path).is_err());
    }
}
