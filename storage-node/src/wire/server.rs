//! The answering side: accepts connections, has callers prove themselves, hands calls to the [`Service`].
//!
//! Bounds: connections, handshakes in progress, calls in flight on a connection, bytes of calls being answered, bytes
//! of answers waiting for a slow caller. Past the number of calls the caller is told `busy`; past the bytes its
//! connection is not read until there is room.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clock::Dice;
use futures::StreamExt;
use metadata::ids::NodeId;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::credentials::{CredentialError, Credentials};
use super::frame::{ANSWER, BUSY, Frame, UNKNOWN, codec};
use super::handshake::{HANDSHAKE_TIMEOUT, Refusal, receive_caller, refuse};
use super::session::{FRAMES_PER_WRITE, IN_FLIGHT_MAX, write_frames};
use super::socket::{Socket, tune};
use super::{CALL_BYTES_MAX, CallKind, Channel, Peer, Service};

/// Open connections; one more is closed at once.
const CONNECTIONS_MAX: usize = 1024;
/// Handshakes in progress; one more waits in the kernel's queue.
const HANDSHAKES_MAX: usize = 64;
/// Bytes of calls of one connection that are being answered.
const CALL_BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;
/// Bytes of answers of one connection that wait for the socket.
const ANSWER_BYTES_QUEUED_MAX: usize = 64 * 1024 * 1024;
/// Added to a call's own deadline before its answer is given up here, so that the caller's clock decides.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// The pause after a failed accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not allowed (SEC-1).
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The system refused.
    #[error("listening on {address}: {source}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Binds a listener after checking that the address may be used without or with TLS.
pub(crate) async fn listen(me: &Credentials, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    me.allow(address)?;
    let io = |source| ListenError::Io { address, source };
    let listener = TcpListener::bind(address).await.map_err(io)?;
    let bound = listener.local_addr().map_err(io)?;
    Ok((listener, bound))
}

/// A bound port that does not serve yet: its address is known before the services that need it are built.
pub struct BoundWire {
    listener: TcpListener,
    address: SocketAddr,
    me: Credentials,
    node: NodeId,
    dice: Arc<dyn Dice>,
}

impl BoundWire {
    /// Binds `address` (port 0 picks one) for storage node `node`.
    ///
    /// # Errors
    /// When the address needs certificates that are not there, or cannot be bound.
    pub async fn bind(
        me: Credentials,
        node: NodeId,
        address: SocketAddr,
        dice: Arc<dyn Dice>,
    ) -> Result<Self, ListenError> {
        let (listener, address) = listen(&me, address).await?;
        Ok(Self {
            listener,
            address,
            me,
            node,
            dice,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until stopped.
    #[must_use]
    pub fn serve(self, service: Arc<dyn Service>) -> WireServer {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            me: self.me,
            node: self.node,
            dice: self.dice,
            service,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        });
        let server = WireServer {
            address: self.address,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let listener = self.listener;
        tasks.clone().spawn(async move {
            let accepting = accept(listener, shared, tasks, stop.clone());
            stop.run_until_cancelled(accepting).await;
        });
        server
    }
}

/// A running server.
pub struct WireServer {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl WireServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and reading, closes connections; calls being answered lose their caller.
    pub async fn stop(&self, at_most: Duration) {
        self.stop.cancel();
        self.tasks.close();
        // What has not ended by then ends with the runtime.
        let _ = tokio::time::timeout(at_most, self.tasks.wait()).await;
    }
}

struct Shared {
    me: Credentials,
    node: NodeId,
    dice: Arc<dyn Dice>,
    service: Arc<dyn Service>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let Ok(handshake) = Arc::clone(&shared.handshakes).acquire_owned().await else {
            return;
        };
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(e) => {
                tracing::warn!(error = %e, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move { stop.run_until_cancelled(connection(tcp, shared, handshake)).await });
    }
}

async fn connection(tcp: TcpStream, shared: Arc<Shared>, handshake: OwnedSemaphorePermit) {
    let place = Arc::clone(&shared.connections).try_acquire_owned();
    let door = Door {
        me: &shared.me,
        node: shared.node,
        dice: &*shared.dice,
        full: place.is_err(),
    };
    let accepted = accepted(tcp, &door).await;
    drop(handshake);
    let (socket, peer) = match accepted {
        Ok((socket, peer, Channel::Raft | Channel::Metadata)) => (socket, peer),
        Ok((_, _, Channel::Blobs)) => return tracing::debug!("blob bodies are taken at another port"),
        Err(why) => return tracing::debug!(%why, "a connection was refused"),
    };
    let (reader, writer) = tokio::io::split(socket);
    let (answers, queued) = mpsc::channel(IN_FLIGHT_MAX);
    tokio::select! {
        () = read_calls(reader, peer, &shared.service, answers) => {}
        () = write_answers(writer, queued) => {}
    }
}

/// Whom a connection has come to.
pub(crate) struct Door<'a> {
    pub(crate) me: &'a Credentials,
    pub(crate) node: NodeId,
    pub(crate) dice: &'a dyn Dice,
    /// There is no room: the peer is told so and sent away.
    pub(crate) full: bool,
}

/// Has the other side of a fresh connection prove itself, over TLS when there are certificates, in a bounded time.
pub(crate) async fn accepted(tcp: TcpStream, door: &Door<'_>) -> Result<(Socket, Peer, Channel), String> {
    let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, greeted(tcp, door)).await;
    greeted.unwrap_or_else(|_| Err("the handshake took too long".to_owned()))
}

async fn greeted(tcp: TcpStream, door: &Door<'_>) -> Result<(Socket, Peer, Channel), String> {
    tune(&tcp).map_err(|e| e.to_string())?;
    let (mut socket, certificate) = match &door.me.tls {
        None => (Socket::new(tcp), None),
        Some(tls) => {
            let (socket, certificate) = tls.accept(tcp).await.map_err(|e| e.to_string())?;
            (socket, Some(certificate))
        }
    };
    if door.full {
        return refuse(&mut socket, Refusal::Full).await.map_err(|e| e.to_string());
    }
    let caller = receive_caller(&mut socket, door.me, door.node, door.dice, certificate.as_ref()).await;
    let (peer, channel) = caller.map_err(|e| e.to_string())?;
    Ok((socket, peer, channel))
}

struct Answer {
    frame: Frame,
    _bytes: Option<OwnedSemaphorePermit>,
}

async fn read_calls(reader: ReadHalf<Socket>, peer: Peer, service: &Arc<dyn Service>, answers: mpsc::Sender<Answer>) {
    let mut frames = FramedRead::with_capacity(reader, codec(), 64 * 1024);
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let call_bytes = Arc::new(Semaphore::new(CALL_BYTES_IN_FLIGHT_MAX));
    let answer_bytes = Arc::new(Semaphore::new(ANSWER_BYTES_QUEUED_MAX));
    let peer = Arc::new(peer);
    while let Some(Ok(bytes)) = frames.next().await {
        let Some(call) = Frame::decode(bytes) else { return };
        if call.flags != 0 {
            return;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let frame = Frame {
                flags: ANSWER | BUSY,
                body: bytes::Bytes::new(),
                ..call
            };
            if answers.send(Answer { frame, _bytes: None }).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(held) = Arc::clone(&call_bytes)
            .acquire_many_owned(permits(call.body.len()))
            .await
        else {
            return;
        };
        let (service, peer) = (Arc::clone(service), Arc::clone(&peer));
        let (answers, answer_bytes) = (answers.clone(), Arc::clone(&answer_bytes));
        tokio::spawn(async move {
            if let Some(frame) = answer(call, &peer, &*service).await {
                drop(held);
                let bytes = answer_bytes.acquire_many_owned(permits(frame.body.len())).await.ok();
                // A closed queue means that the caller has gone.
                let _ = answers.send(Answer { frame, _bytes: bytes }).await;
            }
            drop(place);
        });
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.min(CALL_BYTES_MAX)).expect("CALL_BYTES_MAX fits")
}

/// Serves one call; `None` when it took so long that nobody waits any more.
async fn answer(call: Frame, peer: &Peer, service: &dyn Service) -> Option<Frame> {
    let Frame {
        correlation,
        kind,
        deadline_ms,
        body,
        ..
    } = call;
    let unknown = Frame {
        correlation,
        kind,
        flags: ANSWER | UNKNOWN,
        deadline_ms: 0,
        body: bytes::Bytes::new(),
    };
    let Some(known) = CallKind::from_number(kind) else {
        return Some(unknown);
    };
    let at_most = Duration::from_millis(u64::from(deadline_ms)) + DEADLINE_GRACE;
    match tokio::time::timeout(at_most, service.serve(peer, known, body))
        .await
        .ok()?
    {
        Some(body) if body.len() <= CALL_BYTES_MAX => Some(Frame {
            correlation,
            kind,
            flags: ANSWER,
            deadline_ms: 0,
            body,
        }),
        Some(body) => {
            tracing::error!(kind, bytes = body.len(), "an answer is too large and was dropped");
            None
        }
        None => Some(unknown),
    }
}

async fn write_answers(mut writer: WriteHalf<Socket>, mut queued: mpsc::Receiver<Answer>) {
    let mut batch = Vec::with_capacity(FRAMES_PER_WRITE);
    while queued.recv_many(&mut batch, FRAMES_PER_WRITE).await > 0 {
        if write_frames(&mut writer, batch.iter().map(|answer| &answer.frame))
            .await
            .is_err()
        {
            return;
        }
        batch.clear();
    }
}
