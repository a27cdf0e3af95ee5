//! As little HTTP client as container sync needs: connections to one place, kept while they are good.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use store::{BodyStream, StoreError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::realms::Destination;

/// Where Debian and Ubuntu keep the authorities the system trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a request may make no progress, sending its body or waiting for the answer.
const STALL_MAX: Duration = Duration::from_secs(60);
/// An answer's text beyond this is not read; its connection is given up.
const ANSWER_BYTES_MAX: usize = 64 << 10;

type Outgoing = UnsyncBoxBody<Bytes, StoreError>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// No connection in time.
    #[error("no connection to {0} in time")]
    Slow(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing moved for too long.
    #[error("no progress for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// The request cannot be written down.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
    /// The authorities cannot be read, or the host's name cannot be in a certificate.
    #[error("no TLS: {0}")]
    Tls(String),
}

/// Connections to one place.
pub(super) struct Sender {
    authority: String,
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<SendRequest<Outgoing>>>,
}

impl Sender {
    /// Will connect to where a container is sent.
    pub(super) async fn to(destination: &Destination, authorities: Option<PathBuf>) -> Result<Self, SendError> {
        let url: Uri = format!("http://{}/", destination.authority)
            .parse()
            .map_err(http::Error::from)?;
        let host = url.host().unwrap_or_default().to_owned();
        let port = url.port_u16().unwrap_or(if destination.https { 443 } else { 80 });
        let tls = if destination.https {
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare).map_err(|error| SendError::Tls(error.to_string()))?;
            let connector = tokio::task::spawn_blocking(move || connector(authorities.as_deref()));
            let connector = connector.await.map_err(|error| SendError::Tls(error.to_string()))??;
            Some((connector, name))
        } else {
            None
        };
        Ok(Self {
            authority: destination.authority.clone(),
            address: format!("{host}:{port}"),
            tls,
            idle: Mutex::new(Vec::new()),
        })
    }

    fn take_idle(&self) -> Option<SendRequest<Outgoing>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|kept| !kept.is_closed() && kept.is_ready())
    }

    async fn open(&self) -> Result<SendRequest<Outgoing>, SendError> {
        let failed = |error| SendError::Connect(self.authority.clone(), error);
        let socket = TcpStream::connect(&self.address).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        match &self.tls {
            None => shake_hands(TokioIo::new(socket)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), socket).await.map_err(failed)?;
                shake_hands(TokioIo::new(stream)).await
            }
        }
    }

    /// Sends a request; answers status and headers.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<BodyStream>,
    ) -> Result<(StatusCode, HeaderMap), SendError> {
        let mut connection = match self.take_idle() {
            Some(kept) => kept,
            None => {
                let opened = timeout(CONNECT_MAX, self.open()).await;
                opened.map_err(|_| SendError::Slow(self.authority.clone()))??
            }
        };
        let moved = Arc::new(AtomicU64::new(0));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(outgoing(body, &moved))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(&self.authority).map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, host);
        let mut answering = std::pin::pin!(connection.send_request(request));
        let mut seen = 0;
        let answer = loop {
            match timeout(STALL_MAX, &mut answering).await {
                Ok(answer) => break answer?,
                Err(_) if moved.load(Ordering::Relaxed) == seen => return Err(SendError::Stalled),
                Err(_) => seen = moved.load(Ordering::Relaxed),
            }
        };
        let (head, body) = answer.into_parts();
        let text = timeout(STALL_MAX, Limited::new(body, ANSWER_BYTES_MAX).collect()).await;
        if matches!(text, Ok(Ok(_)))
            && timeout(CONNECT_MAX, connection.ready())
                .await
                .is_ok_and(|ready| ready.is_ok())
        {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
        Ok((head.status, head.headers))
    }
}

/// A body that counts what it gives.
fn outgoing(body: Option<BodyStream>, moved: &Arc<AtomicU64>) -> Outgoing {
    let body = body.unwrap_or_else(|| futures::stream::empty().boxed());
    let moved = Arc::clone(moved);
    let counted = body.inspect_ok(move |piece| {
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
    });
    StreamBody::new(counted.map_ok(Frame::data)).boxed_unsync()
}

async fn shake_hands<T>(io: T) -> Result<SendRequest<Outgoing>, SendError>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, driver) = Builder::new().handshake(io).await?;
    tokio::spawn(async move {
        // A broken connection is reported to the request that waits on it.
        let _ = driver.await;
    });
    Ok(sender)
}

fn connector(authorities: Option<&Path>) -> Result<TlsConnector, SendError> {
    let path = authorities.unwrap_or_else(|| Path::new(SYSTEM_AUTHORITIES));
    let pem = std::fs::read(path).map_err(|error| SendError::Tls(format!("{}: {error}", path.display())))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SendError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
