//! What every integration test shares: a node's tree of files, the agent as a process, and what it says of itself.
//!
//! Nothing of the agent is linked in: what is tested is the `weir` binary, its files and its admin address.

// A test fails by panicking, and everything here is part of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod admin;
mod agent;
mod artefacts;
mod compiled;
mod documents;
mod guest;
mod ledger;
mod metrics;
mod node;
mod pod_log;
mod wait;

pub use admin::{Admin, Answer};
pub use agent::{Agent, Ended};
pub use artefacts::{checkout, plugin, plugins, weir};
pub use documents::{count, lines, numbers, own_members, parse};
pub use guest::{component, core_module};
pub use ledger::{Account, Amount, Ledger};
pub use metrics::{Metrics, Sample};
pub use node::Node;
pub use pod_log::PodLog;
pub use wait::{PATIENCE, until, until_some};
