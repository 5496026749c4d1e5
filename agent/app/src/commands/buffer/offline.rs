//! The buffer of a sink while no agent runs: opened as an agent opens it, and written down in the same checkpoint.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use weir_buffer::ack::Acknowledge;
use weir_buffer::disk::Unnamed;
use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::ledger::{Amount, Ledger};
use weir_buffer::memory::{Disk, DiskSettings, MemoryTier};
use weir_pipeline::checkpoint::Checkpoints;

/// Memory for what is put back at once.
const MEMORY: u64 = 64 * 1024 * 1024;

/// A buffer that nobody else works on.
pub struct Offline {
    checkpoints: Arc<Checkpoints>,
    pub buffer: Arc<MemoryTier>,
    _lock: File,
}

// === impl Offline ===

impl Offline {
    /// Opens it. `bound` is what the configuration lets its disk have, where that is known.
    pub fn open(data_dir: &Path, sink: &str, bound: Option<u64>) -> Result<Offline, String> {
        let path = data_dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        if lock.try_lock().is_err() {
            return Err(format!(
                "an agent runs with data_dir {} and does not answer at an admin address; stop it, or give it `admin:`",
                data_dir.display()
            ));
        }
        let checkpoints = Arc::new(Checkpoints::open(data_dir).map_err(|error| error.to_string())?);
        let ledger = Arc::new(Ledger::default());
        for (pipeline, sink, counts) in checkpoints.counts() {
            ledger.account(&pipeline, &sink).restore(counts);
        }
        let settings = DiskSettings {
            sink: sink.to_owned(),
            folder: super::folder(data_dir).join(sink),
            bound: bound.unwrap_or(u64::MAX / 2),
            unnamed: if checkpoints.is_complete() { Unnamed::Remove } else { Unnamed::PutAside },
            next_file: checkpoints.next_file(sink),
        };
        let direct = Arc::clone(&checkpoints) as Arc<dyn Acknowledge>;
        let stored = checkpoints.stored(sink);
        let disk = Disk::open(&settings, stored, &ledger, direct, Arc::new(OperatingSystem))
            .map_err(|error| error.to_string())?;
        let buffer = MemoryTier::with_disk(MEMORY, ledger, Some(disk));
        Ok(Offline { checkpoints, buffer, _lock: lock })
    }

    /// Writes down what was done, and removes the files that nobody needs any more.
    pub fn close(self, amount: Amount) -> Result<Amount, String> {
        // A file goes when neither the checkpoint nor the one before it names it.
        for _ in 0..3 {
            self.checkpoints.save().map_err(|error| error.to_string())?;
        }
        Ok(amount)
    }
}
