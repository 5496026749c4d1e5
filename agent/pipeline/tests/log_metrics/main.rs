//! Random histories of an agent that counts its events: batches that are read and pushed, sinks that take them in any
//! order, reloads, pipelines that hold, workers that fail, checkpoints now and then, and crashes. Whatever happens, no
//! counter that is shown is higher than what a restart would find, none ever falls, and at the end all are exact.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod random;
