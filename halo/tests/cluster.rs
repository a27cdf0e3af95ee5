//! `halo up` and `halo down` as scripts use them: real processes, real ports, one of them killed.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a killed process may take to disappear.
const DEATH_MAX: Duration = Duration::from_secs(10);

fn halo(words: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halo"))
        .args(words)
        .arg("--data")
        .arg(data)
        .output()
        .expect("halo runs")
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

/// Stops the cluster also when a test fails.
struct Running<'a>(&'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = halo(&["down"], self.0);
    }
}

fn up(data: &Path, more: &[&str]) -> Value {
    let mut words = vec!["up", "--detach", "--json", "--port-base", "0"];
    words.extend(more);
    let output = halo(&words, data);
    if !output.status.success() {
        for log in ["node-1", "node-2", "node-3", "proxy"] {
            let text = std::fs::read_to_string(data.join(log).join("halo.log")).unwrap_or_default();
            eprintln!("--- {log}\n{text}");
        }
    }
    json(&output)
}

fn pids(summary: &Value) -> Vec<(String, i64)> {
    let processes = summary["processes"].as_array().expect("a list");
    let line = |process: &Value| {
        let node = process["node"].as_u64().map_or("-".to_owned(), |node| node.to_string());
        (
            format!("{} {node}", process["role"].as_str().expect("a role")),
            process["pid"].as_i64().expect("a pid"),
        )
    };
    processes.iter().map(line).collect()
}

fn runs(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn kill(pid: i64) {
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .expect("kill runs")
            .success()
    );
    let begun = Instant::now();
    while runs(pid) {
        assert!(begun.elapsed() < DEATH_MAX, "process {pid} does not die");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_process_alone_is_started_again_and_down_stops_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("cluster");
    let first = up(&data, &["--nodes", "3"]);
    let _stop = Running(&data);
    let before = pids(&first);
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["storage 1", "storage 2", "storage 3", "proxy -"]);
    assert!(
        first["s3"]["endpoint"]
            .as_str()
            .expect("an endpoint")
            .starts_with("http://127.0.0.1:")
    );

    let status = json(&halo(&["admin", "status", "--json"], &data));
    assert_eq!(status["short_chunks"], 0);
    assert_eq!(status["nodes"].as_array().expect("a list").len(), 3);

    kill(before[1].1);
    let second = up(&data, &[]);
    let after = pids(&second);
    assert_eq!(after[0], before[0], "a process that runs is left alone");
    assert_eq!(after[2..], before[2..], "a process that runs is left alone");
    assert_ne!(after[1], before[1], "the killed one is started again");
    for part in ["s3", "admin"] {
        assert_eq!(first[part], second[part], "the same ports and credentials");
    }

    let down = halo(&["down"], &data);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(after.iter().all(|(_, pid)| !runs(*pid)));

    let third = up(&data, &[]);
    assert_eq!(first["s3"], third["s3"], "a second start finds ports and credentials");
}

#[test]
fn a_stored_object_outlives_a_stop_and_its_copies_can_be_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("cluster");
    let all_roles = ["--nodes", "3", "--all-roles"];
    up(&data, &all_roles);
    let _stop = Running(&data);
    let put = [
        "bench",
        "put",
        "--size",
        "100KiB",
        "--count",
        "20",
        "-c",
        "4",
        "--warm-up",
        "0s",
        "--keep",
        "--json",
    ];
    assert_eq!(json(&halo(&put, &data))["requests"], 20);
    let buckets = json(&halo(&["admin", "bucket", "list", "--json"], &data));
    let bucket = &buckets["buckets"][0];
    assert_eq!(bucket["objects"], 20);
    assert!(halo(&["down"], &data).status.success());

    up(&data, &[]);
    let name = bucket["name"].as_str().expect("a name");
    let run = name.strip_prefix("halo-bench-").expect("made by the bench");
    let key = format!("{run}/written/0000/00000000");
    let place = json(&halo(
        &["admin", "object", "where", name, &key, "--verify", "--json"],
        &data,
    ));
    assert_eq!(place["size"], 100 * 1024);
    let copies = place["streams"][0]["chunks"][0]["copies"].as_array().expect("a list");
    let good = copies.iter().filter(|copy| copy["state"] == "ok").count();
    assert!(good >= 2, "DUR-1: {good} good copies: {place}");
}

#[test]
fn mistakes_are_answered_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nothing = halo(&["down"], folder.path());
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("holds no cluster"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    if port < u16::MAX - 400 {
        let data = folder.path().join("taken");
        let refused = halo(&["up", "--detach", "--port-base", &port.to_string()], &data);
        assert!(!refused.status.success());
        let sentence = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            sentence.contains("is taken by another program") && sentence.contains("--port-base"),
            "{sentence}"
        );
        assert!(!data.join("cluster.json").exists(), "nothing was created");
    }
}
