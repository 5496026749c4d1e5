//! Sources: where batches come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weir_event::batch::{ArenaPool, Batch};

use crate::checkpoint::{Checkpoints, Progress};

/// Whether a source goes on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads what is there and what comes.
    Follow,
    /// Reads what is there, also an unfinished last line or part, and ends.
    Once,
}

/// Tells sources to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for. A source looks at least every 200 ms, and at once when its thread is unparked.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The pipelines will take no more batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Where a source puts its batches.
pub trait Outlet: Send {
    /// Hands a batch to every pipeline of the source; blocks while one of them is behind. `progress` says how far
    /// the batch brings its files, and becomes the checkpoint when it is safe. A batch without rows only moves
    /// positions.
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped>;

    /// Whether [`Outlet::send`] would go through at once. A source that has other duties than reading, such as
    /// holding rotated files open, sees to them until it is.
    fn is_ready(&self) -> bool {
        true
    }

    /// Books bytes that were there to read and never can be again, with every sink of the source's pipelines: as read,
    /// and as lost for this reason. How many events they were nobody knows: they count as none. `progress` says
    /// how far that brings the files, in one step with the counts. Never blocks.
    fn lost(&mut self, reason: &'static str, bytes: u64, progress: Vec<Progress>);

    /// How many batches of this source are not safe yet, in the order of sending: one that is safe counts for as
    /// long as one before it is not.
    fn outstanding(&self) -> usize;

    /// How far the batches that are not safe yet bring their files, in the order of sending. A source that takes the
    /// place of another of its name goes on behind them.
    fn under_way(&self) -> Vec<Progress> {
        Vec::new()
    }
}

/// What a source counts of itself.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Events sent.
    pub events: AtomicU64,
    /// Files followed now.
    pub files: AtomicU64,
    /// Lines that are not what the format prescribes, kept as text.
    pub malformed: AtomicU64,
    /// Events cut at the size limit.
    pub truncated: AtomicU64,
    /// Joined events that were cut at their bound of lines or bytes; what follows is an event of its own.
    pub multiline_cut: AtomicU64,
    /// Files that were found shorter than what was read of them, and begun anew.
    pub truncated_files: AtomicU64,
    /// Deleted files that are held open now, to read their rest.
    pub held_files: AtomicU64,
    /// Their bytes on the disk.
    pub held_bytes: AtomicU64,
    /// Files or folders that could not be opened or read.
    pub errors: AtomicU64,
}

/// What a source works with.
pub struct SourceContext {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The node's name.
    pub node: Arc<str>,
    /// Whether it goes on for ever.
    pub mode: Mode,
    /// Where batches go.
    pub outlet: Box<dyn Outlet>,
    /// Memory for batches.
    pub arenas: Arc<ArenaPool>,
    /// Positions from before.
    pub checkpoints: Arc<Checkpoints>,
    /// Looked at between reads.
    pub stop: Stop,
    /// What it counts.
    pub metrics: Arc<SourceMetrics>,
}

/// Where batches come from. Runs on a thread of its own, since reading files blocks.
pub trait Source: Send {
    /// Runs until it is stopped, or in [`Mode::Once`] until all is read. A file or folder that cannot be read is
    /// logged, counted and tried again; it ends nothing.
    fn run(self: Box<Self>, context: SourceContext);
}
