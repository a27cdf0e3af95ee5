//! How two processes come to believe each other before the first call (SEC-1).
//!
//! ```text
//! every message: length 2 LE (of all that follows, at most 4 KiB) | type 1 | body
//! hello     1  caller  -> service  "HALOWIRE" 8 | version 2 | channel 1 | role 1 (1 storage, 2 proxy) | node 8 |
//!                                  wanted node 8 | cluster 16 | process 8 | nonce 32
//! challenge 2  service -> caller   version 2 | node 8 | nonce 32 | proof 32
//! proof     3  caller  -> service  proof 32
//! welcome   4  service -> caller   (empty)
//! refused   5  service -> caller   reason 1
//! ```
//! All numbers little endian. A proof is HMAC-SHA-256 under a key derived from the cluster's secret, over a label that
//! differs for the two sides, the whole hello and the challenge (without the proof, for the service's own). Both sides
//! give a fresh nonce, so a recorded handshake proves nothing later; the secret itself never travels. Over TLS the
//! certificate must also name the role that the hello claims.

use std::time::Duration;

use bytes::{Buf, BufMut};
use clock::Dice;
use metadata::ids::{ClusterId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::credentials::{Credentials, Role, mac, same};
use super::socket::Socket;
use super::tls::PeerCertificate;
use super::{Channel, Peer};

/// The version of handshake and frames spoken here.
pub const WIRE_VERSION: u16 = 1;
/// How long a handshake may take, TLS included.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest message before the peer is known.
const MESSAGE_BYTES_MAX: usize = 4096;

const MAGIC: &[u8; 8] = b"HALOWIRE";
const HELLO_BYTES: usize = 8 + 2 + 1 + 1 + 8 + 8 + 16 + 8 + 32;
const CHALLENGE_BYTES: usize = 2 + 8 + 32;
const NONCE_BYTES: usize = 32;

const HELLO: u8 = 1;
const CHALLENGE: u8 = 2;
const PROOF: u8 = 3;
const WELCOME: u8 = 4;
const REFUSED: u8 = 5;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] std::io::Error),
    #[error("the other side does not speak this protocol")]
    NotHalo,
    #[error("the other side speaks wire version {0}, this one {WIRE_VERSION}")]
    Version(u16),
    #[error("the other side could not prove that it knows the cluster's secret")]
    WrongProof,
    #[error("the other side is node {0}, not the one asked for")]
    OtherNode(NodeId),
    #[error("the other side refused: {0}")]
    Refused(Refusal),
    #[error("this side refused: {0}")]
    Refuse(Refusal),
}

/// Why the accepting side refuses, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub(super) enum Refusal {
    #[error("another wire version")]
    Version = 1,
    #[error("another cluster")]
    Cluster = 2,
    #[error("another node was asked for")]
    Node = 3,
    #[error("the proof of the cluster's secret is wrong")]
    Proof = 4,
    #[error("the certificate names somebody else")]
    Certificate = 5,
    #[error("too many connections")]
    Full = 6,
    #[error("an unknown reason")]
    Other = 255,
}

impl Refusal {
    fn from_code(code: u8) -> Self {
        let known = [
            Self::Version,
            Self::Cluster,
            Self::Node,
            Self::Proof,
            Self::Certificate,
            Self::Full,
        ];
        known
            .into_iter()
            .find(|refusal| *refusal as u8 == code)
            .unwrap_or(Self::Other)
    }
}

struct Hello {
    version: u16,
    channel: Option<Channel>,
    role: Option<Role>,
    wanted: NodeId,
    cluster: ClusterId,
    process: u64,
}

impl Hello {
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < MAGIC.len() + 2 || !bytes.starts_with(MAGIC) {
            return None;
        }
        bytes.advance(MAGIC.len());
        let version = bytes.get_u16_le();
        if version == WIRE_VERSION && bytes.len() != HELLO_BYTES - MAGIC.len() - 2 {
            return None;
        }
        if version != WIRE_VERSION {
            let (wanted, cluster) = (NodeId(0), ClusterId(0));
            return Some(Self {
                version,
                channel: None,
                role: None,
                wanted,
                cluster,
                process: 0,
            });
        }
        let channel = Channel::from_number(bytes.get_u8());
        let (role, node) = (bytes.get_u8(), NodeId(bytes.get_u64_le()));
        let role = match role {
            1 => Some(Role::Storage(node)),
            2 => Some(Role::Proxy),
            _ => None,
        };
        let wanted = NodeId(bytes.get_u64_le());
        let cluster = ClusterId(bytes.get_u128_le());
        Some(Self {
            version,
            channel,
            role,
            wanted,
            cluster,
            process: bytes.get_u64_le(),
        })
    }
}

/// The connecting side of a handshake: who it is and whom it wants to speak to.
pub(crate) struct Greeting<'a> {
    pub(crate) me: &'a Credentials,
    pub(crate) process: u64,
    pub(crate) wanted: NodeId,
    pub(crate) channel: Channel,
}

fn encode_hello(greeting: &Greeting<'_>, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let Greeting {
        me,
        process,
        wanted,
        channel,
    } = *greeting;
    let mut hello = Vec::with_capacity(HELLO_BYTES);
    hello.put_slice(MAGIC);
    hello.put_u16_le(WIRE_VERSION);
    hello.put_u8(channel as u8);
    hello.put_u8(if me.role == Role::Proxy { 2 } else { 1 });
    hello.put_u64_le(me.role.node().unwrap_or_default().0);
    hello.put_u64_le(wanted.0);
    hello.put_u128_le(me.cluster.0);
    hello.put_u64_le(process);
    hello.put_slice(nonce);
    hello
}

fn service_proof(me: &Credentials, hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    mac(&me.secret.derive("halo wire 1"), &[b"service", hello, challenge])
}

fn caller_proof(me: &Credentials, hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    mac(&me.secret.derive("halo wire 1"), &[b"caller", hello, challenge])
}

/// The connecting side: proves itself to `wanted` and has the other side prove itself.
pub(super) async fn greet(socket: &mut Socket, greeting: &Greeting<'_>, dice: &dyn Dice) -> Result<(), HandshakeError> {
    let Greeting { me, wanted, .. } = *greeting;
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let hello = encode_hello(greeting, &nonce);
    send(socket, HELLO, &hello).await?;
    let answer = receive(socket, CHALLENGE).await?;
    if answer.len() < 2 {
        return Err(HandshakeError::NotHalo);
    }
    let version = (&answer[..2]).get_u16_le();
    if version != WIRE_VERSION {
        return Err(HandshakeError::Version(version));
    }
    if answer.len() != CHALLENGE_BYTES + 32 {
        return Err(HandshakeError::NotHalo);
    }
    let (challenge, proof) = answer.split_at(CHALLENGE_BYTES);
    if !same(&service_proof(me, &hello, challenge), proof) {
        return Err(HandshakeError::WrongProof);
    }
    let node = NodeId((&challenge[2..10]).get_u64_le());
    if node != wanted {
        return Err(HandshakeError::OtherNode(node));
    }
    send(socket, PROOF, &caller_proof(me, &hello, challenge)).await?;
    receive(socket, WELCOME).await?;
    Ok(())
}

/// The accepting side: tells who called, and on which channel.
pub(super) async fn receive_caller(
    socket: &mut Socket,
    me: &Credentials,
    node: NodeId,
    dice: &dyn Dice,
    certificate: Option<&PeerCertificate>,
) -> Result<(Peer, Channel), HandshakeError> {
    let hello_bytes = receive(socket, HELLO).await?;
    let hello = Hello::decode(&hello_bytes).ok_or(HandshakeError::NotHalo)?;
    let (role, channel) = match judge(&hello, me, node, certificate) {
        Ok(claimed) => claimed,
        Err(refusal) => return refuse(socket, refusal).await,
    };
    let mut challenge = Vec::with_capacity(CHALLENGE_BYTES + 32);
    challenge.put_u16_le(WIRE_VERSION);
    challenge.put_u64_le(node.0);
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    challenge.put_slice(&nonce);
    let own_proof = service_proof(me, &hello_bytes, &challenge);
    send(socket, CHALLENGE, &[&challenge[..], &own_proof].concat()).await?;
    let proof = receive(socket, PROOF).await?;
    if !same(&caller_proof(me, &hello_bytes, &challenge), &proof) {
        return refuse(socket, Refusal::Proof).await;
    }
    send(socket, WELCOME, &[]).await?;
    Ok((
        Peer {
            node: role.node(),
            process: hello.process,
        },
        channel,
    ))
}

/// Decides whether a hello may go on to the proof. Plain function.
fn judge(
    hello: &Hello,
    me: &Credentials,
    node: NodeId,
    certificate: Option<&PeerCertificate>,
) -> Result<(Role, Channel), Refusal> {
    if hello.version != WIRE_VERSION {
        return Err(Refusal::Version);
    }
    if hello.cluster != me.cluster {
        return Err(Refusal::Cluster);
    }
    if hello.wanted != node {
        return Err(Refusal::Node);
    }
    let (Some(role), Some(channel)) = (hello.role, hello.channel) else {
        return Err(Refusal::Version);
    };
    if certificate.is_some_and(|certificate| !certificate.names(role)) {
        return Err(Refusal::Certificate);
    }
    Ok((role, channel))
}

/// Tells the other side why, then gives up.
pub(super) async fn refuse<T>(socket: &mut Socket, refusal: Refusal) -> Result<T, HandshakeError> {
    send(socket, REFUSED, &[refusal as u8]).await?;
    Err(HandshakeError::Refuse(refusal))
}

async fn send(socket: &mut Socket, kind: u8, body: &[u8]) -> Result<(), HandshakeError> {
    let mut message = Vec::with_capacity(3 + body.len());
    message.put_u16_le(u16::try_from(1 + body.len()).expect("messages are far below 64 KiB"));
    message.put_u8(kind);
    message.put_slice(body);
    socket.write_all(&message).await?;
    socket.flush().await?;
    Ok(())
}

async fn receive(socket: &mut Socket, wanted: u8) -> Result<Vec<u8>, HandshakeError> {
    let length = usize::from(socket.read_u16_le().await?);
    if length == 0 || length > MESSAGE_BYTES_MAX {
        return Err(HandshakeError::NotHalo);
    }
    let mut message = vec![0; length];
    socket.read_exact(&mut message).await?;
    let body = message.split_off(1);
    match message[0] {
        kind if kind == wanted => Ok(body),
        REFUSED => Err(HandshakeError::Refused(Refusal::from_code(
            body.first().copied().unwrap_or(0),
        ))),
        _ => Err(HandshakeError::NotHalo),
    }
}
