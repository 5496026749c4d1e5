//! A pipeline: its stages in order, and the buffers of the sinks behind them.

use std::sync::Arc;

use weir_buffer::ledger::Account;
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::Route;
use weir_event::edit::Compiled;
use weir_event::sheet::OnFault;
use weir_event::transform::{Plan, Transform};

/// What becomes of rows that a stage could not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPolicy {
    /// One of the ways in which the batch goes on.
    Handle(OnFault),
    /// The pipeline keeps the batch and stops.
    Hold,
}

/// A step of a pipeline.
pub struct Stage {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it reads, writes and drops.
    pub plan: Plan,
    /// For rows that it cannot handle.
    pub on_fault: FaultPolicy,
    /// Makes the instance for one worker.
    pub make: Box<dyn Fn() -> Box<dyn Transform> + Send + Sync>,
}

/// Where a pipeline leads.
pub struct Output {
    /// The sink's buffer.
    pub buffer: Arc<MemoryTier>,
    /// The account of this pipeline and sink.
    pub account: Arc<Account>,
    /// Says where the sink puts each document; `None` for a sink with only one place.
    pub route: Option<Arc<dyn Route>>,
    /// A full buffer loses documents instead of holding the pipeline back, and no ack waits for it.
    pub best_effort: bool,
}

/// From sources through stages to sinks.
pub struct Pipeline {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The stages' plans, compiled together.
    pub compiled: Compiled,
    /// At least one.
    pub outputs: Vec<Output>,
    /// Where dead letters go; their documents are booked in the outputs' accounts.
    pub dead_letters: Output,
    /// Share of the workers' time, against the other pipelines'.
    pub weight: u32,
}

impl Pipeline {
    /// How full the fullest buffer behind the pipeline is, from 0 to 1.
    pub fn pressure(&self) -> f32 {
        let buffers = self.outputs.iter().filter(|output| !output.best_effort);
        buffers.map(|output| output.buffer.pressure()).fold(0.0, f32::max)
    }
}
