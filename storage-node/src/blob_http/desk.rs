//! Judges requests, admits, and only then reads bodies and works.
//!
//! A request that finds its pool of bytes empty waits a moment with its body unread (the sender's socket fills up), then
//! is told `busy` (503), MEM-1.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use metadata::ids::DeviceId;
use metadata::model::PolicyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::PieceBody;
use super::codec::{
    BODY_BYTES_MAX, DigestCall, Head, HeadProgress, HeadReader, ListCall, POST_BYTES_MAX, PolicyDigestCall, RemoveCall,
    StatAnswer, StatCall, decode, encode, parse_key, parse_range,
};
use super::fault::Fault;
use super::server::{Admission, STALL_MAX};
use super::{FAULT_HEADER, HEAD_HEADER, PURPOSE_HEADER, UPKEEP, WHY_HEADER};
use crate::device::{
    BLOB_BYTES_MAX, Blob, BlobKey, BlobStore, DeviceError, FRAME_BYTES, Pieces, REMOVE_BATCH, frame_span, frames_of,
};
use crate::node::DeviceSet;

/// How long a request may wait for room in its pool.
const ADMISSION_WAIT: Duration = Duration::from_secs(3);

/// Where requests are judged and answered.
pub(super) struct Desk {
    devices: DeviceSet,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A fault and a sentence for people.
struct Failure(Fault, String);

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Self(Fault::from(&error), error.to_string())
    }
}

fn bad(why: &str) -> Failure {
    Failure(Fault::BadRequest, why.to_owned())
}

type Answer = Result<Response<PieceBody>, Failure>;

impl Desk {
    pub(super) fn new(devices: DeviceSet, admission: Admission) -> Self {
        // A pool that is smaller than one body would never admit it.
        let pool = |bytes: usize| Arc::new(Semaphore::new(bytes.max(BODY_BYTES_MAX)));
        let (writes, reads) = (pool(admission.write_bytes), pool(admission.read_bytes));
        Self { devices, writes, reads }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<PieceBody> {
        self.serve(request).await.unwrap_or_else(|Failure(fault, why)| {
            let mut response = Response::new(PieceBody::default());
            *response.status_mut() = fault.status();
            let code = header::HeaderValue::from(fault as u8 as u16);
            response.headers_mut().insert(FAULT_HEADER, code);
            if let Ok(why) = header::HeaderValue::from_str(&why) {
                response.headers_mut().insert(WHY_HEADER, why);
            }
            response
        })
    }

    async fn serve(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let rest = path.strip_prefix("/v1/devices/").ok_or_else(|| bad("no such path"))?;
        let (id, what) = rest.split_once('/').ok_or_else(|| bad("no such path"))?;
        let id = DeviceId(id.parse().map_err(|_| bad("the device id is no number"))?);
        let device = self.devices.get(id);
        let device = device.ok_or_else(|| Failure(Fault::NoSuchDevice, format!("device {id} is not on this node")))?;
        if let Some(key) = what.strip_prefix("blobs/") {
            let key = parse_key(key).ok_or_else(|| bad("the key is malformed"))?;
            return match *request.method() {
                Method::PUT => self.put(&*device, key, request).await,
                Method::GET => self.get(&*device, key, &request).await,
                Method::HEAD => head(&*device, key).await,
                _ => Err(bad("no such method")),
            };
        }
        match (request.method(), what) {
            (&Method::POST, "remove" | "stat" | "list" | "digest" | "policy-digest") => {
                self.post(&*device, what.to_owned(), request).await
            }
            _ => Err(bad("no such path")),
        }
    }

    async fn put(&self, device: &dyn BlobStore, key: BlobKey, request: Request<Incoming>) -> Answer {
        let length = content_length(&request, BODY_BYTES_MAX)?;
        let _room = admit(&self.writes, length).await?;
        let (head, payload) = read_blob(request.into_body()).await?;
        let whole = head.first_frame == 0 && head.frame_crcs.len() == frames_of(head.header.len);
        if !whole || payload.len() != head.header.len as usize {
            return Err(Failure(
                Fault::Malformed,
                "head and payload do not fit each other".to_owned(),
            ));
        }
        device
            .put(Blob {
                key,
                header: head.header,
                frame_crcs: head.frame_crcs,
                payload,
            })
            .await?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    async fn get(&self, device: &dyn BlobStore, key: BlobKey, request: &Request<Incoming>) -> Answer {
        let range = match request.headers().get(header::RANGE) {
            None => 0..u32::MAX,
            Some(range) => range
                .to_str()
                .ok()
                .and_then(parse_range)
                .ok_or_else(|| bad("the range is malformed"))?,
        };
        let longest = BLOB_BYTES_MAX as u32;
        let span = frame_span(longest, &range).unwrap_or(0..FRAME_BYTES as u32);
        let room = admit(&self.reads, span.len()).await?;
        let upkeep = request.headers().get(PURPOSE_HEADER).is_some_and(|what| what == UPKEEP);
        let read = if upkeep {
            device.read_for_upkeep(key, range)
        } else {
            device.read(key, range)
        };
        let slice = read.await?;
        let head = Head {
            header: slice.header,
            first_frame: slice.first_frame,
            frame_crcs: slice.frame_crcs,
        };
        Ok(Response::new(
            PieceBody::new([head.encode(), slice.payload]).holding(room),
        ))
    }

    async fn post(&self, device: &dyn BlobStore, what: String, request: Request<Incoming>) -> Answer {
        let length = content_length(&request, POST_BYTES_MAX)?;
        let _room = admit(&self.writes, length).await?;
        let body = read_all(request.into_body(), length).await?;
        let malformed = || bad("the body is malformed");
        match what.as_str() {
            "remove" => {
                let RemoveCall { keys } = decode(&body).ok_or_else(malformed)?;
                for keys in keys.chunks(REMOVE_BATCH) {
                    device.remove(keys.to_vec()).await?;
                }
                Ok(empty(StatusCode::NO_CONTENT))
            }
            "stat" => {
                let StatCall { keys } = decode(&body).ok_or_else(malformed)?;
                let mut headers = Vec::with_capacity(keys.len());
                for key in keys {
                    headers.push(device.stat(key).await?);
                }
                self.found(&StatAnswer { headers }).await
            }
            "list" => {
                let ListCall {
                    after,
                    until_placement,
                    limit,
                } = decode(&body).ok_or_else(malformed)?;
                self.found(&device.list(after, until_placement, limit as usize).await?)
                    .await
            }
            "policy-digest" => {
                let PolicyDigestCall { policy, placements } = decode(&body).ok_or_else(malformed)?;
                let DigestCall { first, last } = placements;
                self.found(&device.digest(first..=last, policy).await?).await
            }
            _ => {
                let DigestCall { first, last } = decode(&body).ok_or_else(malformed)?;
                self.found(&device.digest(first..=last, PolicyId::default()).await?)
                    .await
            }
        }
    }

    async fn found<T: serde::Serialize>(&self, value: &T) -> Answer {
        let body = encode(value);
        let room = admit(&self.reads, body.len()).await?;
        Ok(Response::new(PieceBody::new([body]).holding(room)))
    }
}

async fn head(device: &dyn BlobStore, key: BlobKey) -> Answer {
    let header = device.stat(key).await?.ok_or(DeviceError::NotFound)?;
    let head = Head {
        header,
        first_frame: 0,
        frame_crcs: Vec::new(),
    };
    let mut response = empty(StatusCode::OK);
    let text = header::HeaderValue::from_str(&hex::encode(head.encode())).expect("hex digits are a header value");
    response.headers_mut().insert(HEAD_HEADER, text);
    Ok(response)
}

fn empty(status: StatusCode) -> Response<PieceBody> {
    let mut response = Response::new(PieceBody::default());
    *response.status_mut() = status;
    response
}

/// The length the body has; bodies without one, or with too much, are refused unread.
fn content_length(request: &Request<Incoming>, at_most: usize) -> Result<usize, Failure> {
    let exact = request
        .body()
        .size_hint()
        .exact()
        .ok_or_else(|| bad("the length is missing"))?;
    match usize::try_from(exact) {
        Ok(length) if length <= at_most => Ok(length),
        _ => Err(Failure(
            Fault::TooLarge,
            format!("{exact} bytes are more than {at_most}"),
        )),
    }
}

/// Takes `bytes` out of a pool, or says busy.
async fn admit(pool: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let permits = u32::try_from(bytes.min(BODY_BYTES_MAX)).expect("BODY_BYTES_MAX fits");
    match tokio::time::timeout(ADMISSION_WAIT, Arc::clone(pool).acquire_many_owned(permits)).await {
        Ok(Ok(room)) => Ok(room),
        _ => Err(Failure(
            Fault::Busy,
            "the node's pool of body bytes is empty".to_owned(),
        )),
    }
}

/// The next piece of a body; a peer that sends nothing is cut.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match tokio::time::timeout(STALL_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => return Ok(Some(piece)),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(e))) => return Err(bad(&format!("the body broke off: {e}"))),
            Ok(None) => return Ok(None),
            Err(_) => return Err(Failure(Fault::Slow, "the body did not arrive in time".to_owned())),
        }
    }
}

/// Head and payload; the payload stays in the pieces it arrived in.
async fn read_blob(mut body: Incoming) -> Result<(Head, Pieces), Failure> {
    let malformed = || {
        Failure(
            Fault::Malformed,
            "the body does not begin with a blob's head".to_owned(),
        )
    };
    let mut reader = HeadReader::default();
    let (head, first) = loop {
        let piece = next_piece(&mut body).await?.ok_or_else(malformed)?;
        match reader.push(piece) {
            HeadProgress::More => {}
            HeadProgress::Whole(head, rest) => break (head, rest),
            HeadProgress::Bad => return Err(malformed()),
        }
    };
    let mut payload = Pieces::from(first);
    while let Some(piece) = next_piece(&mut body).await? {
        payload.push(piece);
    }
    Ok((head, payload))
}

async fn read_all(mut body: Incoming, length: usize) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::with_capacity(length);
    while let Some(piece) = next_piece(&mut body).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}
