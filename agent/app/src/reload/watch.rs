//! Hears of changes of the configuration's files.
//!
//! 1. The folder is watched, not the file: an editor puts another file in its place, and a mounted ConfigMap points
//!    `..data` to another folder. Whatever happens there may be a change.
//! 2. It is told on when the content has been the same for a moment, so that a file is not read half written.
//! 3. Since no watch is to be relied on, the content is looked at every now and then as well.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::state::AgentState;

/// The content must not change for so long.
const SETTLED: Duration = Duration::from_millis(100);
/// A folder in which something happens all the time is read all the same.
const LONGEST_UNREST: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Watches the configuration at `path` until the agent is gone.
pub fn watch(path: &Path, state: &Arc<AgentState>) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    warn_of_mounted_file(&path);
    let state = Arc::downgrade(state);
    let watching = std::thread::Builder::new().name("config-watch".to_owned());
    watching.spawn(move || look_forever(&path, &state)).map(drop)
}

fn look_forever(path: &Path, state: &Weak<AgentState>) {
    let (tell, told) = mpsc::sync_channel(1);
    let mut watcher = Watcher { inner: None, folders: Vec::new() };
    let mut known = None;
    let mut next_look = Instant::now() + LOOK_EVERY;
    loop {
        // What changed before it was watched nobody heard of.
        if !watcher.watch(path, &tell) {
            // Whatever it is that happened, or nothing for long enough.
            let _ = told.recv_timeout(next_look.saturating_duration_since(Instant::now()));
        }
        let hash = settle(path);
        let Some(state) = state.upgrade() else { return };
        let is_time = Instant::now() >= next_look;
        if is_time {
            next_look = Instant::now() + LOOK_EVERY;
        }
        // Where nothing can be read just now, a swap may be under way; the next look finds what came of it. Artefacts
        // lie elsewhere and are looked at only when it is time.
        if let Some(hash) = hash.filter(|hash| is_time || known.as_ref() != Some(hash)) {
            state.reloads.files_settled(hash.clone());
            known = Some(hash);
        }
    }
}

/// Waits until the content is the same for a moment.
fn settle(path: &Path) -> Option<String> {
    let since = Instant::now();
    let mut before = weir_config::hash_of(path);
    while since.elapsed() < LONGEST_UNREST {
        std::thread::sleep(SETTLED);
        let now = weir_config::hash_of(path);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

struct Watcher {
    inner: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
}

impl Watcher {
    /// Watches the folders that matter now: links may lead elsewhere than before, and a watch ends with its folder. Says
    /// whether these are others than before.
    fn watch(&mut self, path: &Path, tell: &mpsc::SyncSender<()>) -> bool {
        let folders = folders_of(path);
        if self.folders == folders {
            return false;
        }
        let tell = tell.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            // Looking at a file is no change of it.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = tell.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            for folder in &folders {
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => self.inner = Some(watcher),
            Err(error) => {
                let seconds = LOOK_EVERY.as_secs();
                tracing::warn!(%error, "cannot watch the configuration; it is looked at every {seconds} s");
                self.inner = None;
            }
        }
        // What cannot be watched is tried again when something else is to be.
        self.folders = folders;
        true
    }
}

/// The folder of the configuration, and where links on the way to it lie.
fn folders_of(path: &Path) -> Vec<PathBuf> {
    let folder_of = |path: &Path| match path.is_dir() {
        true => path.to_owned(),
        false => path.parent().unwrap_or(path).to_owned(),
    };
    let mut folders = vec![folder_of(path)];
    // A link that is swapped as a whole lies beside the folder that it leads to.
    if path.is_symlink() {
        folders.extend(path.parent().map(Path::to_owned));
    }
    if let Ok(real) = std::fs::canonicalize(path) {
        folders.push(folder_of(&real));
    }
    folders.sort();
    folders.dedup();
    folders
}

/// A single file mounted into a container (`subPath`) never changes there.
fn warn_of_mounted_file(path: &Path) {
    let Ok(real) = std::fs::canonicalize(path) else { return };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_mount = mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == real));
    if real.is_file() && is_mount {
        tracing::warn!(path = %path.display(), "the configuration is mounted as a single file (subPath): it will not follow changes of its ConfigMap; mount the folder");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_watched_where_they_lie_and_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let top = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(top.join("v1")).unwrap();
        std::fs::write(top.join("v1/weir.yaml"), "version: 1\n").unwrap();
        std::os::unix::fs::symlink("v1", top.join("current")).unwrap();
        std::os::unix::fs::symlink("v1/weir.yaml", top.join("weir.yaml")).unwrap();
        assert_eq!(folders_of(&top.join("v1")), [top.join("v1")]);
        assert_eq!(folders_of(&top.join("v1/weir.yaml")), [top.join("v1")]);
        assert_eq!(folders_of(&top.join("weir.yaml")), [top.clone(), top.join("v1")]);
        assert_eq!(folders_of(&top.join("current")), [top.clone(), top.join("current"), top.join("v1")]);
    }
}
