//! nginx serving files of the measured sizes, for comparison.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::Load;
use super::table::Row;
use crate::cargo::{has, output};

const START_MAX: Duration = Duration::from_secs(5);

/// A running nginx.
pub struct Nginx {
    master: Child,
    port: u16,
}

impl Nginx {
    /// Starts it in a new folder; `None` when it is not installed.
    pub fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !has("nginx", "-v") {
            return Ok(None);
        }
        let www = folder.join("www");
        std::fs::create_dir_all(&www)?;
        for (name, bytes) in [("4KiB", 4 << 10), ("1MiB", 1 << 20), ("64MiB", 64 << 20)] {
            std::fs::write(www.join(name), vec![7_u8; bytes])?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = folder.join("nginx.conf");
        std::fs::write(&config, configuration(folder, &www, port))?;
        let master = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .arg("-p")
            .arg(folder)
            .spawn()
            .context("nginx")?;
        let nginx = Self { master, port };
        let begun = Instant::now();
        while children_of(nginx.master.id()).len() < WORKERS
            || std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
        {
            if begun.elapsed() > START_MAX {
                bail!("nginx does not answer on port {port}");
            }
            std::thread::yield_now();
        }
        Ok(Some(nginx))
    }

    /// Measures GETs of the load's size.
    pub fn measure(&self, halo: &Path, load: &Load, seconds: u64) -> anyhow::Result<Row> {
        eprintln!("== nginx: get {}, {} connections", load.size, load.connections);
        let pids: Vec<String> = children_of(self.master.id()).iter().map(ToString::to_string).collect();
        let mut command = Command::new(halo);
        command.args([
            "bench",
            "--json",
            "--plain",
            &format!("http://127.0.0.1:{}/{}", self.port, load.size),
        ]);
        command.args([
            "--concurrency",
            &load.connections.to_string(),
            "--duration",
            &format!("{seconds}s"),
        ]);
        let report = output(command.args(["--pids", &pids.join(",")]))?;
        Ok(Row::of(
            super::goals::NGINX,
            load,
            &serde_json::from_str::<Value>(&report)?,
        ))
    }
}

/// How many worker processes are asked for: as many as the machines we measure on have cores.
const WORKERS: usize = 2;

/// The processes whose parent is `master`.
fn children_of(master: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent(*pid) == Some(master)).collect()
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers along only when it is asked; SIGTERM through kill(1), for std knows SIGKILL alone.
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
    }
}

fn configuration(folder: &Path, www: &Path, port: u16) -> String {
    let (folder, www) = (folder.display(), www.display());
    // Started by root, the workers must still be able to read the temporary folder.
    let user = if is_root() { "user root;" } else { "" };
    format!(
        "daemon off; {user} worker_processes {WORKERS}; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
         client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
         uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         server {{ listen 127.0.0.1:{port}; root {www}; }} }}\n"
    )
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
