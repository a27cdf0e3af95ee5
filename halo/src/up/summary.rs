//! The one JSON object that scripts get from `halo up --json`.

use serde::Serialize;

use super::create::Credentials;
use super::folder::Folder;
use super::openstack;
use super::plan::ClusterFile;
use super::processes::Processes;

/// Everything a script needs to use the cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The S3 service.
    pub s3: S3Service,
    /// The Swift service.
    pub swift: SwiftService,
    /// The identity service; none in a folder from before there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystone: Option<IdentityService>,
    /// The admin API.
    pub admin: AdminService,
    /// The running processes.
    pub processes: Vec<RunningProcess>,
}

/// The S3 service.
#[derive(Clone, Debug, Serialize)]
pub struct S3Service {
    /// The first endpoint.
    pub endpoint: String,
    /// All endpoints.
    pub endpoints: Vec<String>,
    /// The region to sign for.
    pub region: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The certificate to trust, with `--tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// The Swift service.
#[derive(Clone, Debug, Serialize)]
pub struct SwiftService {
    /// The first endpoint.
    pub endpoint: String,
    /// All endpoints.
    pub endpoints: Vec<String>,
    /// The URL of the generated project's account, at the first endpoint.
    pub storage_url: String,
}

/// The identity service and its administrator.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityService {
    /// The URL to authenticate at, with the version.
    pub auth_url: String,
    /// All endpoints, without the version.
    pub endpoints: Vec<String>,
    /// The administrator.
    pub user: String,
    /// The administrator's password.
    pub password: String,
    /// The administrator's project.
    pub project: String,
    /// The domain of both.
    pub domain: String,
    /// The `clouds.yaml`.
    pub clouds_file: String,
    /// The name of the cloud in it.
    pub cloud: String,
    /// The same as variables of a shell.
    pub openrc_file: String,
}

/// The admin API.
#[derive(Clone, Debug, Serialize)]
pub struct AdminService {
    /// The first endpoint.
    pub endpoint: String,
    /// All endpoints, one for each process.
    pub endpoints: Vec<String>,
    /// The bearer token.
    pub token: String,
}

/// One running process.
#[derive(Clone, Debug, Serialize)]
pub struct RunningProcess {
    /// `storage`, `proxy` or `storage+proxy`.
    pub role: String,
    /// The node id; null for a process without storage.
    pub node: Option<u64>,
    /// The process id.
    pub pid: i32,
    /// Its folder.
    pub data: String,
}

impl Summary {
    /// Puts it together from what was planned and what runs.
    #[must_use]
    pub fn of(
        folder: &Folder,
        plan: &ClusterFile,
        credentials: &Credentials,
        token: &crate::secret::Secret,
        record: &Processes,
    ) -> Self {
        let endpoints = plan.s3_endpoints();
        let admin = plan.admin_endpoints();
        let swift = plan.swift_endpoints();
        let first = swift.first().cloned().unwrap_or_default();
        let running = plan.processes.iter().filter_map(|process| {
            Some(RunningProcess {
                role: process.role_name().to_owned(),
                node: process.node,
                pid: record.running(&process.name)?.pid,
                data: folder.process(&process.name).display().to_string(),
            })
        });
        Self {
            s3: S3Service {
                endpoint: endpoints.first().cloned().unwrap_or_default(),
                endpoints,
                region: plan.region.clone(),
                access_key: credentials.access_key.clone(),
                secret_key: credentials.secret_key.clone(),
                ca_file: plan.tls.then(|| folder.certificate().display().to_string()),
            },
            swift: SwiftService {
                storage_url: format!("{first}/v1/AUTH_{}", credentials.project),
                endpoint: first,
                endpoints: swift,
            },
            keystone: openstack::auth_url(plan).map(|auth_url| IdentityService {
                auth_url,
                endpoints: plan.keystone_endpoints(),
                user: openstack::ADMIN.to_owned(),
                password: credentials.admin_password.clone(),
                project: credentials.project.clone(),
                domain: openstack::DOMAIN.to_owned(),
                clouds_file: folder.clouds_file().display().to_string(),
                cloud: openstack::CLOUD.to_owned(),
                openrc_file: folder.openrc_file().display().to_string(),
            }),
            admin: AdminService {
                endpoint: admin.first().cloned().unwrap_or_default(),
                endpoints: admin,
                token: token.reveal().to_owned(),
            },
            processes: running.collect(),
        }
    }
}
