//! The asking side: one method per request, faults by their codes.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use clock::Dice;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use metadata::ids::{DeviceId, NodeId};
use metadata::model::PolicyId;

use super::body::PieceBody;
use super::codec::{
    BODY_BYTES_MAX, DigestCall, Head, ListAnswer, ListCall, POST_BYTES_MAX, PolicyDigestCall, RemoveCall, StatAnswer,
    StatCall, decode, encode, key_text,
};
use super::fault::Fault;
use super::pool::{Pool, PoolError};
use super::{FAULT_HEADER, HEAD_HEADER, PURPOSE_HEADER, UPKEEP, WHY_HEADER};
use crate::device::{Blob, BlobHeader, BlobKey, BlobSlice, Digest, Purpose, REMOVE_BATCH};
use crate::wire::{AddressBook, Credentials};

/// Why a device of another node did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobClientError {
    /// There is no connection; nothing was sent.
    #[error("no connection: {0}")]
    Refused(String),
    /// The connection broke, or the answer makes no sense; a write may have happened.
    #[error("no answer: {0}")]
    Broken(String),
    /// The node answered with a fault.
    #[error("{1}")]
    Fault(Fault, String),
}

/// The devices of other nodes. The caller sets deadlines by dropping futures: every request may be repeated.
#[async_trait]
pub trait RemoteBlobs: Send + Sync + 'static {
    /// Stores a blob; `Ok` after it is synced (DUR-1).
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn put(&self, node: NodeId, device: DeviceId, blob: &Blob) -> Result<(), BlobClientError>;

    /// Reads the whole frames that cover `range`. The caller verifies them (INT-1).
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn read(
        &self,
        node: NodeId,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        purpose: Purpose,
    ) -> Result<BlobSlice, BlobClientError>;

    /// What the device believes to hold under the key.
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn stat(&self, node: NodeId, device: DeviceId, key: BlobKey) -> Result<Option<BlobHeader>, BlobClientError>;

    /// The same for many keys, in their order.
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn stat_many(
        &self,
        node: NodeId,
        device: DeviceId,
        keys: Vec<BlobKey>,
    ) -> Result<Vec<Option<BlobHeader>>, BlobClientError>;

    /// Removes blobs; the caller has the metadata log's word for it (DUR-3).
    ///
    /// # Errors
    /// See [`BlobClientError`]; a part may have been removed.
    async fn remove(&self, node: NodeId, device: DeviceId, keys: &[BlobKey]) -> Result<(), BlobClientError>;

    /// A page of the device's blobs.
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn list(&self, node: NodeId, device: DeviceId, call: ListCall) -> Result<ListAnswer, BlobClientError>;

    /// Digest of a policy's keys in a range of placement hashes.
    ///
    /// # Errors
    /// See [`BlobClientError`].
    async fn digest(
        &self,
        node: NodeId,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        policy: PolicyId,
    ) -> Result<Digest, BlobClientError>;
}

/// Asks the devices of other nodes over HTTP.
pub struct BlobClient {
    pool: Pool,
}

impl BlobClient {
    /// A client that proves itself with `me` and finds nodes in `book`.
    #[must_use]
    pub fn new(me: Credentials, book: AddressBook, dice: Arc<dyn Dice>) -> Self {
        let pool = Pool::new(me, book, dice);
        Self { pool }
    }
}

#[async_trait]
impl RemoteBlobs for BlobClient {
    async fn put(&self, node: NodeId, device: DeviceId, blob: &Blob) -> Result<(), BlobClientError> {
        let head = Head {
            header: blob.header,
            first_frame: 0,
            frame_crcs: blob.frame_crcs.clone(),
        }
        .encode();
        let path = blob_path(device, &blob.key);
        let body = || PieceBody::new(std::iter::once(head.clone()).chain(blob.payload.iter().cloned()));
        self.ask(node, 0, &|| request(Method::PUT, &path, body())).await?;
        Ok(())
    }

    async fn read(
        &self,
        node: NodeId,
        device: DeviceId,
        key: BlobKey,
        range: Range<u32>,
        purpose: Purpose,
    ) -> Result<BlobSlice, BlobClientError> {
        let path = blob_path(device, &key);
        let range = format!("bytes={}-{}", range.start, range.end.max(range.start + 1) - 1);
        let (_, mut body) = self
            .ask(node, BODY_BYTES_MAX, &|| {
                let mut request = request(Method::GET, &path, PieceBody::default());
                let range = header::HeaderValue::from_str(&range).expect("digits are a header value");
                request.headers_mut().insert(header::RANGE, range);
                if purpose == Purpose::Upkeep {
                    let upkeep = header::HeaderValue::from_static(UPKEEP);
                    request.headers_mut().insert(PURPOSE_HEADER, upkeep);
                }
                request
            })
            .await?;
        let length = Head::length(&body)
            .filter(|length| *length <= body.len())
            .ok_or_else(senseless)?;
        let head = Head::decode(&body.split_to(length)).ok_or_else(senseless)?;
        if head.payload_bytes() != Some(body.len()) {
            return Err(senseless());
        }
        let Head {
            header,
            first_frame,
            frame_crcs,
        } = head;
        Ok(BlobSlice {
            key,
            header,
            first_frame,
            frame_crcs,
            payload: body,
        })
    }

    async fn stat(&self, node: NodeId, device: DeviceId, key: BlobKey) -> Result<Option<BlobHeader>, BlobClientError> {
        let path = blob_path(device, &key);
        let asked = self
            .ask(node, 0, &|| request(Method::HEAD, &path, PieceBody::default()))
            .await;
        let head = match asked {
            Ok((head, _)) => head,
            Err(BlobClientError::Fault(Fault::Absent, _)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let text = head.headers.get(HEAD_HEADER).ok_or_else(senseless)?;
        let bytes = hex::decode(text.as_bytes()).map_err(|_| senseless())?;
        Ok(Some(Head::decode(&bytes).ok_or_else(senseless)?.header))
    }

    async fn stat_many(
        &self,
        node: NodeId,
        device: DeviceId,
        keys: Vec<BlobKey>,
    ) -> Result<Vec<Option<BlobHeader>>, BlobClientError> {
        let asked = keys.len();
        let StatAnswer { headers } = self.post(node, device, "stat", &StatCall { keys }).await?;
        if headers.len() == asked {
            Ok(headers)
        } else {
            Err(senseless())
        }
    }

    async fn remove(&self, node: NodeId, device: DeviceId, keys: &[BlobKey]) -> Result<(), BlobClientError> {
        let path = format!("/v1/devices/{device}/remove");
        for keys in keys.chunks(REMOVE_BATCH) {
            let body = encode(&RemoveCall { keys: keys.to_vec() });
            self.ask(node, 0, &|| {
                request(Method::POST, &path, PieceBody::new([body.clone()]))
            })
            .await?;
        }
        Ok(())
    }

    async fn list(&self, node: NodeId, device: DeviceId, call: ListCall) -> Result<ListAnswer, BlobClientError> {
        self.post(node, device, "list", &call).await
    }

    async fn digest(
        &self,
        node: NodeId,
        device: DeviceId,
        placements: RangeInclusive<u64>,
        policy: PolicyId,
    ) -> Result<Digest, BlobClientError> {
        let call = DigestCall {
            first: *placements.start(),
            last: *placements.end(),
        };
        if policy == PolicyId::default() {
            // As nodes from before policies know it.
            return self.post(node, device, "digest", &call).await;
        }
        let placements = call;
        let call = PolicyDigestCall { policy, placements };
        self.post(node, device, "policy-digest", &call).await
    }
}

impl BlobClient {
    async fn post<C: serde::Serialize, A: serde::de::DeserializeOwned>(
        &self,
        node: NodeId,
        device: DeviceId,
        what: &str,
        call: &C,
    ) -> Result<A, BlobClientError> {
        let (path, body) = (format!("/v1/devices/{device}/{what}"), encode(call));
        let request = || request(Method::POST, &path, PieceBody::new([body.clone()]));
        let (_, answer) = self.ask(node, POST_BYTES_MAX, &request).await?;
        decode(&answer).ok_or_else(senseless)
    }

    /// One request and the whole body of its answer, at most `at_most` bytes, in one buffer.
    async fn ask(
        &self,
        node: NodeId,
        at_most: usize,
        request: &(dyn Fn() -> Request<PieceBody> + Sync),
    ) -> Result<(http::response::Parts, Bytes), BlobClientError> {
        let (response, lease) = self.pool.send(node, request).await.map_err(|e| match e {
            PoolError::Refused(why) => BlobClientError::Refused(why),
            PoolError::Broken(why) => BlobClientError::Broken(why),
        })?;
        let fault = fault_of(&response);
        let (head, body) = response.into_parts();
        let body = read_all(body, at_most).await?;
        lease.done();
        match fault {
            Some(fault) => Err(fault),
            None => Ok((head, body)),
        }
    }
}

fn request(method: Method, path: &str, body: PieceBody) -> Request<PieceBody> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "blobs");
    request.body(body).expect("method, path and headers are well-formed")
}

fn senseless() -> BlobClientError {
    BlobClientError::Broken("the answer makes no sense".to_owned())
}

fn fault_of(response: &Response<Incoming>) -> Option<BlobClientError> {
    if matches!(response.status(), StatusCode::OK | StatusCode::NO_CONTENT) {
        return None;
    }
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    Some(match text(FAULT_HEADER).and_then(Fault::from_code) {
        Some(fault) => BlobClientError::Fault(fault, text(WHY_HEADER).unwrap_or("no reason given").to_owned()),
        None => BlobClientError::Broken(format!("status {}", response.status())),
    })
}

async fn read_all(mut body: Incoming, at_most: usize) -> Result<Bytes, BlobClientError> {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= at_most).ok_or_else(senseless)?;
    let mut bytes = BytesMut::with_capacity(length);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| BlobClientError::Broken(format!("the answer broke off: {e}")))?;
        if let Ok(piece) = frame.into_data() {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes.freeze())
}

fn blob_path(device: DeviceId, key: &BlobKey) -> String {
    format!("/v1/devices/{device}/blobs/{}", key_text(key))
}
