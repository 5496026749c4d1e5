//! The one wasmtime engine of the agent, and the configuration that it shares with the compiling child.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::{Config, Enabled, PoolingAllocationConfig};

use crate::limiter::MAX_TABLE_ELEMENTS;
use crate::ticker::{ActiveCall, Ticker};

/// Core modules, memories and tables that a component may have. Rust's have one of each, and adapters add a few; an
/// interpreter is some forty modules linked together. Instances are counted, only memories and tables take addresses.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 8;

/// Of a dropped instance's memory so much is wiped and kept for the next one. A batch and its answer fit:
/// giving the pages back and faulting them in again doubles what a fresh instance costs.
const RESIDENT_BYTES: usize = 256 << 10;

const PAGE_BYTES: u64 = 64 << 10;

/// What a 32-bit memory can have.
const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// A fault tells where it happened, not the whole story.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// What the engine keeps room for. Room is address space; memory is used by what lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Instances that live at once: plugins × workers, twice that where a reload overlaps.
    pub instances: u32,
    /// The largest memory limit of any plugin, in bytes.
    pub memory: u64,
}

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime does not take the configuration.
    #[error("failed to start the WebAssembly engine: {0}")]
    Wasmtime(String),
    /// The thread of the deadlines.
    #[error("failed to start the thread that keeps deadlines: {0}")]
    Thread(#[source] std::io::Error),
}

/// The engine. Clones share it; its thread ends with the last.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    ticker: Arc<Ticker>,
    compatibility: Arc<str>,
    memory: u64,
}

// === impl EngineConfig ===

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig { instances: 64, memory: crate::spec::DEFAULT_MEMORY_BYTES }
    }
}

// === impl Engine ===

impl Engine {
    /// Starts the engine and its thread, which sleeps until a plugin runs.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        let inner = pooled(config).or_else(|error| {
            // The pool reserves terabytes of addresses, which a tight `ulimit -v` or an odd kernel may
            // refuse.
            tracing::warn!(%error, "no room for a pool of plugin instances, instances are made on demand");
            wasmtime::Engine::new(&base_config())
        });
        let inner = inner.map_err(|error| EngineError::Wasmtime(format!("{error:#}")))?;
        let ticker = Ticker::start(inner.clone()).map_err(EngineError::Thread)?;
        let compatibility = compatibility(&inner).into();
        Ok(Engine { inner, ticker: Arc::new(ticker), compatibility, memory: config.memory })
    }

    /// Changes with everything that compiled code depends on: wasmtime's version, its settings, this
    /// machine's CPU.
    pub(crate) fn compatibility(&self) -> &str {
        &self.compatibility
    }

    /// The largest memory limit that fits.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    pub(crate) fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// Keeps the epoch advancing while guest code runs.
    pub(crate) fn enter(&self) -> ActiveCall<'_> {
        self.ticker.enter()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("compatibility", &self.compatibility).finish_non_exhaustive()
    }
}

fn pooled(config: EngineConfig) -> wasmtime::Result<wasmtime::Engine> {
    let instances = config.instances.max(1);
    let memory = config.memory.clamp(PAGE_BYTES, MAX_MEMORY_BYTES).next_multiple_of(PAGE_BYTES);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(instances.saturating_mul(4))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(memory).unwrap_or(usize::MAX));
    let mut wasmtime_config = base_config();
    wasmtime_config.allocation_strategy(pool);
    wasmtime::Engine::new(&wasmtime_config)
}

/// Everything that has to be the same where code is compiled and where it runs.
pub(crate) fn base_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        // Names of functions are enough for a backtrace; addresses and unwind tables would double the code's
        // size.
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

fn compatibility(engine: &wasmtime::Engine) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize()).chars().take(16).collect()
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Collects what is hashed; `finish` is not asked.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_and_compiling_engines_agree_on_compiled_code() {
        let compiling = wasmtime::Engine::new(&base_config()).unwrap();
        let running = Engine::new(EngineConfig::default()).unwrap();
        assert_eq!(running.compatibility(), compatibility(&compiling));
        let other = wasmtime::Engine::new(base_config().epoch_interruption(false)).unwrap();
        assert_ne!(running.compatibility(), compatibility(&other));
        assert_eq!(running.compatibility().len(), 16);
    }
}
