//! An edge on port 0, and requests against it.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::{SystemClock, SystemDice, WallClock};
use identity::token::{AuthMethod, DomainRef, ProjectRef, RoleRef, Scope, StaticTokens, TokenContext, UserRef};
use proxy::http::Server;
use proxy::swift::{SwiftEdge, SwiftOptions, V1Auth};
use store::testing::{Cluster, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A running edge; ends when dropped.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) cluster: Cluster,
    pub(crate) edge: SwiftEdge,
    _stop: oneshot::Sender<()>,
}

/// A token's meaning: a user of a project with roles.
pub(crate) fn token(user: &str, project: &str, roles: &[&str]) -> TokenContext {
    let domain = || DomainRef {
        id: "default".into(),
        name: "Default".into(),
    };
    TokenContext {
        user: UserRef {
            id: user.into(),
            name: user.into(),
            domain: domain(),
            password_expires_ms: None,
        },
        scope: Scope::Project(ProjectRef {
            id: project.into(),
            name: project.into(),
            domain: domain(),
        }),
        roles: roles
            .iter()
            .map(|role| RoleRef {
                id: (*role).into(),
                name: (*role).into(),
            })
            .collect(),
        methods: vec![AuthMethod::Password],
        audit_ids: vec!["a".into()],
        issued_ms: 0,
        expires_ms: u64::MAX,
        access_rules: None,
        application_credential: None,
        trust: None,
        admin_project: false,
    }
}

impl Edge {
    pub(crate) async fn start() -> Self {
        Self::start_with(SwiftOptions::default()).await
    }

    pub(crate) async fn start_with(options: SwiftOptions) -> Self {
        let mut shape = Shape::default();
        shape.options.chunk_bytes = 64 << 10;
        let cluster = Cluster::new(shape);
        cluster.clock.set_ms(SystemClock.now_ms());
        let tokens = StaticTokens::default()
            .with("owner", token("alice", "p", &["member", "reader"]))
            .with("reader", token("rita", "p", &["reader"]))
            .with("other", token("bob", "q", &["member", "reader"]))
            .with("nobody", token("nemo", "p", &[]))
            .with("reseller", token("root", "r", &["ResellerAdmin"]));
        let options = SwiftOptions {
            v1: Some(V1Auth::new("p tester testing .admin\n", None, &[7; 32]).expect("good users")),
            ..options
        };
        let (clock, dice) = (Arc::new(cluster.clock.clone()), Arc::new(SystemDice));
        let edge = SwiftEdge::new(cluster.store.clone(), Arc::new(tokens), clock, dice, options);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, None).await.expect("port 0 is free");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(edge.clone(), async { drop(stopped.await) }));
        Self {
            address,
            cluster,
            edge,
            _stop: stop,
        }
    }

    /// An edge with the container `c`.
    pub(crate) async fn with_container() -> Self {
        let edge = Self::start().await;
        put("/c").send(&edge).await.is(201);
        edge
    }

    /// Moves the cluster's clock and the edge's, which are one.
    pub(crate) fn pass_seconds(&self, seconds: u64) {
        self.cluster.clock.set_ms(self.cluster.clock.now_ms() + seconds * 1000);
    }

    /// Sends bytes as they are and reads the answer to its end.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.expect("the edge listens");
        // The edge may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Reply::parse(&answer)
    }
}

/// One request, with the owner's token unless said otherwise.
#[derive(Clone)]
pub(crate) struct Call {
    method: &'static str,
    target: String,
    token: Option<&'static str>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub(crate) fn call(method: &'static str, path: &str) -> Call {
    Call {
        method,
        target: format!("/v1/AUTH_p{path}"),
        token: Some("owner"),
        headers: Vec::new(),
        body: None,
    }
}

pub(crate) fn get(path: &str) -> Call {
    call("GET", path)
}

pub(crate) fn head(path: &str) -> Call {
    call("HEAD", path)
}

pub(crate) fn put(path: &str) -> Call {
    call("PUT", path).body("")
}

pub(crate) fn post(path: &str) -> Call {
    call("POST", path)
}

pub(crate) fn delete(path: &str) -> Call {
    call("DELETE", path)
}

impl Call {
    /// Another path than one of the owner's account.
    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    pub(crate) fn by(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.token = None;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) async fn send(self, edge: &Edge) -> Reply {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.method, self.target, edge.address
        );
        if let Some(token) = self.token {
            text.push_str(&format!("x-auth-token: {token}\r\n"));
        }
        let framed = self
            .headers
            .iter()
            .any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        if let (Some(body), false) = (&self.body, framed) {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let bytes = [text.as_bytes(), self.body.as_deref().unwrap_or_default()].concat();
        let mut reply = edge.raw(&bytes).await;
        reply.asked = format!("{} {}", self.method, self.target);
        reply
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    asked: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self::default();
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or(0);
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &bytes[end + 4..];
        let body = if chunked { unchunk(body) } else { body.to_vec() };
        Self {
            status,
            headers,
            body,
            asked: String::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{}: {why}: {}", self.asked, self.text()))
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        let id = self.header("x-trans-id");
        assert!(id.starts_with("tx") && id.len() == 34, "{}: {id}", self.asked);
        assert_eq!(id, self.header("x-openstack-request-id"));
        self
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size @ 1..) = size else { break };
        bytes.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    bytes
}
