//! One kept HTTP/1.1 connection to a server: as little client as possible between the clock and the socket.
//!
//! Knows: sockets, TLS, requests and how many bytes came back. Must not know: S3. A connection that broke is opened
//! anew by the next request; nothing is retried, so that every failure is seen and counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::payload::Payload;

/// Where Debian and Ubuntu keep the authorities the system trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The read buffer of a connection: large enough for a few segments of a fast loopback, small enough for hundreds of
/// connections.
const READ_BUFFER_BYTES: usize = 512 * 1024;
/// How much of an error's body is kept to say what went wrong.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Where a server is.
#[derive(Clone)]
pub struct Target {
    /// Host and port, as the `host` header says them.
    pub authority: String,
    /// Host and port to connect to.
    pub address: String,
    /// TLS, with the name the certificate must bear.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A base URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not `http://host[:port]` or `https://...`.
    #[error("{0} is not a URL of the form http://HOST[:PORT] or https://HOST[:PORT]")]
    Url(String),
    /// The certificates of trusted authorities cannot be read.
    #[error("cannot read certificates from {}", path.display())]
    Certificates {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
}

/// An answer, its body read.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Length of the body in bytes.
    pub bytes: u64,
    /// The body itself when the status is an error or the caller wanted it, cut at 64 KiB for errors.
    pub body: Vec<u8>,
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is counted and dropped.
    Nothing,
    /// It is kept.
    Everything,
}

impl Target {
    /// The server of a URL. `authorities` is a PEM file; the system's is taken without it.
    ///
    /// # Errors
    /// When the URL or the file cannot be used.
    pub fn of(url: &url::Url, authorities: Option<&Path>) -> Result<Self, TargetError> {
        let bad = || TargetError::Url(url.to_string());
        let host = url.host_str().ok_or_else(bad)?;
        let port = url.port_or_known_default().ok_or_else(bad)?;
        let authority = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Some((connector(authorities)?, ServerName::try_from(bare).map_err(|_| bad())?))
            }
            _ => return Err(bad()),
        };
        Ok(Self {
            authority,
            address: format!("{host}:{port}"),
            tls,
        })
    }
}

fn connector(authorities: Option<&Path>) -> Result<TlsConnector, TargetError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let path = authorities.unwrap_or_else(|| Path::new(SYSTEM_AUTHORITIES));
    let failed = |source| TargetError::Certificates {
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(failed)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, opened when first needed.
pub struct Connection {
    target: Target,
    sender: Option<SendRequest<Payload>>,
}

impl Connection {
    /// Will connect to `target`.
    #[must_use]
    pub fn to(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no connection or it breaks; the next request opens a new one.
    pub async fn send(&mut self, request: Request<Payload>, keep: Keep) -> Result<Answer, RequestError> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.open().await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let answer = read(response, keep).await?;
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn open(&self) -> Result<SendRequest<Payload>, RequestError> {
        let address = &self.target.address;
        let failed = |source| RequestError::Connect {
            address: address.clone(),
            source,
        };
        let socket = TcpStream::connect(address).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        match &self.target.tls {
            None => shake_hands(TokioIo::new(socket)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), socket).await.map_err(failed)?;
                shake_hands(TokioIo::new(stream)).await
            }
        }
    }
}

async fn shake_hands<T>(io: T) -> Result<SendRequest<Payload>, RequestError>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, driver) = Builder::new().max_buf_size(READ_BUFFER_BYTES).handshake(io).await?;
    tokio::spawn(async move {
        // A broken connection is reported to the request that waits on it.
        let _ = driver.await;
    });
    Ok(sender)
}

async fn read(response: Response<Incoming>, keep: Keep) -> Result<Answer, RequestError> {
    let status = response.status();
    let kept_max = match keep {
        Keep::Everything => usize::MAX,
        Keep::Nothing if status.is_success() => 0,
        Keep::Nothing => ERROR_BYTES_MAX,
    };
    let mut body = response.into_body();
    let (mut bytes, mut kept) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data): Result<Bytes, _> = frame?.into_data() else {
            continue;
        };
        bytes += data.len() as u64;
        let room = kept_max.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(&data[..room]);
    }
    Ok(Answer {
        status,
        bytes,
        body: kept,
    })
}
