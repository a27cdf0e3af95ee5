//! What a process proves itself with (SEC-1): the cluster's secret, and, off loopback, a certificate of its own CA.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use metadata::ids::{ClusterId, NodeId};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::tls::Tls;

/// The shortest secret that is taken, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;

/// The cluster's shared secret. Its bytes never leave the process; keys for each use are derived from it.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the secret's bytes.
    ///
    /// # Errors
    /// When there are fewer than [`SECRET_BYTES_MIN`].
    pub fn new(bytes: &[u8]) -> Result<Self, CredentialError> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(CredentialError::ShortSecret(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// A key for one use, so that what one protocol shows tells nothing to another.
    #[must_use]
    pub(crate) fn derive(&self, label: &str) -> [u8; 32] {
        mac(&self.0, &[label.as_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// HMAC-SHA-256 of the parts, one behind the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("hmac takes keys of every length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Compares in a time that does not depend on where the bytes differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Which kind of process this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A storage node.
    Storage(NodeId),
    /// A process without storage: a proxy, a tool.
    Proxy,
}

impl Role {
    /// The node id of a storage node.
    #[must_use]
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Storage(node) => Some(node),
            Self::Proxy => None,
        }
    }

    /// The DNS name that this role's certificate must carry as a subject alternative name.
    #[must_use]
    pub fn certificate_name(self) -> String {
        match self {
            Self::Storage(node) => format!("node-{node}.halo.internal"),
            Self::Proxy => "proxy.halo.internal".to_owned(),
        }
    }
}

/// Everything a process needs to be believed by the others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Who it is.
    pub role: Role,
    /// The cluster's secret.
    pub secret: Secret,
    /// Certificates; without them only loopback addresses are used.
    pub tls: Option<Arc<Tls>>,
}

impl Credentials {
    /// SEC-1: off loopback everything is encrypted.
    ///
    /// # Errors
    /// When `address` is not loopback and there are no certificates.
    pub fn allow(&self, address: SocketAddr) -> Result<(), CredentialError> {
        if self.tls.is_none() && !address.ip().is_loopback() {
            return Err(CredentialError::NeedsTls(address));
        }
        Ok(())
    }
}

/// Why credentials cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The secret could be guessed.
    #[error(
        "the cluster secret has {0} bytes and at least {SECRET_BYTES_MIN} are needed: generate one with `openssl rand -hex 32`"
    )]
    ShortSecret(usize),
    /// The address can be reached from elsewhere.
    #[error(
        "{0} is not a loopback address, and traffic between nodes is only left unencrypted on loopback: configure the cluster's CA, this node's certificate and its key, or use 127.0.0.1"
    )]
    NeedsTls(SocketAddr),
    /// The PEM texts are not what is needed.
    #[error("the TLS material for traffic between nodes cannot be used: {0}")]
    BadTls(String),
}
