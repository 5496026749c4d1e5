//! Who waits until something is durable: not merely safe, but named by a checkpoint on disk.
//!
//! A file is its own first copy, so its source needs no such answer. What was pushed is nowhere else: its sender may
//! forget it when it hears that it was taken, so it hears that when a restart after a crash would find it.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// Called when a batch is durable, from any thread; must not block. Dropped without being called where that will never
/// be.
pub struct OnDurable(Box<dyn FnOnce() + Send>);

impl OnDurable {
    /// Calls this.
    pub fn new(call: impl FnOnce() + Send + 'static) -> OnDurable {
        OnDurable(Box::new(call))
    }

    pub(super) fn call(self) {
        (self.0)();
    }
}

impl fmt::Debug for OnDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnDurable")
    }
}

/// Those that wait, each for a version of the state to be written.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(u64, OnDurable)>);

impl Waiting {
    pub fn add(&mut self, version: u64, on_durable: OnDurable) {
        self.0.push((version, on_durable));
    }

    /// Those for whom this version is enough.
    pub fn take(&mut self, written: u64) -> Vec<OnDurable> {
        self.0.extract_if(.., |(version, _)| *version <= written).map(|(_, on_durable)| on_durable).collect()
    }
}

/// Whom to tell that a save is wanted at once.
#[derive(Default)]
pub(super) struct Wake(OnceLock<Arc<dyn Fn() + Send + Sync>>);

impl Wake {
    pub fn set(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        let _ = self.0.set(wake);
    }

    pub fn wake(&self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
