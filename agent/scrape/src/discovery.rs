//! Where targets come from, beside the configuration.
//!
//! 1. A discovery says whole lists: a new one takes the place of the one before.
//! 2. A list that cannot be had leaves the one before as it is.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::Notify;

use crate::metrics::ScrapeMetrics;

mod file;
mod http;
mod yaml;

pub(crate) use file::{Files, is_file_pattern};
pub(crate) use http::Server;

/// Groups of a list.
const MAX_GROUPS: usize = 100_000;

/// Addresses that share labels (Prometheus, discovery/targetgroup).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Addresses: `host:port`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Labels of all of them; what begins with `__` is for relabelling alone.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Finds targets.
pub trait Discovery: Send {
    /// Looks for targets for as long as the source lives, and says in `found` what there are. It is dropped at any await, and
    /// blocks nobody: what blocks goes to [`tokio::task::spawn_blocking`]. In a single run it is dropped after its first
    /// word.
    fn run(self: Box<Self>, found: Found) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where a discovery says what it found.
#[derive(Clone, Debug)]
pub struct Found {
    list: Arc<List>,
    changed: Arc<Notify>,
    metrics: Arc<ScrapeMetrics>,
}

/// The last word of a discovery.
#[derive(Debug, Default)]
pub(crate) struct List {
    groups: Mutex<Option<Arc<[TargetGroup]>>>,
    version: AtomicU64,
}

// === impl Found ===

impl Found {
    pub(crate) fn new(list: Arc<List>, changed: Arc<Notify>, metrics: Arc<ScrapeMetrics>) -> Found {
        Found { list, changed, metrics }
    }

    /// These are all targets.
    pub fn report(&self, groups: Vec<TargetGroup>) {
        let mut known = self.list.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(&groups[..]) {
            *known = Some(groups.into());
            self.list.version.fetch_add(1, Ordering::Release);
            self.changed.notify_one();
        }
    }

    /// What targets there are cannot be said now: the last list stays.
    pub fn fail(&self) {
        self.metrics.discovery_failures.fetch_add(1, Ordering::Relaxed);
        let mut known = self.list.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(Vec::new().into());
            self.list.version.fetch_add(1, Ordering::Release);
            self.changed.notify_one();
        }
    }
}

// === impl List ===

impl List {
    /// The last list; `None` before the first word.
    pub(crate) fn groups(&self) -> Option<Arc<[TargetGroup]>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with the list.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// Reads a list of groups in JSON.
pub(crate) fn read_json(bytes: &[u8]) -> Result<Vec<TargetGroup>, String> {
    let groups: Vec<TargetGroup> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match groups.len() > MAX_GROUPS {
        true => Err(format!("more than {MAX_GROUPS} groups")),
        false => Ok(groups),
    }
}
