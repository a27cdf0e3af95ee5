//! Final answers to requests that wait for `100 Continue`.
//!
//! RFC 9110 §10.1.1 lets a server answer such a request at once. botocore then remembers that answer's status line for
//! the next request of the connection, takes the next status line for a header, and waits for the end of the stream.
//! So an answer that came (or may have come) without a `100 Continue` before it ends its connection, as AWS does.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Request, Response};

/// What a request says of the interim answer it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// It does not wait.
    None,
    /// It waits, and has no byte to send: no interim answer is given.
    Bodiless,
    /// It waits before it sends its body.
    Body,
}

impl Expectation {
    /// Reads a request's head.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let expects = request
            .headers()
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        match request.headers().get(CONTENT_LENGTH) {
            _ if !expects => Self::None,
            Some(length) if length.as_bytes() == b"0" => Self::Bodiless,
            _ => Self::Body,
        }
    }

    /// Makes the answer the connection's last where the client may have seen no interim answer.
    pub(crate) fn settle<B>(self, response: &mut Response<B>) {
        let unannounced = match self {
            Self::None => false,
            Self::Bodiless => true,
            Self::Body => !response.status().is_success(),
        };
        if unannounced {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closes(expect: Option<&str>, length: &str, status: u16) -> bool {
        let mut request = Request::builder().header(CONTENT_LENGTH, length);
        if let Some(expect) = expect {
            request = request.header(EXPECT, expect);
        }
        let request = request.body(()).expect("a request");
        let mut response = Response::builder().status(status).body(()).expect("a response");
        Expectation::of(&request).settle(&mut response);
        response.headers().contains_key(CONNECTION)
    }

    #[test]
    fn an_empty_object_with_expect_ends_its_connection() {
        assert!(closes(Some("100-continue"), "0", 200));
        assert!(!closes(None, "0", 200));
    }

    #[test]
    fn a_refusal_without_an_interim_answer_ends_its_connection() {
        assert!(closes(Some("100-Continue"), "5", 403));
        assert!(!closes(Some("100-continue"), "5", 200));
        assert!(!closes(None, "5", 403));
        assert!(!closes(Some("something else"), "5", 403));
    }
}
