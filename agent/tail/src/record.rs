//! Records that are written in parts. Only the places of the parts are kept, not their bytes: however many writers
//! leave records unfinished, they cost next to no memory. When the last part came, the bytes mostly lie in the batch
//! already; otherwise they are read once more.

use std::io;

use weir_event::batch::{Arena, Flags, MAX_EVENT_BYTES, Span};

use crate::chain::FileTable;
use crate::file::{FileNumber, FollowedFile, Output, STREAMS};
use crate::fingerprint::read_fully;

/// A record of more parts is cut. Runtimes write parts of 8 KiB or more, except for the last.
const MAX_PIECES: usize = 32_768;
/// Its lines, with what stands before their content, are cut at this many bytes.
const MAX_RAW_BYTES: usize = 2 * MAX_EVENT_BYTES;

/// A whole line of a file, which holds a part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub file: FileNumber,
    /// Where the line begins in the file.
    pub offset: u64,
    /// Length of the line without its end.
    pub len: u32,
    /// Where the content begins in the line.
    pub content_start: u32,
}

impl Piece {
    fn content_len(&self) -> usize {
        self.len.saturating_sub(self.content_start) as usize
    }

    fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    fn is_followed_by(&self, next: &Piece) -> bool {
        self.file == next.file && self.end() + 1 == next.offset
    }
}

/// A record of which not all parts came yet.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pieces: Vec<Piece>,
    /// The files that were read since it began, whether they have parts of it or not.
    files: Vec<FileNumber>,
    content_len: usize,
    raw_len: usize,
    /// The first part's.
    pub time: i64,
    pub flags: Flags,
}

/// Part of a file that lies in an arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub file: FileNumber,
    /// Its first byte's place in the file.
    pub base: u64,
    /// Its place in the arena, whole lines only.
    pub start: usize,
    pub end: usize,
}

impl Block {
    /// Where in the arena the bytes of the file from `offset` to `end` lie, if they do.
    fn find(&self, offset: u64, end: u64) -> Option<Span> {
        let start = self.start + usize::try_from(offset.checked_sub(self.base)?).ok()?;
        let end = self.start + usize::try_from(end.checked_sub(self.base)?).ok()?;
        (end <= self.end).then(|| Span::between(start, end))
    }
}

/// A record's bytes in an arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaidOut {
    pub raw: Span,
    pub content: Span,
}

// === impl Record ===

impl Record {
    /// A record that begins with this part.
    pub(crate) fn new(first: Piece, time: i64, flags: Flags) -> Record {
        let mut record =
            Record { pieces: Vec::new(), files: Vec::new(), content_len: 0, raw_len: 0, time, flags };
        record.add(first);
        record
    }

    /// Adds a part. What makes the record longer than an event can be is left away, and flagged.
    pub(crate) fn add(&mut self, mut piece: Piece) {
        self.note_file(piece.file);
        let room = MAX_EVENT_BYTES.saturating_sub(self.content_len);
        if piece.content_len() > room {
            self.flags = self.flags.with(Flags::TRUNCATED);
            piece.len = piece.content_start.saturating_add(room as u32);
        }
        let fits = self.pieces.len() < MAX_PIECES && self.raw_len + piece.len as usize <= MAX_RAW_BYTES;
        if !fits || self.flags.has(Flags::TRUNCATED) && room == 0 {
            self.flags = self.flags.with(Flags::TRUNCATED);
            return;
        }
        self.content_len += piece.content_len();
        self.raw_len += piece.len as usize + 1;
        self.pieces.push(piece);
    }

    /// The file in which it begins, and where.
    pub(crate) fn begin(&self) -> Option<(FileNumber, u64)> {
        self.pieces.first().map(|first| (first.file, first.offset))
    }

    /// The files that were read since it began.
    pub(crate) fn files(&self) -> &[FileNumber] {
        &self.files
    }

    /// Notes that a file is read while it waits; says whether that is news.
    fn note_file(&mut self, file: FileNumber) -> bool {
        let is_new = !self.files.contains(&file);
        if is_new {
            self.files.push(file);
        }
        is_new
    }

    /// How much of an arena it takes at most.
    pub(crate) fn bytes_needed(&self) -> usize {
        self.raw_len + self.content_len
    }

    /// Leaves the parts away that lie in a file, whose bytes are no longer there.
    pub(crate) fn leave_out(&mut self, file: FileNumber) {
        self.pieces.retain(|piece| piece.file != file);
        self.flags = self.flags.with(Flags::TRUNCATED);
        self.content_len = self.pieces.iter().map(Piece::content_len).sum();
        self.raw_len = self.pieces.iter().map(|piece| piece.len as usize + 1).sum();
    }

    /// Puts its bytes into the arena: all its lines, joined by newlines, and its content. `near` is what of a file
    /// lies in the arena already. On an error the arena is as before, and the file that could not be read is named.
    pub(crate) fn lay_out(
        &self,
        arena: &mut Arena,
        files: &FileTable,
        near: Option<&Block>,
    ) -> Result<LaidOut, (FileNumber, io::Error)> {
        let raw = match self.find_near(near) {
            Some(raw) => raw,
            None => self.read_again(arena, files)?,
        };
        Ok(LaidOut { raw, content: self.join_content(arena, raw) })
    }

    /// Where all its lines lie one after another in the arena, if they do.
    fn find_near(&self, near: Option<&Block>) -> Option<Span> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let in_a_row = self.pieces.windows(2).all(|pair| matches!(pair, [a, b] if a.is_followed_by(b)));
        let near = near.filter(|near| in_a_row && near.file == first.file)?;
        near.find(first.offset, last.end())
    }

    fn read_again(&self, arena: &mut Arena, files: &FileTable) -> Result<Span, (FileNumber, io::Error)> {
        let start = arena.len();
        for run in self.pieces.chunk_by(Piece::is_followed_by) {
            if arena.len() > start {
                arena.append(b"\n");
            }
            if let Err(error) = read_run(run, arena, files) {
                arena.truncate(start);
                return Err(error);
            }
        }
        Ok(Span::between(start, arena.len()))
    }

    fn join_content(&self, arena: &mut Arena, raw: Span) -> Span {
        let start = arena.len();
        let mut line = raw.start as usize;
        for piece in &self.pieces {
            let end = line + piece.len as usize;
            let content = Span::between(end - piece.content_len(), end);
            if self.pieces.len() == 1 {
                return content;
            }
            arena.append_within(content);
            line = end + 1;
        }
        Span::between(start, arena.len())
    }
}

/// Reads lines that lie one after another in a file.
fn read_run(run: &[Piece], arena: &mut Arena, files: &FileTable) -> Result<(), (FileNumber, io::Error)> {
    let [first, ..] = run else { return Ok(()) };
    let len: usize = run.iter().map(|piece| piece.len as usize + 1).sum::<usize>() - 1;
    let failed = |error| (first.file, error);
    let handle = files.get(&first.file).and_then(|file| file.handle.as_ref());
    let handle = handle.ok_or_else(|| failed(io::Error::other("it is closed")))?;
    let spare = arena.spare(len);
    let spare = spare.get_mut(..len).unwrap_or_default();
    let read = read_fully(handle, spare, first.offset).map_err(failed)?;
    if read < len {
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than before")));
    }
    arena.advance(len);
    Ok(())
}

/// The records of a chain's outputs of which not all parts came yet.
#[derive(Debug, Default)]
pub(crate) struct Records {
    waiting: [Option<Box<Record>>; STREAMS],
}

impl Records {
    pub(crate) fn get(&self, output: Output) -> Option<&Record> {
        self.waiting.get(output.index()).and_then(|waiting| waiting.as_deref())
    }

    /// Adds a part of a record that goes on.
    pub(crate) fn add(&mut self, output: Output, piece: Piece, time: i64, flags: Flags) {
        let Some(waiting) = self.waiting.get_mut(output.index()) else { return };
        match waiting {
            Some(record) => {
                record.flags = record.flags.with(flags);
                record.add(piece);
            }
            None => *waiting = Some(Box::new(Record::new(piece, time, flags))),
        }
    }

    pub(crate) fn take(&mut self, output: Output) -> Option<Box<Record>> {
        self.waiting.get_mut(output.index()).and_then(Option::take)
    }

    /// The outputs with a record that waits.
    pub(crate) fn outputs(&self) -> Vec<Output> {
        Output::ALL.into_iter().filter(|output| self.get(*output).is_some()).collect()
    }

    /// Notes that a file is read now. Of it and everything behind it nothing may count as done for as long as a
    /// record from before waits: read again, its parts must meet the same lines. Gives the outputs for which that
    /// is news.
    pub(crate) fn note_file(&mut self, file: FileNumber) -> impl Iterator<Item = Output> {
        let waiting = Output::ALL.into_iter().zip(&mut self.waiting);
        waiting.filter_map(move |(output, record)| record.as_mut()?.note_file(file).then_some(output))
    }

    /// Whether a part lies in a file, which must then stay open.
    pub(crate) fn has_piece_in(&self, file: FileNumber) -> bool {
        let mut records = self.waiting.iter().flatten();
        records.any(|record| record.pieces.iter().any(|piece| piece.file == file))
    }

    /// Leaves away what lies in a file whose bytes are no longer there.
    pub(crate) fn leave_out(&mut self, file: FileNumber) {
        for waiting in self.waiting.iter_mut() {
            let Some(record) = waiting else { continue };
            record.files.retain(|other| *other != file);
            if record.pieces.iter().any(|piece| piece.file == file) {
                record.leave_out(file);
            }
            if record.pieces.is_empty() {
                *waiting = None;
            }
        }
    }
}

/// Notes that a record with parts in this file is complete.
pub(crate) fn let_go(file: &mut FollowedFile, output: Output) {
    if let Some(held) = file.progress.held_from.get_mut(output.index()) {
        *held = None;
    }
}
