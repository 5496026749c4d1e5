//! A pipeline: its stages in order, and the buffers of the sinks behind them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use weir_buffer::ledger::Account;
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::Route;
use weir_event::batch::{Arena, ArenaPool, Batch, BatchBuilder, Flags, Row};
use weir_event::edit::Compiled;
use weir_event::sheet::OnFault;
use weir_event::stream::{Attributes, Stream};
use weir_event::transform::{Plan, Transform};

use crate::process::Processor;
use crate::samples::SampleStep;
use crate::shadow::Slot;

/// Events as they are found everywhere: whoever cannot handle these cannot be meant for logs.
const ORDINARY: [&[u8]; 3] = [
    br#"{"time":"2026-01-02T03:04:05Z","level":"info","message":"ready","status":200,"user":{"id":"7"}}"#,
    b"level=info msg=\"ready\" status=200",
    b"ready",
];
/// The time of these events, in nanoseconds since the Unix epoch.
const ORDINARY_TIME: i64 = 1_767_323_045_000_000_000;

/// What becomes of rows that a stage could not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPolicy {
    /// One of the ways in which the batch goes on.
    Handle(OnFault),
    /// The pipeline keeps the batch and stops.
    Hold,
}

/// What an instance of a stage is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Events on their way to a sink.
    Work,
    /// Others, of which nothing must be held against it.
    Trial,
}

/// A step of a pipeline.
pub struct Stage {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What it reads, writes and drops.
    pub plan: Plan,
    /// For rows that it cannot handle.
    pub on_fault: FaultPolicy,
    /// Makes the instance for one worker, or for a trial.
    pub make: Box<dyn Fn(Purpose) -> Box<dyn Transform> + Send + Sync>,
    /// Whether it fails so often lately that other pipelines must not wait for it.
    pub is_unwell: Box<dyn Fn() -> bool + Send + Sync>,
    /// Who may take its place some day, and is compared with it.
    pub shadow: Arc<Slot>,
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
    /// Documents are stored at once, where the buffer has a disk.
    pub is_urgent: bool,
}

/// From sources through stages to sinks.
pub struct Pipeline {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The stages' plans, compiled together.
    pub compiled: Compiled,
    /// The steps of a pipeline of samples, which has no stages then; `None` for one of events.
    pub samples: Option<Vec<SampleStep>>,
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

    /// The number of the stage with this name.
    pub(crate) fn stage(&self, name: &str) -> Option<usize> {
        match &self.samples {
            Some(steps) => steps.iter().position(|step| *step.name == *name),
            None => self.stages.iter().position(|stage| *stage.name == *name),
        }
    }

    /// Whether one of its stages fails so often lately that other pipelines must not wait for it.
    pub(crate) fn is_unwell(&self) -> bool {
        self.stages.iter().any(|stage| (stage.is_unwell)())
    }

    /// The buffers of all sinks, and that of the dead letters last.
    pub(crate) fn all_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().chain([&self.dead_letters])
    }

    /// Brings a few ordinary events through the stages, as a worker would, and nowhere else: the name of the first
    /// stage that cannot handle them. What looks at samples can handle all of them. Blocks.
    pub fn try_out(self: &Arc<Self>) -> Result<(), Arc<str>> {
        if self.samples.is_some() {
            return Ok(());
        }
        let mut processor = Processor::on_trial(self);
        let tried = catch_unwind(AssertUnwindSafe(|| processor.try_out(&ordinary(), ORDINARY_TIME)));
        tried.unwrap_or_else(|_| Err(Arc::clone(&self.name)))
    }
}

fn ordinary() -> Batch {
    let mut batch = BatchBuilder::new(Arena::default());
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 0));
    for (text, offset) in ORDINARY.iter().zip(0..) {
        let content = batch.arena.append(text);
        batch.push(Row {
            content,
            raw: content,
            offset,
            time: ORDINARY_TIME,
            stream,
            flags: Flags::default(),
        });
    }
    batch.finish(&ArenaPool::new())
}
