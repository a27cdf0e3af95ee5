//! The HTTP client of the commands: the load generator, the start-up checks and `halo admin`.
//!
//! Knows: connections, requests, answers. Must not know: what they mean.

pub mod connection;
pub mod payload;
