//! Shards of several nodes in one process, each with a real store, over a network that can be cut.

#![allow(clippy::unwrap_used, reason = "a test's own steps may panic")]

mod faults;
mod kit;
mod members;
mod quarantine;
mod renewal;
mod speed;
mod writes;
