//! TLS with a given or a generated certificate, read anew while connections go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a certificate chain and a key that belong together.
    #[error("the certificate or its key is not usable: {0}")]
    Unusable(String),
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls {
    files: Option<(PathBuf, PathBuf)>,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// A chain and key in PEM.
    ///
    /// # Errors
    /// [`TlsError::Unusable`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            files: None,
            config: Arc::new(RwLock::new(Arc::new(server_config(chain, key)?))),
        })
    }

    /// A chain and key in PEM files, which [`Self::reload`] reads again. Blocks.
    ///
    /// # Errors
    /// [`TlsError::Read`], [`TlsError::Unusable`].
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let tls = Self::from_pem(&read(chain)?, &read(key)?)?;
        Ok(Self {
            files: Some((chain.to_owned(), key.to_owned())),
            ..tls
        })
    }

    /// Makes a self-signed certificate for these names and addresses: chain and key in PEM.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] for a name that no certificate can carry.
    pub fn generate(names: Vec<String>) -> Result<(String, String), TlsError> {
        let made = rcgen::generate_simple_self_signed(names).map_err(|cause| TlsError::Unusable(cause.to_string()))?;
        Ok((made.cert.pem(), made.signing_key.serialize_pem()))
    }

    /// Reads the files again; new connections use what they hold now. Without files nothing happens. Blocks.
    ///
    /// # Errors
    /// As [`Self::from_files`]; then the certificate stays what it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some((chain, key)) = &self.files else { return Ok(()) };
        let config = server_config(&read(chain)?, &read(key)?)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn server_config(chain: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    let unusable = |cause: &dyn std::fmt::Display| TlsError::Unusable(cause.to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|cause| unusable(&cause))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| unusable(&cause))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|cause| unusable(&cause))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|cause| unusable(&cause))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
