//! What a buffer does beside holding bytes: when it is full, when something is old, and what comes first.

use std::sync::PoisonError;
use std::time::Duration;

use super::MemoryTier;

/// What a buffer does beside holding bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// When memory and disk are full.
    pub when_full: WhenFull,
    /// What waits for longer is dropped, unless it is at the sink just then.
    pub max_age: Option<Duration>,
    /// What leaves first.
    pub order: Order,
    /// Bytes of documents that come back from disk in a second, at the most.
    pub replay_rate: Option<u64>,
}

/// What happens when memory and disk are full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing is taken until there is room.
    #[default]
    Block,
    /// The oldest is dropped.
    DropOldest,
}

/// What leaves first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What came first.
    #[default]
    OldestFirst,
    /// What has just come. Of what came before, which lies on disk, a fixed share leaves beside it, oldest first.
    NewestFirst,
}

impl MemoryTier {
    /// Sets what it does from now on.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
        self.arrived.notify_one();
    }

    /// What it does now.
    pub fn policy(&self) -> Policy {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
