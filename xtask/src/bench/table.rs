//! The rows of docs/benchmarks.md.

use serde_json::Value;

use super::Load;

/// One measurement.
pub struct Row {
    /// What was measured.
    pub target: String,
    /// `PUT 4KiB, 64`.
    pub load: String,
    /// Requests a second.
    pub requests_per_s: f64,
    /// Payload a second.
    pub mib_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Microseconds of the servers' CPU time per request.
    pub us_per_request: Option<f64>,
    /// Seconds of the servers' CPU time per GiB of payload.
    pub seconds_per_gib: Option<f64>,
    client_us: Option<f64>,
    /// CPU seconds of servers and client, of what the cores had.
    busy: f64,
    failed: u64,
    /// Syncs of every node from the first request to the last, nothing else between.
    pub syncs: Vec<u64>,
    /// The requests of that time.
    pub synced_requests: u64,
}

impl Row {
    /// From what `halo bench --json` printed.
    pub fn of(target: &str, load: &Load, report: &Value) -> Self {
        let number = |value: &Value| value.as_f64();
        let errors = report["errors"]
            .as_object()
            .map(|codes| codes.values().filter_map(Value::as_u64).sum());
        let used = |who: &str| number(&report[who]["seconds"]).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let seconds = number(&report["seconds"]).unwrap_or_default().max(f64::EPSILON);
        Self {
            busy: (used("servers") + used("client")) / (seconds * cores),
            target: target.to_owned(),
            load: format!("{} {}, {}", load.operation.to_uppercase(), load.size, load.connections),
            requests_per_s: number(&report["requests_per_s"]).unwrap_or_default(),
            mib_per_s: number(&report["mib_per_s"]).unwrap_or_default(),
            p50_ms: number(&report["latency_ms"]["p50"]).unwrap_or_default(),
            p99_ms: number(&report["latency_ms"]["p99"]).unwrap_or_default(),
            us_per_request: number(&report["servers"]["us_per_request"]),
            seconds_per_gib: number(&report["servers"]["seconds_per_gib"]),
            client_us: number(&report["client"]["us_per_request"]),
            failed: errors.unwrap_or_default(),
            syncs: Vec::new(),
            synced_requests: 0,
        }
    }

    /// Syncs per request of the node that synced most.
    pub fn syncs_per_request_max(&self) -> Option<f64> {
        let most = self.syncs.iter().max().filter(|_| self.synced_requests > 0)?;
        Some(*most as f64 / self.synced_requests as f64)
    }

    fn syncs_per_request(&self) -> String {
        if self.syncs.is_empty() || self.synced_requests == 0 {
            return "-".to_owned();
        }
        let each = self
            .syncs
            .iter()
            .map(|syncs| format!("{:.2}", *syncs as f64 / self.synced_requests as f64));
        each.collect::<Vec<_>>().join(" / ")
    }
}

/// A Markdown table.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "| target | load, connections | requests/s | MiB/s | p50 ms | p99 ms | server CPU us/request | server CPU s/GiB | client CPU us/request | cores busy | syncs/request, each node | failed |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let optional = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        text.push_str(&format!(
            "| {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {} | {} | {} | {:.0} % | {} | {} |\n",
            row.target,
            row.load,
            row.requests_per_s,
            row.mib_per_s,
            row.p50_ms,
            row.p99_ms,
            optional(row.us_per_request, 0),
            optional(row.seconds_per_gib, 2),
            optional(row.client_us, 0),
            row.busy * 100.0,
            row.syncs_per_request(),
            row.failed,
        ));
    }
    text
}
