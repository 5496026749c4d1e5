//! What every integration test shares: a node's tree of files, the agent as a process, and what it says of itself.
//!
//! Nothing of the agent is linked in: what is tested is the `weir` binary, its files and its admin address.

// A test fails by panicking, and everything here is part of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod admin;
mod agent;
mod archive_scenario;
mod artefacts;
mod clients;
mod compiled;
mod config_map;
mod documents;
mod fault_proxy;
pub mod forward;
mod gate;
mod guest;
mod http1;
mod latency;
mod leak_scenario;
mod ledger;
mod metrics;
mod metrics_scenario;
mod metrics_target;
mod minio;
mod node;
mod opensearch;
mod pod_log;
mod promql;
mod push_scenario;
mod registry;
pub mod registry_node;
mod reload_scenario;
mod scenario;
mod sequence;
mod servers;
mod tls;
mod wait;
pub mod write_request;

pub use admin::{Admin, Answer};
pub use agent::{Agent, Ended};
pub use archive_scenario::{ArchiveReport, ArchiveScenario};
pub use artefacts::{checkout, plugin, plugins, weir};
pub use clients::{Client, Clients, Gone, Sending};
pub use config_map::ConfigMap;
pub use documents::{count, lines, numbers, own_members, parse};
pub use fault_proxy::{Fault, FaultProxy, Schedule};
pub use gate::{Gate, Verdict, put};
pub use guest::{component, core_module};
pub use http1::Message;
pub use latency::{Latencies, Latency};
pub use leak_scenario::{LeakReport, LeakScenario};
pub use ledger::{Account, Amount, Ledger};
pub use metrics::{Metrics, Sample};
pub use metrics_scenario::{MetricsReport, MetricsScenario};
pub use metrics_target::{FORMATS, MetricsTarget};
pub use minio::MinIo;
pub use node::Node;
pub use opensearch::{OpenSearch, Reply, Security};
pub use pod_log::PodLog;
pub use promql::{PromQl, Span, agree, count_samples};
pub use push_scenario::{PushReport, PushScenario};
pub use registry::{KeyPair, Registry, SignatureLayout};
pub use reload_scenario::{ReloadReport, ReloadScenario};
pub use scenario::{Report, Scenario};
pub use sequence::{Findings, Oracle, SequenceLog};
pub use servers::Server;
pub use tls::{Authority, Certificate};
pub use wait::{PATIENCE, until, until_some, until_within};
