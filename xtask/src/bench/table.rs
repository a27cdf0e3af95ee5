//! The rows of docs/benchmarks.md.

use serde_json::Value;

use super::Load;

/// One measurement.
pub struct Row {
    target: String,
    load: String,
    requests_per_s: f64,
    mib_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    us_per_request: Option<f64>,
    seconds_per_gib: Option<f64>,
    client_us: Option<f64>,
    requests: u64,
    failed: u64,
    /// Syncs of the busiest node during the measurement, its preparation included.
    pub syncs: Option<u64>,
}

impl Row {
    /// From what `halo bench --json` printed.
    pub fn of(target: &str, load: &Load, report: &Value) -> Self {
        let number = |value: &Value| value.as_f64();
        let errors = report["errors"]
            .as_object()
            .map(|codes| codes.values().filter_map(Value::as_u64).sum());
        Self {
            target: target.to_owned(),
            load: format!("{} {}, {}", load.operation.to_uppercase(), load.size, load.connections),
            requests_per_s: number(&report["requests_per_s"]).unwrap_or_default(),
            mib_per_s: number(&report["mib_per_s"]).unwrap_or_default(),
            p50_ms: number(&report["latency_ms"]["p50"]).unwrap_or_default(),
            p99_ms: number(&report["latency_ms"]["p99"]).unwrap_or_default(),
            us_per_request: number(&report["servers"]["us_per_request"]),
            seconds_per_gib: number(&report["servers"]["seconds_per_gib"]),
            client_us: number(&report["client"]["us_per_request"]),
            requests: report["requests"].as_u64().unwrap_or_default(),
            failed: errors.unwrap_or_default(),
            syncs: None,
        }
    }
}

/// A Markdown table.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "| target | load, connections | requests/s | MiB/s | p50 ms | p99 ms | server CPU us/request | server CPU s/GiB | client CPU us/request | syncs/request | failed |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let optional = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let syncs = row
            .syncs
            .filter(|_| row.requests > 0)
            .map(|syncs| syncs as f64 / row.requests as f64);
        text.push_str(&format!(
            "| {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {} | {} | {} | {} | {} |\n",
            row.target,
            row.load,
            row.requests_per_s,
            row.mib_per_s,
            row.p50_ms,
            row.p99_ms,
            optional(row.us_per_request, 0),
            optional(row.seconds_per_gib, 2),
            optional(row.client_us, 0),
            optional(syncs, 2),
            row.failed,
        ));
    }
    text
}
