//! One storage node, put together.

pub mod admin;
mod device_set;

pub use device_set::DeviceSet;
