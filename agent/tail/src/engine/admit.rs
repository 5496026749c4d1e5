//! Taking in files: what is new, what was known from before, what moved or was replaced.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memchr::memrchr;
use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::identity::file_incarnation;
use weir_pipeline::checkpoint::{FileKey, FilePosition};
use weir_pipeline::source::{Mode, Stopped};

use super::Engine;
use crate::discovery::{Found, Round};
use crate::file::{
    self, FileId, FileNumber, FollowedFile, Known, Opened, Phase, ReadProgress, Signs, leads_to,
};
use crate::fingerprint::{Fingerprint, Head, read_fully};
use crate::layout::{Incarnation, Order, Place};
use crate::now::Now;

const REGISTER_RETRY: Duration = Duration::from_secs(1);
/// How many complete looks in a row must miss a file before it counts as gone: a single one can miss a file that is
/// renamed meanwhile.
const MISSED_ROUNDS: u32 = 2;
/// How much is read at once to find where a file's last line begins.
const BACKWARD_BYTES: usize = 4 * 1024;

/// Whether files that the checkpoints do not know are welcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Welcome {
    Everyone,
    Known,
}

impl Engine {
    /// Takes in what a look for files brought.
    pub(super) fn take_in(&mut self, round: Round, now: Now) -> Result<(), Stopped> {
        let first = self.rounds == 0;
        self.rounds += u64::from(round.complete);
        self.open_files = self.files.values().filter(|file| file.handle.is_some()).count();
        for found in round.found {
            match self.by_id.get(&found.id).copied() {
                Some(number) => self.meet_again(number, found, now)?,
                None => self.admit(found, Welcome::Everyone, now),
            }
        }
        if round.complete {
            if first {
                self.find_renamed(now);
            }
            self.note_missing(now);
        }
        self.skips_old = false;
        Ok(())
    }

    /// Makes new files known, durably, before anything of them leaves.
    pub(super) fn register(&mut self, now: Now) {
        if self.unregistered.is_empty() || now.elapsed < self.next_register {
            return;
        }
        let entry = |number: &FileNumber| {
            let file = self.files.get(number).filter(|file| file.phase == Phase::New)?;
            Some((file.key.clone(), file.position()))
        };
        let entries: Vec<(FileKey, FilePosition)> = self.unregistered.iter().filter_map(entry).collect();
        if let Err(error) = self.checkpoints.register(&self.name, entries) {
            self.metrics.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(source = &*self.name, %error, "cannot note new files, they are not read");
            self.next_register = now.elapsed + REGISTER_RETRY;
            if self.mode == Mode::Once {
                self.leave_unread();
            }
            return;
        }
        for number in self.unregistered.drain(..) {
            let Some(file) = self.files.get_mut(&number) else { continue };
            if file.phase == Phase::New {
                file.phase = Phase::Followed;
            }
        }
    }

    /// Gives up what could not be made known: a source that runs once does not wait for a better time.
    fn leave_unread(&mut self) {
        for number in self.unregistered.drain(..) {
            for chain in self.chains.values_mut() {
                chain.members.retain(|member| *member != number);
            }
        }
    }

    /// A file that is followed already was found.
    fn meet_again(&mut self, number: FileNumber, found: Found, now: Now) -> Result<(), Stopped> {
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
        if moved
            && !is_finished
            && let Some(chain) = self.chains.get_mut(&file.chain)
        {
            chain.insert(number, &mut self.files, now.elapsed);
            return Ok(());
        }
        if is_finished && file.handle.is_none() && (moved || found.size != file.progress.offset) {
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
            if grown.is_none_or(|metadata| metadata.len() <= file.progress.offset) {
                self.close(number);
                return Ok(());
            }
            file.phase = Phase::Followed;
        }
        file.chain = chain;
        file.order = place.order.clone();
        file.signs.deleted_at = None;
        if let Some(chain) = self.chains.get_mut(&chain) {
            chain.insert(number, &mut self.files, now.elapsed);
        }
        Ok(())
    }

    /// Opens a followed file again that was closed. A file that turns out to be another one begins anew. `false`
    /// where it cannot be opened, or is not there any more.
    pub(super) fn reopen(&mut self, number: FileNumber, now: Now) -> Result<bool, Stopped> {
        let Some(known) = self.files.get(&number) else { return Ok(false) };
        let (path, id) = (known.path.clone(), known.id);
        if !self.problems.may_try(now, &path) {
            return Ok(false);
        }
        let Some((handle, metadata)) = self.open(&path, now) else { return Ok(false) };
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
        let same = metadata.len() >= file.progress.offset && file.fingerprint.matches(head.as_slice());
        file.handle = Some(handle);
        self.open_files += 1;
        if !same {
            self.begin_anew(number, now)?;
        }
        Ok(true)
    }

    /// A file was truncated or replaced by one with the same inode: what is there now is a new file.
    pub(super) fn begin_anew(&mut self, number: FileNumber, now: Now) -> Result<(), Stopped> {
        if self.files.get(&number).is_some_and(|file| file.touched) {
            self.outgoing.send(&mut self.files)?;
        }
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        tracing::info!(path = %file.path.display(), "the file begins anew");
        if let Some(chain) = self.chains.get_mut(&file.chain) {
            chain.records.leave_out(number);
        }
        self.stale.push((file.key.clone(), file.last_batch));
        let first_seen = now.wall.max(file.first_seen + 1);
        let incarnation = match self.layout.incarnation() {
            Incarnation::FirstLine => None,
            Incarnation::FirstSeen => Some(file_incarnation(file.id.device, file.id.inode, first_seen)),
        };
        let head = file.handle.as_ref().and_then(|handle| Head::read(handle, u64::MAX).ok());
        let fingerprint = head.map(|head| Fingerprint::of(head.as_slice())).unwrap_or_default();
        file.begin_anew(first_seen, incarnation, fingerprint);
        self.unregistered.push(number);
        self.register(now);
        Ok(())
    }

    /// Takes in a file that is not followed.
    fn admit(&mut self, found: Found, welcome: Welcome, now: Now) {
        if !self.problems.may_try(now, &found.path) {
            return;
        }
        let Some((handle, metadata)) = self.open(&found.path, now) else { return };
        let id = FileId::of(&metadata);
        if self.by_id.contains_key(&id) {
            return;
        }
        let (head, size) = match Head::read(&handle, u64::MAX) {
            Ok(head) => (head, metadata.len()),
            Err(error) => return self.problems.report(now, "read", &found.path, &error),
        };
        self.problems.solved(&found.path);
        let known = self.recall(id, &head, size);
        if known.is_none() && welcome == Welcome::Known {
            return;
        }
        let mut known = match known {
            Some((key, position)) => resumed(key, &position, size, &found.place.order),
            None => self.fresh(id, &handle, size, &head, now),
        };
        if self.mode == Mode::Once {
            known.progress.limit = Some(size);
        }
        let chain = self.chain_of(&found.place, now);
        let opened = Opened { id, path: found.path, chain, order: found.place.order, handle };
        let signs = Signs { seen_in: self.rounds, read_at: now.elapsed, ..Signs::default() };
        self.take_up(FollowedFile::new(opened, known, signs), now);
    }

    fn take_up(&mut self, file: FollowedFile, now: Now) {
        self.last_number += 1;
        let number = FileNumber(self.last_number);
        let (phase, chain) = (file.phase, file.chain);
        self.by_id.insert(file.id, number);
        self.files.insert(number, file);
        self.open_files += 1;
        match phase {
            Phase::Finished => return self.close(number),
            Phase::New => self.unregistered.push(number),
            Phase::Followed => {}
        }
        if let Some(chain) = self.chains.get_mut(&chain) {
            chain.insert(number, &mut self.files, now.elapsed);
        }
    }

    /// What the checkpoints know of a file. What they know of others that had its inode is forgotten.
    fn recall(&mut self, id: FileId, head: &Head, size: u64) -> Option<(FileKey, FilePosition)> {
        let mut found = None;
        for (key, position) in self.previous.remove(&id)? {
            let fingerprint = Fingerprint { hash: position.fingerprint, len: position.fingerprint_len };
            if found.is_none() && size >= position.position && fingerprint.matches(head.as_slice()) {
                found = Some((key, position));
            } else {
                self.stale.push((key, 0));
            }
        }
        found
    }

    fn fresh(&self, id: FileId, handle: &File, size: u64, head: &Head, now: Now) -> Known {
        let incarnation = match self.layout.incarnation() {
            Incarnation::FirstLine => None,
            Incarnation::FirstSeen => Some(file_incarnation(id.device, id.inode, now.wall)),
        };
        Known {
            key: FollowedFile::key_of(id, now.wall),
            phase: Phase::New,
            first_seen: now.wall,
            incarnation,
            fingerprint: Fingerprint::of(head.as_slice()),
            progress: if self.skips_old { starting_at_end(handle, size) } else { ReadProgress::default() },
        }
    }

    /// Files that were renamed while the agent was down, to a name that is not followed, still hold what was not
    /// read: they are looked for beside their old names.
    fn find_renamed(&mut self, now: Now) {
        if self.layout.incarnation() != Incarnation::FirstSeen {
            return;
        }
        let lost: Vec<FilePosition> =
            self.previous.values().flatten().map(|(_, known)| known.clone()).collect();
        for known in lost {
            let Some(found) = find_beside(&known) else { continue };
            self.admit(found, Welcome::Known, now);
        }
    }

    /// Notes of files that a complete look did not find that they are gone.
    fn note_missing(&mut self, now: Now) {
        let rounds = self.rounds;
        for file in self.files.values_mut().filter(|file| file.signs.seen_in != rounds) {
            file.signs.missed += 1;
            let unlinked = |handle: &File| handle.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
            let is_gone = match &file.handle {
                Some(handle) => file.signs.missed >= MISSED_ROUNDS || unlinked(handle),
                None => file.signs.missed >= MISSED_ROUNDS && !leads_to(&file.path, file.id),
            };
            if is_gone {
                file.signs.deleted_at.get_or_insert(now.elapsed);
            }
        }
    }

    /// Opens a file, closing another one for it where too many are open.
    fn open(&mut self, path: &Path, now: Now) -> Option<(File, Metadata)> {
        if self.open_files >= self.max_open_files {
            self.close_longest_idle();
        }
        let opened = match self.open_files < self.max_open_files {
            true => file::open(path),
            false => Err(io::Error::other("too many files with unread lines are open")),
        };
        opened.inspect_err(|error| self.problems.report(now, "open", path, error)).ok()
    }

    /// Closes the file that was read to its end longest ago; it is opened again when it grows.
    fn close_longest_idle(&mut self) {
        let is_idle = |file: &FollowedFile| {
            let signs = &file.signs;
            let is_safe_to_close = signs.succeeded_at.is_none() && signs.deleted_at.is_none();
            file.handle.is_some()
                && file.phase == Phase::Followed
                && signs.at_end
                && is_safe_to_close
                && file.progress.unfinished == 0
                && !file.progress.is_held()
        };
        let idle = self.files.iter().filter(|(_, file)| is_idle(file));
        if let Some(number) = idle.min_by_key(|(_, file)| file.signs.read_at).map(|(number, _)| *number) {
            self.close(number);
        }
    }

    pub(super) fn close(&mut self, number: FileNumber) {
        let handle = self.files.get_mut(&number).and_then(|file| file.handle.take());
        self.open_files -= usize::from(handle.is_some()).min(self.open_files);
    }
}

/// A file that goes on where its checkpoint says.
fn resumed(key: FileKey, known: &FilePosition, size: u64, order: &Order) -> Known {
    let is_read = known.position >= size && known.resume_from >= known.position;
    let is_finished = is_read && *order != Order::Current;
    Known {
        key,
        phase: if is_finished { Phase::Finished } else { Phase::Followed },
        first_seen: known.first_seen,
        incarnation: (known.incarnation != 0).then_some(known.incarnation),
        fingerprint: Fingerprint { hash: known.fingerprint, len: known.fingerprint_len },
        progress: ReadProgress::resuming(known),
    }
}

/// Reading that begins at a file's end, or where its unfinished last line does.
fn starting_at_end(handle: &File, size: u64) -> ReadProgress {
    let mut end = size;
    while end > 0 && size - end < MAX_EVENT_BYTES as u64 {
        let mut block = [0; BACKWARD_BYTES];
        let from = end.saturating_sub(BACKWARD_BYTES as u64);
        let len = usize::try_from(end - from).unwrap_or(BACKWARD_BYTES);
        let read = read_fully(handle, &mut block[..len], from).unwrap_or(0);
        if let Some(newline) = memrchr(b'\n', &block[..read]) {
            return ReadProgress::starting_at(from + newline as u64 + 1);
        }
        end = from;
    }
    if end == 0 {
        return ReadProgress::default();
    }
    // In the middle of a line that is too long to be one event: its rest is skipped.
    ReadProgress { overlong_from: Some(size), ..ReadProgress::starting_at(size) }
}

/// A file that has something left to read, under another name in the same folder.
fn find_beside(known: &FilePosition) -> Option<Found> {
    let path = Path::new(&known.path);
    let entries = fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok);
    let entry = entries.into_iter().find(|entry| entry.ino() == known.inode)?;
    let metadata = entry.metadata().ok()?;
    let id = FileId { device: known.device, inode: known.inode };
    if FileId::of(&metadata) != id || metadata.len() <= known.position {
        return None;
    }
    let place = Place { chain: path.to_owned(), order: Order::Rotated(String::new()), restart: 0 };
    Some(Found { path: entry.path(), place, id, size: metadata.len() })
}
