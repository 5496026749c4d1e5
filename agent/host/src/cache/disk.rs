//! The cache's directory.
//!
//! 1. The directory has mode 0700, its files 0600, all belong to the agent's user; a file that does not is
//!    not read.
//! 2. `key` holds 64 random bytes. A key that is not as it should be is replaced, which voids every entry.
//! 3. An entry is `<sha256 of the artefact>-<engine>.cwasm`: the magic, an HMAC-SHA256 under the key over the
//!    magic, the file's name and the code, then the code. An entry moved to another name is not valid there.
//! 4. Entries appear whole, by a rename after a sync. Those not used for longest go when all together are too
//!    large.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::private::{self, PrivateError, UNFINISHED_PREFIX};
use crate::compile::MAX_COMPILED_BYTES;

const MAGIC: &[u8; 8] = b"weirCW01";
const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 64;
const KEY_NAME: &str = "key";
const EXTENSION: &str = "cwasm";

/// All entries together. A hundred plugins of a usual size, or a few interpreters.
const MAX_CACHE_BYTES: u64 = 1 << 30;

/// What a crash left half written is not anybody's work in progress after this.
const UNFINISHED_AGE: Duration = Duration::from_secs(3600);

/// The cache's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the plugin cache {}: {reason}", directory.display())]
pub struct CacheError {
    directory: PathBuf,
    reason: String,
}

/// Why an entry is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("it is not a compiled plugin of this version")]
    Magic,
    #[error("its keyed hash is wrong: it was changed, or made under another key")]
    Mac,
}

pub(super) struct Disk {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
}

// === impl Disk ===

impl Disk {
    pub(super) fn open(directory: &Path) -> Result<Disk, CacheError> {
        let failed =
            |error: PrivateError| CacheError { directory: directory.to_owned(), reason: error.to_string() };
        private::open_directory(directory).map_err(failed)?;
        let key = open_key(directory).map_err(|error| failed(error.into()))?;
        let disk = Disk { directory: directory.to_owned(), key };
        disk.remove_unfinished();
        Ok(disk)
    }

    /// The code under this name, verified; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, EntryError> {
        let limit = MAX_COMPILED_BYTES + (MAGIC.len() + MAC_BYTES) as u64;
        let Some(mut entry) = private::read(&self.directory.join(name), limit)? else { return Ok(None) };
        let Some((magic, rest)) = entry.split_first_chunk::<{ MAGIC.len() }>() else {
            return Err(EntryError::Magic);
        };
        let Some((mac, code)) = rest.split_first_chunk::<MAC_BYTES>() else { return Err(EntryError::Magic) };
        if magic != MAGIC {
            return Err(EntryError::Magic);
        }
        self.mac(name, code).verify_slice(mac).map_err(|_| EntryError::Mac)?;
        entry.drain(..MAGIC.len() + MAC_BYTES);
        Ok(Some(entry))
    }

    pub(super) fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(name, code).finalize().into_bytes();
        private::write(&self.directory, name, &[MAGIC, mac.as_slice(), code])?;
        self.prune(name);
        Ok(())
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&self.key).into());
        mac.update(MAGIC);
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }

    /// Makes room for what was just written by removing what was not used for longest.
    fn prune(&self, keep: &str) {
        let mut entries = self.entries(|name| name.ends_with(EXTENSION));
        entries.sort_by_key(|entry| entry.used);
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries.iter().filter(|entry| entry.name != keep) {
            if total <= MAX_CACHE_BYTES {
                return;
            }
            if fs::remove_file(self.directory.join(&entry.name)).is_ok() {
                total -= entry.bytes;
            }
        }
    }

    fn remove_unfinished(&self) {
        let now = SystemTime::now();
        for entry in self.entries(|name| name.starts_with(UNFINISHED_PREFIX)) {
            if now.duration_since(entry.used).is_ok_and(|age| age > UNFINISHED_AGE) {
                let _ = fs::remove_file(self.directory.join(&entry.name));
            }
        }
    }

    fn entries(&self, wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
        let Ok(directory) = fs::read_dir(&self.directory) else { return Vec::new() };
        let entry = |file: fs::DirEntry| {
            let name = file.file_name().into_string().ok().filter(|name| wanted(name))?;
            let metadata = file.metadata().ok()?;
            Some(Entry { name, bytes: metadata.len(), used: metadata.modified().ok()? })
        };
        directory.flatten().filter_map(entry).collect()
    }
}

struct Entry {
    name: String,
    bytes: u64,
    used: SystemTime,
}

fn open_key(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match private::read(&directory.join(KEY_NAME), KEY_BYTES as u64) {
        Ok(Some(key)) => match key.try_into() {
            Ok(key) => return Ok(key),
            Err(_) => tracing::warn!("the plugin cache's key is cut short, making a new one"),
        },
        Ok(None) => (),
        Err(error) => tracing::warn!(%error, "the plugin cache's key is not trusted, making a new one"),
    }
    let mut key = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    private::write(directory, KEY_NAME, &[&key])?;
    Ok(key)
}

#[cfg(test)]
mod tests;
