//! Events without IO: batches of rows over arenas of bytes, the structural scan, columns, edits and the finished
//! document. Everything here is pure, so that it can be fuzzed and measured alone.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod batch;
pub mod column;
pub mod cri;
pub mod edit;
pub mod identity;
pub mod json;
pub mod name_template;
pub mod parse;
pub mod path;
pub mod scan;
pub mod sheet;
mod splice;
pub mod stream;
mod swar;
pub mod tally;
pub mod time;
pub mod transform;
