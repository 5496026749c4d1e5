//! The cache's directory.
//!
//! 1. The directory has mode 0700, its files 0600, all belong to the agent's user; a file that does not is
//!    not read.
//! 2. `key` holds 64 random bytes. A key that is not as it should be is replaced, which voids every entry.
//! 3. An entry is `<sha256 of the artefact>-<engine>.cwasm`: the code, then an HMAC-SHA256 under the key over the magic,
//!    the file's name and the code, then the magic. An entry moved to another name is not valid there.
//! 4. The code is mapped from the very file that was verified: pages of it that nothing runs take no memory, and the
//!    kernel may drop the others. The file is never written again, only replaced.
//! 5. Entries appear whole, by a rename after a sync. Those not used for longest go when all together are too
//!    large.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::private::{self, PrivateError, UNFINISHED_PREFIX};
use crate::compile::MAX_COMPILED_BYTES;

const MAGIC: &[u8; 8] = b"weirCW02";
/// The keyed hash and the magic, behind the code, which has to begin with a page to be mapped.
const TRAILER_BYTES: u64 = 32 + MAGIC.len() as u64;
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
    #[error(transparent)]
    Io(#[from] io::Error),
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

    /// The file that begins with the code of this name, verified; `None` if there is none.
    pub(super) fn open_entry(&self, name: &str) -> Result<Option<File>, EntryError> {
        let limit = MAX_COMPILED_BYTES + TRAILER_BYTES;
        let Some(mut file) = private::open(&self.directory.join(name), limit)? else { return Ok(None) };
        let length = file.metadata()?.len();
        let code = length.checked_sub(TRAILER_BYTES).ok_or(EntryError::Magic)?;
        let mut mac = self.mac(name);
        io::copy(&mut Read::by_ref(&mut file).take(code), &mut Update(&mut mac))?;
        let mut trailer = [0; TRAILER_BYTES as usize];
        file.read_exact(&mut trailer)?;
        let Some(expected) = trailer.strip_suffix(MAGIC) else { return Err(EntryError::Magic) };
        mac.verify_slice(expected).map_err(|_| EntryError::Mac)?;
        Ok(Some(file))
    }

    pub(super) fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mut mac = self.mac(name);
        mac.update(code);
        private::write(&self.directory, name, &[code, mac.finalize().into_bytes().as_slice(), MAGIC])?;
        self.prune(name);
        Ok(())
    }

    /// What the code is still to be added to.
    fn mac(&self, name: &str) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&self.key).into());
        mac.update(MAGIC);
        mac.update(name.as_bytes());
        mac.update(&[0]);
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

/// Hashes what is written to it.
struct Update<'a>(&'a mut Hmac<Sha256>);

impl io::Write for Update<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
