//! Other people's programs that make WebAssembly components: found, or installed with the reason said first.
//! `weir plugin build` and `cargo xtask plugins` share it, so that a plugin is built the same way by both. It depends on
//! nothing of the agent.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod apt;
mod debian;
mod error;
mod process;
mod progress;
mod wasm;

pub use error::Error;
pub use process::{run_within, wait_until};
pub use progress::Progress;
pub use wasm::{ROUTE_VARIABLE, TARGET, Toolchain};
