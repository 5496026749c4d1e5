//! What a plugin has done, over all its instances. Plain numbers: the app renders them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::deadline::Moment;
use crate::fault::Cause;

/// Counters and gauges of one plugin. Counters begin at zero when it is loaded.
#[derive(Debug, Default)]
pub struct Metrics {
    calls: AtomicU64,
    rows: AtomicU64,
    cpu_nanoseconds: AtomicU64,
    wall_nanoseconds: AtomicU64,
    faults: [AtomicU64; Cause::ALL.len()],
    retries: AtomicU64,
    recycles: AtomicU64,
    suspects: AtomicU64,
    memory_bytes: AtomicU64,
    memory_peak_bytes: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    /// Batches handed to it. What is tried again counts once.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Rows (events) handed to it. What is tried again counts once.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// CPU time that it cost, copying, checking and tries included.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanoseconds.load(Relaxed))
    }

    /// The same by the clock.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.wall_nanoseconds.load(Relaxed))
    }

    /// Faults of this cause.
    pub fn faults(&self, cause: Cause) -> u64 {
        self.fault_counter(cause).load(Relaxed)
    }

    /// Tries after a fault: the whole batch once more, then parts of it.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Instances replaced for their age or size.
    pub fn recycles(&self) -> u64 {
        self.recycles.load(Relaxed)
    }

    /// Rows that met `on_error`.
    pub fn suspects(&self) -> u64 {
        self.suspects.load(Relaxed)
    }

    /// Linear memory of its instances now.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// The most that it ever was.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes.load(Relaxed)
    }

    /// Books a batch that ends now, and says what CPU time it took.
    pub(crate) fn called(&self, rows: u32, begun: Moment) -> Duration {
        let now = Moment::now();
        let cpu = now.cpu.saturating_sub(begun.cpu);
        add(&self.calls, 1);
        add(&self.rows, u64::from(rows));
        add(&self.cpu_nanoseconds, nanoseconds(cpu));
        add(&self.wall_nanoseconds, nanoseconds(now.wall.saturating_duration_since(begun.wall)));
        cpu
    }

    pub(crate) fn fault(&self, cause: Cause, count: u64) {
        add(self.fault_counter(cause), count);
    }

    pub(crate) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(crate) fn recycled(&self) {
        add(&self.recycles, 1);
    }

    pub(crate) fn suspected(&self, rows: u64) {
        add(&self.suspects, rows);
    }

    pub(crate) fn memory_taken(&self, bytes: u64) {
        let now = self.memory_bytes.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        self.memory_peak_bytes.fetch_max(now, Relaxed);
    }

    pub(crate) fn memory_released(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Relaxed);
    }

    fn fault_counter(&self, cause: Cause) -> &AtomicU64 {
        let [trap, deadline, memory, output, bad_output, undeclared_write, instantiate] = &self.faults;
        match cause {
            Cause::Trap => trap,
            Cause::Deadline => deadline,
            Cause::Memory => memory,
            Cause::Output => output,
            Cause::BadOutput => bad_output,
            Cause::UndeclaredWrite => undeclared_write,
            Cause::Instantiate => instantiate,
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
