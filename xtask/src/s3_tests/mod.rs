//! `cargo xtask s3-tests CHECKOUT`: the public tests ceph/s3-tests against a real cluster, compared with
//! `tests/conformance/s3-tests-expected.txt`.
//!
//! ```text
//! halo up (three nodes, a proxy) -> projects and keys -> s3tests.conf -> pytest -> outcomes -> expected?
//! ```
//! The checkout is the caller's (`git clone https://github.com/ceph/s3-tests`); nothing of it enters the tree.

mod cluster;
mod expected;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::cargo::{build_halo, has, root, step};
use cluster::Cluster;
use expected::{Expected, Outcome, Verdict};

/// Test files of the suite that speak S3. The others speak IAM, STS and SNS, which the cluster has no endpoint for.
const FILES: [&str; 4] = ["test_s3.py", "test_headers.py", "test_s3select.py", "test_utils.py"];
/// This one demands that its user owns no bucket, so it runs alone, before the others.
const ALONE: &str = "test_list_buckets_paginated";
/// What pytest needs besides the suite's own requirements.
const PLUGINS: [&str; 2] = ["pytest-timeout", "pytest-xdist"];

/// Where the suite is, and how it runs.
#[derive(Args)]
pub struct S3TestsArgs {
    /// Folder of a checkout of ceph/s3-tests.
    checkout: PathBuf,
    /// An executable to test instead of building one.
    #[arg(long)]
    halo: Option<PathBuf>,
    /// Workers of pytest.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Seconds one test may take.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Only tests whose name fits this expression (pytest -k); nothing is compared with the list of the others.
    #[arg(short, long)]
    keyword: Option<String>,
    /// Folder for logs and outcomes; a temporary one otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs the suite.
///
/// # Errors
/// When a test fails that is not expected to, or one passes that is.
pub fn run(args: &S3TestsArgs) -> anyhow::Result<()> {
    let checkout = args.checkout.canonicalize().context("the checkout's folder")?;
    if !checkout.join("s3tests/functional").is_dir() {
        bail!("{} is no checkout of ceph/s3-tests", checkout.display());
    }
    let halo = match &args.halo {
        Some(halo) => halo.canonicalize().context("the executable")?,
        None => build_halo()?,
    };
    let expected = Expected::read(&root().join("tests/conformance/s3-tests-expected.txt"))?;
    let temporary = tempfile::tempdir()?;
    let out = args.out.clone().unwrap_or_else(|| temporary.path().join("out"));
    std::fs::create_dir_all(&out)?;
    let out = out.canonicalize()?;
    let python = python(&checkout)?;
    let cluster = Cluster::start(&halo, &temporary.path().join("data"))?;
    std::fs::write(out.join("s3tests.conf"), cluster.configuration()?)?;
    let outcomes = out.join("outcomes.tsv");
    if outcomes.exists() {
        std::fs::remove_file(&outcomes)?;
    }
    let suite = Suite {
        args,
        python: &python,
        checkout: &checkout,
        out: &out,
    };
    let alone = [format!("s3tests/functional/test_s3.py::{ALONE}")];
    suite.tests(&alone, None, "alone.log")?;
    suite.tests(
        &FILES.map(|file| format!("s3tests/functional/{file}")),
        Some(ALONE),
        "s3.log",
    )?;
    drop(cluster);
    let text = std::fs::read_to_string(&outcomes).context("pytest wrote no outcomes; look at its log")?;
    judge(&expected, &Outcome::read_all(&text), args.keyword.is_some())
}

/// The environment for the suite: made once, kept in the user's cache.
fn python(checkout: &Path) -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let made = std::env::var_os("HALO_S3TESTS_VENV").map(PathBuf::from);
    let venv = made.unwrap_or_else(|| Path::new(&home).join(".cache/halo/s3tests-venv"));
    let python = venv.join("bin/python3");
    if !python.exists() || !has(venv.join("bin/pytest"), "--version") {
        step("environment", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "-r"]);
        install.arg(checkout.join("requirements.txt")).args(PLUGINS);
        step("the suite's requirements", &mut install)?;
    }
    Ok(python)
}

struct Suite<'a> {
    args: &'a S3TestsArgs,
    python: &'a Path,
    checkout: &'a Path,
    out: &'a Path,
}

impl Suite<'_> {
    /// Runs some tests; that some fail is no error here.
    fn tests(&self, tests: &[String], without: Option<&str>, log: &str) -> anyhow::Result<()> {
        let mut command = Command::new(self.python);
        command.args([
            "-m",
            "pytest",
            "-p",
            "outcomes",
            "-p",
            "no:cacheprovider",
            "-q",
            "--tb=short",
        ]);
        command.arg(format!("--timeout={}", self.args.timeout));
        if let Some(without) = without {
            command.args(["-n", self.args.jobs.to_string().as_str(), "--dist", "load"]);
            command.arg(format!("--deselect=s3tests/functional/test_s3.py::{without}"));
        }
        if let Some(keyword) = &self.args.keyword {
            command.args(["-k", keyword]);
        }
        let file = std::fs::File::create(self.out.join(log))?;
        command
            .args(tests)
            .current_dir(self.checkout)
            .env("PYTHONPATH", root().join("tests/conformance"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("S3TEST_CONF", self.out.join("s3tests.conf"))
            .env("HALO_OUTCOMES", self.out.join("outcomes.tsv"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(file.try_clone()?)
            .stderr(file);
        eprintln!("== {}: {}", log.trim_end_matches(".log"), tests.join(" "));
        let status = command.status().context("pytest could not be started")?;
        // 0: all passed; 1: some failed; 5: the keyword fits none.
        match status.code() {
            Some(0 | 1 | 5) => Ok(()),
            _ => bail!("pytest: {status}; see {}", self.out.join(log).display()),
        }
    }
}

/// Prints the numbers by group and what differs from the list.
fn judge(expected: &Expected, outcomes: &[Outcome], some: bool) -> anyhow::Result<()> {
    let verdict = Verdict::of(expected, outcomes, some);
    eprint!("{}", verdict.table);
    for line in &verdict.complaints {
        eprintln!("{line}");
    }
    if verdict.complaints.is_empty() {
        eprintln!("== s3-tests: as expected");
        return Ok(());
    }
    bail!(
        "{} tests differ from tests/conformance/s3-tests-expected.txt",
        verdict.complaints.len()
    )
}
