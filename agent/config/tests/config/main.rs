//! Tests of configurations on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broken;
mod common;
mod folder;
mod load;
mod metrics;
mod reference;
mod schema;
mod surroundings;
