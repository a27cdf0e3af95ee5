//! The S3 edge from outside: real sockets, hand-made requests, a cluster in memory behind it.

mod bodies;
mod buckets;
mod conditions;
mod configuration;
mod copies;
mod forms;
mod hostile;
mod kit;
mod listings;
mod long_work;
mod multipart;
mod objects;
mod policies;
mod policy_walk;
mod server;
mod sign;
mod signatures;
mod versions;
