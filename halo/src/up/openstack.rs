//! What OpenStack's clients need to know: `clouds.yaml`, `openrc`, and what identity begins with.
//!
//! Knows: the forms of these files. Must not know: how anything is served.

use std::path::PathBuf;

use identity::{CatalogEntry, Seed};

use super::create::Credentials;
use super::folder::Folder;
use super::plan::ClusterFile;

/// The administrator.
pub const ADMIN: &str = "admin";
/// The domain everything of a new cluster lies in.
pub const DOMAIN: &str = "Default";
/// The name of the cloud in `clouds.yaml`.
pub const CLOUD: &str = "halo";

/// The files for clients; none in a cluster without the identity service.
#[must_use]
pub fn files(folder: &Folder, plan: &ClusterFile, credentials: &Credentials) -> Vec<(PathBuf, String)> {
    let Some(url) = auth_url(plan) else { return Vec::new() };
    vec![
        (folder.clouds_file(), clouds(folder, plan, credentials, &url)),
        (folder.openrc_file(), openrc(folder, plan, credentials, &url)),
    ]
}

/// The URL clients authenticate at.
#[must_use]
pub fn auth_url(plan: &ClusterFile) -> Option<String> {
    let endpoints = plan.keystone_endpoints();
    endpoints.first().map(|endpoint| format!("{endpoint}/v3"))
}

fn clouds(folder: &Folder, plan: &ClusterFile, credentials: &Credentials, url: &str) -> String {
    let Credentials {
        project,
        admin_password,
        ..
    } = credentials;
    let region = &plan.region;
    let trust = if plan.tls {
        format!("    cacert: \"{}\"\n", folder.certificate().display())
    } else {
        String::new()
    };
    format!(
        "# Written by halo up: export OS_CLIENT_CONFIG_FILE={file}; openstack --os-cloud {CLOUD} token issue\n\
         clouds:\n  {CLOUD}:\n    auth:\n      auth_url: {url}\n      username: {ADMIN}\n      password: {admin_password}\n\
         \x20     project_name: {project}\n      user_domain_name: {DOMAIN}\n      project_domain_name: {DOMAIN}\n\
         \x20   region_name: {region}\n    identity_api_version: 3\n{trust}",
        file = folder.clouds_file().display(),
    )
}

fn openrc(folder: &Folder, plan: &ClusterFile, credentials: &Credentials, url: &str) -> String {
    let mut lines = vec![
        ("OS_AUTH_URL", url.to_owned()),
        ("OS_IDENTITY_API_VERSION", "3".to_owned()),
        ("OS_USERNAME", ADMIN.to_owned()),
        ("OS_PASSWORD", credentials.admin_password.clone()),
        ("OS_PROJECT_NAME", credentials.project.clone()),
        ("OS_USER_DOMAIN_NAME", DOMAIN.to_owned()),
        ("OS_PROJECT_DOMAIN_NAME", DOMAIN.to_owned()),
        ("OS_REGION_NAME", plan.region.clone()),
    ];
    if plan.tls {
        lines.push(("OS_CACERT", folder.certificate().display().to_string()));
    }
    let exports = lines.iter().map(|(name, value)| format!("export {name}='{value}'\n"));
    format!(
        "# Written by halo up: . this file, then for example: openstack token issue\n{}",
        exports.collect::<String>()
    )
}

/// What identity begins with: the administrator, the first S3 key as theirs, the catalog.
#[must_use]
pub fn seed(plan: &ClusterFile, credentials: &Credentials) -> Option<Seed> {
    let identity = auth_url(plan)?;
    let entry = |kind: &str, name: &str, url: String| CatalogEntry {
        kind: kind.to_owned(),
        name: name.to_owned(),
        url,
    };
    let mut catalog = vec![entry("identity", "keystone", identity)];
    let account = |url: &String| entry("object-store", "swift", format!("{url}/v1/AUTH_$(project_id)s"));
    catalog.extend(plan.swift_endpoints().first().map(account));
    catalog.extend(plan.s3_endpoints().first().map(|url| entry("s3", "s3", url.clone())));
    Some(Seed {
        admin: ADMIN.to_owned(),
        password: credentials.admin_password.clone(),
        project: credentials.project.clone(),
        access_key: Some(credentials.access_key.clone()),
        secret_key: Some(credentials.secret_key.clone()),
        region: plan.region.clone(),
        catalog,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::{FromBase, Shape, Wish, plan};

    #[test]
    fn the_files_name_the_service_and_the_user() {
        let wish = Wish {
            nodes: 1,
            devices_per_node: 1,
            shape: Shape::Separate,
            tls: true,
            region: "eu-north-1".into(),
        };
        let plan = plan("id".into(), &wish, &mut FromBase(9000)).expect("ports");
        let folder = Folder::at(std::path::Path::new("/srv/halo")).expect("absolute");
        let credentials = Credentials {
            project: "default".into(),
            access_key: "HALOKEY".into(),
            secret_key: "s3cret".into(),
            admin_password: "pass".into(),
        };
        let files = files(&folder, &plan, &credentials);
        let [clouds, openrc] = &files[..] else {
            panic!("two files")
        };
        for wanted in [
            "auth_url: https://127.0.0.1:5000/v3",
            "password: pass",
            "cacert: \"/srv/halo/tls",
        ] {
            assert!(clouds.1.contains(wanted), "{wanted} is missing in {}", clouds.1);
        }
        assert!(openrc.1.contains("export OS_PASSWORD='pass'\n") && openrc.1.contains("OS_CACERT"));
        let seed = seed(&plan, &credentials).expect("it has the service");
        assert_eq!(
            (seed.admin.as_str(), seed.access_key.as_deref()),
            ("admin", Some("HALOKEY"))
        );
    }
}
