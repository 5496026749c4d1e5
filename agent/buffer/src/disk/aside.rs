//! Files that are kept for a person to look at.

use std::io;
use std::path::PathBuf;

use super::filesystem::Found;
use super::{DiskStore, SUFFIX};

/// Where files lie that are damaged or that no checkpoint knows, for a person to look at.
pub(super) const ASIDE: &str = "aside";
/// So many of them are kept, within this part of the bound: what is kept for a person must leave room for events.
pub(super) const MAX_ASIDE: usize = 16;
const ASIDE_SHARE: u64 = 4;

// === impl DiskStore ===

impl DiskStore {
    /// Takes a file out of the folder: away, or aside.
    pub(super) fn take_away(&self, number: u64, bytes: u64, keep: bool) {
        let path = self.path(number);
        if !keep {
            return self.remove(&path, bytes);
        }
        match self.put_aside(number, bytes) {
            Ok(aside) => {
                tracing::warn!(sink = %self.sink, path = %aside.display(), "a file of the buffer is kept aside, for somebody to look at");
            }
            Err(error) => {
                tracing::warn!(sink = %self.sink, path = %path.display(), %error, "a file of the buffer cannot be kept aside and is removed");
                self.remove(&path, bytes);
            }
        }
    }

    fn put_aside(&self, number: u64, bytes: u64) -> io::Result<PathBuf> {
        let aside = self.folder.join(ASIDE);
        // Without a bound of its own it takes nothing more, and has room for these.
        let most = match self.bound() {
            0 => u64::MAX,
            bound => bound / ASIDE_SHARE,
        };
        if bytes > most {
            return Err(io::Error::other(format!("{bytes} bytes are too much for {}", aside.display())));
        }
        self.file_system.create_folder(&aside)?;
        let mut kept = self.file_system.list(&aside)?;
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut count, mut sum) = (kept.len(), kept.iter().map(|found| found.bytes).sum::<u64>());
        for Found { name, bytes: old, .. } in kept {
            if count < MAX_ASIDE && sum + bytes <= most {
                break;
            }
            (count, sum) = (count - 1, sum - old);
            self.remove(&aside.join(name), old);
        }
        let path = aside.join(format!("{number:016x}{SUFFIX}"));
        self.file_system.rename(&self.path(number), &path)?;
        Ok(path)
    }
}
