//! What authors of plugins use: a new plugin's folder, building it, running its fixtures and recorded traffic through the
//! real host, measuring it, and comparing two versions. The commands of `weir plugin` only print what this crate finds.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bench;
pub mod build;
mod carried;
pub mod diff;
mod document;
pub mod fixture;
pub mod inspect;
pub mod project;
pub mod redact;
mod replay;
pub mod template;
pub mod traffic;

pub use replay::{ReplayError, Replayer, Sandbox};
