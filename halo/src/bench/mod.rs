//! `halo bench`: a load generator for any S3 endpoint, and with `--plain` for any HTTP server.
//!
//! Knows: the S3 protocol from outside, and `/proc` of the servers it is told of. Must not know: Halo's inside. It
//! prints what the load generator itself used, because client and servers often share cores.

pub mod cpu;
pub mod histogram;
pub mod prepare;
pub mod report;
pub mod run;
pub mod s3;
pub mod sizes;
pub mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use clock::{Dice, SystemDice};
use indicatif::{ProgressBar, ProgressStyle};
use url::Url;

use self::cpu::{Watched, own, ticks, used};
use self::report::{Circumstances, Report};
use self::run::{Kind, Load, Running, S3Load, Tally, Until};
use self::workload::{Operation, Workload};
use crate::client::connection::Target;
use crate::client::payload::Payload;
use crate::secret::Secret;
use crate::sigv4::Signer;
use crate::terminal;
use crate::up::cluster::Cluster;
use crate::up::processes::Processes;

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Measure an S3 endpoint, or any HTTP server.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What is measured; not needed with --plain.
    #[arg(required_unless_present = "plain")]
    operation: Option<Operation>,
    /// Endpoint, access key and server processes of the cluster in this folder.
    #[arg(long, env = "HALO_DATA")]
    data: Option<PathBuf>,
    /// S3 endpoint; several share the connections.
    #[arg(long, env = "AWS_ENDPOINT_URL", value_delimiter = ',')]
    endpoint: Vec<Url>,
    /// With --data: all endpoints of the cluster share the connections, instead of the first alone.
    #[arg(long)]
    spread: bool,
    /// Access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: Option<String>,
    /// Secret key; better given by the environment than on the command line, which others can read.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// Region to sign for.
    #[arg(long, env = "AWS_DEFAULT_REGION", default_value = "us-east-1")]
    region: String,
    /// An existing bucket, instead of a new one that is removed in the end.
    #[arg(long)]
    bucket: Option<String>,
    /// Leave the objects (and the bucket) behind.
    #[arg(long)]
    keep: bool,
    /// GET this URL, unsigned, from any HTTP server.
    #[arg(long, value_name = "URL", conflicts_with_all = ["operation", "data", "bucket"])]
    plain: Option<Url>,
    /// Size of an object.
    #[arg(long, default_value = "4KiB", value_parser = sizes::size)]
    size: u64,
    /// Connections, each with one request in flight.
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Length of the measurement.
    #[arg(long, short, default_value = "10s", value_parser = sizes::time, conflicts_with = "count")]
    duration: Duration,
    /// Number of requests to measure, instead of a length.
    #[arg(long)]
    count: Option<u64>,
    /// Load before the measurement that does not count; none for delete, whose objects are numbered.
    #[arg(long, default_value = "2s", value_parser = sizes::time)]
    warm_up: Duration,
    /// Objects prepared for get, list, delete and mixed.
    #[arg(long)]
    objects: Option<u64>,
    /// Keys on a page of a listing.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
    page: u32,
    /// Process ids of the servers, whose CPU time is read from /proc.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<i32>,
    /// Certificates of authorities to trust, PEM; the system's without it.
    #[arg(long, env = "AWS_CA_BUNDLE")]
    ca_file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where the load goes, and who signs it.
struct Site {
    targets: Vec<Target>,
    signer: Signer,
    servers: Vec<Watched>,
}

/// Runs `halo bench`.
///
/// # Errors
/// With a sentence for people; also when not a single request succeeded.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let report = match (&args.plain, args.operation) {
        (Some(url), _) => plain(args, url)?,
        (None, Some(operation)) => s3(args, operation)?,
        (None, None) => bail!("name an operation (put, get, list, delete, mixed) or give --plain URL"),
    };
    if args.json {
        terminal::json(&report)?;
    } else {
        report.print();
    }
    if report.requests == 0 {
        bail!("no request succeeded");
    }
    Ok(())
}

fn plain(args: &BenchArgs, url: &Url) -> anyhow::Result<Report> {
    let target = Target::of(url, args.ca_file.as_deref())?;
    let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    measure(
        args,
        "plain",
        None,
        &load(args, vec![target], Kind::Plain { path }),
        &watched(&args.pids),
    )
}

fn s3(args: &BenchArgs, operation: Operation) -> anyhow::Result<Report> {
    let site = site(args)?;
    let run = format!("{:016x}", SystemDice.u64());
    let bucket = args.bucket.clone().unwrap_or_else(|| format!("halo-bench-{run}"));
    let objects = args.objects.unwrap_or_else(|| operation.objects_default(args.size));
    let s3 = Arc::new(S3Load {
        signer: site.signer.clone(),
        bucket: bucket.clone(),
        workload: Workload::new(operation, objects, run),
        payload: Payload::random(args.size, &SystemDice),
        page: args.page,
    });
    let load = load(args, site.targets, Kind::S3(s3.clone()));
    if args.bucket.is_none() {
        prepare::create_bucket(&load, &s3)?;
    }
    let bar = progress_bar(objects, "preparing");
    let prepared = Payload::random(operation.prepared_size(args.size), &SystemDice);
    prepare::fill(&load, &s3, objects, &prepared, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let name = serde_json::to_value(operation)?.as_str().unwrap_or_default().to_owned();
    let report = measure(args, &name, Some(args.size), &load, &site.servers)?;
    if !args.keep {
        let bar = progress_bar(0, "removing");
        prepare::clean(&load, &s3, args.bucket.is_none(), &|| bar.inc(1))?;
        bar.finish_and_clear();
    }
    Ok(report)
}

fn measure(
    args: &BenchArgs,
    operation: &str,
    size_bytes: Option<u64>,
    load: &Load,
    servers: &[Watched],
) -> anyhow::Result<Report> {
    let client = [own()];
    let running = run::start(load).context("cannot start the load")?;
    std::thread::sleep(running.course.counted_from.saturating_duration_since(Instant::now()));
    let (servers_before, client_before, begun) = (ticks(servers), ticks(&client), Instant::now());
    let tally = watch(running, args);
    let seconds = begun.elapsed().as_secs_f64();
    let servers_used = used(servers, &servers_before, &ticks(servers));
    let client_used = used(&client, &client_before, &ticks(&client)).remove(0);
    let about = Circumstances {
        operation: operation.to_owned(),
        size_bytes,
        concurrency: load.concurrency,
        threads: load.threads,
        seconds,
    };
    Ok(Report::new(about, tally, servers_used, client_used))
}

/// Draws the progress until the load has ended.
fn watch(running: Running, args: &BenchArgs) -> Tally {
    let begun = Instant::now();
    let total = args.count.unwrap_or_else(|| millis(args.duration));
    let bar = progress_bar(total, "measuring");
    while !running.finished() {
        let done = running.course.done();
        bar.set_position(if args.count.is_some() {
            done
        } else {
            millis(begun.elapsed())
        });
        bar.set_message(format!("{done} requests"));
        std::thread::sleep(TICK);
    }
    bar.finish_and_clear();
    running.finish()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn progress_bar(total: u64, what: &'static str) -> ProgressBar {
    let bar = if total == 0 {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::new(total)
    };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {msg}");
    bar.with_style(style.expect("the template is fixed")).with_prefix(what)
}

fn load(args: &BenchArgs, targets: Vec<Target>, kind: Kind) -> Load {
    Load {
        targets,
        kind,
        concurrency: args.concurrency as usize,
        threads: args.threads as usize,
        warm_up: if args.operation == Some(Operation::Delete) {
            Duration::ZERO
        } else {
            args.warm_up
        },
        until: args.count.map_or(Until::Elapsed(args.duration), Until::Requests),
    }
}

fn watched(pids: &[i32]) -> Vec<Watched> {
    pids.iter()
        .map(|pid| Watched {
            name: "server".to_owned(),
            pid: *pid,
        })
        .collect()
}

/// The cluster in `--data`, or what the options say; options win.
fn site(args: &BenchArgs) -> anyhow::Result<Site> {
    let cluster = args.data.as_deref().map(Cluster::find).transpose()?;
    let mut endpoints = args.endpoint.clone();
    let mut servers = watched(&args.pids);
    let (mut access_key, mut secret_key) = (args.access_key.clone(), args.secret_key.clone());
    let (mut region, mut ca_file) = (args.region.clone(), args.ca_file.clone());
    if let Some(cluster) = cluster {
        let credentials = cluster.credentials()?;
        let all = cluster.plan.s3_endpoints();
        let wanted = if args.spread { all.len() } else { 1 };
        endpoints = all
            .iter()
            .take(wanted)
            .filter_map(|endpoint| Url::parse(endpoint).ok())
            .collect();
        (access_key, secret_key) = (Some(credentials.access_key), Some(credentials.secret_key));
        region = cluster.plan.region.clone();
        ca_file = cluster.plan.tls.then(|| cluster.folder.certificate());
        let record = Processes::read(&cluster.folder)?;
        servers.extend(record.all_running().map(|p| Watched {
            name: p.name.clone(),
            pid: p.pid,
        }));
    }
    if endpoints.is_empty() {
        bail!("no endpoint: give --data DIR or --endpoint URL");
    }
    let access_key = access_key.context("no access key: give --data DIR, or set AWS_ACCESS_KEY_ID")?;
    let secret_key = secret_key.context("no secret key: give --data DIR, or set AWS_SECRET_ACCESS_KEY")?;
    let targets = endpoints
        .iter()
        .map(|url| Target::of(url, ca_file.as_deref()))
        .collect::<Result<_, _>>()?;
    Ok(Site {
        targets,
        signer: Signer::new(access_key, Secret::new(secret_key), region),
        servers,
    })
}
