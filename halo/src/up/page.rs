//! What to paste next: the page a newcomer sees once the cluster serves.

use super::create::Credentials;
use super::folder::Folder;
use super::openstack;
use super::plan::ClusterFile;

/// The page.
#[must_use]
pub fn page(folder: &Folder, plan: &ClusterFile, credentials: &Credentials) -> String {
    let endpoints = plan.s3_endpoints();
    let endpoint = endpoints.first().map_or("", String::as_str);
    let Credentials {
        access_key, secret_key, ..
    } = credentials;
    let region = &plan.region;
    let data = folder.path().display();
    let trust = trust(folder, plan);
    format!(
        "\nHalo serves S3 at {listed}\n{safety}\n\n\
         # for every client below\n\
         export AWS_ACCESS_KEY_ID={access_key}\n\
         export AWS_SECRET_ACCESS_KEY={secret_key}\n\
         export AWS_DEFAULT_REGION={region}\n\
         export AWS_ENDPOINT_URL={endpoint}\n{trust}\n\
         # aws (version 1.29 or 2.13 and later read AWS_ENDPOINT_URL; give older ones --endpoint-url)\n\
         aws s3 mb s3://backup\n\
         aws s3 cp /etc/hostname s3://backup/\n\
         aws s3 ls s3://backup\n\n\
         # restic\n\
         export RESTIC_PASSWORD=choose-one\n\
         restic -r s3:{endpoint}/backup/restic init\n\
         restic -r s3:{endpoint}/backup/restic backup /etc\n\n\
         # rclone\n\
         rclone copy /etc :s3,provider=Other,env_auth,region={region},endpoint='{endpoint}':backup/etc\n\n\
         # boto3\n\
         python3 -c \"import boto3; print(boto3.client('s3', endpoint_url='{endpoint}').list_buckets()['Buckets'])\"\n\n\
         {openstack}# the cluster itself\n\
         halo admin status --data {data}\n\
         halo bench put --size 4KiB --concurrency 32 --data {data}\n\
         halo down --data {data}\n",
        listed = endpoints.join(", "),
        safety = safety(plan),
        openstack = openstack_lines(folder, plan),
    )
}

/// What a loss costs, said plainly (DUR-1).
#[must_use]
pub fn safety(plan: &ClusterFile) -> String {
    let nodes = plan.nodes().count();
    match plan.replicas() {
        1 => "One node process keeps ONE copy of everything: losing it, or its disk, loses the data.".to_owned(),
        2 => "Two node processes keep two copies; with one of them down nothing can be written.".to_owned(),
        copies => format!(
            "{nodes} node processes keep {copies} copies. Each process counts as a failure domain of its own; on this one \
             machine they still share its power and perhaps its disk."
        ),
    }
}

/// How OpenStack's clients begin.
fn openstack_lines(folder: &Folder, plan: &ClusterFile) -> String {
    let Some(url) = openstack::auth_url(plan) else {
        return String::new();
    };
    format!(
        "# openstack (the identity service is {url}; the password of {admin} is in both files)\n\
         export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD={cloud}   # or: . {openrc}\n\
         openstack token issue\n\
         openstack project create photos\n\
         openstack ec2 credentials create\n\n",
        admin = openstack::ADMIN,
        cloud = openstack::CLOUD,
        clouds = folder.clouds_file().display(),
        openrc = folder.openrc_file().display(),
    )
}

fn trust(folder: &Folder, plan: &ClusterFile) -> String {
    if !plan.tls {
        return String::new();
    }
    let certificate = folder.certificate();
    let certificate = certificate.display();
    format!("export AWS_CA_BUNDLE={certificate}   # restic: --cacert {certificate}; rclone: --ca-cert {certificate}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::plan::{FromBase, Shape, Wish, plan};

    fn printed(nodes: u64, tls: bool) -> String {
        let wish = Wish {
            nodes,
            devices_per_node: 1,
            shape: Shape::Separate,
            tls,
            region: "us-east-1".into(),
        };
        let plan = plan("id".into(), &wish, &mut FromBase(9000)).expect("ports");
        let folder = Folder::at(std::path::Path::new("/srv/halo")).expect("absolute");
        let credentials = Credentials {
            project: "default".into(),
            access_key: "HALOKEY".into(),
            secret_key: "s3cret".into(),
            admin_password: "pass".into(),
        };
        page(&folder, &plan, &credentials)
    }

    #[test]
    fn the_page_says_what_is_safe_and_how_to_begin() {
        let page = printed(3, false);
        for wanted in [
            "http://127.0.0.1:9000",
            "HALOKEY",
            "failure domain",
            "restic -r",
            "openstack token issue",
            "http://127.0.0.1:5000/v3",
            "aws s3 mb",
            "halo down --data /srv/halo",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing in {page}");
        }
        assert!(!page.contains("AWS_CA_BUNDLE"));
    }

    #[test]
    fn one_node_keeps_one_copy_and_says_so() {
        assert!(printed(1, false).contains("ONE copy"));
    }

    #[test]
    fn a_generated_certificate_is_named() {
        let page = printed(3, true);
        assert!(
            page.contains("https://127.0.0.1:9000") && page.contains("AWS_CA_BUNDLE=/srv/halo/tls/certificate.pem")
        );
    }
}
