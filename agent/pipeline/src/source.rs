//! Sources: where batches come from.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use weir_event::batch::{ArenaPool, Batch};

use crate::checkpoint::{Checkpoints, OnDurable, Progress};

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

    /// Hands over a batch that was pushed to the agent and lies in no file; blocks in the same way. `on_durable` is
    /// called when every sink has it or has it on disk, and a checkpoint on disk says so. Only pipelines whose documents
    /// go to disk at once may take it, else that comes late. An outlet that keeps nothing takes none.
    fn push(&mut self, _batch: Batch, _on_durable: OnDurable) -> Result<(), Stopped> {
        Err(Stopped)
    }

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
    /// Of a source that is pushed to.
    pub receiving: ReceivingMetrics,
}

/// What a source counts that is pushed to.
#[derive(Debug, Default)]
pub struct ReceivingMetrics {
    /// Where it listens, once it does.
    pub address: OnceLock<SocketAddr>,
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Messages that came whole and could be read.
    pub messages: AtomicU64,
    /// Those among them that were known: sent again by clients that had not heard an answer.
    pub repeated: AtomicU64,
    /// What was refused, by its reason.
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// Why something that was pushed was not taken. Its sender was told so, as far as the protocol can tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It does not follow the protocol.
    Malformed,
    /// It is something that this source does not take, such as metrics.
    Unsupported,
    /// It is larger than may be.
    TooLarge,
    /// It took too long.
    TimedOut,
    /// The key, user, password or token is wrong.
    Unauthorized,
    /// There was no TLS, or one side did not trust the other's certificate.
    Tls,
    /// There are as many connections as may be.
    Connections,
}

// === impl ReceivingMetrics ===

impl ReceivingMetrics {
    /// Counts what was refused.
    pub fn refuse(&self, why: Refusal, count: u64) {
        if let Some(counter) = self.refused.get(why as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How much was refused for this reason: messages, connections, or events of a message of which the others were
    /// taken.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused.get(why as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

// === impl Refusal ===

impl Refusal {
    /// All reasons.
    pub const ALL: [Refusal; 7] = [
        Refusal::Malformed,
        Refusal::Unsupported,
        Refusal::TooLarge,
        Refusal::TimedOut,
        Refusal::Unauthorized,
        Refusal::Tls,
        Refusal::Connections,
    ];

    /// As it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Unsupported => "unsupported",
            Refusal::TooLarge => "too_large",
            Refusal::TimedOut => "timed_out",
            Refusal::Unauthorized => "unauthorized",
            Refusal::Tls => "tls",
            Refusal::Connections => "connections",
        }
    }
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
