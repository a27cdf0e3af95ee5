//! A cluster for the suite, and the suite's configuration for it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo::output;

/// Ports that a cluster takes from its base on.
const PORTS: u16 = 400;
/// The users that the suite's configuration names: the section, and what it holds beside the user.
const USERS: [(&str, &str); 6] = [
    ("s3 main", "api_name = us-east-1"),
    ("s3 alt", ""),
    ("s3 tenant", "tenant = testx"),
    ("iam", ""),
    ("iam root", ""),
    ("iam alt root", ""),
];

/// A running cluster; stopped when dropped.
pub struct Cluster {
    halo: PathBuf,
    data: PathBuf,
    port: u16,
}

impl Cluster {
    /// Starts one in this folder. Signature version 2 is on: half of the tests of signatures and all of browser forms
    /// use it.
    pub fn start(halo: &Path, data: &Path) -> anyhow::Result<Self> {
        let base = free_ports()?;
        let mut up = Command::new(halo);
        up.args([
            "up",
            "--detach",
            "--json",
            "--port-base",
            base.to_string().as_str(),
            "--data",
        ])
        .arg(data);
        up.env("HALO_PROXY__SIGV2", "true");
        let told: Value = serde_json::from_str(&output(&mut up)?).context("what `halo up` printed")?;
        let endpoint = told["s3"]["endpoint"].as_str().unwrap_or_default().to_owned();
        let cluster = Self {
            halo: halo.to_owned(),
            data: data.to_owned(),
            port: endpoint
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .unwrap_or(0),
        };
        if cluster.port == 0 {
            bail!("the endpoint {endpoint:?} has no port");
        }
        Ok(cluster)
    }

    fn admin(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.halo);
        command
            .arg("admin")
            .args(words)
            .arg("--json")
            .arg("--data")
            .arg(&self.data);
        serde_json::from_str(&output(&mut command)?).with_context(|| words.join(" "))
    }

    /// Makes a project with a key for each user of the suite, and writes its configuration.
    pub fn configuration(&self) -> anyhow::Result<String> {
        let mut text = format!(
            "[DEFAULT]\nhost = 127.0.0.1\nport = {}\nis_secure = False\nssl_verify = False\n\n[fixtures]\nbucket prefix = ht-{{random}}-\niam name prefix = ht-\niam path prefix = /ht/\n",
            self.port
        );
        for (section, more) in USERS {
            let name = section.replace(' ', "-");
            let project = self.admin(&["project", "create", &name])?;
            let id = project["id"].as_str().context("a project has an id")?;
            let key = self.admin(&["key", "create", "--project", id])?;
            let fields: BTreeMap<&str, &str> = [
                ("user_id", id),
                ("display_name", &name),
                ("access_key", key["access_key"].as_str().context("a key has an id")?),
                ("secret_key", key["secret_key"].as_str().context("a key has a secret")?),
            ]
            .into();
            text.push_str(&format!("\n[{section}]\nemail = {name}@example.com\n{more}\n"));
            for (field, value) in fields {
                text.push_str(&format!("{field} = {value}\n"));
            }
        }
        Ok(text)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = Command::new(&self.halo)
            .arg("down")
            .arg("--data")
            .arg(&self.data)
            .status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("xtask: the cluster in {} did not stop", self.data.display());
        }
    }
}

/// A base from which nothing listens yet.
fn free_ports() -> anyhow::Result<u16> {
    (22_000..60_000)
        .step_by(usize::from(PORTS))
        .find(|base| {
            [0, 300, 301, 302, 303]
                .iter()
                .all(|add| TcpListener::bind(("127.0.0.1", base + add)).is_ok())
        })
        .context("no ports are free")
}
