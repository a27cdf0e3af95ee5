//! The serving side of blob bodies: connections whose other side has proven itself, each answered by the [`Desk`].
//!
//! Bounds (MEM-1): connections; a peer that neither sends nor takes bytes for [`STALL_MAX`] is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clock::Dice;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metadata::ids::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desk::Desk;
use crate::node::DeviceSet;
use crate::wire::{Channel, Credentials, Door, ListenError, accepted, listen};

/// Open connections; one more waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a peer may send nothing in the middle of a body, or take nothing of an answer.
pub(super) const STALL_MAX: Duration = Duration::from_secs(10);
/// How long a connection may be idle or take for the head of a request.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The pause after a failed accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
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
            write_bytes: 64 * 1024 * 1024,
            read_bytes: 48 * 1024 * 1024,
        }
    }
}

/// A bound port that does not serve yet.
pub struct BoundBlobs {
    listener: TcpListener,
    address: SocketAddr,
    me: Credentials,
    node: NodeId,
    dice: Arc<dyn Dice>,
}

impl BoundBlobs {
    /// Binds `address` (port 0 picks one) for storage node `node`.
    ///
    /// # Errors
    /// When the address needs certificates that are not there (SEC-1), or cannot be bound.
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

    /// Serves `devices` until stopped.
    #[must_use]
    pub fn serve(self, devices: DeviceSet, admission: Admission) -> BlobServer {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = BlobServer {
            address: self.address,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let house = Arc::new(House {
            me: self.me,
            node: self.node,
            dice: self.dice,
            desk: Desk::new(devices, admission),
        });
        let listener = self.listener;
        tasks
            .clone()
            .spawn(async move { accept(listener, house, tasks, stop).await });
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

/// What all connections share.
struct House {
    me: Credentials,
    node: NodeId,
    dice: Arc<dyn Dice>,
    desk: Desk,
}

async fn accept(listener: TcpListener, house: Arc<House>, tasks: TaskTracker, stop: CancellationToken) {
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
                let (house, stop) = (Arc::clone(&house), stop.clone());
                tasks.spawn(async move {
                    connection(tcp, house, stop).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "accepting a blob connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, house: Arc<House>, stop: CancellationToken) {
    let door = Door {
        me: &house.me,
        node: house.node,
        dice: &*house.dice,
        full: false,
    };
    let socket = match accepted(tcp, &door).await {
        Ok((socket, _, Channel::Blobs)) => socket,
        Ok(_) => return tracing::debug!("calls are taken at another port"),
        Err(why) => return tracing::debug!(%why, "a blob connection was refused"),
    };
    let service = service_fn(move |request| {
        let house = Arc::clone(&house);
        async move { Ok::<_, Infallible>(house.desk.answer(request).await) }
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
