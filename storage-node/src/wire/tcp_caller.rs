//! [`Caller`] over TCP: one connection per node and channel, opened by the first call that needs it.
//!
//! A node that refuses connections is not tried again before a backoff has passed (calls meanwhile fail at once, so
//! that a caller can go to another node); the backoff is bounded, and the next call after it tries again.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Dice;
use metadata::ids::NodeId;
use parking_lot::Mutex;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::Instant;

use super::address_book::{AddressBook, NodeAddress};
use super::credentials::{Credentials, Role};
use super::handshake::{Greeting, HANDSHAKE_TIMEOUT, greet};
use super::session::{Outcome, Session};
use super::socket::{Socket, tune};
use super::{CALL_BYTES_MAX, CallKind, Caller, Channel, WireError};

/// How long connecting may take, before the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after the first failure; it doubles up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Calls other nodes over TCP.
pub struct TcpCaller {
    me: Credentials,
    book: AddressBook,
    dice: Arc<dyn Dice>,
    process: u64,
    links: Mutex<HashMap<(NodeId, Channel), Arc<Link>>>,
}

impl TcpCaller {
    /// A caller that proves itself with `me` and finds nodes in `book`.
    #[must_use]
    pub fn new(me: Credentials, book: AddressBook, dice: Arc<dyn Dice>) -> Arc<Self> {
        let process = dice.u64();
        Arc::new(Self {
            me,
            book,
            dice,
            process,
            links: Mutex::default(),
        })
    }

    /// The number by which others tell this process's connections.
    #[must_use]
    pub fn process(&self) -> u64 {
        self.process
    }

    /// The addresses it uses.
    #[must_use]
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    fn link(&self, node: NodeId, channel: Channel) -> Arc<Link> {
        Arc::clone(self.links.lock().entry((node, channel)).or_default())
    }

    /// The open connection, or the outcome of opening one.
    async fn session(&self, node: NodeId, channel: Channel) -> Result<Arc<Session>, String> {
        let link = self.link(node, channel);
        let mut opening = match link.step(Instant::now()) {
            Step::Use(session) => return Ok(session),
            Step::Refuse(why) => return Err(why),
            Step::Wait(opening) => opening,
            Step::Open(done, opening) => {
                let addresses = self.book.get(node);
                let (me, dice, process) = (self.me.clone(), Arc::clone(&self.dice), self.process);
                // A task of its own, because others wait for it when this caller gives up.
                tokio::spawn(async move {
                    let greeting = Greeting {
                        me: &me,
                        process,
                        wanted: node,
                        channel,
                    };
                    let opened = open(&greeting, &*dice, addresses).await;
                    link.opened(opened, done);
                });
                opening
            }
        };
        match opening.wait_for(Option::is_some).await.map(|seen| seen.clone()) {
            Ok(Some(opened)) => opened,
            _ => Err("connecting was given up".to_owned()),
        }
    }
}

#[async_trait]
impl Caller for TcpCaller {
    async fn call(
        &self,
        node: NodeId,
        channel: Channel,
        kind: CallKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, WireError> {
        if body.len() > CALL_BYTES_MAX {
            return Err(WireError::TooLarge);
        }
        let until = Instant::now() + deadline;
        let session = match tokio::time::timeout(deadline, self.session(node, channel)).await {
            Ok(Ok(session)) => session,
            Ok(Err(reason)) => return Err(WireError::Unreachable { node, reason }),
            Err(_) => {
                return Err(WireError::Unreachable {
                    node,
                    reason: "no connection before the deadline".to_owned(),
                });
            }
        };
        match session
            .call(kind as u16, body, until.saturating_duration_since(Instant::now()))
            .await
        {
            Outcome::Answer(body) => Ok(body),
            Outcome::Unknown => Err(WireError::UnknownCall { node }),
            Outcome::Busy => Err(WireError::Busy { node }),
            Outcome::NotSent(reason) => Err(WireError::Unreachable { node, reason }),
            Outcome::Lost(reason) => Err(WireError::NoAnswer { node, reason }),
        }
    }
}

type Opened = Result<Arc<Session>, String>;

/// What is known of the connection to one node on one channel.
#[derive(Default)]
struct Link(Mutex<LinkState>);

enum LinkState {
    Closed {
        failures: u32,
        retry_at: Option<Instant>,
        why: String,
    },
    Opening {
        failures: u32,
        done: watch::Receiver<Option<Opened>>,
    },
    Open(Arc<Session>),
}

impl Default for LinkState {
    fn default() -> Self {
        Self::Closed {
            failures: 0,
            retry_at: None,
            why: String::new(),
        }
    }
}

/// What a caller does next.
enum Step {
    Use(Arc<Session>),
    Refuse(String),
    Wait(watch::Receiver<Option<Opened>>),
    Open(watch::Sender<Option<Opened>>, watch::Receiver<Option<Opened>>),
}

impl Link {
    fn step(&self, now: Instant) -> Step {
        let mut state = self.0.lock();
        let failures = match &*state {
            LinkState::Open(session) if !session.has_ended() => return Step::Use(Arc::clone(session)),
            LinkState::Open(_) => 0,
            LinkState::Opening { done, .. } => return Step::Wait(done.clone()),
            LinkState::Closed {
                retry_at: Some(at),
                why,
                ..
            } if now < *at => return Step::Refuse(why.clone()),
            LinkState::Closed { failures, .. } => *failures,
        };
        let (sender, receiver) = watch::channel(None);
        *state = LinkState::Opening {
            failures,
            done: receiver.clone(),
        };
        Step::Open(sender, receiver)
    }

    fn opened(&self, opened: Opened, done: watch::Sender<Option<Opened>>) {
        {
            let mut state = self.0.lock();
            let failures = match &*state {
                LinkState::Opening { failures, .. } => failures + 1,
                _ => 1,
            };
            *state = match &opened {
                Ok(session) => LinkState::Open(Arc::clone(session)),
                Err(why) => {
                    let retry_at = Some(Instant::now() + backoff(failures));
                    LinkState::Closed {
                        failures,
                        retry_at,
                        why: why.clone(),
                    }
                }
            };
        }
        done.send_replace(Some(opened));
    }
}

/// The pause after this many failures in a row.
fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(BACKOFF_MAX)
}

/// Tries every address; the last failure is told.
async fn open(greeting: &Greeting<'_>, dice: &dyn Dice, addresses: Vec<NodeAddress>) -> Opened {
    let mut why = "its address is not known".to_owned();
    for NodeAddress { wire, .. } in addresses {
        match connect_and_greet(greeting, dice, &wire).await {
            Ok(socket) => return Ok(Session::start(socket)),
            Err(error) => why = format!("{wire}: {error}"),
        }
    }
    Err(why)
}

/// Connects to a node and has both sides prove themselves; says in a sentence what went wrong.
pub(crate) async fn connect_and_greet(
    greeting: &Greeting<'_>,
    dice: &dyn Dice,
    address: &str,
) -> Result<Socket, String> {
    let socket = connect(greeting.me, Role::Storage(greeting.wanted), address).await;
    let mut socket = socket.map_err(|e| e.to_string())?;
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, greet(&mut socket, greeting, dice)).await {
        Ok(Ok(())) => Ok(socket),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("the handshake took too long".to_owned()),
    }
}

/// Connects to `peer` at `host:port`, over TLS when this process has certificates; refuses plain text off loopback.
pub(super) async fn connect(me: &Credentials, peer: Role, address: &str) -> io::Result<Socket> {
    let connecting = async {
        let candidates: Vec<SocketAddr> = lookup_host(address).await?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for candidate in candidates {
            if let Err(e) = me.allow(candidate) {
                last = io::Error::new(io::ErrorKind::PermissionDenied, e.to_string());
                continue;
            }
            match TcpStream::connect(candidate).await {
                Ok(tcp) => return Ok(tcp),
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
    let tcp = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(timed_out()))?;
    tune(&tcp)?;
    match &me.tls {
        None => Ok(Socket::new(tcp)),
        Some(tls) => {
            let tls = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.connect(peer, tcp));
            tls.await.unwrap_or_else(|_| Err(timed_out()))
        }
    }
}
