//! A cluster in a folder, as the commands find it: `up`, `down`, `admin --data`, `bench --data`.

use std::path::Path;

use url::Url;

use super::create::{self, CreateError, Credentials};
use super::folder::Folder;
use super::plan::ClusterFile;
use crate::admin::client::AdminClient;
use crate::secret::{Secret, SecretError};

/// A created cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Where it lies.
    pub folder: Folder,
    /// What it consists of.
    pub plan: ClusterFile,
}

/// Why no cluster was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Nothing was created there.
    #[error("{0} holds no cluster; halo up --data {0} creates one")]
    None(String),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CreateError),
    /// The path has no absolute form.
    #[error("cannot find the folder")]
    Path(#[from] std::io::Error),
}

impl Cluster {
    /// Finds the cluster in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(data: &Path) -> Result<Self, FindError> {
        let folder = Folder::at(data)?;
        let plan = create::read(&folder)?.ok_or_else(|| FindError::None(folder.path().display().to_string()))?;
        Ok(Self { folder, plan })
    }

    /// Its generated access key.
    ///
    /// # Errors
    /// When the file is missing or not ours.
    pub fn credentials(&self) -> Result<Credentials, CreateError> {
        create::read_credentials(&self.folder)
    }

    /// The token of its admin API.
    ///
    /// # Errors
    /// When the file is missing.
    pub fn admin_token(&self) -> Result<Secret, SecretError> {
        Secret::read(&self.folder.admin_token())
    }

    /// A client of its admin API that asks whichever process answers.
    ///
    /// # Errors
    /// When the token cannot be read.
    pub fn admin_client(&self) -> Result<AdminClient, SecretError> {
        let endpoints = self.plan.admin_endpoints();
        let urls = endpoints.iter().filter_map(|endpoint| Url::parse(endpoint).ok());
        Ok(AdminClient::new(urls.collect(), self.admin_token()?))
    }
}
