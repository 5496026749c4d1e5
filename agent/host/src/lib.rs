//! The host of plugins: the only crate that names wasmtime. A plugin is loaded from its artefact by
//! [`Plugin::load`] and run by [`Instance`]s, one for each worker, which are stages like any native one
//! ([`weir_event::transform::Transform`]).
//!
//! What holds for every plugin:
//! 1. The agent compiles nothing in its own process; machine code comes from a child with limits, or from a
//!    cache whose every byte is authenticated.
//! 2. A deadline is armed before guest code can run: at instantiation, at `configure`, at each call.
//! 3. After any fault the whole store is dropped. No instance that trapped is entered again.
//! 4. What a guest answers is checked before anybody else sees it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bindings;
mod cache;
mod check;
mod compile;
mod convert;
mod deadline;
mod engine;
mod fault;
mod instance;
mod json;
mod limiter;
mod live;
mod load;
mod metrics;
mod plan;
mod quarantine;
mod resident;
mod rows;
mod search;
mod spec;
mod ticker;
mod wasi;
mod world;

pub use cache::{Cache, CacheError};
pub use compile::{ChildCompiler, CompileError, CompileLimits, Compiler, compile_child_main};
pub use deadline::thread_cpu_time;
pub use engine::{Engine, EngineConfig, EngineError};
pub use fault::{Cause, FaultReport};
pub use instance::Instance;
pub use load::digest;
pub use load::{LoadError, Plugin};
pub use metrics::Metrics;
pub use quarantine::Standing;
pub use spec::{Artifact, Isolation, Limits, OnError, PluginSpec, Provenance};
