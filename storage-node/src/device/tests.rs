//! Tests of the device below its async face: a writer, a disk that crashes, and a model of what was promised.

mod crash;
mod kit;
mod opening;
mod reclaiming;
mod rot;
mod writing;
