//! Hears at once of files and folders that appear, go or change their name. Data written into files is not listened
//! for: with hundreds of busy files that would cost more than looking for it at every tick.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{Config, Event, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};

/// When more folders than this changed, all are looked through.
const MAX_FLAGGED: usize = 4_096;

/// The folders in which something changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flagged {
    pub directories: BTreeSet<PathBuf>,
    /// Something was missed: all of them.
    pub all: bool,
}

#[derive(Default)]
struct Shared {
    any: AtomicBool,
    flagged: Mutex<Flagged>,
}

/// Watches folders. It is a help, not a promise: everything is found without it too, only later.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    shared: Arc<Shared>,
    warned: bool,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let kinds = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        let config = Config::default().with_event_kinds(kinds);
        let watcher = RecommendedWatcher::new(move |event| handler.note(event), config);
        let mut watch = Watch { watcher: None, shared, warned: false };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.warn(&error),
        }
        watch
    }

    /// One that hears nothing.
    #[cfg(test)]
    pub(crate) fn deaf() -> Watch {
        Watch { watcher: None, shared: Arc::default(), warned: true }
    }

    /// Begins to watch a folder, without those below it; says whether that worked.
    pub(crate) fn add(&mut self, directory: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let watched = watcher.watch(directory, RecursiveMode::NonRecursive);
        if let Err(error) = &watched {
            self.warn(error);
        }
        watched.is_ok()
    }

    /// No longer watches a folder; it is mostly gone already.
    pub(crate) fn remove(&mut self, directory: &Path) {
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(directory);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take(&self) -> Flagged {
        if !self.shared.any.swap(false, Ordering::Acquire) {
            return Flagged::default();
        }
        std::mem::take(&mut *self.shared.flagged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&mut self, error: &notify::Error) {
        if !self.warned {
            self.warned = true;
            tracing::warn!(%error, "cannot watch folders, new files are found by looking every second; \
                raise fs.inotify.max_user_watches and max_user_instances");
        }
    }
}

impl Shared {
    fn note(&self, event: notify::Result<Event>) {
        let mut flagged = self.flagged.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if !event.need_rescan() => {
                for path in event.paths {
                    flagged.directories.extend(path.parent().map(Path::to_owned));
                    flagged.directories.insert(path);
                }
            }
            _ => flagged.all = true,
        }
        if flagged.directories.len() > MAX_FLAGGED {
            flagged.directories.clear();
            flagged.all = true;
        }
        drop(flagged);
        self.any.store(true, Ordering::Release);
    }
}
