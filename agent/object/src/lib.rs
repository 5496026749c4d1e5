//! Object stores that speak S3: the third tier of buffers.
//!
//! Here is what speaks to them. What is kept there, and when, is decided by `weir-buffer` and the app.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod s3;

pub use s3::{Keys, S3, Settings};
