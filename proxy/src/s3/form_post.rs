//! PostObject: a browser's form becomes a PUT, once its policy is verified.
//!
//! ```text
//! fields -> signer, policy (verified with the signer's secret) -> conditions -> headers of a PUT
//! file   -> its body, held to the policy's content-length-range
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use identity::KeySource;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::escape::escape;
use s3s::auth::Credentials;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize, Deserializer};
use s3s::{Body, S3Request, S3Result, StdError};

use super::errors::{error, error_with, invalid_argument};
use super::form::{self, Fields, FormError, FormFile};
use super::form_policy::{FormPolicy, FormSigner};
use super::interpret::Interpreter;
use super::request::{Ticket, Unmeasured};
use super::upload::body_error;

/// Fields that are headers of the PUT under their own names.
const HEADERS: [&str; 5] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-type",
    "expires",
];
/// Fields that begin like headers and belong to the signature.
const SIGNATURE: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];

/// Where a form is posted to.
pub(crate) struct FormTarget {
    /// The bucket.
    pub(crate) bucket: String,
    /// The host, as the client wrote it.
    pub(crate) host: String,
    /// Whether the host names the bucket.
    pub(crate) virtual_hosted: bool,
}

impl FormTarget {
    /// The path of a key, as a URL to this host has it.
    fn path(&self, key: &str) -> String {
        let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        if self.virtual_hosted {
            format!("/{key}")
        } else {
            format!("/{}/{key}", self.bucket)
        }
    }
}

/// What is needed to serve forms.
pub(crate) struct Forms {
    pub(crate) interpreter: Arc<Interpreter>,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) sigv2: bool,
}

/// A form that was read and whose policy allows it.
struct Allowed<S> {
    fields: Fields,
    key: String,
    credentials: Credentials,
    file: Measured<S>,
}

impl Forms {
    /// Serves one form; `Ok(None)`: nobody signed it.
    pub(crate) async fn post<S>(
        &self,
        target: FormTarget,
        boundary: &str,
        body: S,
        ticket: &Arc<Ticket>,
        now: i64,
    ) -> S3Result<Option<Response<Body>>>
    where
        S: Stream<Item = Result<Bytes, StdError>> + Send + Unpin + 'static,
    {
        let _ = ticket.operation.set("PostObject");
        let Some(allowed) = self.allowed(&target, boundary, body, ticket, now).await? else {
            return Ok(None);
        };
        let Allowed {
            fields,
            key,
            credentials,
            file,
        } = allowed;
        let mut extensions = Extensions::new();
        extensions.insert(ticket.clone());
        let frames = futures::StreamExt::map(file, |piece| piece.map(Frame::data));
        extensions.insert(Unmeasured::new(Body::http_body_unsync(StreamBody::new(frames))));
        let path = target.path(&key);
        let request = S3Request {
            input: Body::empty(),
            method: Method::PUT,
            uri: path.parse().map_err(|_| error("InvalidURI"))?,
            headers: headers(&fields, &target.host)?,
            extensions,
            credentials: Some(credentials),
            region: None,
            service: None,
            trailing_headers: None,
        };
        let done = self.interpreter.call(request).await?;
        let mut response = Response::new(done.output);
        *response.status_mut() = done.status.unwrap_or(StatusCode::OK);
        *response.headers_mut() = done.headers;
        *response.extensions_mut() = done.extensions;
        if response.status().is_success() {
            answer(&mut response, &fields, &target, &key);
        }
        Ok(Some(response))
    }

    /// Reads the form and decides whether it may be stored.
    async fn allowed<S>(
        &self,
        target: &FormTarget,
        boundary: &str,
        body: S,
        ticket: &Arc<Ticket>,
        now: i64,
    ) -> S3Result<Option<Allowed<S>>>
    where
        S: Stream<Item = Result<Bytes, StdError>> + Unpin,
    {
        let (mut fields, file) = form::read(body, boundary).await.map_err(|cause| match cause {
            FormError::Form(fault) => error_with(fault.0, fault.1),
            FormError::Body(cause) => {
                let fault = body_error(&cause, ticket);
                error_with(fault.code, fault.message)
            }
        })?;
        let key = fields.get("key").filter(|key| !key.is_empty()).ok_or_else(|| {
            invalid_argument("Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.")
        })?;
        let key = key.replace("${filename}", &fields.filename);
        fields.set("key", &key);
        fields.set("bucket", &target.bucket);
        let Some(signer) = FormSigner::of(&fields, now, self.sigv2)? else {
            return Ok(None);
        };
        let policy = fields.get("policy").ok_or_else(|| {
            invalid_argument("Bucket POST must contain a field named 'policy'. If it is specified, please check the order of the fields.")
        })?;
        let found = self.keys.lookup(signer.access_key()).await.map_err(|cause| {
            tracing::warn!(%cause, "an access key could not be looked up");
            error("ServiceUnavailable")
        })?;
        let found = found.ok_or_else(|| error("InvalidAccessKeyId"))?;
        if !signer.verifies(policy, &found.secret) {
            return Err(error("SignatureDoesNotMatch"));
        }
        let policy = FormPolicy::parse(policy)?;
        policy.allows(&fields, now)?;
        let (least, most) = policy.lengths();
        let file = Measured {
            file,
            least,
            most,
            seen: 0,
            ended: false,
            ticket: ticket.clone(),
        };
        Ok(Some(Allowed {
            key,
            credentials: Credentials {
                access_key: signer.access_key().to_owned(),
                secret_key: found.secret.as_str().into(),
            },
            fields,
            file,
        }))
    }
}

/// The headers that the fields stand for.
fn headers(fields: &Fields, host: &str) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| -> S3Result<()> {
        let wrong = |_| invalid_argument(format!("The field {name} cannot be a header."));
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid_argument(format!("The field {name} cannot be a header.")))?;
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(wrong)?);
        Ok(())
    };
    put("host", host)?;
    for (name, value) in fields.iter() {
        match name {
            "acl" => put("x-amz-acl", value)?,
            "tagging" => put("x-amz-tagging", &tags(value)?)?,
            name if HEADERS.contains(&name) => put(name, value)?,
            name if name.starts_with("x-amz-") && !SIGNATURE.contains(&name) => put(name, value)?,
            _ => {}
        }
    }
    Ok(headers)
}

/// The tags of the field `tagging`, a document, as the header has them.
fn tags(document: &str) -> S3Result<String> {
    let mut reader = Deserializer::new(document.as_bytes());
    let tagging = Tagging::deserialize(&mut reader).and_then(|tagging| reader.expect_eof().map(|()| tagging));
    let tagging = tagging.map_err(|_| error("MalformedXML"))?;
    let encoded = |text: Option<String>| utf8_percent_encode(&text.unwrap_or_default(), NON_ALPHANUMERIC).to_string();
    let pairs = tagging.tag_set.into_iter();
    let pairs = pairs.map(|tag| format!("{}={}", encoded(tag.key), encoded(tag.value)));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// What a browser is told: a redirection, or the status that the form asks for.
fn answer(response: &mut Response<Body>, fields: &Fields, target: &FormTarget, key: &str) {
    let etag = response
        .headers()
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok());
    let etag = etag.unwrap_or_default().to_owned();
    let (path, bucket) = (target.path(key), &target.bucket);
    let place = format!("http://{}{path}", target.host);
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    if let Some(redirect) = redirect.and_then(|redirect| redirected(redirect, bucket, key, &etag)) {
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(header::LOCATION, redirect);
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    *response.status_mut() = match fields.get("success_action_status") {
        Some("200") => StatusCode::OK,
        Some("201") => StatusCode::CREATED,
        _ => StatusCode::NO_CONTENT,
    };
    if response.status() == StatusCode::CREATED {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escape(place.as_str()),
            escape(bucket.as_str()),
            escape(key),
            escape(etag.as_str()),
        );
        *response.body_mut() = Body::from(text);
        let xml = HeaderValue::from_static("application/xml");
        response.headers_mut().insert(header::CONTENT_TYPE, xml);
    }
}

/// The address to go to, with what was stored; `None` when it is none.
fn redirected(to: &str, bucket: &str, key: &str, etag: &str) -> Option<HeaderValue> {
    let known = to.starts_with("http://") || to.starts_with("https://");
    if !known || to.parse::<http::Uri>().is_err() {
        return None;
    }
    let joint = if to.contains('?') { '&' } else { '?' };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/".contains(c));
    // Names are left as they are where a URL may carry them so.
    let key = if plain(key) { key.to_owned() } else { encoded(key) };
    let target = format!("{to}{joint}bucket={bucket}&key={key}&etag={}", encoded(etag));
    HeaderValue::from_str(&target).ok()
}

/// A file held to the lengths that its policy allows.
struct Measured<S> {
    file: FormFile<S>,
    least: u64,
    most: u64,
    seen: u64,
    ended: bool,
    ticket: Arc<Ticket>,
}

impl<S> Measured<S> {
    fn refuse(&mut self, code: &'static str) -> Poll<Option<Result<Bytes, StdError>>> {
        self.ended = true;
        let _ = self.ticket.body_fault.set(code);
        Poll::Ready(Some(Err(format!("form: {code}").into())))
    }
}

impl<S: Stream<Item = Result<Bytes, StdError>> + Unpin> Stream for Measured<S> {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.file).poll_next(cx)) {
            Some(Ok(bytes)) => {
                self.seen += bytes.len() as u64;
                if self.seen > self.most {
                    return self.refuse("EntityTooLarge");
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            None if self.seen < self.least => self.refuse("EntityTooSmall"),
            other => Poll::Ready(other),
        }
    }
}
