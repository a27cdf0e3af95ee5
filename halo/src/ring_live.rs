//! `halo ring apply | status | pause | resume | throttle | abort`: the live rings of a running cluster, as a client of the
//! admin API. All other commands of `halo ring` work on builder files, see `ring_builder`.
//!
//! Knows: the API's paths and how to show its answers. Must not know: how a ring is changed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use url::Url;

use crate::admin::{self, AdminClient};
use crate::admin_api::model::DoneLine;
use crate::admin_api::ring_model::{NewRate, NewRing, RingApplied, RingStatus};
use crate::sigv4::{Slash, encode};
use crate::terminal;

/// The pause between two looks at a change that is followed.
const LOOK: Duration = Duration::from_secs(1);
/// How long nobody may answer meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The words after `halo ring` that are meant for a running cluster.
const LIVE: [&str; 6] = ["apply", "status", "pause", "resume", "throttle", "abort"];

/// Change the ring of a running cluster, and watch the copies follow.
#[derive(Args, Debug)]
pub struct RingLiveArgs {
    /// Folder of a cluster started by `halo up`.
    #[arg(long, env = "HALO_DATA", default_value = "./halo-data", global = true)]
    data: PathBuf,
    /// Admin API of any process, instead of --data.
    #[arg(long, env = "HALO_ADMIN_ENDPOINT", requires = "token_file", global = true)]
    endpoint: Option<Url>,
    /// File with the bearer token, for --endpoint.
    #[arg(long, env = "HALO_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The storage policy whose ring is meant, see `halo admin policy list`; the default one without it.
    #[arg(long, global = true)]
    policy: Option<String>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Check a ring file and begin to move to it. Copies are added and verified before any is removed.
    Apply {
        /// The ring file, as `halo ring FILE write_ring` writes it.
        file: PathBuf,
        /// Partitions that moved within so many hours do not move again; failed devices are exempt.
        #[arg(long, default_value_t = 1)]
        min_part_hours: u32,
        /// Let copies stand in fewer failure domains than now.
        #[arg(long)]
        accept_fewer_domains: bool,
        /// Only check, and say how much would move.
        #[arg(long)]
        dry_run: bool,
    },
    /// How far the change is: partitions, bytes, rate, time left, each device.
    Status {
        /// Follow it with a progress bar until one ring is live.
        #[arg(long)]
        watch: bool,
    },
    /// Have the copies rest; outlives restarts.
    Pause,
    /// Have them go on.
    Resume,
    /// Limit what each device receives.
    Throttle {
        /// Bytes a second, with K, M or G for powers of 1024; `off` for no limit, `default` for the nodes' own.
        rate: String,
    },
    /// Go back to the ring before. What was written meanwhile moves back.
    Abort,
}

/// These commands as a command line of their own, because `halo ring` takes the name of a builder file in their place.
#[derive(Parser, Debug)]
#[command(name = "halo ring", bin_name = "halo ring")]
struct RingLive {
    #[command(flatten)]
    args: RingLiveArgs,
}

/// The arguments, when the command line is `halo ring` with one of these commands; wrong ones end the process.
#[must_use]
pub fn parse(line: &[OsString]) -> Option<RingLiveArgs> {
    is_live(line).then(|| RingLive::parse_from(&line[1..]).args)
}

fn is_live(line: &[OsString]) -> bool {
    let word = line.get(2).and_then(|word| word.to_str());
    line.get(1).is_some_and(|word| word == "ring") && word.is_some_and(|word| LIVE.contains(&word))
}

/// Runs one of them.
///
/// # Errors
/// With a sentence for people.
pub async fn run(args: RingLiveArgs) -> anyhow::Result<()> {
    let client = admin::reach(&args.data, args.endpoint.as_ref(), args.token_file.as_deref())?;
    let nothing = serde_json::json!({});
    let which = args
        .policy
        .as_ref()
        .map(|name| format!("?policy={}", encode(name, Slash::Encoded)));
    let path = |step: &str| format!("/v1/ring{step}{}", which.as_deref().unwrap_or_default());
    let done: DoneLine = match args.action {
        Action::Status { watch } => {
            let status: RingStatus = if watch {
                follow(&client, &path("")).await?
            } else {
                client.get(&path("")).await?
            };
            if args.json {
                terminal::json(&status)?;
            } else {
                show(&status);
            }
            return Ok(());
        }
        Action::Apply {
            file,
            min_part_hours,
            accept_fewer_domains,
            dry_run,
        } => {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let wanted = NewRing {
                ring: hex::encode(bytes),
                min_part_hours,
                accept_fewer_domains,
                dry_run,
            };
            let applied: RingApplied = client.post(&path("/apply"), &wanted).await?;
            if args.json {
                terminal::json(&applied)?;
                return Ok(());
            }
            let verb = if applied.begun { "begun" } else { "possible" };
            let RingApplied {
                version,
                replicas_moved,
                bytes_moved_estimate,
                ..
            } = applied;
            let bytes = terminal::bytes(bytes_moved_estimate);
            DoneLine {
                done: format!(
                    "the move to ring version {version} is {verb}: {replicas_moved} copies of partitions, about {bytes}; \
                     see `halo ring status`"
                ),
            }
        }
        Action::Pause => client.post(&path("/pause"), &nothing).await?,
        Action::Resume => client.post(&path("/resume"), &nothing).await?,
        Action::Abort => client.post(&path("/abort"), &nothing).await?,
        Action::Throttle { rate } => {
            let bytes_per_second = parse_rate(&rate)?;
            client.post(&path("/throttle"), &NewRate { bytes_per_second }).await?
        }
    };
    if args.json {
        terminal::json(&done)?;
    } else {
        terminal::line(&done.done);
    }
    Ok(())
}

/// Asks again and again until one ring is live. A process that is being started or stopped may not answer for a while.
async fn follow(client: &AdminClient, path: &str) -> anyhow::Result<RingStatus> {
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} partitions, {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut heard = Instant::now();
    loop {
        match client.get::<RingStatus>(path).await {
            Ok(status) if status.phase == "settled" => {
                bar.finish_and_clear();
                return Ok(status);
            }
            Ok(status) => {
                heard = Instant::now();
                let sweeps = status.phase == "sweeping";
                bar.set_length(status.partitions_total);
                bar.set_position(if sweeps {
                    status.partitions_swept
                } else {
                    status.partitions_copied
                });
                bar.set_prefix(if status.paused {
                    "paused".to_owned()
                } else {
                    status.phase.clone()
                });
                bar.set_message(told(&status));
            }
            Err(error) if heard.elapsed() > SILENCE_MAX => return Err(error.into()),
            Err(_) => bar.set_message("no answer"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Bytes, rate and time left, in words.
fn told(status: &RingStatus) -> String {
    let eta = status
        .eta_s
        .map_or("not known yet".to_owned(), |seconds| format!("about {seconds} s"));
    format!(
        "{} of about {}, {}/s; time left: {eta}",
        terminal::bytes(status.bytes_copied),
        terminal::bytes(status.bytes_total_estimate),
        terminal::bytes(status.bytes_per_second),
    )
}

/// A rate as an operator writes it; `None` is the nodes' own default, 0 no limit.
fn parse_rate(text: &str) -> anyhow::Result<Option<u64>> {
    match text {
        "default" => return Ok(None),
        "off" => return Ok(Some(0)),
        _ => {}
    }
    let (digits, unit) = match text.trim_end_matches(['i', 'B', 'b']).to_ascii_uppercase() {
        text if text.ends_with('K') => (text, 1 << 10),
        text if text.ends_with('M') => (text, 1 << 20),
        text if text.ends_with('G') => (text, 1_u64 << 30),
        text => (text, 1),
    };
    let number: Option<u64> = digits.trim_end_matches(['K', 'M', 'G']).parse().ok();
    let rate = number
        .and_then(|number| number.checked_mul(unit))
        .filter(|rate| *rate > 0);
    rate.map(Some)
        .with_context(|| format!("`{text}` is no rate: write bytes a second like 50M, or `off`, or `default`"))
}

fn show(status: &RingStatus) {
    let paused = if status.paused { ", paused" } else { "" };
    terminal::line(format!("ring version {} is {}{paused}", status.version, status.phase));
    if !status.failed_devices.is_empty() {
        let failed: Vec<String> = status.failed_devices.iter().map(ToString::to_string).collect();
        terminal::line(format!("others stand in for device {}", failed.join(", ")));
    }
    if !status.noticed_devices.is_empty() {
        let noticed: Vec<String> = status.noticed_devices.iter().map(ToString::to_string).collect();
        terminal::line(format!(
            "device {} was noticed by the cluster itself, and is taken back when it serves again",
            noticed.join(", ")
        ));
    }
    if let Some(previous) = status.previous_version {
        terminal::line(format!(
            "coming from version {previous}, since {}",
            terminal::date(status.since_ms)
        ));
    }
    if status.partitions_total == 0 {
        return;
    }
    terminal::line(format!(
        "{} of {} partitions copied, {} swept; {}",
        status.partitions_copied,
        status.partitions_total,
        status.partitions_swept,
        told(status),
    ));
    let mut table = terminal::table(&["device", "partitions", "copied", "swept", "received", "waits for"]);
    for device in &status.devices {
        table.add_row([
            device.device.to_string(),
            device.total.to_string(),
            device.copied.to_string(),
            device.swept.to_string(),
            terminal::bytes(device.bytes),
            device.waiting.clone().unwrap_or_default(),
        ]);
    }
    terminal::line(table.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_people_do() {
        assert_eq!(parse_rate("50M").unwrap(), Some(50 << 20));
        assert_eq!(parse_rate("1GiB").unwrap(), Some(1 << 30));
        assert_eq!(parse_rate("100").unwrap(), Some(100));
        assert_eq!(parse_rate("off").unwrap(), Some(0));
        assert_eq!(parse_rate("default").unwrap(), None);
        for bad in ["", "fast", "0", "M", "-1", "1.5M"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_builder_file_may_have_any_name_but_those_of_the_commands() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(matches!(
            parse(&words("halo ring apply a.ring --dry-run")).map(|args| args.action),
            Some(Action::Apply { dry_run: true, .. })
        ));
        for other in ["halo ring a.builder rebalance", "halo up", "halo"] {
            assert!(parse(&words(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn help_names_the_command_as_it_is_typed() {
        let help = RingLive::try_parse_from(words_of("ring throttle"))
            .unwrap_err()
            .to_string();
        assert!(help.contains("Usage: halo ring throttle"), "{help}");
    }

    fn words_of(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }
}
