//! The serving side: checks who asks and how much, admits, and only then reads bodies and works.
//!
//! Bounds (MEM-1): connections; bytes of bodies being written and being read, each one named pool; a request that finds
//! its pool empty waits a moment with its body unread (the sender's socket fills up), then is told `busy` (503). A peer
//! that neither sends nor takes bytes for [`STALL_MAX`] is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metadata::ids::DeviceId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::PieceBody;
use super::codec::{
    BODY_BYTES_MAX, DigestCall, Head, HeadProgress, HeadReader, ListCall, POST_BYTES_MAX, RemoveCall, StatAnswer,
    StatCall, decode, encode, parse_key, parse_range,
};
use super::fault::Fault;
use super::{FAULT_HEADER, HEAD_HEADER, WHY_HEADER, bearer};
use crate::device::{
    BLOB_BYTES_MAX, Blob, BlobKey, BlobStore, DeviceError, FRAME_BYTES, Pieces, REMOVE_BATCH, frame_span, frames_of,
};
use crate::node::DeviceSet;
use crate::wire::{Credentials, ListenError, Socket, listen, same, tune};

/// Open connections; one more waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a request may wait for room in its pool.
const ADMISSION_WAIT: Duration = Duration::from_secs(3);
/// How long a peer may send nothing in the middle of a body, or take nothing of an answer.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long a connection may be idle or take for the head of a request.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long the TLS handshake may take.
const TLS_MAX: Duration = Duration::from_secs(5);
/// The largest read buffer of a connection.
const READ_BUFFER_BYTES: usize = 512 * 1024;

/// The pools of bytes that bodies are admitted to.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Bytes of blobs being received and stored.
    pub write_bytes: usize,
    /// Bytes of blobs being read and sent.
    pub read_bytes: usize,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            write_bytes: 96 * 1024 * 1024,
            read_bytes: 96 * 1024 * 1024,
        }
    }
}

/// A bound port that does not serve yet.
pub struct BoundBlobs {
    listener: TcpListener,
    address: SocketAddr,
    me: Credentials,
}

impl BoundBlobs {
    /// Binds `address` (port 0 picks one).
    ///
    /// # Errors
    /// When the address needs certificates that are not there (SEC-1), or cannot be bound.
    pub async fn bind(me: Credentials, address: SocketAddr) -> Result<Self, ListenError> {
        let (listener, address) = listen(&me, address).await?;
        Ok(Self { listener, address, me })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `devices` until stopped.
    #[must_use]
    pub fn serve(self, devices: DeviceSet, admission: Admission) -> BlobServer {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = BlobServer {
            address: self.address,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let desk = Arc::new(Desk {
            bearer: bearer(&self.me.secret),
            me: self.me,
            devices,
            writes: Arc::new(Semaphore::new(admission.write_bytes.max(BODY_BYTES_MAX))),
            reads: Arc::new(Semaphore::new(admission.read_bytes.max(BODY_BYTES_MAX))),
        });
        let listener = self.listener;
        tasks
            .clone()
            .spawn(async move { accept(listener, desk, tasks, stop).await });
        server
    }
}

/// A running server.
pub struct BlobServer {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl BlobServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting; requests in progress get `at_most` to end.
    pub async fn stop(&self, at_most: Duration) {
        self.stop.cancel();
        self.tasks.close();
        // What has not ended by then ends with the runtime; nothing of it was acknowledged.
        let _ = tokio::time::timeout(at_most, self.tasks.wait()).await;
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, tasks: TaskTracker, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = match stop.run_until_cancelled(next).await {
            Some(Some(next)) => next,
            _ => return,
        };
        match accepted {
            Ok((tcp, _)) => {
                let (desk, stop) = (Arc::clone(&desk), stop.clone());
                tasks.spawn(async move {
                    connection(tcp, desk, stop).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "accepting a blob connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, desk: Arc<Desk>, stop: CancellationToken) {
    let socket = match secured(tcp, &desk.me).await {
        Ok(socket) => socket,
        Err(e) => return tracing::debug!(error = %e, "a blob connection was refused"),
    };
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket.stalling(STALL_MAX)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "a blob connection ended early");
    }
}

async fn secured(tcp: TcpStream, me: &Credentials) -> std::io::Result<Socket> {
    tune(&tcp)?;
    match &me.tls {
        None => Ok(Socket::new(tcp)),
        Some(tls) => {
            let (socket, _certificate) = tokio::time::timeout(TLS_MAX, tls.accept(tcp))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
            Ok(socket)
        }
    }
}

/// Where requests are judged and answered.
struct Desk {
    me: Credentials,
    bearer: String,
    devices: DeviceSet,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A fault and a sentence for people.
struct Failure(Fault, String);

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Self(Fault::from(&error), error.to_string())
    }
}

fn bad(why: &str) -> Failure {
    Failure(Fault::BadRequest, why.to_owned())
}

type Answer = Result<Response<PieceBody>, Failure>;

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<PieceBody> {
        self.serve(request).await.unwrap_or_else(|Failure(fault, why)| {
            let mut response = Response::new(PieceBody::default());
            *response.status_mut() = fault.status();
            let code = header::HeaderValue::from(fault as u8 as u16);
            response.headers_mut().insert(FAULT_HEADER, code);
            if let Ok(why) = header::HeaderValue::from_str(&why) {
                response.headers_mut().insert(WHY_HEADER, why);
            }
            response
        })
    }

    async fn serve(&self, request: Request<Incoming>) -> Answer {
        let shown = request
            .headers()
            .get(header::AUTHORIZATION)
            .map_or(&[][..], |value| value.as_bytes());
        if !same(shown, self.bearer.as_bytes()) {
            return Err(Failure(Fault::Unauthorized, "the bearer is wrong".to_owned()));
        }
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix("/v1/devices/").ok_or_else(|| bad("no such path"))?;
        let (id, what) = rest.split_once('/').ok_or_else(|| bad("no such path"))?;
        let id = DeviceId(id.parse().map_err(|_| bad("the device id is no number"))?);
        let device = self.devices.get(id);
        let device = device.ok_or_else(|| Failure(Fault::NoSuchDevice, format!("device {id} is not on this node")))?;
        if let Some(key) = what.strip_prefix("blobs/") {
            let key = parse_key(key).ok_or_else(|| bad("the key is malformed"))?;
            return match *request.method() {
                Method::PUT => self.put(&*device, key, request).await,
                Method::GET => self.get(&*device, key, &request).await,
                Method::HEAD => head(&*device, key).await,
                _ => Err(bad("no such method")),
            };
        }
        match (request.method(), what) {
            (&Method::POST, "remove" | "stat" | "list" | "digest") => {
                self.post(&*device, what.to_owned(), request).await
            }
            _ => Err(bad("no such path")),
        }
    }

    async fn put(&self, device: &dyn BlobStore, key: BlobKey, request: Request<Incoming>) -> Answer {
        let length = content_length(&request, BODY_BYTES_MAX)?;
        let _room = admit(&self.writes, length).await?;
        let (head, payload) = read_blob(request.into_body()).await?;
        let whole = head.first_frame == 0 && head.frame_crcs.len() == frames_of(head.header.len);
        if !whole || payload.len() != head.header.len as usize {
            return Err(Failure(
                Fault::Malformed,
                "head and payload do not fit each other".to_owned(),
            ));
        }
        device
            .put(Blob {
                key,
                header: head.header,
                frame_crcs: head.frame_crcs,
                payload,
            })
            .await?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    async fn get(&self, device: &dyn BlobStore, key: BlobKey, request: &Request<Incoming>) -> Answer {
        let range = match request.headers().get(header::RANGE) {
            None => 0..u32::MAX,
            Some(range) => range
                .to_str()
                .ok()
                .and_then(parse_range)
                .ok_or_else(|| bad("the range is malformed"))?,
        };
        let longest = BLOB_BYTES_MAX as u32;
        let span = frame_span(longest, &range).unwrap_or(0..FRAME_BYTES as u32);
        let room = admit(&self.reads, span.len()).await?;
        let slice = device.read(key, range).await?;
        let head = Head {
            header: slice.header,
            first_frame: slice.first_frame,
            frame_crcs: slice.frame_crcs,
        };
        Ok(Response::new(
            PieceBody::new([head.encode(), slice.payload]).holding(room),
        ))
    }

    async fn post(&self, device: &dyn BlobStore, what: String, request: Request<Incoming>) -> Answer {
        let length = content_length(&request, POST_BYTES_MAX)?;
        let _room = admit(&self.writes, length).await?;
        let body = read_all(request.into_body(), length).await?;
        let malformed = || bad("the body is malformed");
        match what.as_str() {
            "remove" => {
                let RemoveCall { keys } = decode(&body).ok_or_else(malformed)?;
                for keys in keys.chunks(REMOVE_BATCH) {
                    device.remove(keys.to_vec()).await?;
                }
                Ok(empty(StatusCode::NO_CONTENT))
            }
            "stat" => {
                let StatCall { keys } = decode(&body).ok_or_else(malformed)?;
                let mut headers = Vec::with_capacity(keys.len());
                for key in keys {
                    headers.push(device.stat(key).await?);
                }
                self.found(&StatAnswer { headers }).await
            }
            "list" => {
                let ListCall {
                    after,
                    until_placement,
                    limit,
                } = decode(&body).ok_or_else(malformed)?;
                self.found(&device.list(after, until_placement, limit as usize).await?)
                    .await
            }
            _ => {
                let DigestCall { first, last } = decode(&body).ok_or_else(malformed)?;
                self.found(&device.digest(first..=last).await?).await
            }
        }
    }

    async fn found<T: serde::Serialize>(&self, value: &T) -> Answer {
        let body = encode(value);
        let room = admit(&self.reads, body.len()).await?;
        Ok(Response::new(PieceBody::new([body]).holding(room)))
    }
}

async fn head(device: &dyn BlobStore, key: BlobKey) -> Answer {
    let header = device.stat(key).await?.ok_or(DeviceError::NotFound)?;
    let head = Head {
        header,
        first_frame: 0,
        frame_crcs: Vec::new(),
    };
    let mut response = empty(StatusCode::OK);
    let text = header::HeaderValue::from_str(&hex::encode(head.encode())).expect("hex digits are a header value");
    response.headers_mut().insert(HEAD_HEADER, text);
    Ok(response)
}

fn empty(status: StatusCode) -> Response<PieceBody> {
    let mut response = Response::new(PieceBody::default());
    *response.status_mut() = status;
    response
}

/// The length the body has; bodies without one, or with too much, are refused unread.
fn content_length(request: &Request<Incoming>, at_most: usize) -> Result<usize, Failure> {
    let exact = request
        .body()
        .size_hint()
        .exact()
        .ok_or_else(|| bad("the length is missing"))?;
    match usize::try_from(exact) {
        Ok(length) if length <= at_most => Ok(length),
        _ => Err(Failure(
            Fault::TooLarge,
            format!("{exact} bytes are more than {at_most}"),
        )),
    }
}

/// Takes `bytes` out of a pool, or says busy.
async fn admit(pool: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let permits = u32::try_from(bytes.min(BODY_BYTES_MAX)).expect("BODY_BYTES_MAX fits");
    match tokio::time::timeout(ADMISSION_WAIT, Arc::clone(pool).acquire_many_owned(permits)).await {
        Ok(Ok(room)) => Ok(room),
        _ => Err(Failure(
            Fault::Busy,
            "the node's pool of body bytes is empty".to_owned(),
        )),
    }
}

/// The next piece of a body; a peer that sends nothing is cut.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match tokio::time::timeout(STALL_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => return Ok(Some(piece)),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(e))) => return Err(bad(&format!("the body broke off: {e}"))),
            Ok(None) => return Ok(None),
            Err(_) => return Err(Failure(Fault::Slow, "the body did not arrive in time".to_owned())),
        }
    }
}

/// Head and payload; the payload stays in the pieces it arrived in.
async fn read_blob(mut body: Incoming) -> Result<(Head, Pieces), Failure> {
    let malformed = || {
        Failure(
            Fault::Malformed,
            "the body does not begin with a blob's head".to_owned(),
        )
    };
    let mut reader = HeadReader::default();
    let (head, first) = loop {
        let piece = next_piece(&mut body).await?.ok_or_else(malformed)?;
        match reader.push(piece) {
            HeadProgress::More => {}
            HeadProgress::Whole(head, rest) => break (head, rest),
            HeadProgress::Bad => return Err(malformed()),
        }
    };
    let mut payload = Pieces::from(first);
    while let Some(piece) = next_piece(&mut body).await? {
        payload.push(piece);
    }
    Ok((head, payload))
}

async fn read_all(mut body: Incoming, length: usize) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::with_capacity(length);
    while let Some(piece) = next_piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
