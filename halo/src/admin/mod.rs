//! `halo admin`: a client of the admin API, nothing private.
pub mod client;
