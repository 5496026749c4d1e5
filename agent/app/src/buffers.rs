//! The buffers in front of the sinks: made at the start, with what lies on their disks, and kept safe while the agent
//! runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::disk::{StoreError, Unnamed};
use weir_buffer::ledger::Ledger;
use weir_buffer::memory::{DEFAULT_BOUND, Disk, DiskSettings, MemoryTier};
use weir_config::{Config, Name, Sink, WhenFull};
use weir_pipeline::checkpoint::Checkpoints;

/// How often to look for what waited too long.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The buffer of a sink. One that is configured without a disk has one all the same while events of it lie there.
pub fn build(
    config: &Config,
    name: &Name,
    sink: &Sink,
    checkpoints: &Arc<Checkpoints>,
    ledger: &Arc<Ledger>,
) -> Result<Arc<MemoryTier>, StoreError> {
    let configured = sink.buffer.as_ref().and_then(|buffer| config.buffers.get(buffer));
    let stored = checkpoints.stored(name);
    // A buffer that is full holds its pipelines back by itself.
    debug_assert!(configured.is_none_or(|buffer| buffer.when_full == WhenFull::Block));
    if configured.is_none() && stored.is_empty() {
        return Ok(MemoryTier::new(DEFAULT_BOUND, Arc::clone(ledger)));
    }
    let settings = DiskSettings {
        sink: name.to_string(),
        folder: config.data_dir.join("buffer").join(&**name),
        bound: configured.map_or(0, |buffer| buffer.disk.bytes()),
        unnamed: if checkpoints.is_complete() { Unnamed::Remove } else { Unnamed::PutAside },
    };
    let direct = Arc::clone(checkpoints) as Arc<dyn weir_buffer::ack::Acknowledge>;
    let disk = Disk::open(&settings, stored, ledger, direct, Arc::new(OperatingSystem))?;
    let memory = configured.map_or(DEFAULT_BOUND, |buffer| buffer.memory.bytes());
    Ok(MemoryTier::with_disk(memory, Arc::clone(ledger), Some(disk)))
}

/// Keeps the accounts right of what lies on disk for sinks that there are no more.
pub fn keep_orphans(config: &Config, checkpoints: &Checkpoints, ledger: &Ledger) {
    for sink in checkpoints.sinks_with_stored() {
        if config.sinks.contains_key(sink.as_str()) {
            continue;
        }
        let mut events = 0;
        for stored in checkpoints.stored(&sink).values() {
            for (pipeline, amount) in &stored.accounts {
                ledger.account(pipeline, &sink).enter_disk(*amount);
                events += amount.events;
            }
        }
        let folder = config.data_dir.join("buffer").join(&sink);
        tracing::warn!(%sink, events, folder = %folder.display(), "events lie on disk for a sink that is not configured any more; they are delivered when there is a sink of this name again");
    }
}

/// Stores what waits for too long, on a thread of its own, since disks block.
pub struct Storer {
    buffers: Vec<Arc<MemoryTier>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Storer {
    /// Starts to look after the buffers with a disk.
    pub fn start(buffers: &[Arc<MemoryTier>]) -> io::Result<Storer> {
        let with_disk = buffers.iter().filter(|buffer| buffer.disk().is_some());
        let buffers: Vec<_> = with_disk.map(Arc::clone).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (looked_after, stopped) = (buffers.clone(), Arc::clone(&stop));
        let thread = thread::Builder::new().name("storer".to_owned()).spawn(move || {
            while !looked_after.is_empty() && !stopped.load(Ordering::Acquire) {
                for buffer in &looked_after {
                    buffer.store_old();
                }
                thread::park_timeout(LOOK_EVERY);
            }
        })?;
        Ok(Storer { buffers, stop, thread })
    }

    /// Stores what is left when nobody works on it any more. Blocks.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        for buffer in &self.buffers {
            buffer.store_all();
        }
    }
}
