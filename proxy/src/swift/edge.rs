//! One request from its first byte to its last: the order of the layers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use clock::{Dice, WallClock};
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use identity::token::{TokenError, TokenSource};
use store::{BodyStream, RequestId, Store};

use super::context::Swift;
use super::path::Path;
use super::principal::{Home, Principal};
use super::reply::{Answer, Content, Refused, Reply, put, refuse};
use super::request::{AnyError, Ask, Incoming, Ticket};
use super::routes::{self, Level};
use super::tempurl::{self, Signed};
use super::{
    SwiftOptions, account, authorize, bulk, container, cors, expiry, extract, formpost, info, put as objects,
    ratelimit, staticweb, sync,
};
use crate::http::{Admission, ConnectionInfo, LogLine, Logged, Permit, Stalling, Summary};

/// Memory that one request is taken to hold beside its body, in bytes.
const REQUEST_BYTES: u64 = 64 << 10;
/// Memory that a body on its way is taken to hold at most, in bytes.
const WINDOW_BYTES: u64 = 4 << 20;

/// The body of an answer.
pub type SwiftBody = Logged<Told>;

/// The Swift edge: a `hyper` service over one [`Store`]. Cheap to clone.
#[derive(Clone)]
pub struct SwiftEdge {
    swift: Swift,
}

impl SwiftEdge {
    /// An edge that serves `store` to whoever has a token of `tokens`.
    #[must_use]
    pub fn new(
        store: Store,
        tokens: Arc<dyn TokenSource>,
        clock: Arc<dyn WallClock>,
        dice: Arc<dyn Dice>,
        options: SwiftOptions,
    ) -> Self {
        let admission = Admission::new(options.admission.clone());
        let options = Arc::new(options);
        let swift = Swift {
            store,
            tokens,
            clock,
            dice,
            admission,
            pace: Arc::default(),
            options,
        };
        Self { swift }
    }

    /// Removes expired objects again and again; ends when dropped.
    pub async fn sweep(self) {
        let every = self.swift.options.sweep_every;
        expiry::sweep_forever(self.swift, every).await;
    }

    /// Removes what has expired by now; answers how many objects.
    ///
    /// # Errors
    /// When the store does not answer; what is left is found the next time.
    pub async fn sweep_once(&self) -> Result<usize, store::StoreError> {
        expiry::sweep(&self.swift).await
    }

    /// Sends synced containers on their way, again and again; ends when dropped.
    pub async fn sync(self) {
        sync::run_forever(self.swift).await;
    }

    /// Sends what waits now; answers how many changes were dealt with.
    ///
    /// # Errors
    /// When the store does not answer; what is left is found the next time.
    pub async fn sync_once(&self) -> Result<usize, store::StoreError> {
        let holder = format!("{:032x}", self.swift.dice.u128());
        sync::round(&self.swift, &holder).await
    }

    /// Answers one request.
    pub async fn serve<B>(self, request: Request<B>) -> Response<SwiftBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<AnyError>,
    {
        let swift = &self.swift;
        let ticket = Arc::new(Ticket::new(RequestId::new(swift.clock.now_ms(), swift.dice.u128())));
        let line = LogLine::begin(&request);
        let head = request.method() == Method::HEAD;
        let (parts, body) = request.into_parts();
        let body: Incoming = Box::pin(Stalling::new(body, swift.options.body_idle));
        let mut permit = None;
        let reply = self.answer(parts, body, &ticket, &mut permit).await;
        let reply = reply.unwrap_or_else(|refused| *refused);
        let response = finish(reply, &ticket, head);
        let line = line.answered(response.status(), summary(&ticket, response.status()));
        response.map(|body| Logged::new(body, line, permit.map(Arc::new)))
    }

    async fn answer(
        &self,
        parts: http::request::Parts,
        body: Incoming,
        ticket: &Arc<Ticket>,
        permit: &mut Option<Permit>,
    ) -> Answer {
        let swift = &self.swift;
        let path = parts.uri.path();
        if let Some(reply) = self.beside_accounts(&parts).await {
            return reply;
        }
        let path = Path::parse(path)?;
        let mut ask = Ask::new(swift.clone(), Arc::clone(ticket), path, parts, body)?;
        self.identify(&mut ask).await?;
        sync::judge(&mut ask).await?;
        let _ = ticket.operation.set(operation(&ask));
        let project = ask.path.project().unwrap_or_default().to_owned();
        let bytes = REQUEST_BYTES + WINDOW_BYTES.min(ask.content_length().unwrap_or(0));
        *permit = Some(swift.admission.admit(&project, bytes).ok_or_else(slow_down)?);
        let _ = ticket.project.set(project);
        let (signed, allowed) = match check(&mut ask).await {
            Ok(signed) => (signed, Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        if allowed.is_ok() && ask.by_signature.is_none() && formpost::is_form(&ask) {
            return formpost::take(&mut ask).await;
        }
        let may_visit = allowed.is_ok();
        let allowed = match allowed {
            Ok(()) => authorize::authorize(&mut ask).await,
            refused => refused,
        };
        let ask = Arc::new(ask);
        let page = if may_visit && ask.elsewhere.is_none() {
            staticweb::visit(&ask).await
        } else {
            None
        };
        let answer = match (page, allowed) {
            (Some(page), _) => page,
            // A signed URL opens a container only as a web site.
            (None, Ok(())) if ask.by_signature.is_some() && ask.path.object.is_none() => Err(tempurl::invalid()),
            (None, Ok(())) => route(&ask).await,
            (None, Err(refused)) => Err(refused),
        };
        let mut reply = answer.unwrap_or_else(|refused| *refused);
        if let Some(signed) = signed {
            signed.dress(&ask, reply.status, &mut reply.headers);
        }
        cors::decorate(&ask, &mut reply.headers).await;
        Ok(reply)
    }

    /// What is no account: the capabilities, the health, the old way to a token.
    async fn beside_accounts(&self, parts: &http::request::Parts) -> Option<Answer> {
        let options = &self.swift.options;
        match parts.uri.path() {
            "/info" => {
                let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
                let most = self.swift.store.options().body_bytes_max;
                Some(if reads {
                    Ok(info::show(options, &self.swift.store.policies(), most))
                } else {
                    Err(refuse(StatusCode::METHOD_NOT_ALLOWED))
                })
            }
            "/healthcheck" => Some(Ok(Reply::text(StatusCode::OK, super::reply::TEXT, "OK"))),
            path if path == "/auth" || path.starts_with("/auth/") => {
                let v1 = options.v1.as_ref()?;
                if parts.method != Method::GET {
                    return Some(Err(refuse(StatusCode::METHOD_NOT_ALLOWED)));
                }
                let origin = origin(parts);
                Some(v1.answer(&parts.headers, &origin, self.swift.clock.now_ms()).await)
            }
            _ => None,
        }
    }

    /// Judges the token of a request, if it carries one.
    async fn identify(&self, ask: &mut Ask) -> Result<(), Refused> {
        let Some(token) = ask
            .header("x-auth-token")
            .or(ask.header("x-storage-token"))
            .map(str::to_owned)
        else {
            return Ok(());
        };
        let principal = self.principal(ask, &token).await?;
        let Some(principal) = principal else {
            return Err(authorize::unauthorized(&ask.path.account));
        };
        ask.home = ask
            .path
            .project()
            .map_or(Home::Stranger, |project| principal.in_project(project));
        ask.principal = Some(Arc::new(principal));
        Ok(())
    }

    async fn principal(&self, ask: &Ask, token: &str) -> Result<Option<Principal>, Refused> {
        if let Some(v1) = &self.swift.options.v1
            && let Some(principal) = v1.principal(token, ask.now_ms).await?
        {
            return Ok(Some(principal));
        }
        match self.swift.tokens.validate_token(token).await {
            Ok(context) if !context.allows("object-store", ask.method.as_str(), &ask.raw_path) => {
                Err(refuse(StatusCode::FORBIDDEN))
            }
            Ok(context) => Ok(Some(Principal::of(context))),
            Err(TokenError::Invalid) => Ok(None),
            Err(TokenError::Unavailable(_)) => Err(refuse(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }
}

fn slow_down() -> Refused {
    Box::new(refuse(StatusCode::SERVICE_UNAVAILABLE).with("retry-after", "1"))
}

/// What is refused whoever asks; a signed URL is judged.
async fn check(ask: &mut Ask) -> Result<Option<Signed>, Refused> {
    let long = ask
        .headers
        .iter()
        .find(|(_, value)| value.len() > super::limits::HEADER_MAX);
    if let Some((name, _)) = long {
        return Err(super::reply::bad_request(format!("Header value too long: {name}")));
    }
    tempurl::judge(ask).await
}

/// What the client reached us under.
fn origin(parts: &http::request::Parts) -> String {
    let tls = parts.extensions.get::<ConnectionInfo>().is_some_and(|info| info.tls);
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("{}://{host}", if tls { "https" } else { "http" })
}

async fn route(ask: &Arc<Ask>) -> Answer {
    let level = Level::of(&ask.path);
    if ask.method == Method::OPTIONS {
        return cors::options(ask, level.methods()).await;
    }
    if ask.swift.options.read_only && !matches!(ask.method, Method::GET | Method::HEAD) {
        let why = "Writes are disabled for this account.";
        return Err(super::reply::refuse_with(StatusCode::METHOD_NOT_ALLOWED, why));
    }
    ratelimit::wait(ask).await?;
    if let Some(elsewhere) = ask.elsewhere {
        return sync::handle(ask, elsewhere).await;
    }
    if ask.query.has("bulk-delete") && matches!(ask.method, Method::POST | Method::DELETE) {
        return bulk::delete(ask).await;
    }
    if ask.query.has("extract-archive") && ask.method == Method::PUT {
        return extract::extract(ask).await;
    }
    match level {
        Level::Account => account::handle(ask).await,
        Level::Container => container::handle(ask).await,
        Level::Object => objects::handle(ask).await,
    }
}

fn operation(ask: &Ask) -> &'static str {
    routes::find(&ask.method, &ask.path).map_or("SwiftOther", |route| route.operation)
}

fn summary(ticket: &Ticket, status: StatusCode) -> Summary {
    let failed = status.is_client_error() || status.is_server_error();
    Summary {
        id: ticket.id.to_string(),
        operation: ticket.operation.get().copied().unwrap_or("-"),
        project: ticket.project.get().cloned(),
        error: failed.then(|| status.as_str().to_owned()),
        bytes_in: ticket.bytes_in.load(std::sync::atomic::Ordering::Relaxed),
    }
}

/// `tx`, 21 hex digits, `-`, the second of the request in ten.
fn transaction(id: RequestId) -> String {
    let digits = id.to_string();
    format!("tx{}-{:010x}", &digits[11..], id.made_ms() / 1000)
}

/// The head of an answer as it is sent.
fn finish(reply: Reply, ticket: &Ticket, head: bool) -> Response<Told> {
    let length = reply.length();
    let Reply {
        status,
        mut headers,
        body,
    } = reply;
    let id = transaction(ticket.id);
    put(&mut headers, "x-trans-id", &id);
    put(&mut headers, "x-openstack-request-id", &id);
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    match length {
        _ if status == StatusCode::NOT_MODIFIED => drop(headers.remove(header::CONTENT_LENGTH)),
        Some(length) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        None => {}
    }
    if !headers.contains_key(header::CONTENT_TYPE) && status != StatusCode::NOT_MODIFIED {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=UTF-8"),
        );
    }
    let told = if head || bodiless {
        Told::nothing()
    } else {
        Told::new(body)
    };
    let mut response = Response::new(told);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The bytes of an answer. An error cuts the connection: the head with its length is gone already.
pub struct Told {
    whole: Option<Bytes>,
    stream: Option<BodyStream>,
    left: Option<u64>,
}

impl Told {
    fn nothing() -> Self {
        Self {
            whole: None,
            stream: None,
            left: Some(0),
        }
    }

    fn new(content: Content) -> Self {
        match content {
            Content::Empty => Self::nothing(),
            Content::Whole(bytes) => {
                let left = Some(bytes.len() as u64);
                Self {
                    whole: Some(bytes),
                    stream: None,
                    left,
                }
            }
            Content::Stream(stream, left) => Self {
                whole: None,
                stream: Some(stream),
                left,
            },
        }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = store::StoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(bytes) = self.whole.take().filter(|bytes| !bytes.is_empty()) {
            self.left = Some(0);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let piece = std::task::ready!(stream.poll_next_unpin(cx));
        Poll::Ready(piece.map(|piece| {
            let bytes = piece.inspect_err(|cause| tracing::error!(%cause, "an answer was cut"))?;
            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            Ok(Frame::data(bytes))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<B> hyper::service::Service<Request<B>> for SwiftEdge
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    type Response = Response<SwiftBody>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move { Ok(edge.serve(request).await) })
    }
}
