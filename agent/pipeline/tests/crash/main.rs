//! Stops the agent's storing at every single operation of the file system, and looks what the next start makes of it.
//!
//! The files of the buffer lie in a model of a file system that knows what survives: a kill leaves everything that was
//! done, a power failure only what was synced, or names that were not synced over content that was not. Checkpoints lie
//! in a real one, where each save is one step. Whatever the step: every event is either read again, or on disk, or has
//! its fate, and is counted once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agent;
mod disk;
mod points;
mod random;
