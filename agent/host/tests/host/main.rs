//! The host against plugins that work and plugins that do everything else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boundary;
mod cache;
mod calls;
mod faults;
mod guest;
mod load;
mod support;
mod wasi;
