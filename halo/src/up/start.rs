//! Starts the processes of a cluster and waits until it serves.
//!
//! Only processes that do not run are started; the others are left alone. "Serves" means: every process says it is
//! ready, the generated key exists, and a signed request to every S3 endpoint is answered.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::SystemClock;
use http::{Request, StatusCode};
use serde_json::json;
use url::Url;

use super::cluster::Cluster;
use super::plan::PlannedProcess;
use super::ports::{PortTaken, check_free};
use super::processes::{Processes, ProcessesError, StartedProcess};
use crate::admin::client::{AdminClient, AdminError};
use crate::bench::s3::{Call, S3Client, error_code};
use crate::client::connection::{Connection, Keep, Target, TargetError};
use crate::client::payload::Payload;
use crate::secret::{Secret, SecretError};
use crate::sigv4::Signer;

/// How long a cluster may take until it serves. Recovery after a crash reads the tails of all segments.
const SERVE_MAX: Duration = Duration::from_secs(110);
/// How long the ports of a killed process may stay taken.
const RELEASE_MAX: Duration = Duration::from_secs(3);
/// How often a process is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);
/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);
/// How much of a failed process's log is shown.
const LOG_TAIL_BYTES: u64 = 2048;

/// Why the cluster does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else has a port.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// The record of processes cannot be used.
    #[error(transparent)]
    Processes(#[from] ProcessesError),
    /// A process cannot be started at all.
    #[error("cannot start {name}")]
    Spawn {
        name: String,
        #[source]
        source: std::io::Error,
    },
    /// A process ended while it was waited for.
    #[error("{name} ended while starting; the end of its log ({}):\n{tail}", log.display())]
    Ended { name: String, log: PathBuf, tail: String },
    /// The time is up.
    #[error("{name} is not ready after {} s: {last}; its log is {}", SERVE_MAX.as_secs(), log.display())]
    NotReady { name: String, last: String, log: PathBuf },
    /// The generated access key could not be made known.
    #[error("cannot register the generated access key")]
    Key(#[source] AdminError),
    /// S3 does not answer the generated key.
    #[error("S3 at {endpoint} does not serve after {} s: {last}", SERVE_MAX.as_secs())]
    S3 { endpoint: String, last: String },
    /// A generated file is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A generated file is missing.
    #[error(transparent)]
    Create(#[from] super::create::CreateError),
    /// An address cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// Which program is started, and what it is given.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The executable.
    pub program: PathBuf,
    /// Variables laid over the environment of every process.
    pub environment: Vec<(String, String)>,
}

/// Starts what does not run; returns the children, so that a caller that stays can collect them.
///
/// # Errors
/// When a port is taken or a process cannot be started. Processes started before stay, and are recorded.
pub fn start_missing(cluster: &Cluster, launch: &Launch) -> Result<Vec<(String, Child)>, StartError> {
    let mut record = Processes::read(&cluster.folder)?;
    let missing: Vec<&PlannedProcess> = cluster
        .plan
        .processes
        .iter()
        .filter(|process| record.running(&process.name).is_none())
        .collect();
    for process in &missing {
        wait_free(process)?;
    }
    let mut children = Vec::new();
    for process in missing {
        let child = spawn(cluster, process, launch)?;
        let pid = i32::try_from(child.id()).expect("process ids are positive 32-bit numbers");
        // A child that has ended already leaves no trace in the record; waiting for it finds that out.
        if let Some(started) = StartedProcess::of(&process.name, pid) {
            record.note(started);
            record.write(&cluster.folder)?;
        }
        children.push((process.name.clone(), child));
    }
    Ok(children)
}

/// The kernel takes a moment to close the sockets of a process that was killed.
fn wait_free(process: &PlannedProcess) -> Result<(), PortTaken> {
    let begun = Instant::now();
    loop {
        match check_free(process, true) {
            Err(_) if begun.elapsed() < RELEASE_MAX => std::thread::sleep(POLL),
            other => return other,
        }
    }
}

fn spawn(cluster: &Cluster, process: &PlannedProcess, launch: &Launch) -> Result<Child, StartError> {
    let failed = |source| StartError::Spawn {
        name: process.name.clone(),
        source,
    };
    let log = cluster.folder.process_log(&process.name);
    let log = File::options().create(true).append(true).open(&log).map_err(failed)?;
    Command::new(&launch.program)
        .arg("server")
        .arg("--config")
        .arg(cluster.folder.process_config(&process.name))
        .envs(launch.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        // A group of its own: Ctrl-C in the terminal reaches `halo up`, which then stops the processes in order.
        .process_group(0)
        .spawn()
        .map_err(failed)
}

/// Waits until the cluster serves. `say` is told what is waited for.
///
/// # Errors
/// When a process ends or the time is up.
pub async fn wait_serving(cluster: &Cluster, say: &dyn Fn(String)) -> Result<(), StartError> {
    let ends = Instant::now() + SERVE_MAX;
    let record = Processes::read(&cluster.folder)?;
    for (index, process) in cluster.plan.processes.iter().enumerate() {
        say(format!(
            "waiting for {} ({} of {} ready)",
            process.name,
            index,
            cluster.plan.processes.len()
        ));
        wait_ready(cluster, process, record.running(&process.name), ends).await?;
    }
    say("registering the administrator and the access key".to_owned());
    let credentials = cluster.credentials()?;
    register(cluster, &credentials, ends).await?;
    let ca = cluster.folder.certificate();
    let signer = Signer::new(
        credentials.access_key.clone(),
        Secret::new(credentials.secret_key.clone()),
        cluster.plan.region.clone(),
    );
    for endpoint in cluster.plan.s3_endpoints() {
        say(format!("waiting for S3 at {endpoint}"));
        wait_s3(&endpoint, cluster.plan.tls.then_some(ca.as_path()), &signer, ends).await?;
    }
    Ok(())
}

async fn wait_ready(
    cluster: &Cluster,
    process: &PlannedProcess,
    started: Option<&StartedProcess>,
    ends: Instant,
) -> Result<(), StartError> {
    let log = cluster.folder.process_log(&process.name);
    loop {
        let last = match ask_ready(process).await {
            Ok(()) => return Ok(()),
            Err(last) => last,
        };
        if started.is_none_or(|started| !started.runs()) {
            let tail = tail_of(&log);
            return Err(StartError::Ended {
                name: process.name.clone(),
                log,
                tail,
            });
        }
        if Instant::now() > ends {
            return Err(StartError::NotReady {
                name: process.name.clone(),
                last,
                log,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ask_ready(process: &PlannedProcess) -> Result<(), String> {
    let authority = process.admin.to_string();
    let target = Target {
        address: authority.clone(),
        authority: authority.clone(),
        tls: None,
    };
    let request = Request::builder()
        .uri("/readyz")
        .header("host", authority)
        .body(Payload::empty());
    let request = request.expect("an address is a header value");
    let answer = tokio::time::timeout(ASK_MAX, Connection::to(target).send(request, Keep::Everything)).await;
    match answer {
        Ok(Ok(answer)) if answer.status == StatusCode::OK => Ok(()),
        Ok(Ok(answer)) => Err(String::from_utf8_lossy(&answer.body).trim().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", ASK_MAX.as_secs())),
    }
}

/// Makes known what was generated; a cluster that knows it already says so, and that is fine.
async fn register(
    cluster: &Cluster,
    credentials: &super::create::Credentials,
    ends: Instant,
) -> Result<(), StartError> {
    let client = cluster.admin_client()?;
    let requests = match super::openstack::seed(&cluster.plan, credentials) {
        Some(seed) => vec![("/v1/identity/bootstrap", json!(seed))],
        None => key_requests(credentials),
    };
    tell(&client, &requests, ends).await.map_err(StartError::Key)
}

/// In a cluster without the identity service: a project and its key.
fn key_requests(credentials: &super::create::Credentials) -> Vec<(&'static str, serde_json::Value)> {
    let project = json!({ "name": credentials.project, "id": credentials.project });
    let key = json!({
        "project": credentials.project,
        "description": "made by halo up",
        "access_key": credentials.access_key,
        "secret_key": credentials.secret_key,
    });
    vec![("/v1/projects", project), ("/v1/keys", key)]
}

async fn tell(
    client: &AdminClient,
    requests: &[(&'static str, serde_json::Value)],
    ends: Instant,
) -> Result<(), AdminError> {
    for (path, body) in requests {
        loop {
            match client.post::<serde_json::Value>(path, body).await {
                Ok(_)
                | Err(AdminError::Refused {
                    status: StatusCode::CONFLICT,
                    ..
                }) => break,
                // No majority yet: the leaders are still being elected.
                Err(AdminError::Refused {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    ..
                }) if Instant::now() < ends => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn wait_s3(endpoint: &str, ca: Option<&Path>, signer: &Signer, ends: Instant) -> Result<(), StartError> {
    let url = Url::parse(endpoint).map_err(|_| TargetError::Url(endpoint.to_owned()))?;
    let target = Target::of(&url, ca)?;
    let mut client = S3Client::new(target, signer.clone(), Arc::new(SystemClock));
    loop {
        let call = Call {
            method: "GET",
            path: "/",
            query: &[],
            payload: Payload::empty(),
            keep: Keep::Everything,
        };
        let last = match tokio::time::timeout(ASK_MAX, client.send(call)).await {
            Ok(Ok(answer)) if answer.status == StatusCode::OK => return Ok(()),
            Ok(Ok(answer)) => error_code(&answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} s", ASK_MAX.as_secs()),
        };
        if Instant::now() > ends {
            return Err(StartError::S3 {
                endpoint: endpoint.to_owned(),
                last,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn tail_of(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_long_log_is_its_end() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = dir.path().join("log");
        std::fs::write(&log, format!("{}\nthe last line\n", "x".repeat(10_000))).expect("written");
        let tail = tail_of(&log);
        assert!(tail.ends_with("the last line") && tail.len() <= 2048);
    }
}
