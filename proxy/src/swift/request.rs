//! One request: what was asked, by whom, and what is known of the container it names.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use store::{BodyError, Bucket, BucketConfig, RequestContext, RequestId, StoreError, Totals};
use tokio::sync::OnceCell;

use super::context::Swift;
use super::path::Path;
use super::principal::{Home, Principal};
use super::reply::{BROKEN, Refused, STALLED, TOO_LARGE, bad_request, from_store, not_found, refuse};
use super::settings::Settings;
use super::sync::Elsewhere;
use super::tempurl::Scope;
use crate::http::Stalled;

/// The bytes of a request as they arrive.
pub(crate) type Incoming = Pin<Box<dyn http_body::Body<Data = Bytes, Error = AnyError> + Send>>;
/// The error of a body, whatever it is.
pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The decoded parameters of a request, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query. `None`: not UTF-8.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced)
                .decode_utf8()
                .ok()
                .map(|text| text.into_owned())
        };
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }

    /// A parameter's value; empty when it has none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether there are no parameters at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a parameter is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a parameter says yes.
    pub(crate) fn says_yes(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }
}

/// The words that mean yes.
pub(crate) fn is_true(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    matches!(text.as_str(), "true" | "1" | "yes" | "on" | "t" | "y")
}

/// What a log line tells of a request.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: RequestId,
    pub(crate) operation: OnceLock<&'static str>,
    pub(crate) project: OnceLock<String>,
    pub(crate) bytes_in: AtomicU64,
}

impl Ticket {
    /// A ticket for a new request.
    pub(crate) fn new(id: RequestId) -> Self {
        let (operation, project) = (OnceLock::new(), OnceLock::new());
        let bytes_in = AtomicU64::new(0);
        Self {
            id,
            operation,
            project,
            bytes_in,
        }
    }
}

/// A container, and what its shard keeps with it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) bucket: Bucket,
    pub(crate) config: BucketConfig,
    pub(crate) totals: Totals,
    pub(crate) settings: Settings,
}

/// One request.
pub(crate) struct Ask {
    pub(crate) swift: Swift,
    pub(crate) cx: RequestContext,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) method: Method,
    /// The path as it came.
    pub(crate) raw_path: String,
    pub(crate) path: Path,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// The wall clock at its arrival.
    pub(crate) now_ms: u64,
    /// The address it came from.
    pub(crate) peer: Option<std::net::IpAddr>,
    /// Who asks; nobody without a token.
    pub(crate) principal: Option<Arc<Principal>>,
    /// What it may do in the account.
    pub(crate) home: Home,
    /// The request comes from container sync.
    pub(crate) elsewhere: Option<Elsewhere>,
    /// Access was given by a signed URL: to what it names, and to what that leads to in the key's reach.
    pub(crate) by_signature: Option<Scope>,
    body: Mutex<Option<Incoming>>,
    container: OnceCell<Option<Arc<Container>>>,
    account: OnceCell<Arc<Settings>>,
}

impl Ask {
    /// A request whose caller is not known yet.
    pub(crate) fn new(
        swift: Swift,
        ticket: Arc<Ticket>,
        path: Path,
        parts: http::request::Parts,
        body: Incoming,
    ) -> Result<Self, Refused> {
        let query = Query::parse(parts.uri.query()).ok_or_else(|| bad_request("Invalid query"))?;
        let project = path.project().unwrap_or_default().to_owned();
        let cx = RequestContext::new(ticket.id, project, swift.options.deadline);
        let peer = parts
            .extensions
            .get::<crate::http::ConnectionInfo>()
            .map(|info| info.peer.ip());
        Ok(Self {
            now_ms: swift.clock.now_ms(),
            swift,
            cx,
            ticket,
            method: parts.method,
            raw_path: parts.uri.path().to_owned(),
            path,
            query,
            headers: parts.headers,
            peer,
            principal: None,
            home: Home::Stranger,
            elsewhere: None,
            by_signature: None,
            body: Mutex::new(Some(body)),
            container: OnceCell::new(),
            account: OnceCell::new(),
        })
    }

    /// A request to something else on behalf of the same caller, without a body.
    pub(crate) fn inner(&self, method: Method, path: Path, headers: HeaderMap) -> Self {
        let by_signature = self.by_signature.filter(|scope| {
            let (account, container) = (path.account == self.path.account, path.container == self.path.container);
            account && (container || *scope == Scope::Account)
        });
        Self {
            swift: self.swift.clone(),
            cx: self.cx.acting_for(path.project().unwrap_or_default().to_owned()),
            ticket: Arc::clone(&self.ticket),
            method,
            raw_path: self.raw_path.clone(),
            home: if path.account == self.path.account {
                self.home
            } else {
                self.home_in(&path)
            },
            path,
            query: Query::default(),
            headers,
            now_ms: self.now_ms,
            peer: self.peer,
            principal: self.principal.clone(),
            elsewhere: None,
            by_signature,
            body: Mutex::new(None),
            container: OnceCell::new(),
            account: OnceCell::new(),
        }
    }

    /// What the caller may do in the account of another path, lists aside.
    fn home_in(&self, path: &Path) -> Home {
        match (&self.principal, path.project()) {
            (Some(principal), Some(project)) => principal.in_project(project),
            _ => Home::Stranger,
        }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    /// Whether the caller owns the account: sees and sets what only owners may.
    pub(crate) fn is_owner(&self) -> bool {
        self.home == Home::Owner && self.by_signature.is_none()
    }

    /// Notes that a signed URL gives access, and nothing else does.
    pub(crate) fn sign(&mut self, scope: Scope) {
        (self.by_signature, self.home, self.principal) = (Some(scope), Home::Stranger, None);
    }

    /// The container that the path names, read once per request. `None`: there is none.
    pub(crate) async fn find_container(&self) -> Result<Option<Arc<Container>>, Refused> {
        let found = self.container.get_or_try_init(|| async {
            let name = self.path.container();
            self.swift.container(&self.cx, name).await
        });
        Ok(found.await?.clone())
    }

    /// The container that the path names.
    pub(crate) async fn container(&self) -> Result<Arc<Container>, Refused> {
        self.find_container().await?.ok_or_else(not_found)
    }

    /// The account's settings, as old as the copy of the system shard is.
    pub(crate) async fn account(&self) -> Result<Arc<Settings>, Refused> {
        let found = self.account.get_or_try_init(|| async {
            let settings = Settings::of_account_recent(&self.swift.store, &self.cx).await?;
            Ok::<_, Refused>(Arc::new(settings))
        });
        found.await.cloned()
    }

    /// The declared length of the body.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The body for the store; it fails beyond `max` bytes.
    pub(crate) fn body(&self, max: u64) -> store::Body {
        let Some(body) = self.take_body() else {
            return futures::stream::empty().boxed();
        };
        let ticket = Arc::clone(&self.ticket);
        let mut left = max;
        http_body_util::BodyDataStream::new(body)
            .map(move |piece| {
                let bytes = piece.map_err(|cause| broken(&cause))?;
                let length = bytes.len() as u64;
                ticket.bytes_in.fetch_add(length, Ordering::Relaxed);
                left = left.checked_sub(length).ok_or(BodyError {
                    code: TOO_LARGE,
                    message: "the body is too large".to_owned(),
                })?;
                Ok(bytes)
            })
            .boxed()
    }

    fn take_body(&self) -> Option<Incoming> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The whole of a small body; 413 beyond `max` bytes.
    pub(crate) async fn small_body(&self, max: usize) -> Result<Bytes, Refused> {
        let mut body = self.body(max as u64);
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece.map_err(|error| from_store(StoreError::Body(error)))?);
        }
        Ok(all.into())
    }

    /// Refuses a body that comes without a length and without chunks.
    pub(crate) fn require_length(&self) -> Result<(), Refused> {
        let coding = self.header("transfer-encoding");
        match (coding, self.headers.get("content-length")) {
            (Some(coding), _) if !coding.eq_ignore_ascii_case("chunked") => Err(refuse(StatusCode::NOT_IMPLEMENTED)),
            (None, None) => Err(super::reply::refuse_with(
                StatusCode::LENGTH_REQUIRED,
                "Missing Content-Length header.",
            )),
            _ => Ok(()),
        }
    }
}

fn broken(cause: &AnyError) -> BodyError {
    let code = if cause.is::<Stalled>() { STALLED } else { BROKEN };
    BodyError {
        code,
        message: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("format=json&prefix=a%2Fb+c&versions&&x=1=2")).expect("UTF-8");
        assert_eq!(query.get("prefix"), Some("a/b c"));
        assert_eq!(query.get("versions"), Some(""));
        assert_eq!(query.get("x"), Some("1=2"));
        assert!(!query.has("y"));
        assert_eq!(Query::parse(Some("a=%ff")), None);
    }
}
