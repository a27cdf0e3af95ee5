//! TLS both ways between nodes, with the cluster's own CA (SEC-1).
//!
//! A certificate names its holder: `node-7.halo.internal` for storage node 7, `proxy.halo.internal` for processes without
//! storage (see [`Role::certificate_name`]). Host names and addresses play no part: nodes may move.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::credentials::{CredentialError, Role};
use super::socket::Socket;

/// Ready-made TLS configurations of one process.
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads PEM texts: the cluster's CA, this process's certificate chain, its private key.
    ///
    /// # Errors
    /// [`CredentialError::BadTls`].
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        let bad = |what: &str, why: &dyn std::fmt::Display| CredentialError::BadTls(format!("{what}: {why}"));
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(ca) {
            let root = root.map_err(|e| bad("the CA certificate", &e))?;
            roots.add(root).map_err(|e| bad("the CA certificate", &e))?;
        }
        let roots = Arc::new(roots);
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| bad("this process's certificate", &e))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad("the private key", &e))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|e| bad("the CA certificate", &e))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad("TLS 1.3", &e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| bad("certificate and key", &e))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad("TLS 1.3", &e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|e| bad("certificate and key", &e))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        })
    }

    /// The connecting side; the peer must hold `peer`'s certificate.
    pub(crate) async fn connect(&self, peer: Role, tcp: TcpStream) -> std::io::Result<Socket> {
        let name = server_name(peer);
        Ok(Socket::new(self.connector.connect(name, tcp).await?))
    }

    /// The accepting side; which role the peer's certificate names is asked of the answer.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> std::io::Result<(Socket, PeerCertificate)> {
        let stream = self.acceptor.accept(tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = PeerCertificate(certificate.map(|der| der.clone().into_owned()));
        Ok((Socket::new(stream), certificate))
    }
}

/// The verified certificate of a connection's other side.
#[derive(Debug)]
pub(crate) struct PeerCertificate(Option<CertificateDer<'static>>);

impl PeerCertificate {
    /// Whether the certificate names this role.
    pub(crate) fn names(&self, role: Role) -> bool {
        let Some(Ok(parsed)) = self.0.as_ref().map(ParsedCertificate::try_from) else {
            return false;
        };
        verify_server_name(&parsed, &server_name(role)).is_ok()
    }
}

fn server_name(role: Role) -> ServerName<'static> {
    ServerName::try_from(role.certificate_name()).expect("the name is made of letters, digits, dots and hyphens")
}
