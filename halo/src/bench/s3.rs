//! S3 requests over one connection, signed.

use std::sync::Arc;

use clock::WallClock;
use http::Request;

use crate::client::connection::{Answer, Connection, Keep, RequestError, Target};
use crate::client::payload::Payload;
use crate::sigv4::{Signer, Slash, UNSIGNED, Unsigned, amz_time, encode, query_text};

/// A client with one connection.
pub struct S3Client {
    connection: Connection,
    authority: String,
    signer: Signer,
    clock: Arc<dyn WallClock>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// `GET`, `PUT`, ...
    pub method: &'static str,
    /// `/bucket/key`, not encoded.
    pub path: &'a str,
    /// Name and value of every parameter, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// The body.
    pub payload: Payload,
    /// What becomes of the answer's body.
    pub keep: Keep,
}

impl S3Client {
    /// A client that signs with `signer`.
    #[must_use]
    pub fn new(target: Target, signer: Signer, clock: Arc<dyn WallClock>) -> Self {
        Self {
            authority: target.authority.clone(),
            connection: Connection::to(target),
            signer,
            clock,
        }
    }

    /// Sends one request; no answer is retried.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&mut self, call: Call<'_>) -> Result<Answer, RequestError> {
        let time = amz_time(self.clock.now_ms());
        let path = encode(call.path, Slash::Kept);
        let headers = [
            ("host", self.authority.as_str()),
            ("x-amz-content-sha256", UNSIGNED),
            ("x-amz-date", &time),
        ];
        let authorization = self.signer.authorization(&Unsigned {
            method: call.method,
            path: &path,
            query: call.query,
            headers: &headers,
            payload: UNSIGNED,
            time: &time,
        });
        let uri = if call.query.is_empty() {
            path
        } else {
            format!("{path}?{}", query_text(call.query))
        };
        let request = Request::builder()
            .method(call.method)
            .uri(uri)
            .header("host", &self.authority)
            .header("x-amz-content-sha256", UNSIGNED)
            .header("x-amz-date", &time)
            .header("authorization", authorization)
            .body(call.payload)
            .expect("method, path and headers are encoded");
        self.connection.send(request, call.keep).await
    }
}

/// The error code in an S3 answer, or the status.
#[must_use]
pub fn error_code(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) => format!("{} {code}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    }
}
