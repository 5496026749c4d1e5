//! The messages in which metrics are sent and exposed, for prost: field numbers and types as in the sources named.

pub mod client;
pub mod prometheus;
pub mod write_v2;
