//! An edge on port 0, and requests against it.

use std::net::SocketAddr;
use std::sync::Arc;

use clock::{SystemClock, SystemDice, WallClock};
use identity::StaticKeys;
use proxy::http::{Server, ServerOptions, Tls};
use proxy::s3::{S3Edge, S3Options};
use store::testing::{Cluster, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::sign::{Signature, encode};

/// A running edge; ends when dropped.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) cluster: Cluster,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) running: tokio::task::JoinHandle<()>,
}

/// How an edge is started.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) options: S3Options,
    pub(crate) server: ServerOptions,
    pub(crate) tls: Option<Tls>,
}

impl Edge {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        let mut shape = Shape::default();
        shape.options.chunk_bytes = 64 << 10;
        let cluster = Cluster::new(shape);
        cluster.clock.set_ms(SystemClock.now_ms());
        let keys = StaticKeys::default()
            .with("main", "main-secret", "main")
            .with("alt", "alt-secret", "alt")
            .with_roles("reader", "reader-secret", "main", &["reader"])
            .with_roles("none", "none-secret", "main", &[]);
        let (clock, dice) = (Arc::new(SystemClock), Arc::new(SystemDice));
        let edge = S3Edge::new(cluster.store.clone(), Arc::new(keys), clock, dice, setup.options);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind_with(any, setup.tls, setup.server)
            .await
            .expect("port 0 is free");
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(edge, async { drop(stopped.await) }));
        Self {
            address,
            cluster,
            stop: Some(stop),
            running,
        }
    }

    /// An edge with the bucket `bkt`.
    pub(crate) async fn with_bucket() -> Self {
        let edge = Self::start().await;
        Call::put("/bkt").send(&edge).await.ok();
        edge
    }

    /// An edge with the versioned bucket `bkt`.
    pub(crate) async fn versioned() -> Self {
        let edge = Self::with_bucket().await;
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        Call::put("/bkt")
            .query("versioning", "")
            .body(enabled)
            .send(&edge)
            .await
            .ok();
        edge
    }

    /// The number of copies of blobs on all devices.
    pub(crate) async fn copies(&self) -> usize {
        self.cluster.data.copies().await
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

/// One request, signed by the key `main` unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) unsigned: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: Signature,
    pub(crate) host: Option<String>,
}

impl Call {
    fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            body: Vec::new(),
            signature: Signature::default(),
            host: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    pub(crate) fn put(path: &str) -> Self {
        Self::new("PUT", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn options(path: &str) -> Self {
        Self {
            signature: Signature::Anonymous,
            ..Self::new("OPTIONS", path)
        }
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header that the signature does not cover.
    pub(crate) fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn signed(mut self, signature: Signature) -> Self {
        self.signature = signature;
        self
    }

    pub(crate) fn by(self, key: &'static str, secret: &'static str) -> Self {
        self.signed(Signature::Header {
            key,
            secret,
            payload: crate::sign::Payload::Hashed,
            at: None,
        })
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The request's bytes.
    pub(crate) fn bytes(&self, edge: &Edge) -> Vec<u8> {
        let host = self.host.clone().unwrap_or_else(|| edge.address.to_string());
        let made = self.signature.apply(self, &host);
        let query: Vec<String> = made
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
            .collect();
        let target = if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, query.join("&"))
        };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        let length = [("content-length".to_owned(), made.body.len().to_string())];
        let close = [("connection".to_owned(), "close".to_owned())];
        let given = |name: &str| {
            made.headers
                .iter()
                .chain(&self.unsigned)
                .any(|(given, _)| given == name)
        };
        let length = if given("content-length") || given("transfer-encoding") {
            &[][..]
        } else {
            &length
        };
        for (name, value) in made.headers.iter().chain(&self.unsigned).chain(length).chain(&close) {
            if value != "<absent>" {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        [head.as_bytes(), b"\r\n", &made.body].concat()
    }

    pub(crate) async fn send(self, edge: &Edge) -> Reply {
        let mut reply = edge.raw(&self.bytes(edge)).await;
        reply.asked = format!("{} {}", self.method, self.path);
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
    pub(crate) fn parse(bytes: &[u8]) -> Self {
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
        self.headers
            .iter()
            .find(|(given, _)| given == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of that name.
    pub(crate) fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// The texts of all elements of that name.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let mut found = Vec::new();
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once(&format!("<{name}>")) {
            let (value, end) = after.split_once(&format!("</{name}>")).expect("the element ends");
            found.push(value.to_owned());
            rest = end;
        }
        found
    }

    /// Status and code of an error: `404 NoSuchKey`.
    pub(crate) fn error(&self) -> String {
        if self.status >= 400 && !self.body.is_empty() {
            assert_eq!(
                self.element("RequestId"),
                self.header("x-amz-request-id"),
                "one id in both places"
            );
            assert!(!self.element("Message").is_empty(), "every error has a message");
        }
        format!("{} {}", self.status, self.element("Code")).trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(
            (200..300).contains(&self.status),
            "{}: {} {}",
            self.asked,
            self.status,
            self.text()
        );
        self
    }

    #[track_caller]
    pub(crate) fn is(self, error: &str) -> Self {
        assert_eq!(self.error(), error, "{}: {}", self.asked, self.text());
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
