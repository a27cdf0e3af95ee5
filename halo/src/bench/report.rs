//! What a measurement found, for people and for scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cpu::CpuSeconds;
use super::histogram::Histogram;
use super::run::Tally;
use crate::terminal;

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured: `put`, `get`, ... or `plain`.
    pub operation: String,
    /// Size of an object in bytes; absent for `plain`.
    pub size_bytes: Option<u64>,
    /// Connections, each with one request in flight.
    pub concurrency: usize,
    /// Threads of the client.
    pub threads: usize,
    /// Length of the measurement, without the warm-up.
    pub seconds: f64,
    /// Requests that succeeded.
    pub requests: u64,
    /// Requests that failed, by code.
    pub errors: BTreeMap<String, u64>,
    /// Payload bytes of those that succeeded.
    pub bytes: u64,
    /// Requests a second.
    pub requests_per_s: f64,
    /// Payload a second, in MiB.
    pub mib_per_s: f64,
    /// Latency of requests that succeeded.
    pub latency_ms: Latency,
    /// CPU time of the servers; absent when none was named.
    pub servers: Option<Cpu>,
    /// CPU time of the load generator itself.
    pub client: Cpu,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the requests took at most this long.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// CPU time.
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// All processes together.
    pub seconds: f64,
    /// For each GiB of payload; absent without payload.
    pub seconds_per_gib: Option<f64>,
    /// For each request, in microseconds; absent without requests.
    pub us_per_request: Option<f64>,
    /// Each process.
    pub processes: Vec<CpuSeconds>,
}

/// The circumstances of a measurement.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// What was measured.
    pub operation: String,
    /// Size of an object in bytes.
    pub size_bytes: Option<u64>,
    /// Connections.
    pub concurrency: usize,
    /// Threads of the client.
    pub threads: usize,
    /// Length in seconds.
    pub seconds: f64,
}

impl Report {
    /// Puts the numbers together.
    #[must_use]
    pub fn new(about: Circumstances, tally: Tally, servers: Vec<CpuSeconds>, client: CpuSeconds) -> Self {
        let requests = tally.latencies.count();
        let cpu = |processes: Vec<CpuSeconds>| {
            let seconds: f64 = processes.iter().map(|process| process.seconds).sum();
            Cpu {
                seconds,
                seconds_per_gib: (tally.bytes > 0).then(|| seconds * GIB / tally.bytes as f64),
                us_per_request: (requests > 0).then(|| seconds * 1e6 / requests as f64),
                processes,
            }
        };
        let seconds = about.seconds.max(f64::EPSILON);
        Self {
            operation: about.operation,
            size_bytes: about.size_bytes,
            concurrency: about.concurrency,
            threads: about.threads,
            seconds: about.seconds,
            requests,
            bytes: tally.bytes,
            requests_per_s: requests as f64 / seconds,
            mib_per_s: tally.bytes as f64 / MIB / seconds,
            latency_ms: Latency::of(&tally.latencies),
            servers: (!servers.is_empty()).then(|| cpu(servers)),
            client: cpu(vec![client]),
            errors: tally.errors,
        }
    }

    /// Prints it for people.
    pub fn print(&self) {
        let size = self
            .size_bytes
            .map(|size| format!(" of {}", terminal::bytes(size)))
            .unwrap_or_default();
        let Self {
            operation,
            concurrency,
            seconds,
            requests,
            ..
        } = self;
        terminal::line(format!(
            "{operation}{size}, {concurrency} connections, {seconds:.1} s: {requests} requests"
        ));
        terminal::line(format!(
            "  throughput   {:.0} requests/s, {:.1} MiB/s",
            self.requests_per_s, self.mib_per_s
        ));
        let l = &self.latency_ms;
        terminal::line(format!(
            "  latency ms   p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
            l.p50, l.p90, l.p99, l.p999, l.max
        ));
        if let Some(servers) = &self.servers {
            print_cpu("servers", servers);
            for process in &servers.processes {
                terminal::line(format!(
                    "    {} ({}): {:.2} s",
                    process.name, process.pid, process.seconds
                ));
            }
        }
        print_cpu("client", &self.client);
        for (code, count) in &self.errors {
            let text = format!("  failed       {count} x {code}");
            terminal::line(terminal::coloured(&text, terminal::Colour::Red));
        }
    }
}

fn print_cpu(who: &str, cpu: &Cpu) {
    let per_request = cpu
        .us_per_request
        .map(|us| format!(", {us:.0} us a request"))
        .unwrap_or_default();
    let per_gib = cpu
        .seconds_per_gib
        .map(|seconds| format!(", {seconds:.2} s a GiB"))
        .unwrap_or_default();
    terminal::line(format!("  CPU {who:<8} {:.2} s{per_request}{per_gib}", cpu.seconds));
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let ms = |share| histogram.percentile_us(share) as f64 / 1000.0;
        Self {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: histogram.max_us() as f64 / 1000.0,
            mean: histogram.mean_us() / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_cpu_are_divided_by_what_was_done() {
        let mut tally = Tally {
            bytes: 1 << 31,
            ..Tally::default()
        };
        (0..1000).for_each(|_| tally.latencies.record(2000));
        let process = |name: &str, seconds| CpuSeconds {
            name: name.into(),
            pid: 1,
            seconds,
        };
        let about = Circumstances {
            operation: "put".into(),
            size_bytes: Some(1),
            concurrency: 4,
            threads: 1,
            seconds: 10.0,
        };
        let report = Report::new(
            about,
            tally,
            vec![process("a", 1.0), process("b", 3.0)],
            process("client", 1.0),
        );
        assert!((report.requests_per_s - 100.0).abs() < 1e-9);
        assert!((report.mib_per_s - 204.8).abs() < 1e-9);
        let servers = report.servers.expect("named");
        assert_eq!(servers.seconds_per_gib, Some(2.0));
        assert_eq!(servers.us_per_request, Some(4000.0));
        assert!((report.latency_ms.p50 / 2.0 - 1.0).abs() < 0.02);
    }
}
