//! What went wrong with pipelines, for people to see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What went wrong with pipelines, for people to see.
#[derive(Debug, Default)]
pub struct Health {
    held: Mutex<BTreeMap<Arc<str>, Arc<str>>>,
    panics: AtomicU64,
}

// === impl Health ===

impl Health {
    /// Pipelines that hold a batch which a plugin could not handle, as (pipeline, stage).
    pub fn held(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(pipeline, stage)| (Arc::clone(pipeline), Arc::clone(stage))).collect()
    }

    /// How often a worker met a fault in the agent itself. The batch stays unacked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, pipeline: &Arc<str>, stage: Arc<str>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(pipeline), stage);
    }

    pub(super) fn release(&self, pipeline: &str) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(pipeline);
    }
}
