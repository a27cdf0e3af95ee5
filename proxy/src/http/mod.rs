//! HTTP under every edge: the listener, TLS, admission, slow clients, the access log. Knows no protocol above HTTP/1.1.

mod access_log;
mod admission;
mod expect;
mod patient;
mod server;
mod stalling;
mod tls;

pub use access_log::{LogLine, Logged, Summary};
pub use admission::{Admission, AdmissionOptions, Permit};
pub use server::{ConnectionInfo, Server, ServerError, ServerOptions};
pub use stalling::{Stalled, Stalling};
pub use tls::{Tls, TlsError};
