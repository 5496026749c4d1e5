//! Taking in files: new ones, and those that the checkpoints know.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirEntryExt as _;
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
use crate::file::{FileId, FileNumber, FollowedFile, Known, Opened, Phase, ReadProgress, Signs};
use crate::fingerprint::{Fingerprint, Head, read_fully};
use crate::layout::{Incarnation, Order, Place};
use crate::now::Now;

const REGISTER_RETRY: Duration = Duration::from_secs(1);
/// More files are not followed; each costs about 2 KiB of memory.
const MAX_FILES: usize = 65_536;
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

    /// Takes in a file that is not followed.
    fn admit(&mut self, found: Found, welcome: Welcome, now: Now) {
        if !self.problems.may_try(now, &found.path) {
            return;
        }
        if self.files.len() >= MAX_FILES {
            let error = io::Error::other(format!("{MAX_FILES} files are followed already"));
            return self.problems.report(now, "follow", &found.path, &error);
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
