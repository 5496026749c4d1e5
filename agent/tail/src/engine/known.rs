//! Files that are followed already: found again, moved, replaced, closed, opened again, missed.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use weir_event::identity::file_incarnation;
use weir_pipeline::source::Stopped;

use super::Engine;
use crate::discovery::Found;
use crate::file::{self, FileId, FileNumber, FollowedFile, Phase, leads_to, modified};
use crate::fingerprint::{Fingerprint, Head};
use crate::handle::{Handle, Packing};
use crate::layout::{Incarnation, Place};
use crate::now::Now;

/// How many complete looks in a row must miss a file before it counts as gone: a single one can miss a file that is
/// renamed meanwhile.
const MISSED_ROUNDS: u32 = 2;
/// Why bytes are lost that were in a file before it was truncated.
const TRUNCATION: &str = "truncation";

impl Engine {
    /// A file that is followed already was found.
    pub(super) fn meet_again(&mut self, number: FileNumber, found: Found, now: Now) -> Result<(), Stopped> {
        let rounds = self.rounds;
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        file.signs.seen_in = rounds;
        file.signs.missed = 0;
        // A file with several names keeps the one it was found under first.
        let moved = file.path != found.path && !leads_to(&file.path, file.id);
        if moved {
            file.path = found.path;
            file.order = found.place.order.clone();
        }
        let is_finished = file.phase == Phase::Finished;
        if !file.signs.unlinked {
            file.signs.deleted_at = None;
        }
        if moved && !is_finished {
            let chain = file.chain;
            self.put_in_chain(chain, number, now);
            return Ok(());
        }
        let has_grown = file.packing == Packing::Plain && found.size != file.progress.offset;
        let differs = moved || file.signs.unlinked || has_grown;
        if is_finished && file.handle.is_none() && differs {
            self.look_again(number, &found.place, now)?;
        }
        Ok(())
    }

    /// A finished file was found that has another name or size now: it may have grown, or be another one.
    fn look_again(&mut self, number: FileNumber, place: &Place, now: Now) -> Result<(), Stopped> {
        if !self.reopen(number, now)? {
            return Ok(());
        }
        let chain = self.chain_of(place, now);
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        let grown = file.handle.as_ref().and_then(|handle| handle.metadata().ok());
        if file.phase == Phase::Finished {
            let is_read =
                file.progress.complete || grown.is_none_or(|metadata| metadata.len() <= file.progress.offset);
            if is_read {
                self.close(number);
                return Ok(());
            }
            file.phase = Phase::Followed;
        }
        file.chain = chain;
        file.chain_path.clone_from(&place.chain);
        file.order = place.order.clone();
        self.put_in_chain(chain, number, now);
        Ok(())
    }

    /// Opens a followed file again that was closed. A file that turns out to be another one begins anew. `false`
    /// where it cannot be opened, or is not there any more.
    pub(super) fn reopen(&mut self, number: FileNumber, now: Now) -> Result<bool, Stopped> {
        let Some(known) = self.files.get(&number) else { return Ok(false) };
        let (path, id, packing) = (known.path.clone(), known.id, known.packing);
        if !self.problems.may_try(now, &path) {
            return Ok(false);
        }
        let Some((handle, metadata)) = self.open(&path, packing, now) else { return Ok(false) };
        let Some(file) = self.files.get_mut(&number) else { return Ok(false) };
        if FileId::of(&metadata) != id {
            return Ok(false);
        }
        let head = match Head::read(&handle, file.fingerprint.len) {
            Ok(head) => head,
            Err(error) => {
                self.problems.report(now, "read", &path, &error);
                return Ok(false);
            }
        };
        // What had no name any more can only be another file with the same inode.
        let is_long_enough = packing == Packing::Gzip || metadata.len() >= file.progress.offset;
        let may_be_same = !file.signs.unlinked && is_long_enough;
        let same = may_be_same && file.fingerprint.matches(head.as_slice());
        file.handle = Some(handle);
        self.open_files += 1;
        if !same {
            self.begin_anew(number, now)?;
        }
        Ok(true)
    }

    /// A file was truncated: what it holds now is another one.
    pub(super) fn truncated(&mut self, number: FileNumber, known_size: u64, now: Now) -> Result<(), Stopped> {
        self.metrics.truncated_files.fetch_add(1, Ordering::Relaxed);
        if self.go_on_in_copy(number, now) {
            return Ok(());
        }
        let unread =
            self.files.get(&number).map_or(0, |file| known_size.saturating_sub(file.progress.offset));
        self.begin(number, unread, now)?;
        if let Some(file) = self.files.get_mut(&number) {
            file.after_truncation = true;
        }
        self.register(now);
        Ok(())
    }

    /// A file was replaced by one with the same inode: what is there now is a new file.
    pub(super) fn begin_anew(&mut self, number: FileNumber, now: Now) -> Result<(), Stopped> {
        if self.go_on_in_copy(number, now) {
            return Ok(());
        }
        let unread =
            self.files.get(&number).map_or(0, |file| file.signs.seen.saturating_sub(file.progress.offset));
        self.begin(number, unread, now)?;
        self.register(now);
        Ok(())
    }

    /// What is there in a file's place is a new one. `unread` bytes were seen of the old one and not read.
    fn begin(&mut self, number: FileNumber, unread: u64, now: Now) -> Result<(), Stopped> {
        if self.files.get(&number).is_some_and(|file| file.touched) {
            self.outgoing.send(&mut self.files)?;
        }
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        tracing::info!(path = %file.path.display(), "the file begins anew");
        let left_out = match self.chains.get_mut(&file.chain) {
            Some(chain) => chain.records.leave_out(number),
            None => 0,
        };
        if unread + left_out > 0 {
            tracing::error!(
                source = &*self.name, path = %file.path.display(), bytes = unread + left_out,
                "the file was truncated before it was read to its end, what was not read is lost; \
                 rotate by renaming instead of copying and truncating"
            );
            self.outgoing.lost(TRUNCATION, unread + left_out, file);
        }
        self.stale.push((file.key.clone(), file.last_batch));
        self.stale.extend(file.goes_on.take().map(|key| (key, 0)));
        let first_seen = now.wall.max(file.first_seen + 1);
        let incarnation = match self.layout.incarnation() {
            Incarnation::FirstLine => None,
            Incarnation::FirstSeen => Some(file_incarnation(file.id.device, file.id.inode, first_seen)),
        };
        let head = file.handle.as_ref().and_then(|handle| Head::read(handle, u64::MAX).ok());
        let fingerprint = head.map(|head| Fingerprint::of(head.as_slice())).unwrap_or_default();
        file.begin_anew(first_seen, incarnation, fingerprint);
        self.unregistered.push(number);
        Ok(())
    }

    /// Notes of files that a complete look did not find that they are gone.
    pub(super) fn note_missing(&mut self, now: Now) {
        let rounds = self.rounds;
        for file in self.files.values_mut().filter(|file| file.signs.seen_in != rounds) {
            file.signs.missed += 1;
            let handle = file.handle.as_ref().filter(|handle| handle.is(file.packing));
            if let Some(Ok(stat)) = handle.map(Handle::stat) {
                file.signs.note(&stat, now.elapsed);
            }
            let is_missed = file.signs.missed >= MISSED_ROUNDS;
            let is_gone = is_missed && (file.handle.is_some() || !leads_to(&file.path, file.id));
            if is_gone {
                file.signs.deleted_at.get_or_insert(now.elapsed);
            }
        }
    }

    /// Opens a file, closing another one for it where too many are open.
    pub(super) fn open(&mut self, path: &Path, packing: Packing, now: Now) -> Option<(Handle, Metadata)> {
        if self.open_files >= self.max_open_files {
            self.close_longest_idle();
        }
        let opened = match self.open_files < self.max_open_files {
            true => file::open(path),
            false => Err(io::Error::other("too many files with unread lines are open")),
        };
        let opened = opened.inspect_err(|error| self.problems.report(now, "open", path, error)).ok();
        opened.map(|(file, metadata)| (Handle::new(file, packing), metadata))
    }

    /// Closes the file that was read to its end longest ago; it is opened again when it grows.
    fn close_longest_idle(&mut self) {
        let is_idle = |number: FileNumber, file: &FollowedFile| {
            let keeps_its_place = file.signs.succeeded_at.is_none() && file.signs.deleted_at.is_none();
            let is_read = file.phase == Phase::Followed && file.signs.at_end && file.progress.unfinished == 0;
            file.handle.is_some() && is_read && keeps_its_place && !self.is_needed(number)
        };
        let idle = self.files.iter().filter(|(number, file)| is_idle(**number, file));
        if let Some(number) = idle.min_by_key(|(_, file)| file.signs.read_at).map(|(number, _)| *number) {
            self.close(number);
        }
    }

    pub(super) fn close(&mut self, number: FileNumber) {
        let Some(file) = self.files.get_mut(&number) else { return };
        // It may come back compressed: then it is known by what it begins with.
        file.extend_fingerprint();
        let handle = file.handle.take();
        if let Some(Ok(metadata)) = handle.as_ref().map(Handle::metadata) {
            file.signs.modified = modified(&metadata);
        }
        self.open_files -= usize::from(handle.is_some()).min(self.open_files);
    }
}
