//! The listener: connections in, requests to a service, a graceful end.
//!
//! HTTP/1.1 only, as S3 itself: clients open several connections instead of streams.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::expect::Expectation;
use super::patient::Patient;
use super::tls::Tls;

/// The error of a body or service, whatever it is.
type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Limits of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Connections at once; one more is told to come back and closed.
    pub connections_max: usize,
    /// How long a client may take for a request's head, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a client may take no byte of its answer.
    pub write_timeout: Duration,
    /// Header lines of one request.
    pub headers_max: usize,
    /// Bytes read ahead per connection; also the limit of a request's head.
    pub buffer_bytes: usize,
    /// How long requests in progress may go on after the end was asked for.
    pub drain: Duration,
    /// How often certificate files are read again.
    pub reload_every: Duration,
    /// Header names of answers as `Title-Case`, for protocols whose clients show them.
    pub title_case: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 2048,
            head_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            headers_max: 512,
            buffer_bytes: 128 << 10,
            drain: Duration::from_secs(30),
            reload_every: Duration::from_secs(60),
            title_case: false,
        }
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("listening on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Who is at the other end; every request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A listener with its limits.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    options: ServerOptions,
}

impl Server {
    /// Listens on an address (port 0: any), encrypted when `tls` is given.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Self, ServerError> {
        Self::bind_with(address, tls, ServerOptions::default()).await
    }

    /// As [`Self::bind`], with limits of one's own.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind_with(address: SocketAddr, tls: Option<Tls>, options: ServerOptions) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            tls,
            options,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` ends, then lets the requests in progress end within [`ServerOptions::drain`].
    pub async fn run<S, B>(self, service: S, shutdown: impl Future<Output = ()>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<AnyError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let options = Arc::new(self.options);
        let connections = Arc::new(Semaphore::new(options.connections_max));
        let (tracker, ending) = (TaskTracker::new(), CancellationToken::new());
        if let Some(tls) = self.tls.clone() {
            tracker.spawn(reload(tls, options.reload_every, ending.clone()));
        }
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(cause) => {
                    // Out of file descriptors, mostly: the next accept would fail at once again.
                    tracing::warn!(%cause, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let connection = Connection {
                peer,
                tls: self.tls.clone(),
                options: Arc::clone(&options),
                ending: ending.clone(),
                permit: Arc::clone(&connections).try_acquire_owned().ok(),
            };
            tracker.spawn(connection.run(stream, service.clone()));
        }
        drop(self.listener);
        ending.cancel();
        tracker.close();
        if tokio::time::timeout(options.drain, tracker.wait()).await.is_err() {
            tracing::warn!(left = tracker.len(), "requests were cut at the end");
        }
    }
}

/// Reads the certificate's files again from time to time.
async fn reload(tls: Tls, every: Duration, ending: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = ending.cancelled() => return,
        }
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::error!(%cause, "the certificate stays what it was"),
            Err(cause) => tracing::error!(%cause, "reading the certificate was given up"),
        }
    }
}

struct Connection {
    peer: SocketAddr,
    tls: Option<Tls>,
    options: Arc<ServerOptions>,
    ending: CancellationToken,
    permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn run<S, B>(self, mut stream: TcpStream, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<AnyError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        // Without it a small answer waits for the delayed acknowledgement of the one before: 40 ms.
        let _ = stream.set_nodelay(true);
        if self.permit.is_none() {
            if self.tls.is_none() {
                let _ = stream.write_all(TOO_MANY).await;
            }
            return;
        }
        match &self.tls {
            None => self.serve(stream, service).await,
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                match tokio::time::timeout(self.options.handshake_timeout, handshake).await {
                    Ok(Ok(stream)) => self.serve(stream, service).await,
                    Ok(Err(cause)) => tracing::debug!(peer = %self.peer, %cause, "no handshake"),
                    Err(_) => tracing::debug!(peer = %self.peer, "a handshake took too long"),
                }
            }
        }
    }

    async fn serve<IO, S, B>(&self, io: IO, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<AnyError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let info = ConnectionInfo {
            peer: self.peer,
            tls: self.tls.is_some(),
        };
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(info);
            let expectation = Expectation::of(&request);
            let answer = service.call(request);
            async move {
                let mut response = answer.await?;
                expectation.settle(&mut response);
                Ok::<_, S::Error>(response)
            }
        });
        let io = TokioIo::new(Patient::new(io, self.options.write_timeout));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.head_timeout)
            .max_headers(self.options.headers_max)
            .max_buf_size(self.options.buffer_bytes)
            .title_case_headers(self.options.title_case)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(cause) = ended {
            tracing::debug!(peer = %self.peer, %cause, "a connection broke off");
        }
    }
}

/// Told to a client beyond the limit of connections.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";
