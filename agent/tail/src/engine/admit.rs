//! Taking in files: new ones, and those that the checkpoints know.

use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memchr::memrchr;
use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::identity::file_incarnation;
use weir_pipeline::checkpoint::{FileKey, FilePosition, Registration};
use weir_pipeline::source::{Mode, Stopped};

use super::Engine;
use super::copies::{Successor, was_emptied};
use super::remembered::{is_made_of, is_there};
use crate::discovery::{Found, Round};
use crate::file::{self, FileId, FileNumber, FollowedFile, Known, Opened, Phase, ReadProgress, Signs};
use crate::fingerprint::{Fingerprint, Head};
use crate::handle::{Handle, Packing};
use crate::layout::{Incarnation, Order, Place};
use crate::now::Now;
use crate::settings::ReadFrom;

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
    pub(super) fn take_in(&mut self, mut round: Round, now: Now) -> Result<(), Stopped> {
        let first = self.rounds == 0;
        self.is_first_look = first;
        // Before another file is found with the inode of what they were made of.
        round.found.sort_by_key(|found| found.place.packing == Packing::Plain);
        self.rounds += u64::from(round.complete);
        self.open_files = self.files.values().filter(|file| file.handle.is_some()).count();
        for found in round.found {
            self.forget_other(&found, now);
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

    /// A file has the inode that another had, under another name: the one before is no more. Begun anew in its place,
    /// what is known of the file that it was made of, compressed or copied, would not be looked for.
    pub(super) fn forget_other(&mut self, found: &Found, now: Now) {
        let Some(number) = self.other_before(found) else { return };
        let Some(file) = self.files.remove(&number) else { return };
        self.by_id.remove(&found.id);
        self.memory.note_gone(file.key.clone(), file.position(), file.last_batch, now.elapsed);
    }

    /// The file that had the inode of one that was found, and is not that.
    pub(super) fn other_before(&self, found: &Found) -> Option<FileNumber> {
        let number = *self.by_id.get(&found.id)?;
        let is_closed = |file: &&FollowedFile| file.phase == Phase::Finished && file.handle.is_none();
        let file = self.files.get(&number).filter(is_closed)?;
        // Of one that was empty nothing says that it is this one.
        let is_same = || {
            let is_shorter = file.packing == Packing::Plain && found.size < file.progress.offset;
            file.fingerprint.len > 0 && !is_shorter && begins_as(found, file)
        };
        let is_moved = found.path != file.path;
        let is_other = found.place.packing != file.packing || is_moved && !is_same();
        is_other.then_some(number)
    }

    /// Makes new files known, durably, before anything of them leaves.
    pub(super) fn register(&mut self, now: Now) {
        if self.unregistered.is_empty() || now.elapsed < self.next_register {
            return;
        }
        let waiting = self.set_aside_begun();
        let entry = |number: &FileNumber| {
            let file = self.files.get(number).filter(|file| file.phase == Phase::New)?;
            let (key, goes_on) = (file.key.clone(), file.goes_on.clone());
            Some(Registration { file: key, position: file.position(), goes_on })
        };
        let entries: Vec<Registration> = self.unregistered.iter().filter_map(entry).collect();
        // Files that wait for their first line do not cost a write at each look.
        let registered = match entries.is_empty() {
            true => Ok(()),
            false => self.checkpoints.register(&self.name, entries),
        };
        if let Err(error) = registered {
            self.metrics.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(source = &*self.name, %error, "cannot note new files, they are not read");
            self.next_register = now.elapsed + REGISTER_RETRY;
            self.unregistered.extend(waiting);
            if self.mode == Mode::Once {
                self.leave_unread();
            }
            return;
        }
        for number in self.unregistered.drain(..) {
            let Some(file) = self.files.get_mut(&number) else { continue };
            if file.phase == Phase::New {
                file.phase = Phase::Followed;
                file.goes_on = None;
            }
        }
        self.unregistered = waiting;
    }

    /// Takes files out of those to make known that have no whole line yet, and gives them back. What the checkpoints
    /// know a file to begin with tells it again after a kill, compressed or copied, and from what is written to it once
    /// it was truncated: the start of a line says too little. Nothing can leave of these files meanwhile.
    fn set_aside_begun(&mut self) -> Vec<FileNumber> {
        let by_time = self.layout.incarnation() == Incarnation::FirstSeen;
        if !by_time || self.mode == Mode::Once || self.options.read_from == ReadFrom::End {
            return Vec::new();
        }
        let files = &mut self.files;
        let mut is_begun = |number: &FileNumber| {
            let is_new = |file: &&mut FollowedFile| file.goes_on.is_none() && file.progress.offset == 0;
            let Some(file) = files.get_mut(number).filter(is_new) else { return false };
            let head = file.handle.as_ref().and_then(|handle| Head::read(handle, u64::MAX).ok());
            file.fingerprint = head.as_ref().map(|head| Fingerprint::of(head.as_slice())).unwrap_or_default();
            let keeps_its_place = file.signs.deleted_at.is_none() && file.signs.succeeded_at.is_none();
            let says_enough = match file.packing {
                Packing::Plain => head.is_some_and(|head| !file.fingerprint.can_grow() || head.has_line()),
                Packing::Gzip => file.fingerprint.len > 0,
            };
            keeps_its_place && !says_enough
        };
        self.unregistered.extract_if(.., |number| is_begun(number)).collect()
    }

    /// Gives up what could not be made known: a source that runs once does not wait for a better time.
    fn leave_unread(&mut self) {
        for number in self.unregistered.drain(..) {
            for chain in self.chains.values_mut() {
                chain.members.retain(|member| *member != number);
            }
        }
    }

    /// Takes in a file that is not followed, whether it is known or not.
    pub(super) fn admit_new(&mut self, found: Found, now: Now) {
        self.admit(found, Welcome::Everyone, now);
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
        if found.place.packing == Packing::Gzip && self.is_still_plain(&found.path) {
            return;
        }
        let Some((handle, metadata)) = self.open(&found.path, found.place.packing, now) else { return };
        let id = FileId::of(&metadata);
        if self.by_id.contains_key(&id) {
            return;
        }
        let (head, size) = match Head::read(&handle, u64::MAX) {
            Ok(head) => (head, metadata.len()),
            Err(error) => return self.problems.report(now, "read", &found.path, &error),
        };
        self.problems.solved(&found.path);
        if found.place.packing == Packing::Gzip && self.is_still_read(&found, &head, now) {
            return;
        }
        // Of a compressed file the size on the disk says nothing; where the last bytes do, they are believed.
        let packing = found.place.packing;
        let size = if packing == Packing::Gzip { handle.stated_size().unwrap_or(size) } else { size };
        let recalled = self.memory.recall(id, &head, size, packing, now.elapsed);
        if recalled.is_none() && welcome == Welcome::Known {
            return;
        }
        if recalled.is_none() && self.is_copy(&found, &handle, &head, now) {
            return;
        }
        let mut successor = Successor { found: Found { id, ..found }, handle, size };
        if recalled.is_none() && packing == Packing::Gzip {
            successor = match self.adopt(successor, &head, now) {
                None => return,
                Some(successor) => successor,
            };
        }
        let Successor { found, handle, .. } = successor;
        let mut place = found.place.clone();
        let mut twin = || self.memory.take_twin(&found.path, &head, packing, size);
        let mut known = match (recalled, packing) {
            (Some((key, position)), _) => {
                self.return_to_chain(&mut place, &found.path, &position);
                resumed(key, &position, size, &place)
            }
            (None, _) => match twin() {
                Some((key, position)) => {
                    self.return_to_chain(&mut place, &found.path, &position);
                    as_twin(id, key, &position, size, packing, now)
                }
                None => self.fresh(id, &handle, size, &head, now),
            },
        };
        if self.mode == Mode::Once && packing == Packing::Plain {
            known.progress.limit = Some(size);
        }
        let chain = self.chain_of(&place, now);
        let opened = Opened {
            id,
            path: found.path,
            chain,
            chain_path: place.chain,
            order: place.order,
            packing,
            handle,
        };
        let seen = if packing == Packing::Plain { size } else { 0 };
        let signs = Signs { seen_in: self.rounds, read_at: now.elapsed, seen, ..Signs::default() };
        self.take_up(FollowedFile::new(opened, known, signs), now);
    }

    /// Whether what a compressed file was made of is there too: then that is read, and the compressed file may not even
    /// be whole yet.
    fn is_still_plain(&self, packed: &Path) -> bool {
        let plain = packed.with_extension("");
        self.layout.place(&plain).is_some() && plain.is_file()
    }

    /// Whether what a compressed file was made of may be gone from the folder and still be read. Of a file that was
    /// empty when it was found nobody knows how it begins.
    fn is_still_read(&mut self, packed: &Found, head: &Head, now: Now) -> bool {
        let may_be = |file: &FollowedFile| {
            file.packing == Packing::Plain
                && file.phase != Phase::Finished
                && file.path.parent() == packed.path.parent()
                && may_begin_as(file, head)
                && !is_there(&file.position())
        };
        let mut read = self.files.iter_mut().filter(|(_, file)| may_be(file));
        let Some((number, file)) = read.next() else { return false };
        // Nobody saw under which name it was rotated: the compressed one tells its place.
        if packed.place.order != Order::Current && file.order == Order::Current {
            let (number, chain) = (*number, file.chain);
            file.order = packed.place.order.clone();
            self.put_in_chain(chain, number, now);
        }
        true
    }

    /// Makes a file that was followed, and is gone, the compressed one that was made of it. Gives that back where there
    /// is no such file.
    fn adopt(&mut self, successor: Successor, head: &Head, now: Now) -> Option<Successor> {
        let packed = successor.found.path.as_path();
        for file in self.files.values_mut().filter(|file| file.path.parent() == packed.parent()) {
            file.extend_fingerprint();
        }
        let is_twin = |file: &FollowedFile| {
            let known = file.position();
            file.packing == Packing::Plain && is_made_of(packed, head, &known) && !is_there(&known)
        };
        let twins = self.files.iter().filter(|(_, file)| is_twin(file));
        let Some(number) = twins.max_by_key(|(_, file)| file.fingerprint.len).map(|(number, _)| *number)
        else {
            return Some(successor);
        };
        let is_emptied = self.files.get(&number).is_some_and(|file| was_emptied(&file.position()));
        self.become_other(number, successor, is_emptied, now);
        None
    }

    /// A file whose chain ended in the meantime gets one again.
    pub(super) fn return_to_chains(&mut self, number: FileNumber, place: &Place, now: Now) {
        let place = match self.files.get(&number) {
            Some(file) if self.layout.incarnation() == Incarnation::FirstSeen => {
                Place { chain: file.chain_path.clone(), ..place.clone() }
            }
            _ => place.clone(),
        };
        let chain = self.chain_of(&place, now);
        if let Some(file) = self.files.get_mut(&number) {
            file.chain = chain;
        }
        self.put_in_chain(chain, number, now);
    }

    /// A file that has another name than when it was written to goes on in the chain that it belongs to, where its
    /// new name does not say so itself.
    fn return_to_chain(&self, place: &mut Place, path: &Path, known: &FilePosition) {
        if self.layout.incarnation() != Incarnation::FirstSeen {
            return;
        }
        let chain = if known.chain.is_empty() { &known.path } else { &known.chain };
        if Path::new(chain) != path {
            place.chain = chain.into();
            place.order = Order::since(known.first_seen);
        }
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
        self.put_in_chain(chain, number, now);
    }

    fn fresh(&self, id: FileId, handle: &Handle, size: u64, head: &Head, now: Now) -> Known {
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
            after_truncation: false,
            goes_on: None,
        }
    }

    /// Files that were renamed while the agent was down, to a name that is not followed, still hold what was not
    /// read: they are looked for beside their old names.
    fn find_renamed(&mut self, now: Now) {
        if self.layout.incarnation() != Incarnation::FirstSeen {
            return;
        }
        for known in self.memory.unmet() {
            let Some(found) = find_beside(&known) else { continue };
            self.admit(found, Welcome::Known, now);
        }
    }
}

/// Whether what a followed file holds begins as a compressed one. It may have been truncated since it was last looked
/// at; of one that is not open, and was empty when it was found, nobody knows.
fn may_begin_as(file: &FollowedFile, packed: &Head) -> bool {
    let plain = file.handle.as_ref().and_then(|handle| Head::read(handle, u64::MAX).ok());
    match plain {
        Some(plain) => plain.begins_as(packed),
        None => file.fingerprint.len == 0 || file.fingerprint.matches(packed.as_slice()),
    }
}

/// Whether a file that was found begins as a known one.
fn begins_as(found: &Found, file: &FollowedFile) -> bool {
    let Ok((opened, _)) = file::open(&found.path) else { return false };
    let head = Head::read(&Handle::new(opened, found.place.packing), file.fingerprint.len);
    head.is_ok_and(|head| file.fingerprint.matches(head.as_slice()))
}

/// A file that goes on where its checkpoint says.
fn resumed(key: FileKey, known: &FilePosition, size: u64, place: &Place) -> Known {
    let is_read = known.position >= size && known.resume_from >= known.position;
    let is_finished = match place.packing {
        Packing::Plain => is_read && place.order != Order::Current,
        Packing::Gzip => known.finished && known.resume_from >= known.position,
    };
    Known {
        key,
        phase: if is_finished { Phase::Finished } else { Phase::Followed },
        first_seen: known.first_seen,
        incarnation: (known.incarnation != 0).then_some(known.incarnation),
        fingerprint: Fingerprint { hash: known.fingerprint, len: known.fingerprint_len },
        progress: ReadProgress::resuming(known),
        after_truncation: known.after_truncation,
        goes_on: None,
    }
}

/// A compressed file, or a copy, that goes on where the plain one was left.
fn as_twin(id: FileId, key: FileKey, known: &FilePosition, size: u64, packing: Packing, now: Now) -> Known {
    let mut progress = ReadProgress::resuming(known);
    let is_read = known.position == size && known.resume_from >= known.position;
    progress.complete = packing == Packing::Gzip && is_read;
    Known {
        key: FollowedFile::key_of(id, now.wall),
        phase: Phase::New,
        first_seen: known.first_seen,
        incarnation: (known.incarnation != 0).then_some(known.incarnation),
        fingerprint: Fingerprint { hash: known.fingerprint, len: known.fingerprint_len },
        progress,
        after_truncation: known.after_truncation,
        goes_on: Some(key),
    }
}

/// Reading that begins at a file's end, or where its unfinished last line does.
fn starting_at_end(handle: &Handle, size: u64) -> ReadProgress {
    if handle.stated_size().is_some() {
        return ReadProgress { complete: true, ..ReadProgress::starting_at(size) };
    }
    let mut end = size;
    while end > 0 && size - end < MAX_EVENT_BYTES as u64 {
        let mut block = [0; BACKWARD_BYTES];
        let from = end.saturating_sub(BACKWARD_BYTES as u64);
        let len = usize::try_from(end - from).unwrap_or(BACKWARD_BYTES);
        let read = handle.read_fully(&mut block[..len], from).unwrap_or(0);
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
    let (chain, order) = (path.to_owned(), Order::Rotated(String::new()));
    let place = Place { chain, order, restart: 0, packing: Packing::Plain };
    Some(Found { path: entry.path(), place, id, size: metadata.len() })
}
