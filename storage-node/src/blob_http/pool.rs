//! Kept-alive connections to the blob servers of other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clock::Dice;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use metadata::ids::NodeId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::PieceBody;
use crate::wire::{AddressBook, Channel, Credentials, Greeting, NodeAddress, connect_and_greet};

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
    dice: Arc<dyn Dice>,
    process: u64,
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
}

struct Node {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<SendRequest<PieceBody>>>,
}

/// A connection in use. Given back by [`Lease::done`]; dropped otherwise, because a half-read answer spoils it.
pub(super) struct Lease {
    node: Arc<Node>,
    sender: SendRequest<PieceBody>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(me: Credentials, book: AddressBook, dice: Arc<dyn Dice>) -> Self {
        let process = dice.u64();
        Self {
            me,
            book,
            dice,
            process,
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
        let node = self.node(id);
        let place = Arc::clone(&node.places).acquire_owned().await;
        let place = place.map_err(|_| PoolError::Refused("the pool is closed".to_owned()))?;
        let mut kept = node.take_idle();
        loop {
            let reused = kept.is_some();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => self.open(id).await.map_err(PoolError::Refused)?,
            };
            match sender.send_request(request()).await {
                Ok(response) => {
                    let lease = Lease {
                        node,
                        sender,
                        _place: place,
                    };
                    return Ok((response, lease));
                }
                Err(_) if reused => {}
                Err(e) => return Err(PoolError::Broken(e.to_string())),
            }
        }
    }

    /// Tries every address of the node; the last failure is told.
    async fn open(&self, id: NodeId) -> Result<SendRequest<PieceBody>, String> {
        let mut why = format!("the address of node {id} is not known");
        for NodeAddress { blobs, .. } in self.book.get(id) {
            match self.open_at(id, &blobs).await {
                Ok(sender) => return Ok(sender),
                Err(error) => why = format!("{blobs}: {error}"),
            }
        }
        Err(why)
    }

    async fn open_at(&self, id: NodeId, address: &str) -> Result<SendRequest<PieceBody>, String> {
        let greeting = Greeting {
            me: &self.me,
            process: self.process,
            wanted: id,
            channel: Channel::Blobs,
        };
        let socket = connect_and_greet(&greeting, &*self.dice, address).await?;
        let mut builder = Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let io = TokioIo::new(socket.stalling(STALL_MAX));
        let (sender, connection) = builder.handshake(io).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a blob connection ended early");
            }
        });
        Ok(sender)
    }
}

impl Node {
    /// The connection used last that is still open; closed ones are dropped.
    fn take_idle(&self) -> Option<SendRequest<PieceBody>> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(SendRequest::is_ready)
    }
}

impl Lease {
    /// The answer was read to its end: the connection serves again.
    pub(super) fn done(self) {
        let mut idle = self.node.idle.lock();
        if idle.len() < IDLE_MAX && !self.sender.is_closed() {
            idle.push(self.sender);
        }
    }
}
