//! Reading: one bounded read from one file, straight into the batch.

use std::fs::Metadata;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memchr::{memchr, memrchr};
use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::identity::container_incarnation;
use weir_pipeline::source::{Mode, Stopped};

use super::Engine;
use crate::file::{FileId, FileNumber, FollowedFile, Phase, modified};
use crate::fingerprint::{Fingerprint, Head};
use crate::handle::{Handle, Packing};
use crate::layout::Incarnation;
use crate::lines::Ending;
use crate::now::Now;
use crate::record::Block;

/// One turn's read: large enough that the call costs nothing beside the copy, small enough to stay in the cache
/// until its lines are gone through.
const READ_BYTES: usize = 128 * 1024;
/// Not worth a call of its own.
const MIN_READ_BYTES: usize = 8 * 1024;
/// The longest line, and its newline.
const MAX_READ_BYTES: usize = MAX_EVENT_BYTES + 1;
/// A file that gave nothing for this long is asked for its size before it is read.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// Where a first line is looked for at once.
const FIRST_LINE_BYTES: usize = 4 * 1024;

/// What to do with a last line that has no newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// It is still being written.
    Wait,
    /// Nothing more will come: it is an event.
    Take,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There may be more.
    More,
    /// There is no more for now.
    End,
    /// It was reported.
    Failed,
}

/// What was read into the arena's spare bytes.
enum Got {
    Nothing,
    /// The start of a line that goes on, and is not longer than the file.
    Unfinished(usize),
    /// The start of a line that goes on behind what was asked for.
    TooLittle,
    Lines {
        len: usize,
        ending: Ending,
        /// Whether the file ends here, and how much lies between the last line and its end.
        rest: Option<usize>,
    },
}

impl Engine {
    /// Reads once from a file, as much as the batch takes and one turn allows.
    pub(super) fn read(&mut self, number: FileNumber, tail: Tail, now: Now) -> Result<Outcome, Stopped> {
        if !self.prepare(number, tail, now)? {
            return Ok(Outcome::End);
        }
        if self.outgoing.is_full() {
            self.outgoing.send(&mut self.files)?;
        }
        if self.files.get(&number).is_some_and(|file| file.progress.overlong_from.is_some()) {
            return Ok(self.skip_overlong(number, now));
        }
        let mut wanted = self.read_size(number);
        loop {
            let got = match self.read_block(number, wanted, tail) {
                Ok(got) => got,
                Err(error) => return Ok(self.failed(number, &error, now)),
            };
            match got {
                Got::Nothing => return Ok(Outcome::End),
                Got::TooLittle => {
                    // A long event gets a batch of its own.
                    self.outgoing.send(&mut self.files)?;
                    wanted = (wanted * 4).min(MAX_READ_BYTES);
                }
                _ if self.was_replaced(number) => {
                    self.begin_anew(number, now)?;
                    return Ok(Outcome::More);
                }
                Got::Unfinished(bytes) => return Ok(self.note_unfinished(number, bytes)),
                Got::Lines { len, ending, rest } => {
                    let outcome = self.take(number, len, ending, rest, now)?;
                    let goes_on = tail == Tail::Take && rest.is_some_and(|rest| rest > 0);
                    return Ok(if goes_on { Outcome::More } else { outcome });
                }
            }
        }
    }

    /// Makes sure that a file is open, known, and has something new; `false` where there is nothing to read.
    fn prepare(&mut self, number: FileNumber, tail: Tail, now: Now) -> Result<bool, Stopped> {
        let Some(file) = self.files.get(&number) else { return Ok(false) };
        if file.phase != Phase::Followed {
            return Ok(false);
        }
        if file.handle.is_none() && !(self.differs(file) && self.reopen(number, now)?) {
            return Ok(false);
        }
        let Some(file) = self.files.get(&number) else { return Ok(false) };
        let progress = &file.progress;
        if progress.complete || progress.limit.is_some_and(|limit| progress.offset >= limit) {
            return Ok(false);
        }
        if tail == Tail::Wait && self.has_not_grown(number, now) {
            return Ok(false);
        }
        let Some(file) = self.files.get(&number) else { return Ok(false) };
        if file.incarnation.is_some() {
            return Ok(true);
        }
        let incarnation = self.first_line_incarnation(number, tail);
        if let Some(file) = self.files.get_mut(&number) {
            file.incarnation = incarnation;
        }
        Ok(incarnation.is_some())
    }

    /// Whether it is known without a read that there is nothing new: of files that have been quiet for a while, the
    /// size says it, and more; of those with an unfinished line too, without reading that again.
    fn has_not_grown(&mut self, number: FileNumber, now: Now) -> bool {
        let Some(file) = self.files.get_mut(&number) else { return true };
        if file.packing == Packing::Gzip {
            // What its size on the disk says has nothing to do with what is decoded of it.
            return file.signs.settling.is_some();
        }
        let unfinished = file.progress.unfinished;
        let is_quiet = file.signs.at_end && now.elapsed >= file.signs.read_at + QUIET_AFTER;
        if !is_quiet && unfinished == 0 {
            return false;
        }
        let Some(Ok(stat)) = file.handle.as_ref().map(Handle::stat) else { return false };
        file.signs.note(&stat, now.elapsed);
        file.signs.size == file.progress.offset + unfinished
    }

    /// Whether a closed file has another size than what was read of it.
    fn differs(&self, file: &FollowedFile) -> bool {
        if file.packing == Packing::Gzip {
            return !file.progress.complete;
        }
        let metadata = std::fs::metadata(&file.path).ok();
        let differs =
            |known: &Metadata| known.len() != file.progress.offset || modified(known) != file.signs.modified;
        metadata.is_some_and(|known| FileId::of(&known) == file.id && differs(&known))
    }

    /// Made of the first complete line; of an unfinished one where nothing more will come.
    fn first_line_incarnation(&self, number: FileNumber, tail: Tail) -> Option<u64> {
        let file = self.files.get(&number)?;
        let attributes = &self.chains.get(&file.chain)?.attributes;
        let tail = if self.mode == Mode::Once { Tail::Take } else { tail };
        let line = first_line(file.handle.as_ref()?, tail)?;
        Some(container_incarnation(&self.cluster, &attributes.uid, &attributes.container, &line))
    }

    /// How much to read: no more than the batch takes, also in rows.
    fn read_size(&self, number: FileNumber) -> usize {
        let line_bytes = self.files.get(&number).map_or(0, |file| file.progress.line_bytes);
        let by_bytes = READ_BYTES.min(self.outgoing.room_to_read());
        let by_rows = match line_bytes {
            0 => READ_BYTES,
            bytes => self.outgoing.row_room() * (bytes + bytes / 8 + 1),
        };
        by_bytes.min(by_rows.max(MIN_READ_BYTES))
    }

    fn read_block(&mut self, number: FileNumber, wanted: usize, tail: Tail) -> io::Result<Got> {
        let Some(file) = self.files.get(&number) else { return Ok(Got::Nothing) };
        let Some(handle) = &file.handle else { return Ok(Got::Nothing) };
        let spare = self.outgoing.batch.arena.spare(wanted);
        let spare = spare.get_mut(..wanted).unwrap_or_default();
        let count = handle.read_at(spare, file.progress.offset)?;
        let ends = count < wanted;
        let read = spare.get(..count).unwrap_or_default();
        Ok(match memrchr(b'\n', read) {
            _ if count == 0 => Got::Nothing,
            Some(last) => {
                let len = last + 1;
                Got::Lines { len, ending: Ending::Whole, rest: ends.then_some(count - len) }
            }
            None if count > MAX_EVENT_BYTES => {
                Got::Lines { len: MAX_EVENT_BYTES, ending: Ending::Cut, rest: None }
            }
            None if !ends => Got::TooLittle,
            None if tail == Tail::Take => {
                Got::Lines { len: count, ending: Ending::Unfinished, rest: Some(0) }
            }
            None => Got::Unfinished(count),
        })
    }

    /// Whether a file was truncated and filled again since it was last looked at. Container runtimes do not do
    /// that, and their files are not asked.
    pub(super) fn was_replaced(&mut self, number: FileNumber) -> bool {
        let Some(file) = self.files.get_mut(&number) else { return false };
        let known = file.fingerprint;
        if known.len == 0
            || file.packing == Packing::Gzip
            || self.layout.incarnation() == Incarnation::FirstLine
        {
            return false;
        }
        let limit = if known.can_grow() { u64::MAX } else { known.len };
        let Some(Ok(head)) = file.handle.as_ref().map(|handle| Head::read(handle, limit)) else {
            return false;
        };
        let is_same = known.matches(head.as_slice());
        if is_same && known.can_grow() {
            file.fingerprint = Fingerprint::of(head.as_slice());
        }
        !is_same
    }

    fn note_unfinished(&mut self, number: FileNumber, bytes: usize) -> Outcome {
        if let Some(file) = self.files.get_mut(&number) {
            file.progress.unfinished = bytes as u64;
        }
        Outcome::End
    }

    /// Makes rows of what lies in the arena's spare bytes.
    fn take(
        &mut self,
        number: FileNumber,
        len: usize,
        ending: Ending,
        rest: Option<usize>,
        now: Now,
    ) -> Result<Outcome, Stopped> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(Outcome::End) };
        let (chain, base) = (file.chain, file.progress.offset);
        file.signs.read_at = now.elapsed;
        let arena = &mut self.outgoing.batch.arena;
        let start = arena.len();
        arena.advance(len);
        let block = Block { file: number, base, start, end: start + len };
        let rows = self.outgoing.batch.rows();
        let format = self.options.format;
        let Some(mut lines) = self.lines(chain, now) else { return Ok(Outcome::End) };
        let taken = lines.take(&block, ending, format);
        self.metrics.bytes.fetch_add(taken.bytes as u64, Ordering::Relaxed);
        let rows = self.outgoing.batch.rows() - rows;
        self.give_back(&block, taken.bytes, rows);
        if let Some(chain) = self.chains.get_mut(&chain) {
            chain.data_at = now.elapsed;
        }
        let is_all = taken.bytes == len;
        if let Some(file) = self.files.get_mut(&number) {
            let progress = &mut file.progress;
            progress.line_bytes = taken.bytes.checked_div(rows).unwrap_or(progress.line_bytes);
            progress.unfinished = if is_all { rest.unwrap_or(0) as u64 } else { 0 };
            progress.overlong_from = (ending == Ending::Cut && is_all).then_some(base);
            file.signs.at_end = rest.is_some() && is_all;
        }
        if taken.needs_room || self.outgoing.is_full() {
            self.outgoing.send(&mut self.files)?;
        }
        Ok(if is_all && rest.is_some() { Outcome::End } else { Outcome::More })
    }

    /// Gives bytes of the arena back that no row points to.
    fn give_back(&mut self, block: &Block, taken: usize, rows: usize) {
        let arena = &mut self.outgoing.batch.arena;
        // Where something was put behind the block, it stays.
        if arena.len() == block.end {
            arena.truncate(if rows == 0 { block.start } else { block.start + taken });
        }
    }

    /// Reads on to the end of a line that was cut.
    fn skip_overlong(&mut self, number: FileNumber, now: Now) -> Outcome {
        let Some(file) = self.files.get_mut(&number) else { return Outcome::End };
        let Some(handle) = &file.handle else { return Outcome::End };
        let spare = self.outgoing.batch.arena.spare(READ_BYTES);
        let spare = spare.get_mut(..READ_BYTES).unwrap_or_default();
        let count = match handle.read_at(spare, file.progress.offset) {
            Ok(count) => count,
            Err(error) => return self.failed(number, &error, now),
        };
        let newline = spare.get(..count).and_then(|read| memchr(b'\n', read));
        let skipped = newline.map_or(count, |newline| newline + 1);
        file.progress.offset += skipped as u64;
        self.metrics.bytes.fetch_add(skipped as u64, Ordering::Relaxed);
        if newline.is_some() {
            file.progress.overlong_from = None;
            self.outgoing.touch(number, file, now.elapsed);
        }
        file.signs.at_end = newline.is_none() && count < READ_BYTES;
        if file.signs.at_end { Outcome::End } else { Outcome::More }
    }

    fn failed(&mut self, number: FileNumber, error: &io::Error, now: Now) -> Outcome {
        if let Some(file) = self.files.get(&number) {
            self.problems.report(now, "read", &file.path, error);
        }
        Outcome::Failed
    }
}

/// A file's first line as far as an event can be long, if it is complete, or nothing more will come.
fn first_line(file: &Handle, tail: Tail) -> Option<Vec<u8>> {
    let mut line = vec![0; FIRST_LINE_BYTES];
    loop {
        let read = file.read_fully(&mut line, 0).ok()?;
        let newline = line.get(..read).and_then(|read| memchr(b'\n', read));
        if let Some(end) = newline {
            line.truncate(end);
            return Some(line);
        }
        if read > MAX_EVENT_BYTES {
            line.truncate(MAX_EVENT_BYTES);
            return Some(line);
        }
        if read < line.len() {
            line.truncate(read);
            return (tail == Tail::Take && read > 0).then_some(line);
        }
        line.resize((line.len() * 16).min(MAX_READ_BYTES), 0);
    }
}
