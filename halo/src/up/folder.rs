//! Where things lie in the folder of a cluster started by `halo up`.
//!
//! ```text
//! DIR/cluster.json        what was created: id, nodes, ports (version 1; written once)
//! DIR/credentials.json    the S3 access key and the administrator's password, 0600
//! DIR/clouds.yaml, openrc  the same for OpenStack's clients, 0600
//! DIR/secrets/            cluster, at-rest, admin-token; 0600
//! DIR/object.builder, DIR/object.ring
//! DIR/tls/                certificate.pem, key.pem (with --tls)
//! DIR/node-1/             node.toml, halo.log, metadata/, device-0/
//! DIR/proxy/              node.toml, halo.log
//! DIR/run/                processes.json, lock
//! ```

use std::path::{Path, PathBuf};

/// The folder of one cluster.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, made absolute.
    ///
    /// # Errors
    /// When the current folder is gone.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        Ok(Self(std::path::absolute(path)?))
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What was created here.
    #[must_use]
    pub fn cluster_file(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    /// The S3 access key.
    #[must_use]
    pub fn credentials_file(&self) -> PathBuf {
        self.0.join("credentials.json")
    }

    /// The cloud for OpenStack's clients.
    #[must_use]
    pub fn clouds_file(&self) -> PathBuf {
        self.0.join("clouds.yaml")
    }

    /// The same as variables of a shell.
    #[must_use]
    pub fn openrc_file(&self) -> PathBuf {
        self.0.join("openrc")
    }

    /// The secret shared by all processes.
    #[must_use]
    pub fn cluster_secret(&self) -> PathBuf {
        self.0.join("secrets/cluster")
    }

    /// The key under which S3 secret keys are encrypted.
    #[must_use]
    pub fn at_rest_key(&self) -> PathBuf {
        self.0.join("secrets/at-rest")
    }

    /// The bearer token of the admin API.
    #[must_use]
    pub fn admin_token(&self) -> PathBuf {
        self.0.join("secrets/admin-token")
    }

    /// The ring the cluster starts with.
    #[must_use]
    pub fn ring_file(&self) -> PathBuf {
        self.0.join("object.ring")
    }

    /// The builder the ring came from.
    #[must_use]
    pub fn builder_file(&self) -> PathBuf {
        self.0.join("object.builder")
    }

    /// The builder of the ring of storage policy `number`, named as Swift names them.
    #[must_use]
    pub fn builder_of_policy(&self, number: u16) -> PathBuf {
        match number {
            0 => self.builder_file(),
            number => self.0.join(format!("object-{number}.builder")),
        }
    }

    /// The generated certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.join("tls/certificate.pem")
    }

    /// The generated certificate's key.
    #[must_use]
    pub fn certificate_key(&self) -> PathBuf {
        self.0.join("tls/key.pem")
    }

    /// Everything of one process.
    #[must_use]
    pub fn process(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// One process's configuration.
    #[must_use]
    pub fn process_config(&self, name: &str) -> PathBuf {
        self.process(name).join("node.toml")
    }

    /// One process's log.
    #[must_use]
    pub fn process_log(&self, name: &str) -> PathBuf {
        self.process(name).join("halo.log")
    }

    /// Which processes were started.
    #[must_use]
    pub fn processes_file(&self) -> PathBuf {
        self.0.join("run/processes.json")
    }

    /// Held by the one `up` or `down` that works on the folder.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("run/lock")
    }
}
