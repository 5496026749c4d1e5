//! What threads take of the CPU.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// For work whose delay holds back no more than the one pipeline that it is of.
pub(crate) const LESS: i32 = 5;
/// For work that can wait for as long as anything else is to be done.
pub(crate) const LEAST: i32 = 19;

/// Lowers the priority of the calling thread. Where the system does not let it, the work is done all the same.
pub(crate) fn lower_priority(nice: i32) {
    if let Err(error) = rustix::process::nice(nice) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

/// CPU time that the calling thread has used.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
