//! The weir binary as people and programs use it: what it prints where, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod ledger;
mod plugin;
mod support;
mod usage;
