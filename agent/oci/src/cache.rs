//! Artefacts on disk, by digest, so that a registry that is down stops no start.
//!
//! 1. Blobs are named by their digest and hashed when they are read: what is damaged is as good as absent.
//! 2. Signatures are kept as they came, and verified anew with the keys of then: nothing here says "verified".
//! 3. Files are written whole, synced and renamed; nobody but the owner may read them.
//! 4. It is a cache: what cannot be written is said and left out, and what nobody used for longest goes first.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reference::Reference;
use crate::statement::MAX_STATEMENT_BYTES;
use crate::verify::Evidence;

/// Of all blobs together, those in use not counted.
const MAX_UNUSED_BYTES: u64 = 256 << 20;
/// No blob is larger; the limit of what is asked for is lower.
const MAX_BLOB_BYTES: u64 = 256 << 20;
/// Twice a statement: JSON escapes some of it.
const MAX_NOTE_BYTES: u64 = 2 * MAX_STATEMENT_BYTES as u64 + 4096;
const UNFINISHED: &str = ".unfinished-";
/// No write takes longer; what is older belongs to a process that ended.
const UNFINISHED_AGE: Duration = Duration::from_secs(3600);

/// Tells unfinished files of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The cache, in a folder of its own.
#[derive(Clone, Debug)]
pub struct Cache {
    blobs: PathBuf,
    signatures: PathBuf,
    tags: PathBuf,
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for artefacts: {source}", folder.display())]
pub struct CacheError {
    folder: PathBuf,
    source: io::Error,
}

/// What a tag stood for last.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    version: u32,
    reference: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    evidence: Evidence,
}

/// Of both notes.
const VERSION: u32 = 1;

// === impl Cache ===

impl Cache {
    /// The cache in this folder, which is made if need be.
    pub fn open(folder: &Path) -> Result<Cache, CacheError> {
        let within = |name: &str| folder.join(name);
        let cache = Cache { blobs: within("blobs"), signatures: within("signatures"), tags: within("tags") };
        for part in [&cache.blobs, &cache.signatures, &cache.tags] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(part);
            made.map_err(|source| CacheError { folder: part.clone(), source })?;
            remove_unfinished(part);
        }
        Ok(cache)
    }

    /// The blob with this digest. Counts as a use of it.
    pub(crate) fn get(&self, digest: Digest) -> Option<Vec<u8>> {
        let path = self.blobs.join(digest.hex());
        let bytes = read(&path, MAX_BLOB_BYTES)?;
        if Digest::of(&bytes) == digest {
            return Some(bytes);
        }
        tracing::warn!(path = %path.display(), "a cached artefact is damaged, it is fetched again");
        let _gone = fs::remove_file(&path);
        None
    }

    pub(crate) fn put(&self, digest: Digest, bytes: &[u8]) {
        let path = self.blobs.join(digest.hex());
        // What is there was hashed when it was read, just before.
        if !path.is_file() {
            self.write(&path, bytes);
        }
    }

    /// The signature that was last found for this manifest.
    pub(crate) fn evidence(&self, manifest: Digest) -> Option<Evidence> {
        let kept: Kept = note(&self.signatures.join(note_name(manifest)))?;
        (kept.version == VERSION).then_some(kept.evidence)
    }

    pub(crate) fn put_evidence(&self, manifest: Digest, evidence: &Evidence) {
        let kept = Kept { version: VERSION, evidence: evidence.clone() };
        self.write_note(&self.signatures.join(note_name(manifest)), &kept);
    }

    /// What this tag stood for last.
    pub(crate) fn remembered(&self, reference: &Reference) -> Option<Digest> {
        let found: Remembered = note(&self.tag(reference))?;
        let is_it = found.version == VERSION && found.reference == reference.to_string();
        found.digest.parse().ok().filter(|_| is_it)
    }

    pub(crate) fn remember(&self, reference: &Reference, digest: Digest) {
        if reference.digest().is_some() || self.remembered(reference) == Some(digest) {
            return;
        }
        let found =
            Remembered { version: VERSION, reference: reference.to_string(), digest: digest.to_string() };
        self.write_note(&self.tag(reference), &found);
    }

    /// Makes room: of the blobs that are not among these, the ones that were used last stay.
    pub fn evict(&self, in_use: &BTreeSet<Digest>) {
        self.evict_beyond(in_use, MAX_UNUSED_BYTES);
    }

    fn evict_beyond(&self, in_use: &BTreeSet<Digest>, max_bytes: u64) {
        let named = |path: &Path| Digest::from_hex(path.file_stem()?.to_str()?).ok();
        let unused =
            |(path, ..): &(PathBuf, SystemTime, u64)| named(path).is_some_and(|name| !in_use.contains(&name));
        let mut blobs: Vec<_> = files(&self.blobs).into_iter().filter(unused).collect();
        blobs.sort_by_key(|(_, used, _)| std::cmp::Reverse(*used));
        let mut sum = 0;
        for (path, _, length) in blobs {
            sum += length;
            if sum > max_bytes {
                let _gone = fs::remove_file(path);
            }
        }
        // A note about a manifest that has gone is of no use.
        let is_there = |digest: Digest| self.blobs.join(digest.hex()).is_file();
        for (path, ..) in files(&self.signatures) {
            if !named(&path).is_some_and(is_there) {
                let _gone = fs::remove_file(path);
            }
        }
        for (path, ..) in files(&self.tags) {
            let found: Option<Remembered> = note(&path);
            if !found.and_then(|found| found.digest.parse().ok()).is_some_and(is_there) {
                let _gone = fs::remove_file(path);
            }
        }
    }

    fn tag(&self, reference: &Reference) -> PathBuf {
        self.tags.join(note_name(Digest::of(reference.to_string().as_bytes())))
    }

    fn write_note(&self, path: &Path, note: &impl Serialize) {
        // Plain structs: nothing in them fails.
        self.write(path, &serde_json::to_vec(note).unwrap_or_default());
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        if let Err(error) = write_whole(path, bytes) {
            let path = path.display();
            tracing::warn!(%path, %error, "failed to keep an artefact, the next start needs the registry");
        }
    }
}

fn note_name(digest: Digest) -> String {
    format!("{}.json", digest.hex())
}

fn note<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read(path, MAX_NOTE_BYTES)?).ok()
}

/// A file's content; `None` where it is not there, no plain file, too long, or cannot be read.
fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    // Without NONBLOCK a named pipe in its place would hang the start.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "failed to read from the cache of artefacts");
            }
            return None;
        }
    };
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= limit)?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    Read::by_ref(&mut file).take(limit).read_to_end(&mut bytes).ok()?;
    let _used = file.set_modified(SystemTime::now());
    Some(bytes)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let unfinished = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _gone = fs::remove_file(&unfinished);
        return written;
    }
    File::open(folder)?.sync_all()
}

/// Path, last use and length of what is in a folder.
fn files(folder: &Path) -> Vec<(PathBuf, SystemTime, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file())?;
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
        (!is_unfinished).then_some((entry.path(), metadata.modified().ok()?, metadata.len()))
    };
    entries.filter_map(file).collect()
}

fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
        if is_unfinished && age.is_some_and(|age| age > UNFINISHED_AGE) {
            let _gone = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn reference(tag: &str) -> Reference {
        format!("oci://host/a:{tag}").parse().unwrap()
    }

    fn evidence() -> Evidence {
        Evidence::SimpleSigning { payload: "{}".to_owned(), signature: "AA==".to_owned() }
    }

    #[test]
    fn what_is_kept_is_found_again_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("a")).unwrap();
        let digest = Digest::of(b"manifest");
        cache.put(digest, b"manifest");
        cache.put_evidence(digest, &evidence());
        cache.remember(&reference("1"), digest);
        let again = Cache::open(&folder.path().join("a")).unwrap();
        assert_eq!(again.get(digest).unwrap(), b"manifest");
        assert_eq!(again.evidence(digest), Some(evidence()));
        assert_eq!(
            (again.remembered(&reference("1")), again.remembered(&reference("2"))),
            (Some(digest), None)
        );
        for (path, ..) in [&cache.blobs, &cache.signatures, &cache.tags].map(|part| files(part)).concat() {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let digest = Digest::of(b"blob");
        for damaged in [&b"blot"[..], b"", b"blob and more"] {
            fs::write(cache.blobs.join(digest.hex()), damaged).unwrap();
            assert_eq!(cache.get(digest), None);
            assert!(!cache.blobs.join(digest.hex()).is_file());
        }
        cache.put(digest, b"blob");
        assert!(cache.get(digest).is_some());
        for damaged in ["", "{}", "{\"version\": 2, \"evidence\": {\"bundle\": \"\"}}", "[1]"] {
            fs::write(cache.signatures.join(note_name(digest)), damaged).unwrap();
            fs::write(cache.tag(&reference("1")), damaged).unwrap();
            assert_eq!((cache.evidence(digest), cache.remembered(&reference("1"))), (None, None));
        }
        fs::create_dir(cache.blobs.join(Digest::of(b"").hex())).unwrap();
        assert_eq!(cache.get(Digest::of(b"")), None);
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_used_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let blobs = [b"aaaa", b"bbbb", b"cccc", b"dddd"];
        for (age, blob) in blobs.iter().enumerate() {
            let digest = Digest::of(*blob);
            cache.put(digest, *blob);
            cache.put_evidence(digest, &evidence());
            cache.remember(&reference(&age.to_string()), digest);
            let time = SystemTime::now() - Duration::from_secs(100 * (10 - age as u64));
            File::open(cache.blobs.join(digest.hex())).unwrap().set_modified(time).unwrap();
        }
        // Read last, though it is the oldest but one.
        assert!(cache.get(Digest::of(b"bbbb")).is_some());
        cache.evict_beyond(&BTreeSet::from([Digest::of(b"aaaa")]), 8);
        let left = blobs.map(|blob| cache.get(Digest::of(blob)).is_some());
        assert_eq!(left, [true, true, false, true]);
        let gone = Digest::of(b"cccc");
        assert_eq!((cache.evidence(gone), cache.remembered(&reference("2"))), (None, None));
        assert!(cache.evidence(Digest::of(b"aaaa")).is_some());
    }
}
