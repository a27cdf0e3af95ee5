//! The Swift edge from outside: real sockets, hand-made requests, a cluster in memory behind it.

mod access;
mod bad_input;
mod containers;
mod kit;
mod large;
mod limits;
mod objects;
mod policies;
mod policy_walk;
mod refused;
mod signed;
mod single;
mod statistics;
mod sync;
