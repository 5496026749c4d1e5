//! Pipelines: the contracts of sources and sinks, checkpoints, and the workers that bring batches from one to the
//! other through the stages.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod checkpoint;
pub mod explain;
pub mod log_metrics;
pub mod pipeline;
mod process;
pub mod samples;
pub mod shadow;
pub mod sink;
pub mod source;
pub mod tap;
mod thread;
pub mod workers;

pub use process::Intake;
