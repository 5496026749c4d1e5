//! One container's log, written as a kubelet's container runtime does.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A container's log that is being written.
#[derive(Debug)]
pub struct PodLog {
    path: PathBuf,
    file: File,
    /// Milliseconds since the first line's time.
    clock: u64,
    rotations: u32,
}

// === impl PodLog ===

impl PodLog {
    /// The log of the container `main` of a pod, in a tree of pods. `pod` is `NAMESPACE_NAME_UID`.
    pub fn create(pods: &Path, pod: &str) -> PodLog {
        let folder = pods.join(pod).join("main");
        fs::create_dir_all(&folder).expect("a folder for the container");
        let path = folder.join("0.log");
        let file = create(&path);
        PodLog { path, file, clock: 0, rotations: 0 }
    }

    /// The file that is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a whole line.
    pub fn line(&mut self, content: impl AsRef<[u8]>) {
        self.record("stdout F", content);
    }

    /// Writes a line with these words behind its time, such as `stderr P`.
    pub fn record(&mut self, words: &str, content: impl AsRef<[u8]>) {
        let mut line = format!("{} {words} ", stamp(self.clock)).into_bytes();
        self.clock += 1;
        line.extend_from_slice(content.as_ref());
        line.push(b'\n');
        self.bytes(&line);
    }

    /// Writes many whole lines at once.
    pub fn lines<T: AsRef<[u8]>>(&mut self, contents: impl IntoIterator<Item = T>) {
        let mut text = Vec::new();
        for content in contents {
            text.extend_from_slice(stamp(self.clock).as_bytes());
            text.extend_from_slice(b" stdout F ");
            text.extend_from_slice(content.as_ref());
            text.push(b'\n');
            self.clock += 1;
        }
        self.bytes(&text);
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("write to a log");
    }

    /// Renames the file and begins a new one, as the kubelet does. Returns the old one's new name.
    pub fn rotate(&mut self) -> PathBuf {
        let rotated = self.path.with_file_name(format!("0.log.20261122-{:06}", self.rotations));
        self.rotations += 1;
        fs::rename(&self.path, &rotated).expect("rename a log");
        self.file = create(&self.path);
        rotated
    }

    /// How long the file is.
    pub fn len(&self) -> u64 {
        self.file.metadata().expect("a log").len()
    }

    /// Whether nothing was written to it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn create(path: &Path) -> File {
    File::options().create_new(true).append(true).open(path).expect("create a log")
}

fn stamp(milliseconds: u64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes, seconds) = (10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("2026-11-22T{hours:02}:{minutes:02}:{seconds:02}.{rest:03}000123Z")
}
