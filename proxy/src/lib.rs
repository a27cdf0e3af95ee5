//! The edges: what clients of the cluster speak to.
//!
//! Knows: HTTP and TLS ([`http`]), the S3 protocol ([`s3`]) and Swift's ([`swift`]); how to parse a request, authenticate
//! it, ask [`store`], and render the answer. Must not know: disks, Raft, the ring, where bytes lie. No rule of the object model is decided
//! here: conditions, versions and uploads are the store's.
//!
//! ```text
//! socket -> http::Server (TLS, limits, slow clients) -> s3::S3Edge, swift::SwiftEdge -> store::Store
//! ```

pub mod http;
mod object_text;
pub mod s3;
pub mod swift;
