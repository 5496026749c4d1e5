//! What cannot be opened or read: counted every time, warned of once, tried again ever more rarely.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_pipeline::source::SourceMetrics;

use crate::now::Now;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// More paths than this are not remembered, and are warned of again.
const MAX_KNOWN: usize = 4_096;

struct Problem {
    next_try: Duration,
    delay: Duration,
}

/// The paths that there is trouble with.
pub(crate) struct Problems {
    metrics: Arc<SourceMetrics>,
    known: HashMap<PathBuf, Problem>,
}

impl Problems {
    pub(crate) fn new(metrics: Arc<SourceMetrics>) -> Problems {
        Problems { metrics, known: HashMap::new() }
    }

    /// Notes that something failed. Files come and go under a follower: what is not there is no problem.
    pub(crate) fn report(&mut self, now: Now, action: &'static str, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        self.metrics.errors.fetch_add(1, Ordering::Relaxed);
        if let Some(problem) = self.known.get_mut(path) {
            problem.delay = (problem.delay * 2).min(LONGEST_DELAY);
            problem.next_try = now.elapsed + problem.delay;
            return;
        }
        tracing::warn!(path = %path.display(), %error, "cannot {action}, will try again");
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let problem = Problem { next_try: now.elapsed + FIRST_DELAY, delay: FIRST_DELAY };
        self.known.insert(path.to_owned(), problem);
    }

    /// Whether it may be tried (again).
    pub(crate) fn may_try(&self, now: Now, path: &Path) -> bool {
        self.known.get(path).is_none_or(|problem| now.elapsed >= problem.next_try)
    }

    /// Notes that it worked.
    pub(crate) fn solved(&mut self, path: &Path) {
        if !self.known.is_empty() {
            self.known.remove(path);
        }
    }
}
