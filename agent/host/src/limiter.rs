//! What an instance may allocate, and the gauge of what it has.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::deadline::Deadline;
use crate::metrics::Metrics;

/// A component of the usual tool chains has one to four core modules.
const MAX_INSTANCES: usize = 64;
const MAX_TABLES: usize = 64;
const MAX_MEMORIES: usize = 8;

/// Entries of one table; the largest interpreters have some ten thousand functions.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 65_536;

/// The guest wanted more memory than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it wanted {wanted} bytes of memory, more than its limit of {limit}")]
pub(crate) struct MemoryExceeded {
    wanted: usize,
    limit: usize,
}

/// What a store carries.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    /// Of the guest code that runs now.
    pub(crate) deadline: Deadline,
}

/// Counts the linear memories of one store together.
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    metrics: Arc<Metrics>,
}

// === impl Limiter ===

impl Limiter {
    pub(crate) fn new(limit: usize, metrics: Arc<Metrics>) -> Limiter {
        Limiter { limit, used: 0, metrics }
    }

    /// Bytes of linear memory.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.metrics.memory_released(self.used as u64);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond the module's own maximum the growth fails by itself.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(grown);
        if wanted > self.limit {
            // An error traps at once. A refusal would let a guest that does not look spin on until its
            // deadline.
            return Err(wasmtime::Error::new(MemoryExceeded { wanted, limit: self.limit }));
        }
        self.used = wanted;
        self.metrics.memory_taken(grown as u64);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_up_to_the_limit() {
        let metrics = Arc::new(Metrics::default());
        let mut limiter = Limiter::new(1000, Arc::clone(&metrics));
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        assert!(!limiter.memory_growing(600, 700, Some(650)).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        let error = limiter.memory_growing(400, 401, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&MemoryExceeded { wanted: 1001, limit: 1000 }));
        assert_eq!((limiter.used(), metrics.memory_bytes()), (1000, 1000));
        drop(limiter);
        assert_eq!((metrics.memory_bytes(), metrics.memory_peak_bytes()), (0, 1000));
    }
}
