//! What is remembered of files that are not followed: those of the checkpoints that were not met yet, and those whose
//! place another file has. They may be there under another inode: compressed, or as a copy.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use weir_pipeline::checkpoint::{FileKey, FilePosition};

use super::copies::{is_named_after, was_emptied};
use crate::file::{self, FileId};
use crate::fingerprint::{Fingerprint, Head, MAX_BYTES};
use crate::handle::{Handle, Packing};

/// Checkpoints whose files were not seen for this long since the start are forgotten. A folder that is mounted late
/// should not cost them.
const LOST_AFTER: Duration = Duration::from_secs(600);
/// Those whose place another file took are forgotten after this long: what was made of them is there by then.
const GONE_FOR: Duration = Duration::from_secs(60);

/// A file that is remembered.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub key: FileKey,
    pub position: FilePosition,
    /// Number of the last batch with something of it; 0 where that was before the start.
    last_batch: u64,
    forget_at: Duration,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Those that may be met under their inode.
    unmet: HashMap<FileId, Vec<Remembered>>,
    /// Those that cannot.
    gone: Vec<Remembered>,
}

// === impl Memory ===

impl Memory {
    /// What the checkpoints know at the start.
    pub(super) fn new(positions: impl IntoIterator<Item = (FileKey, FilePosition)>) -> Memory {
        let mut memory = Memory::default();
        for (key, position) in positions {
            let id = FileId { device: position.device, inode: position.inode };
            let known = Remembered { key, position, last_batch: 0, forget_at: LOST_AFTER };
            memory.unmet.entry(id).or_default().push(known);
        }
        for known in memory.unmet.values_mut() {
            // Of a file that was truncated, what it is now comes before what it was; one that was empty could be any.
            let says_more = |known: &FilePosition| (known.fingerprint_len > 0, known.first_seen);
            known.sort_by_key(|known| std::cmp::Reverse(says_more(&known.position)));
        }
        memory
    }

    /// What is known of a file that was found; of others that had its inode it is known now that they are gone.
    pub(super) fn recall(
        &mut self,
        id: FileId,
        head: &Head,
        size: u64,
        packing: Packing,
        now: Duration,
    ) -> Option<(FileKey, FilePosition)> {
        let mut found = None;
        for mut known in self.unmet.remove(&id)? {
            let is_long_enough = packing == Packing::Gzip || size >= known.position.position;
            let is_other = match packing {
                Packing::Plain => known.position.finished,
                // Of one that was empty nothing says that it is this one.
                Packing::Gzip => known.position.fingerprint_len == 0,
            };
            let may_be = found.is_none() && is_long_enough && !is_other;
            if may_be && fingerprint(&known.position).matches(head.as_slice()) {
                found = Some((known.key, known.position));
            } else {
                known.forget_at = now + GONE_FOR;
                self.gone.push(known);
            }
        }
        found
    }

    /// Notes that another file has the place of one that was followed.
    pub(super) fn note_gone(&mut self, key: FileKey, position: FilePosition, last_batch: u64, now: Duration) {
        self.gone.push(Remembered { key, position, last_batch, forget_at: now + GONE_FOR });
    }

    /// Takes what is known of the plain file that a compressed one, or a copy, was made of. It lay in the same folder,
    /// began alike, and is gone, or was truncated after it was copied.
    pub(super) fn take_twin(
        &mut self,
        path: &Path,
        head: &Head,
        packing: Packing,
        size: u64,
    ) -> Option<(FileKey, FilePosition)> {
        let is_over = |known: &FilePosition| match packing {
            Packing::Gzip => !is_there(known),
            Packing::Plain => {
                size >= known.position && is_named_after(path, Path::new(&known.path)) && was_emptied(known)
            }
        };
        let all = self.unmet.values().flatten().chain(&self.gone);
        let twins = all.filter(|known| is_made_of(path, head, &known.position) && is_over(&known.position));
        // Of several that begin alike the one of which most is known.
        let key = twins.max_by_key(|known| known.position.fingerprint_len)?.key.clone();
        for known in self.unmet.values_mut().chain([&mut self.gone]) {
            if let Some(at) = known.iter().position(|known| known.key == key) {
                let Remembered { key, position, .. } = known.swap_remove(at);
                return Some((key, position));
            }
        }
        None
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.unmet.is_empty() && self.gone.is_empty()
    }

    /// Those that may still be met.
    pub(super) fn unmet(&self) -> Vec<FilePosition> {
        self.unmet.values().flatten().map(|known| known.position.clone()).collect()
    }

    /// Takes out what need not be remembered any longer.
    pub(super) fn forget(&mut self, now: Duration, is_safe: impl Fn(u64) -> bool) -> Vec<FileKey> {
        let is_over = |known: &mut Remembered| now >= known.forget_at && is_safe(known.last_batch);
        let mut over: Vec<Remembered> = self.gone.extract_if(.., is_over).collect();
        for known in self.unmet.values_mut() {
            over.extend(known.extract_if(.., is_over));
        }
        self.unmet.retain(|_, known| !known.is_empty());
        over.into_iter().map(|known| known.key).collect()
    }
}

pub(super) fn fingerprint(known: &FilePosition) -> Fingerprint {
    Fingerprint { hash: known.fingerprint, len: known.fingerprint_len }
}

/// Whether a compressed file lies beside a known one and begins alike. What was read of the known one must be covered
/// as far as a fingerprint goes: the start of a first line says little.
pub(super) fn is_made_of(packed: &Path, head: &Head, known: &FilePosition) -> bool {
    let read = known.position.clamp(1, MAX_BYTES as u64);
    Path::new(&known.path).parent() == packed.parent()
        && known.fingerprint_len >= read
        && fingerprint(known).matches(head.as_slice())
}

/// Whether a known file lies where it was last seen. Its inode may be another file's by now.
pub(super) fn is_there(known: &FilePosition) -> bool {
    let Ok((file, metadata)) = file::open(Path::new(&known.path)) else { return false };
    let is_same = FileId::of(&metadata) == FileId { device: known.device, inode: known.inode };
    let head = Head::read(&Handle::new(file, Packing::Plain), known.fingerprint_len);
    is_same && head.is_ok_and(|head| fingerprint(known).matches(head.as_slice()))
}
