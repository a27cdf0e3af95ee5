//! One change on its way: what the key is now, sent to the other container under the time of its write.

use http::{HeaderMap, Method, StatusCode};
use store::{Bucket, Change, Class, ObjectReader, RequestContext, StoreError, VersionSelector};

use super::KEY;
use super::realms::{Destination, Realms, Signed};
use super::sender::Sender;
use crate::swift::attributes::{describe, etag_text, has_expired};
use crate::swift::context::Swift;
use crate::swift::path::quote;
use crate::swift::reply::put;
use crate::swift::symlink;
use crate::swift::timestamp::{parse_milliseconds, seconds};

/// What describes an object to a reader and is nothing to a writer.
const NOT_SENT: [&str; 3] = ["last-modified", "accept-ranges", "x-timestamp"];

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// An object of so many bytes was sent.
    Put(u64),
    /// A deletion was sent.
    Deleted,
    /// There was nothing to send: it is there already, or nobody knows any more when it was deleted.
    Nothing,
}

/// Why a change was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Others would fail as well: the place cannot be reached, does not know the key, has no such container.
    #[error("{0}")]
    Everything(String),
    /// This one failed by itself.
    #[error("{0}")]
    This(String),
}

/// A container on its way to another.
pub(super) struct Errand {
    pub(super) swift: Swift,
    pub(super) cx: RequestContext,
    pub(super) bucket: Bucket,
    pub(super) key: String,
    pub(super) destination: Destination,
    pub(super) sender: Sender,
}

impl Errand {
    /// Sends what a key is now.
    pub(super) async fn send(&self, change: &Change) -> Result<Sent, Failure> {
        let Ok(name) = std::str::from_utf8(&change.key) else {
            return Err(Failure::This("the key is not UTF-8".to_owned()));
        };
        let path = format!("{}/{}", self.destination.path, quote(name));
        let store = &self.swift.store;
        let latest = VersionSelector::Latest;
        match store.open_object(&self.cx, &self.bucket, &change.key, latest).await {
            // It ends there by itself, as it does here.
            Ok(reader) if has_expired(&reader.head.object, self.swift.clock.now_ms()) => Ok(Sent::Nothing),
            Ok(reader) => self.put(&path, reader).await,
            Err(error) if error.class() == Class::Absent => match change.deleted_ms {
                Some(at_ms) => self.delete(&path, at_ms).await,
                None => Ok(Sent::Nothing),
            },
            Err(error) => Err(ours(&error)),
        }
    }

    async fn put(&self, path: &str, reader: ObjectReader) -> Result<Sent, Failure> {
        let row = &reader.head.object;
        if self.is_there(path, row.modified_ms).await? {
            return Ok(Sent::Nothing);
        }
        let size = row.size;
        let mut headers = HeaderMap::new();
        describe(row, false, &mut headers);
        symlink::describe(row, &mut headers);
        for name in NOT_SENT {
            headers.remove(name);
        }
        // The tag of an object of parts is not the digest of its bytes.
        if row.etag.parts == 0 {
            put(&mut headers, "etag", etag_text(&row.etag));
        }
        put(&mut headers, "content-length", size.to_string());
        self.authorize(Method::PUT, path, row.modified_ms, &mut headers)?;
        let body = (size > 0).then(|| reader.read(0..size));
        let (status, _) = self.ask(Method::PUT, path, headers, body).await?;
        if status.is_success() {
            Ok(Sent::Put(size))
        } else {
            Err(refused("PUT", status))
        }
    }

    async fn delete(&self, path: &str, at_ms: u64) -> Result<Sent, Failure> {
        let mut headers = HeaderMap::new();
        self.authorize(Method::DELETE, path, at_ms, &mut headers)?;
        let (status, _) = self.ask(Method::DELETE, path, headers, None).await?;
        match status {
            // Nothing was there, or something newer.
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(Sent::Nothing),
            status if status.is_success() => Ok(Sent::Deleted),
            status => Err(refused("DELETE", status)),
        }
    }

    /// Whether the other container has something as new, so that no bytes need to travel.
    async fn is_there(&self, path: &str, modified_ms: u64) -> Result<bool, Failure> {
        let mut headers = HeaderMap::new();
        self.authorize(Method::HEAD, path, modified_ms, &mut headers)?;
        let (status, headers) = self.ask(Method::HEAD, path, headers, None).await?;
        if status.is_success() {
            let there = headers.get("x-timestamp").and_then(|text| text.to_str().ok());
            return Ok(there
                .and_then(parse_milliseconds)
                .is_some_and(|there| there >= modified_ms));
        }
        // Swift lets nobody look who has only the key.
        let hidden = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if status == StatusCode::NOT_FOUND || (hidden && self.destination.realm.is_none()) {
            return Ok(false);
        }
        Err(refused("HEAD", status))
    }

    fn authorize(&self, method: Method, path: &str, at_ms: u64, headers: &mut HeaderMap) -> Result<(), Failure> {
        let timestamp = seconds(at_ms);
        if let Some(realm) = &self.destination.realm {
            let nonce = hex::encode(self.swift.dice.u128().to_be_bytes());
            let request = Signed {
                method: method.as_str(),
                path,
                timestamp: &timestamp,
                nonce: &nonce,
                container_key: &self.key,
            };
            let signed = Realms(&self.swift.options.sync).sign(realm, &request);
            let signed = signed.ok_or_else(|| Failure::Everything(format!("no key for the realm {realm}")))?;
            put(headers, "x-container-sync-auth", signed);
        } else {
            put(headers, KEY, &self.key);
        }
        put(headers, "x-timestamp", timestamp);
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<store::BodyStream>,
    ) -> Result<(StatusCode, HeaderMap), Failure> {
        let answer = self.sender.send(method, path, headers, body).await;
        answer.map_err(|error| Failure::Everything(error.to_string()))
    }
}

/// What the other side's refusal means for the rest of the queue.
fn refused(method: &str, status: StatusCode) -> Failure {
    let why = format!("{method} was answered with {}", status.as_u16());
    let everything = status.is_server_error()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        )
        || status.as_u16() == 498;
    if everything {
        Failure::Everything(why)
    } else {
        Failure::This(why)
    }
}

fn ours(error: &StoreError) -> Failure {
    match error.class() {
        Class::Lost | Class::Bug => Failure::This(error.to_string()),
        _ => Failure::Everything(error.to_string()),
    }
}
