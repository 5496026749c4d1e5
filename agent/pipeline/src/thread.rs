//! Threads that must not take CPU time from the workers.

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
