//! Limits, memory, clock, ports and clients.

use std::net::TcpListener;
use std::process::Command;

use super::Finding;
use crate::terminal;
use crate::up::plan::{FromBase, PlannedProcess, Shape, Wish, plan};

/// Files and sockets a node may need: segments, RocksDB's tables, connections.
const OPEN_FILES_MIN: u64 = 1024;
const OPEN_FILES_WISHED: u64 = 8192;
/// Memory for three nodes and a proxy.
const MEMORY_MIN: u64 = 1 << 30;
const MEMORY_WISHED: u64 = 3 << 30;

/// A client worth having, with the command that installs it on Debian and Ubuntu.
const CLIENTS: [(&str, &str); 5] = [
    ("aws", "python3 -m pip install --user awscli"),
    ("restic", "sudo apt-get install restic"),
    ("rclone", "sudo apt-get install rclone"),
    ("s3cmd", "sudo apt-get install s3cmd"),
    ("duplicity", "sudo apt-get install duplicity"),
];

pub(super) fn open_files() -> Finding {
    const SUBJECT: &str = "open files";
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // Without a limit the kernel's own is far above what is needed.
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let found = format!("{} for a process, may be raised to {}", count(now), count(most));
    let most_text = if most == u64::MAX {
        "65536".to_owned()
    } else {
        most.min(65_536).to_string()
    };
    if most < OPEN_FILES_WISHED {
        let remedy = "echo \"$USER - nofile 65536\" | sudo tee /etc/security/limits.d/halo.conf, then log in again";
        return if most < OPEN_FILES_MIN {
            Finding::bad(SUBJECT, found, remedy)
        } else {
            Finding::poor(SUBJECT, found, remedy)
        };
    }
    if now < OPEN_FILES_MIN {
        return Finding::poor(SUBJECT, found, format!("ulimit -n {most_text}"));
    }
    Finding::good(SUBJECT, found)
}

fn count(limit: u64) -> String {
    if limit == u64::MAX {
        "any number".to_owned()
    } else {
        limit.to_string()
    }
}

pub(super) fn memory() -> Finding {
    const SUBJECT: &str = "memory";
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(available) = available_bytes(&text) else {
        return Finding::poor(SUBJECT, "unknown: /proc/meminfo cannot be read", "free -h");
    };
    let found = format!("{} available", terminal::bytes(available));
    if available < MEMORY_MIN {
        Finding::bad(
            SUBJECT,
            found,
            "stop other programs, or start fewer nodes: halo up --nodes 1",
        )
    } else if available < MEMORY_WISHED {
        Finding::poor(
            SUBJECT,
            found,
            "stop other programs, or start fewer nodes: halo up --nodes 1",
        )
    } else {
        Finding::good(SUBJECT, found)
    }
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

pub(super) fn clock() -> Finding {
    const SUBJECT: &str = "clock";
    let answer = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    let synchronized = answer.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match synchronized.as_deref() {
        Ok("yes") => Finding::good(SUBJECT, "kept by the network"),
        Ok("no") => Finding::poor(
            SUBJECT,
            "not kept by the network: requests are refused when client and server differ by 15 minutes",
            "sudo timedatectl set-ntp true",
        ),
        _ => Finding::poor(
            SUBJECT,
            "nobody says whether it is kept by the network; on one machine this does not matter",
            "sudo apt-get install chrony",
        ),
    }
}

pub(super) fn ports(base: u16, cluster_exists: bool) -> Finding {
    const SUBJECT: &str = "ports";
    if cluster_exists {
        return Finding::good(SUBJECT, "the cluster in the folder has its own");
    }
    let wish = Wish {
        nodes: 3,
        devices_per_node: 1,
        shape: Shape::Separate,
        tls: false,
        region: String::new(),
    };
    let Some(planned) = plan(String::new(), &wish, &mut FromBase(base)) else {
        return Finding::bad(
            SUBJECT,
            format!("there is no room above {base}"),
            "halo up --port-base 0",
        );
    };
    let addresses = planned.processes.iter().flat_map(PlannedProcess::addresses);
    let taken: Vec<String> = addresses
        .filter(|(_, address)| TcpListener::bind(address).is_err())
        .map(|(purpose, address)| format!("{} ({purpose})", address.port()))
        .collect();
    if taken.is_empty() {
        Finding::good(SUBJECT, format!("those from {base} on are free"))
    } else {
        Finding::bad(SUBJECT, format!("taken: {}", taken.join(", ")), "halo up --port-base 0")
    }
}

pub(super) fn clients() -> Vec<Finding> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    let check = |(name, remedy): (&'static str, &str)| match found(name) {
        Some(file) => Finding::good(name, file.display().to_string()),
        None => Finding::poor(name, "not installed; only needed if you use it", remedy),
    };
    CLIENTS.into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn available_memory_is_read() {
        assert_eq!(
            available_bytes("MemTotal: 5 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available_bytes("nothing"), None);
    }

    #[test]
    fn a_taken_port_is_named() {
        // Whoever holds the port, this test or another program: it is taken.
        let holder = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = holder.local_addr().expect("bound").port();
        if port <= u16::MAX - 400 {
            let finding = ports(port, false);
            assert_eq!(finding.verdict, Verdict::Bad);
            assert!(finding.found.contains(&port.to_string()), "{}", finding.found);
        }
    }
}
