//! Files that are rotated by copying and truncating: what was not read of such a file is read from its copy, which
//! goes on under the same ids.
//!
//! 1. A copy begins as the file did that was truncated, as far as a fingerprint goes, and is no shorter than what was
//!    read of it. It lies in the same folder, under a longer name, whether a pattern finds it there or not.
//! 2. A new file that is a copy of another one, which is not truncated yet, waits: for a while nobody knows what it is.
//!    Only where it is long enough that this is no accident: a short one is read as a file of its own.
//! 3. What was written between copying and truncating is lost, and nobody can know it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_pipeline::checkpoint::{FilePosition, Registration};
use weir_pipeline::source::Mode;

use super::Engine;
use super::remembered::{fingerprint, is_made_of, is_there};
use crate::discovery::Found;
use crate::file::{self, FileId, FileNumber, FollowedFile, Phase, Signs};
use crate::fingerprint::{Head, MAX_BYTES};
use crate::handle::{Handle, Packing};
use crate::layout::{Incarnation, Order, Place};
use crate::now::Now;

/// A file that is alike another one to its end is taken for a file of its own after this long.
const COPY_GRACE: Duration = Duration::from_secs(10);

/// A file that may be what another one became.
pub(super) struct Successor {
    pub found: Found,
    pub handle: Handle,
    /// Of its plain bytes.
    pub size: u64,
}

impl Engine {
    /// Looks beside a file that was truncated for a copy of what it held, and goes on with that. What is in the file's
    /// place now is a new one. `false` where there is no copy.
    pub(super) fn go_on_in_copy(&mut self, number: FileNumber, now: Now) -> bool {
        let Some(file) = self.files.get(&number) else { return false };
        let may_be_copied = self.layout.incarnation() == Incarnation::FirstSeen
            && self.mode == Mode::Follow
            && file.packing == Packing::Plain
            && file.fingerprint.len > 0
            && file.phase != Phase::New
            && !file.signs.unlinked;
        if !may_be_copied {
            return false;
        }
        let (path, id) = (file.path.clone(), file.id);
        let Some(copy) = self.copy_of(&file.position()) else { return false };
        tracing::info!(
            path = %path.display(), copy = %copy.found.path.display(),
            "the file was copied and truncated, its rest is read from the copy"
        );
        self.forget_other(&copy.found, now);
        self.become_other(number, copy, true, now);
        if let Some(place) = self.layout.place(&path) {
            let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            self.admit_new(Found { path, place, id, size }, now);
        }
        true
    }

    /// The longest file beside a known one that begins as that did.
    fn copy_of(&self, known: &FilePosition) -> Option<Successor> {
        let folder = Path::new(&known.path).parent()?;
        let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let copies = entries.filter_map(|entry| {
            let path = entry.path();
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let id = FileId::of(&metadata);
            if id.inode == known.inode {
                return None;
            }
            let packing = match path.extension().is_some_and(|extension| extension == "gz") {
                true => Packing::Gzip,
                false => Packing::Plain,
            };
            let handle = Handle::new(file::open(&path).ok()?.0, packing);
            let size = handle.stated_size().unwrap_or(metadata.size());
            let head = Head::read(&handle, known.fingerprint_len).ok()?;
            let is_alike = is_named_after(&path, Path::new(&known.path)) && is_made_of(&path, &head, known);
            if size < known.position || !is_alike {
                return None;
            }
            let chain = if known.chain.is_empty() { &known.path } else { &known.chain };
            let order = Order::since(known.first_seen);
            let place = Place { chain: chain.into(), order, restart: 0, packing };
            let found = Found { path, place, id, size };
            // A file that is followed already, unless that only had the copy's inode before.
            let is_taken = self.by_id.contains_key(&id) && self.other_before(&found).is_none();
            (!is_taken).then_some(Successor { found, handle, size })
        });
        copies.max_by_key(|copy| copy.size)
    }

    /// Whether a new file is to wait, since it may be the copy of one that is about to be truncated, or was taken for
    /// the copy of one that was.
    pub(super) fn is_copy(&mut self, found: &Found, handle: &Handle, head: &Head, now: Now) -> bool {
        let is_asked = self.layout.incarnation() == Incarnation::FirstSeen
            && self.mode == Mode::Follow
            && found.place.packing == Packing::Plain
            && !head.as_slice().is_empty()
            && (!self.is_first_look || self.has_memory);
        if !is_asked {
            return false;
        }
        let may_be = |file: &FollowedFile| {
            file.packing == Packing::Plain
                && file.path.parent() == found.path.parent()
                && is_named_after(&found.path, &file.path)
                && file.fingerprint.len > 0
                && file.fingerprint.matches(head.as_slice())
        };
        let originals = self.files.iter().filter(|(_, file)| may_be(file));
        let originals: Vec<FileNumber> = originals.map(|(number, _)| *number).collect();
        for number in originals {
            let Some(file) = self.files.get(&number) else { continue };
            if is_there(&file.position()) {
                let since = *self.copies.entry(found.id).or_insert(now.elapsed);
                let is_recent = now.elapsed < since + COPY_GRACE;
                // Many files begin with the same few lines.
                let is_long = found.size >= MAX_BYTES as u64;
                if is_recent && is_long && is_part_of(handle, found.size, file) {
                    return true;
                }
            } else if file::leads_to(&file.path, file.id) && self.go_on_in_copy(number, now) {
                return self.by_id.contains_key(&found.id);
            }
        }
        self.copies.remove(&found.id);
        false
    }

    /// Forgets new files that were not met for long.
    pub(super) fn forget_copies(&mut self, now: Now) {
        self.copies.retain(|_, since| now.elapsed < *since + 6 * COPY_GRACE);
    }

    /// Lets a followed file go on as another one with the same bytes. Parts of records that wait in it stay where they
    /// are, unless its own bytes are gone.
    pub(super) fn become_other(&mut self, number: FileNumber, other: Successor, is_emptied: bool, now: Now) {
        let Successor { found, handle, size } = other;
        let Some(file) = self.files.get(&number) else { return };
        // Another file that was first seen at the same moment may have had this inode.
        let key = FollowedFile::key_of(found.id, now.wall);
        let place_on_disk = FilePosition {
            path: found.path.to_string_lossy().into_owned(),
            chain: file.chain_path.to_string_lossy().into_owned(),
            device: found.id.device,
            inode: found.id.inode,
            ..file.position()
        };
        // What was sent is not yet safe: the batches under way bring the new key further.
        let goes_on = Some(file.key.clone());
        let moved = Registration { file: key.clone(), position: place_on_disk, goes_on };
        if file.phase != Phase::New
            && let Err(error) = self.checkpoints.register(&self.name, vec![moved])
        {
            self.metrics.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(source = &*self.name, %error, "cannot note the new place of a file on the disk yet");
        }
        let is_needed = self.is_needed(number);
        let Some(file) = self.files.get_mut(&number) else { return };
        file.key = key;
        self.by_id.remove(&file.id);
        self.by_id.insert(found.id, number);
        file.id = found.id;
        file.path.clone_from(&found.path);
        file.packing = found.place.packing;
        if file.phase == Phase::Finished {
            file.phase = Phase::Followed;
        }
        let is_packed = file.packing == Packing::Gzip;
        file.progress.complete = is_packed && file.progress.offset == size;
        file.signs = Signs { seen_in: self.rounds, read_at: now.elapsed, ..Signs::default() };
        let keeps = file.progress.complete && is_needed && !is_emptied && file.handle.is_some();
        file.order = match self.layout.incarnation() {
            Incarnation::FirstLine => found.place.order.clone(),
            Incarnation::FirstSeen => Order::since(file.first_seen),
        };
        let chain = file.chain;
        if !keeps {
            self.open_files += usize::from(file.handle.is_none());
            file.handle = Some(handle);
        }
        if self.chains.contains_key(&chain) {
            self.put_in_chain(chain, number, now);
        } else {
            self.return_to_chains(number, &found.place, now);
        }
    }
}

/// Whether a copy's name begins as the name of what it was made of: `app.log.1`, `app.log-20261122`, `app-20261122.log`.
/// Others may begin alike by accident.
pub(super) fn is_named_after(copy: &Path, original: &Path) -> bool {
    let stem = original.file_stem().map(|stem| stem.as_encoded_bytes());
    let name = copy.file_name().map(|name| name.as_encoded_bytes());
    stem.zip(name).is_some_and(|(stem, name)| name.starts_with(stem))
}

/// Whether a new file ends as another one goes on at the same place.
fn is_part_of(copy: &Handle, size: u64, original: &FollowedFile) -> bool {
    let from = size.saturating_sub(MAX_BYTES as u64);
    let len = usize::try_from(size - from).unwrap_or(MAX_BYTES);
    let read = |handle: &Handle| {
        let mut bytes = vec![0; len];
        let count = handle.read_fully(&mut bytes, from).ok()?;
        (count == len).then_some(bytes)
    };
    let opened = || file::open(&original.path).ok().map(|(file, _)| Handle::new(file, Packing::Plain));
    let other = match &original.handle {
        Some(handle) => read(handle),
        None => opened().as_ref().and_then(read),
    };
    other.is_some_and(|other| read(copy) == Some(other))
}

/// Whether a file was truncated in place: what lies where it was last seen is the same file, with other bytes.
pub(super) fn was_emptied(known: &FilePosition) -> bool {
    let id = FileId { device: known.device, inode: known.inode };
    file::leads_to(Path::new(&known.path), id) && {
        let Ok((file, metadata)) = file::open(Path::new(&known.path)) else { return false };
        let head = Head::read(&Handle::new(file, Packing::Plain), known.fingerprint_len);
        metadata.len() < known.position || head.is_ok_and(|head| !fingerprint(known).matches(head.as_slice()))
    }
}
