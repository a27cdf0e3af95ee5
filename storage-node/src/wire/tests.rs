//! Two processes' worth of wire in one test: real sockets on loopback, port 0.

use std::sync::atomic::{AtomicUsize, Ordering};

use clock::SystemDice;
use metadata::ids::ClusterId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::session::IN_FLIGHT_MAX;
use super::*;

const NODE: NodeId = NodeId(3);
const LONG: Duration = Duration::from_secs(20);

fn credentials(secret: &[u8], role: Role) -> Credentials {
    Credentials {
        cluster: ClusterId(9),
        role,
        secret: Secret::new(secret).unwrap(),
        tls: None,
    }
}

const SECRET: &[u8] = b"a secret of at least sixteen bytes";

/// Echoes; `Query` waits until `gate` lets it pass, `Admin` is unknown.
#[derive(Default)]
struct Echo {
    gate: Gate,
    served: AtomicUsize,
    entered: Notify,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

#[async_trait]
impl Service for Echo {
    async fn serve(&self, peer: &Peer, kind: CallKind, body: Bytes) -> Option<Bytes> {
        self.served.fetch_add(1, Ordering::SeqCst);
        self.entered.notify_one();
        match kind {
            CallKind::Admin => return None,
            CallKind::NodeStatus => return Some(format!("{:?} {}", peer.node, peer.process).into()),
            CallKind::Query => drop(self.gate.0.acquire().await.unwrap()),
            _ => {}
        }
        Some(body)
    }
}

async fn server(me: Credentials, service: Arc<Echo>) -> WireServer {
    let any_port = "127.0.0.1:0".parse().unwrap();
    BoundWire::bind(me, NODE, any_port, Arc::new(SystemDice))
        .await
        .unwrap()
        .serve(service)
}

fn caller(me: Credentials, address: impl ToString) -> Arc<TcpCaller> {
    let address = NodeAddress {
        wire: address.to_string(),
        blobs: String::new(),
    };
    TcpCaller::new(me, AddressBook::new([(NODE, address)]), Arc::new(SystemDice))
}

async fn pair() -> (Arc<Echo>, WireServer, Arc<TcpCaller>) {
    let service = Arc::new(Echo::default());
    let server = server(credentials(SECRET, Role::Storage(NODE)), Arc::clone(&service)).await;
    let caller = caller(credentials(SECRET, Role::Proxy), server.address());
    (service, server, caller)
}

async fn echo(caller: &TcpCaller, kind: CallKind, body: impl Into<Bytes>) -> Result<Bytes, WireError> {
    caller.call(NODE, Channel::Metadata, kind, body.into(), LONG).await
}

#[tokio::test]
async fn many_calls_in_flight_each_get_their_own_answer() {
    let (_, _server, caller) = pair().await;
    let calls = (0..900_u32).map(|n| {
        let caller = Arc::clone(&caller);
        async move {
            // Every fiftieth is large enough to travel beside the copied frames.
            let body = vec![n.to_le_bytes()[0]; if n % 50 == 0 { 300_000 } else { n as usize }];
            let answer = echo(&caller, CallKind::Propose, body.clone()).await;
            assert_eq!(answer.unwrap(), body);
        }
    });
    futures::future::join_all(calls).await;
}

#[tokio::test]
async fn an_unknown_kind_a_proven_node_and_an_oversized_body_are_told() {
    let (_, server, proxy) = pair().await;
    assert_eq!(
        echo(&proxy, CallKind::Admin, "x").await,
        Err(WireError::UnknownCall { node: NODE })
    );
    let said = echo(&proxy, CallKind::NodeStatus, "").await.unwrap();
    assert_eq!(said, format!("None {}", proxy.process()));
    let node = caller(credentials(SECRET, Role::Storage(NodeId(8))), server.address());
    let said = echo(&node, CallKind::NodeStatus, "").await.unwrap();
    assert_eq!(said, format!("Some(NodeId(8)) {}", node.process()));
    let large = vec![0; CALL_BYTES_MAX + 1];
    assert_eq!(echo(&proxy, CallKind::Propose, large).await, Err(WireError::TooLarge));
}

#[tokio::test]
async fn sec_1_a_wrong_secret_another_cluster_and_another_node_are_refused() {
    let (service, server, _) = pair().await;
    let wrong = caller(
        credentials(b"another secret of enough bytes", Role::Proxy),
        server.address(),
    );
    let error = echo(&wrong, CallKind::Propose, "x").await.unwrap_err();
    // The caller notices first: the service cannot prove itself to it either.
    assert!(
        matches!(&error, WireError::Unreachable { reason, .. } if reason.contains("could not prove")),
        "{error}"
    );
    let mut foreign = credentials(SECRET, Role::Proxy);
    foreign.cluster = ClusterId(10);
    let error = echo(&caller(foreign, server.address()), CallKind::Propose, "x")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another cluster"), "{error}");
    let other = NodeId(4);
    let address = NodeAddress {
        wire: server.address().to_string(),
        blobs: String::new(),
    };
    let lost = TcpCaller::new(
        credentials(SECRET, Role::Proxy),
        AddressBook::new([(other, address)]),
        Arc::new(SystemDice),
    );
    let error = lost
        .call(other, Channel::Raft, CallKind::Propose, Bytes::new(), LONG)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another node was asked for"), "{error}");
    assert_eq!(service.served.load(Ordering::SeqCst), 0);
}

/// Passes bytes on between a caller and a service, and keeps what the caller sent.
async fn eavesdrop(server: std::net::SocketAddr) -> (std::net::SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut caller, _) = listener.accept().await.unwrap();
        let mut service = TcpStream::connect(server).await.unwrap();
        let (mut from_caller, mut to_caller) = caller.split();
        let (mut from_service, mut to_service) = service.split();
        let mut heard = Vec::new();
        let listen = async {
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = from_caller.read(&mut bytes).await {
                heard.extend_from_slice(&bytes[..n]);
                to_service.write_all(&bytes[..n]).await.unwrap();
            }
        };
        tokio::select! {
            () = listen => {}
            _ = tokio::io::copy(&mut from_service, &mut to_caller) => {}
        }
        heard
    });
    (address, heard)
}

#[tokio::test]
async fn sec_1_a_replayed_handshake_proves_nothing_and_shows_no_secret() {
    let (service, server, _) = pair().await;
    let (between, heard) = eavesdrop(server.address()).await;
    let honest = caller(credentials(SECRET, Role::Proxy), between);
    assert_eq!(echo(&honest, CallKind::Propose, "once").await.unwrap(), "once");
    server.stop(Duration::from_millis(1)).await;
    let heard = heard.await.unwrap();
    assert!(!heard.windows(SECRET.len()).any(|window| window == SECRET));

    let again = self::server(credentials(SECRET, Role::Storage(NODE)), Arc::clone(&service)).await;
    let served = service.served.load(Ordering::SeqCst);
    let mut replay = TcpStream::connect(again.address()).await.unwrap();
    replay.write_all(&heard).await.unwrap();
    let mut answer = Vec::new();
    // The service closes the connection: after its challenge comes `refused`, the wrong proof (4).
    let _ = replay.read_to_end(&mut answer).await;
    assert!(answer.ends_with(&[2, 0, 5, 4]), "{answer:?}");
    assert_eq!(service.served.load(Ordering::SeqCst), served);
}

#[tokio::test]
async fn hostile_bytes_before_the_handshake_end_the_connection() {
    let (service, server, _) = pair().await;
    let floods: [&[u8]; 4] = [
        &[0xff; 9000],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0],
        &[5, 0, 1, 2, 3, 4, 5],
    ];
    for flood in floods {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        let _ = tcp.write_all(flood).await;
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
    assert_eq!(service.served.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = caller(credentials(SECRET, Role::Proxy), listener.local_addr().unwrap());
    let error = echo(&silent, CallKind::Propose, "x").await.unwrap_err();
    assert!(
        matches!(&error, WireError::Unreachable { reason, .. } if reason.contains("too long")),
        "{error}"
    );
}

#[tokio::test]
async fn an_oversized_frame_ends_the_connection_and_the_next_call_opens_another() {
    let (_, server, _) = pair().await;
    let me = credentials(SECRET, Role::Proxy);
    let socket = tcp_caller::connect(&me, Role::Storage(NODE), &server.address().to_string()).await;
    let mut socket = socket.unwrap();
    let greeting = handshake::Greeting {
        me: &me,
        process: 1,
        wanted: NODE,
        channel: Channel::Raft,
    };
    handshake::greet(&mut socket, &greeting, &SystemDice).await.unwrap();
    socket.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_connection_broken_in_the_middle_of_a_call_is_no_answer_and_a_refused_one_unreachable() {
    let (service, server, caller) = pair().await;
    let waiting = {
        let caller = Arc::clone(&caller);
        tokio::spawn(async move { echo(&caller, CallKind::Query, "x").await })
    };
    service.entered.notified().await;
    server.stop(Duration::from_secs(5)).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, WireError::NoAnswer { .. }), "{error}");
    // The port is closed now: this call is certainly not executed, and so is the next, within the backoff.
    for _ in 0..2 {
        let error = echo(&caller, CallKind::Propose, "x").await.unwrap_err();
        assert!(matches!(error, WireError::Unreachable { .. }), "{error}");
    }
    assert_eq!(service.served.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_restarted_server_is_found_again_after_the_backoff() {
    let (service, server, caller) = pair().await;
    let address = server.address();
    echo(&caller, CallKind::Propose, "x").await.unwrap();
    server.stop(Duration::from_secs(5)).await;
    let bound = BoundWire::bind(
        credentials(SECRET, Role::Storage(NODE)),
        NODE,
        address,
        Arc::new(SystemDice),
    )
    .await;
    let _server = bound.unwrap().serve(service);
    let mut tries = 0;
    while echo(&caller, CallKind::Propose, "x").await.is_err() {
        tries += 1;
        assert!(tries < 100_000, "never connected again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_no_answer_and_its_late_answer_disturbs_nobody() {
    let (service, _server, caller) = pair().await;
    let short = Duration::from_millis(20);
    let late = caller
        .call(NODE, Channel::Metadata, CallKind::Query, "late".into(), short)
        .await;
    assert!(matches!(late, Err(WireError::NoAnswer { .. })), "{late:?}");
    service.gate.0.add_permits(1);
    assert_eq!(echo(&caller, CallKind::Propose, "next").await.unwrap(), "next");
}

#[tokio::test]
async fn mem_1_one_call_more_than_fit_is_busy() {
    let (service, _server, caller) = pair().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT_MAX {
        let caller = Arc::clone(&caller);
        waiting.spawn(async move { echo(&caller, CallKind::Query, "x").await });
    }
    while service.served.load(Ordering::SeqCst) < IN_FLIGHT_MAX {
        service.entered.notified().await;
    }
    assert_eq!(
        echo(&caller, CallKind::Propose, "x").await,
        Err(WireError::Busy { node: NODE })
    );
    service.gate.0.add_permits(IN_FLIGHT_MAX);
    while let Some(answer) = waiting.join_next().await {
        answer.unwrap().unwrap();
    }
    echo(&caller, CallKind::Propose, "x").await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_behind() {
    let (service, _server, caller) = pair().await;
    for _ in 0..3 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT_MAX / 2 {
            let caller = Arc::clone(&caller);
            calls.spawn(async move { echo(&caller, CallKind::Query, "x").await });
        }
        service.entered.notified().await;
        calls.shutdown().await;
        service.gate.0.add_permits(IN_FLIGHT_MAX / 2);
    }
    echo(&caller, CallKind::Propose, "x").await.unwrap();
}

#[tokio::test]
async fn sec_1_off_loopback_without_certificates_nothing_binds_or_connects() {
    let me = credentials(SECRET, Role::Storage(NODE));
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let error = BoundWire::bind(me, NODE, everywhere, Arc::new(SystemDice))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("configure the cluster's CA"), "{error}");
    let far = caller(credentials(SECRET, Role::Proxy), "192.0.2.1:7000");
    let error = echo(&far, CallKind::Propose, "x").await.unwrap_err();
    assert!(error.to_string().contains("not a loopback address"), "{error}");
    assert!(matches!(Secret::new(b"short"), Err(CredentialError::ShortSecret(5))));
}

/// A CA of its own, as the cluster has one.
struct Ca(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn credentials(&self, claimed: Role, certified: Role, trusted: &Ca) -> Credentials {
        let params = rcgen::CertificateParams::new(vec![certified.certificate_name()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let tls = Tls::from_pem(trusted.0.pem().as_bytes(), certificate.as_bytes(), key.as_bytes()).unwrap();
        Credentials {
            tls: Some(Arc::new(tls)),
            ..credentials(SECRET, claimed)
        }
    }
}

#[tokio::test]
async fn sec_1_tls_both_ways_and_the_certificate_must_name_the_caller_and_the_node() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (node, proxy, other) = (Role::Storage(NODE), Role::Proxy, Role::Storage(NodeId(5)));
    let service = Arc::new(Echo::default());
    let server = server(ours.credentials(node, node, &ours), Arc::clone(&service)).await;
    let good = caller(ours.credentials(proxy, proxy, &ours), server.address());
    let body = vec![7; 200_000];
    assert_eq!(echo(&good, CallKind::Propose, body.clone()).await.unwrap(), body);
    let bad = [
        (
            "a node's name claimed with a proxy's certificate",
            ours.credentials(other, proxy, &ours),
        ),
        ("a certificate of another CA", theirs.credentials(proxy, proxy, &ours)),
        (
            "a service whose CA is not trusted",
            ours.credentials(proxy, proxy, &theirs),
        ),
        ("no TLS at all", credentials(SECRET, proxy)),
    ];
    for (what, me) in bad {
        let error = echo(&caller(me, server.address()), CallKind::Propose, "x").await;
        assert!(error.is_err(), "{what}");
    }
    assert_eq!(service.served.load(Ordering::SeqCst), 1);
    // A node with another node's certificate is not believed to be that node.
    let impostor = self::server(ours.credentials(node, other, &ours), Arc::clone(&service)).await;
    let good = caller(ours.credentials(proxy, proxy, &ours), impostor.address());
    assert!(matches!(
        echo(&good, CallKind::Propose, "x").await,
        Err(WireError::Unreachable { .. })
    ));
}
