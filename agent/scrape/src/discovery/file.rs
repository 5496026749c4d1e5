//! Targets in files (`file_sd_configs`): JSON or YAML, read again when something changes beside them, and every now and then.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::{Discovery, Found, TargetGroup, read_json, yaml};
use crate::settings::FileDiscovery;

/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// More files than this are not read.
const MAX_FILES: usize = 10_000;
/// Changes often come in several steps.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(100);

/// Reads files.
pub(crate) struct Files {
    settings: FileDiscovery,
    /// What each file said when it could be read last.
    known: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

// === impl Files ===

impl Files {
    pub(crate) fn new(settings: FileDiscovery) -> Files {
        Files { settings, known: BTreeMap::new() }
    }

    /// Reads all files anew, and says how many could not be read.
    fn read(&mut self) -> usize {
        let mut failed = 0;
        let mut read = BTreeMap::new();
        for path in self.settings.files.iter().flat_map(|pattern| matching(pattern)).take(MAX_FILES) {
            let groups = match read_file(&path) {
                Ok(groups) => groups,
                Err(error) => {
                    failed += 1;
                    tracing::warn!(path = %path.display(), %error, "cannot read targets; the last ones are kept");
                    match self.known.remove(&path) {
                        Some(groups) => groups,
                        None => continue,
                    }
                }
            };
            read.insert(path, groups);
        }
        self.known = read;
        failed
    }
}

impl Discovery for Files {
    fn run(mut self: Box<Self>, found: Found) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let changed = Arc::new(Notify::new());
            let every = self.settings.refresh_interval;
            loop {
                // Watching first, so that what changes meanwhile is seen.
                let patterns = self.settings.files.clone();
                let tell = Arc::clone(&changed);
                let work = tokio::task::spawn_blocking(move || {
                    let watcher = watch(&patterns, tell);
                    let failed = self.read();
                    (self, watcher, failed)
                });
                let Ok((this, watcher, failed)) = work.await else { return };
                self = this;
                if failed > 0 {
                    found.fail();
                }
                found.report(self.known.values().flatten().cloned().collect());
                tokio::select! {
                    () = changed.notified() => tokio::time::sleep(SETTLE).await,
                    () = tokio::time::sleep(every) => {}
                }
                drop(watcher);
            }
        })
    }
}

/// Whether this may stand in `files`: its last part may hold a `*`, and it ends as JSON or YAML does.
pub(crate) fn is_file_pattern(pattern: &str) -> bool {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let is_read = [".json", ".yml", ".yaml"].iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    is_read && !folder.contains('*') && name.matches('*').count() <= 1
}

/// The folder of a pattern, and what its files are called before and behind the `*`.
fn parts(pattern: &str) -> (PathBuf, &str, Option<&str>) {
    let (folder, name) = match pattern.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => (".", pattern),
    };
    match name.split_once('*') {
        Some((before, behind)) => (PathBuf::from(folder), before, Some(behind)),
        None => (PathBuf::from(folder), name, None),
    }
}

/// The files of a pattern that are there, in order; one without a `*` always.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let (folder, before, behind) = parts(pattern);
    let Some(behind) = behind else {
        let path = folder.join(before);
        return if matches!(path.try_exists(), Ok(false)) { Vec::new() } else { vec![path] };
    };
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let is_wanted = |name: &str| {
        name.len() >= before.len() + behind.len() && name.starts_with(before) && name.ends_with(behind)
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut paths: Vec<PathBuf> =
        names.filter(|name| is_wanted(name)).map(|name| folder.join(name)).collect();
    paths.sort();
    paths
}

fn watch(patterns: &[String], tell: Arc<Notify>) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<notify::Event>| {
        // Looking at a file is no change of it.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            tell.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(handler).ok()?;
    for pattern in patterns {
        // A folder that is not there yet is looked for again at the next reading.
        let _ = watcher.watch(&parts(pattern).0, RecursiveMode::NonRecursive);
    }
    Some(watcher)
}

fn read_file(path: &Path) -> Result<Vec<TargetGroup>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20));
    }
    let is_json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let mut groups = match is_json {
        true => read_json(&bytes)?,
        false => {
            let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string())?;
            serde_json::from_value(yaml::read(text)?).map_err(|error| error.to_string())?
        }
    };
    for group in &mut groups {
        group.labels.insert("__meta_filepath".to_owned(), path.display().to_string());
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(patterns: &[String]) -> Files {
        let refresh_interval = std::time::Duration::from_secs(300);
        Files::new(FileDiscovery { files: patterns.to_vec(), refresh_interval })
    }

    #[test]
    fn files_are_read_and_the_last_good_list_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        write("a-1.json", r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#);
        write("a-2.json", "[]");
        write("b.yaml", "- targets: [b:1, b:2]\n");
        write("c.json", "not read");
        let pattern = |name: &str| path(name).display().to_string();
        let mut files = files(&[pattern("a-*.json"), pattern("b.yaml"), pattern("none.json")]);
        assert_eq!(files.read(), 0);
        let known: Vec<TargetGroup> = files.known.values().flatten().cloned().collect();
        assert_eq!((known.len(), &*known[0].targets[0], known[1].targets.len()), (2, "a:1", 2));
        assert_eq!(known[0].labels["__meta_filepath"], pattern("a-1.json"));
        write("a-1.json", "[{");
        std::fs::remove_file(path("b.yaml")).unwrap();
        assert_eq!(files.read(), 1);
        assert_eq!(files.known.values().flatten().cloned().collect::<Vec<_>>(), known[..1]);
        write("a-1.json", r#"[{"targets": ["a:2"], "unheard": 1}]"#);
        assert_eq!(files.read(), 1);
    }

    #[test]
    fn only_the_last_part_of_a_path_may_hold_a_star() {
        for pattern in ["/a/b.json", "c*.yml", "/x/*.YAML"] {
            assert!(is_file_pattern(pattern), "{pattern}");
        }
        for pattern in ["/a*/b.json", "/a/*b*.json", "/a/b", "/a/b.toml", ""] {
            assert!(!is_file_pattern(pattern), "{pattern}");
        }
    }
}
