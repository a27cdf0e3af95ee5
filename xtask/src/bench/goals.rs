//! The goals as ratios within one run: which rows each compares, and whether it is met.

use super::reference::Reference;
use super::table::Row;

/// The rows of docs/benchmarks.md that goals speak of.
pub const SEPARATE: &str = "three nodes, a proxy";
/// See [`SEPARATE`].
pub const ALL_ROLES: &str = "three nodes, all roles";
/// See [`SEPARATE`].
pub const DELAYED: &str = "every sync 5 ms longer";
/// See [`SEPARATE`].
pub const NGINX: &str = "nginx";

/// What Garage 2.5 did on a 2-core machine (three nodes, three copies, synced; presigned requests through wrk): given
/// with the goals, not measured here.
const GARAGE_PUT_4KIB_PER_S: f64 = 185.0;
const GARAGE_GET_4KIB_PER_S: f64 = 725.0;
const GARAGE_PUT_64MIB_MIB_PER_S: f64 = 90.0;

/// One goal.
struct Goal {
    what: &'static str,
    goal: String,
    measured: Option<f64>,
    met: fn(f64) -> bool,
}

/// A Markdown table of all goals.
pub fn render(rows: &[Row], reference: &Reference) -> String {
    let mut text = String::from("| goal | wanted | measured | met |\n|---|--:|--:|---|\n");
    for goal in goals(rows, reference) {
        let (measured, met) = match goal.measured {
            Some(value) => (format!("{value:.2}"), if (goal.met)(value) { "yes" } else { "no" }),
            None => ("not measured".to_owned(), "-"),
        };
        text.push_str(&format!("| {} | {} | {measured} | {met} |\n", goal.what, goal.goal));
    }
    text
}

fn goals(rows: &[Row], reference: &Reference) -> Vec<Goal> {
    let find = |target: &str, load: &str| {
        rows.iter()
            .find(|row| row.target == target && row.load.starts_with(load))
    };
    let rate = |target, load| find(target, load).map(|row| row.requests_per_s);
    let bytes = |target, load| find(target, load).map(|row| row.mib_per_s);
    let cpu = |target, load| find(target, load).and_then(|row| row.us_per_request);
    let over = |above: Option<f64>, below: Option<f64>| Some(above? / below.filter(|value| *value > 0.0)?);
    let goal = |what, goal: &str, measured, met| Goal {
        what,
        goal: goal.to_owned(),
        measured,
        met,
    };
    vec![
        goal(
            "PUT 4 KiB, 64 connections: syncs per PUT, busiest node",
            "<= 0.25",
            find(SEPARATE, "PUT 4KiB").and_then(Row::syncs_per_request_max),
            |value| value <= 0.25,
        ),
        goal(
            "the same with every sync 5 ms longer: PUT/s",
            ">= 2000",
            rate(DELAYED, "PUT 4KiB"),
            |value| value >= 2000.0,
        ),
        goal(
            "GET 4 KiB, 64 connections: server CPU per request / nginx's",
            "<= 20, aim 8",
            over(cpu(SEPARATE, "GET 4KiB"), cpu(NGINX, "GET 4KiB")),
            |value| value <= 20.0,
        ),
        goal(
            "GET 64 MiB through a separate proxy / nginx",
            ">= 0.6",
            over(bytes(SEPARATE, "GET 64MiB"), bytes(NGINX, "GET 64MiB")),
            |value| value >= 0.6,
        ),
        goal(
            "GET 64 MiB from an all-roles process / nginx",
            ">= 0.8",
            over(bytes(ALL_ROLES, "GET 64MiB"), bytes(NGINX, "GET 64MiB")),
            |value| value >= 0.8,
        ),
        goal(
            "PUT 64 MiB, three copies, synced / one core's MD5",
            ">= 0.25",
            over(bytes(SEPARATE, "PUT 64MiB"), reference.md5_mib_per_s),
            |value| value >= 0.25,
        ),
        goal(
            "PUT 64 MiB / Garage's 90 MiB/s",
            ">= 2",
            over(bytes(SEPARATE, "PUT 64MiB"), Some(GARAGE_PUT_64MIB_MIB_PER_S)),
            |value| value >= 2.0,
        ),
        goal(
            "PUT 4 KiB / Garage's 185/s",
            ">= 10",
            over(rate(SEPARATE, "PUT 4KiB"), Some(GARAGE_PUT_4KIB_PER_S)),
            |value| value >= 10.0,
        ),
        goal(
            "GET 4 KiB / Garage's 725/s",
            ">= 10",
            over(rate(SEPARATE, "GET 4KiB"), Some(GARAGE_GET_4KIB_PER_S)),
            |value| value >= 10.0,
        ),
    ]
}
