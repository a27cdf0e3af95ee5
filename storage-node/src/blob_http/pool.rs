//! Kept-alive connections to the blob servers of other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use metadata::ids::NodeId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::PieceBody;
use crate::wire::{AddressBook, Credentials, Role, connect};

/// Connections to one node, idle ones included; one more request waits.
const CONNECTIONS_MAX: usize = 64;
/// Connections to one node that are kept while nobody uses them.
const IDLE_MAX: usize = 32;
/// The largest read buffer of a connection.
const READ_BUFFER_BYTES: usize = 512 * 1024;
/// A peer that takes no byte of a request for this long is cut.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PoolError {
    /// There is no connection; nothing was sent.
    Refused(String),
    /// The connection broke after bytes were sent.
    Broken(String),
}

/// Connections by node.
pub(super) struct Pool {
    me: Credentials,
    book: AddressBook,
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
}

struct Node {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    address: String,
    sender: SendRequest<PieceBody>,
}

/// A connection in use. Given back by [`Lease::done`]; dropped otherwise, because a half-read answer spoils it.
pub(super) struct Lease {
    node: Arc<Node>,
    connection: Idle,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(me: Credentials, book: AddressBook) -> Self {
        Self {
            me,
            book,
            nodes: Mutex::default(),
        }
    }

    fn node(&self, id: NodeId) -> Arc<Node> {
        let fresh = || {
            Arc::new(Node {
                places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                idle: Mutex::default(),
            })
        };
        Arc::clone(self.nodes.lock().entry(id).or_insert_with(fresh))
    }

    /// Sends a request and waits for the head of its answer. `request` makes it anew for the second try, which is made
    /// once when a kept connection turns out to have been closed by the other side.
    pub(super) async fn send(
        &self,
        id: NodeId,
        request: &(dyn Fn() -> Request<PieceBody> + Sync),
    ) -> Result<(Response<Incoming>, Lease), PoolError> {
        let address = self.book.get(id).map(|address| address.blobs);
        let address = address.ok_or_else(|| PoolError::Refused(format!("the address of node {id} is not known")))?;
        let node = self.node(id);
        let place = Arc::clone(&node.places).acquire_owned().await;
        let place = place.map_err(|_| PoolError::Refused("the pool is closed".to_owned()))?;
        let mut kept = node.take_idle(&address);
        loop {
            let reused = kept.is_some();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => self.open(id, &address).await.map_err(PoolError::Refused)?,
            };
            match sender.send_request(request()).await {
                Ok(response) => {
                    let connection = Idle { address, sender };
                    return Ok((
                        response,
                        Lease {
                            node,
                            connection,
                            _place: place,
                        },
                    ));
                }
                Err(_) if reused => {}
                Err(e) => return Err(PoolError::Broken(e.to_string())),
            }
        }
    }

    async fn open(&self, id: NodeId, address: &str) -> Result<SendRequest<PieceBody>, String> {
        let socket = connect(&self.me, Role::Storage(id), address)
            .await
            .map_err(|e| format!("{address}: {e}"))?;
        let mut builder = Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let io = TokioIo::new(socket.stalling(STALL_MAX));
        let (sender, connection) = builder.handshake(io).await.map_err(|e| format!("{address}: {e}"))?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a blob connection ended early");
            }
        });
        Ok(sender)
    }
}

impl Node {
    /// The connection used last that is still open and leads to `address`; others are dropped.
    fn take_idle(&self, address: &str) -> Option<SendRequest<PieceBody>> {
        let mut idle = self.idle.lock();
        while let Some(kept) = idle.pop() {
            if kept.address == address && kept.sender.is_ready() {
                return Some(kept.sender);
            }
        }
        None
    }
}

impl Lease {
    /// The answer was read to its end: the connection serves again.
    pub(super) fn done(self) {
        let mut idle = self.node.idle.lock();
        if idle.len() < IDLE_MAX && !self.connection.sender.is_closed() {
            idle.push(self.connection);
        }
    }
}
