//! The files of the buffers, as they lie in the data folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use weir_buffer::disk::StoredParts;
use weir_buffer::disk::inspect::number_of;
use weir_pipeline::checkpoint::Checkpoints;

/// What lies there of one sink.
pub struct SinkFiles {
    pub sink: String,
    /// By number.
    pub files: BTreeMap<u64, OneFile>,
    /// Files that are kept aside: damaged, or unknown to the checkpoint.
    pub aside: Vec<OneFile>,
    /// What the checkpoint says.
    pub named: BTreeMap<u64, StoredParts>,
}

/// A segment file.
pub struct OneFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub written: SystemTime,
}

/// Everything below the data folder; of the sinks in `only` where there are some. The error says what to do.
pub fn find(data_dir: &Path, only: &[String]) -> Result<Vec<SinkFiles>, String> {
    if !data_dir.is_dir() {
        let help = "give the agent's data_dir with --data-dir or its configuration with -c";
        return Err(format!("there is no data folder {}; {help}", data_dir.display()));
    }
    // The checkpoint first: what it names was there before it was written, so only what is delivered since is missing.
    let checkpoints = Checkpoints::open(data_dir).map_err(|error| error.to_string())?;
    let mut sinks = checkpoints.sinks_with_stored();
    let folder = super::folder(data_dir);
    let listed = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.and_then(Iterator::collect).map_err(|error| unreadable(&folder, &error))?,
    };
    for entry in listed {
        if entry.path().is_dir() {
            sinks.extend(entry.file_name().into_string());
        }
    }
    sinks.sort();
    sinks.dedup();
    for wanted in only {
        if !sinks.contains(wanted) {
            let known = if sinks.is_empty() { "no sink has any".to_owned() } else { sinks.join(", ") };
            return Err(format!("nothing lies on disk for a sink called {wanted:?}; there is for: {known}"));
        }
    }
    sinks.retain(|sink| only.is_empty() || only.contains(sink));
    let one = |sink: String| {
        let of_sink = folder.join(&sink);
        let aside = list(&of_sink.join("aside"))?.into_values().collect();
        Ok(SinkFiles { files: list(&of_sink)?, aside, named: checkpoints.stored(&sink), sink })
    };
    sinks.into_iter().map(one).collect()
}

fn list(folder: &Path) -> Result<BTreeMap<u64, OneFile>, String> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(|error| unreadable(folder, &error))?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let Some(number) = entry.file_name().to_str().and_then(number_of) else { continue };
        // One that is gone was delivered meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        files.insert(number, OneFile { path: entry.path(), bytes: metadata.len(), written });
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot list {}: {error}; run this as who owns the data folder", path.display())
}
