//! Records that are written in parts, and those that are joined to one event. Only the places of the parts are kept, not their bytes: however many writers
//! leave records unfinished, they cost next to no memory. When the last part came, the bytes mostly lie in the batch
//! already; otherwise they are read once more.

use std::io;
use std::time::Duration;

use weir_event::batch::{Arena, Flags, MAX_EVENT_BYTES, Span};

use crate::chain::FileTable;
use crate::file::{FileNumber, Output, STREAMS};
use crate::multiline::State;

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
    /// Whether it is the last part of its record, and another record of the same event follows.
    pub ends_record: bool,
}

impl Piece {
    fn content_len(&self) -> usize {
        self.len.saturating_sub(self.content_start) as usize
    }

    /// How much content an event with this piece has of it: between records comes a newline.
    fn event_len(&self) -> usize {
        self.content_len() + usize::from(self.ends_record)
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
    /// The files that were read since it began, whether they have parts of it or not, and from where on.
    files: Vec<(FileNumber, u64)>,
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
        self.note_file(piece.file, piece.offset);
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
        self.content_len += piece.event_len();
        self.raw_len += piece.len as usize + 1;
        self.pieces.push(piece);
    }

    /// The file in which it begins, and where.
    pub(crate) fn begin(&self) -> Option<(FileNumber, u64)> {
        self.pieces.first().map(|first| (first.file, first.offset))
    }

    /// Makes one event of this record and the next of the same output.
    pub(crate) fn append(&mut self, next: Record) {
        if let Some(last) = self.pieces.last_mut() {
            last.ends_record = true;
            self.content_len += 1;
        }
        self.flags = self.flags.with(next.flags);
        for (file, from) in next.files {
            self.note_file(file, from);
        }
        for piece in next.pieces {
            self.add(piece);
        }
    }

    /// The files that were read since it began, and from where on.
    pub(crate) fn files(&self) -> &[(FileNumber, u64)] {
        &self.files
    }

    /// From where on a file must be read again for it.
    fn needs(&self, file: FileNumber) -> Option<u64> {
        self.files.iter().find(|(known, _)| *known == file).map(|(_, from)| *from)
    }

    /// Notes that a file is read while it waits; says whether that is news.
    fn note_file(&mut self, file: FileNumber, from: u64) -> bool {
        let is_new = self.needs(file).is_none();
        if is_new {
            self.files.push((file, from));
        }
        is_new
    }

    /// How many bytes of text it has.
    pub(crate) fn content_len(&self) -> usize {
        self.content_len
    }

    fn has_piece_in(&self, file: FileNumber) -> bool {
        self.pieces.iter().any(|piece| piece.file == file)
    }

    /// How many bytes of a file it has, with the lines' ends.
    fn bytes_in(&self, file: FileNumber) -> u64 {
        self.pieces.iter().filter(|piece| piece.file == file).map(|piece| u64::from(piece.len) + 1).sum()
    }

    /// How much of an arena it takes at most.
    pub(crate) fn bytes_needed(&self) -> usize {
        self.raw_len + self.content_len
    }

    /// Leaves the parts away that lie in a file, whose bytes are no longer there.
    pub(crate) fn leave_out(&mut self, file: FileNumber) {
        self.pieces.retain(|piece| piece.file != file);
        self.flags = self.flags.with(Flags::TRUNCATED);
        self.content_len = self.pieces.iter().map(Piece::event_len).sum();
        self.raw_len = self.pieces.iter().map(|piece| piece.len as usize + 1).sum();
    }

    /// Forgets that a file was read, and what lies in it.
    fn forget(&mut self, file: FileNumber) {
        self.files.retain(|(known, _)| *known != file);
        if self.has_piece_in(file) {
            self.leave_out(file);
        }
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
            if piece.ends_record {
                arena.append(b"\n");
            }
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
    let read = handle.read_fully(spare, first.offset).map_err(failed)?;
    if read < len {
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than before")));
    }
    arena.advance(len);
    Ok(())
}

/// Records of one output that are joined, or may be.
#[derive(Debug)]
pub(crate) struct Group {
    /// Those that belong together for sure.
    pub joined: Record,
    /// Those behind them that do if a later one does.
    pub pending: Vec<Record>,
    pub state: State,
    /// How many records there are.
    pub records: usize,
    /// The file in which the last of them ends, and where.
    pub last: (FileNumber, u64),
    /// When it came.
    pub seen: Duration,
}

impl Group {
    fn records(&self) -> impl Iterator<Item = &Record> {
        std::iter::once(&self.joined).chain(&self.pending)
    }

    fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        std::iter::once(&mut self.joined).chain(&mut self.pending)
    }

    /// How much of an arena its events take at most.
    pub(crate) fn bytes_needed(&self) -> usize {
        self.records().map(Record::bytes_needed).sum()
    }

    /// How many bytes of text it has.
    pub(crate) fn content_len(&self) -> usize {
        self.records().map(|record| record.content_len() + 1).sum()
    }

    /// Makes those that may belong to it belong to it.
    pub(crate) fn confirm(&mut self) {
        for record in self.pending.drain(..) {
            self.joined.append(record);
        }
    }

    /// All its events, one after another.
    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        std::iter::once(self.joined).chain(self.pending)
    }

    /// Leaves away what lies in a file; `None` where nothing is left.
    fn without(mut self: Box<Group>, file: FileNumber) -> Option<Box<Group>> {
        for record in self.records_mut() {
            record.forget(file);
        }
        self.pending.retain(|record| !record.pieces.is_empty());
        if self.joined.pieces.is_empty() {
            if self.pending.is_empty() {
                return None;
            }
            // Nobody knows any more what it was part of: it ends with what comes next.
            self.joined = self.pending.remove(0);
            self.state = State::default();
        }
        Some(self)
    }
}

/// The records of a chain's outputs of which not all parts came yet, and the groups that may go on.
#[derive(Debug, Default)]
pub(crate) struct Records {
    waiting: [Option<Box<Record>>; STREAMS],
    groups: [Option<Box<Group>>; STREAMS],
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

    pub(crate) fn group(&self, output: Output) -> Option<&Group> {
        self.groups.get(output.index()).and_then(|group| group.as_deref())
    }

    pub(crate) fn group_mut(&mut self, output: Output) -> Option<&mut Group> {
        self.groups.get_mut(output.index()).and_then(|group| group.as_deref_mut())
    }

    pub(crate) fn open_group(&mut self, output: Output, group: Group) {
        if let Some(place) = self.groups.get_mut(output.index()) {
            *place = Some(Box::new(group));
        }
    }

    pub(crate) fn take_group(&mut self, output: Output) -> Option<Box<Group>> {
        self.groups.get_mut(output.index()).and_then(Option::take)
    }

    /// The groups that can be ended, with their outputs. A record of which parts are missing may belong to the group
    /// before it; it is waited for however long it takes.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Output, &Group)> {
        let groups = Output::ALL.into_iter().zip(&self.groups);
        groups.filter_map(|(output, group)| Some((output, group.as_deref()?)))
    }

    /// The outputs with a record that waits.
    pub(crate) fn outputs(&self) -> Vec<Output> {
        Output::ALL.into_iter().filter(|output| self.get(*output).is_some()).collect()
    }

    /// Notes that a file is read now. Of it and everything behind it nothing may count as done for as long as a
    /// record from before waits: read again, its parts must meet the same lines. Gives the outputs for which that
    /// is news.
    pub(crate) fn note_file(&mut self, file: FileNumber, from: u64) -> impl Iterator<Item = Output> {
        let all = Output::ALL.into_iter().zip(self.waiting.iter_mut().zip(&mut self.groups));
        all.filter_map(move |(output, (record, group))| {
            let mut is_new = record.as_mut().is_some_and(|record| record.note_file(file, from));
            if let Some(group) = group {
                is_new |= group.joined.note_file(file, from);
            }
            is_new.then_some(output)
        })
    }

    /// From where on a file must be read again for what waits of an output.
    pub(crate) fn needed_from(&self, output: Output, file: FileNumber) -> Option<u64> {
        let grouped = self.group(output).into_iter().flat_map(Group::records);
        self.get(output).into_iter().chain(grouped).filter_map(|record| record.needs(file)).min()
    }

    /// Whether a part lies in a file, which must then stay open.
    pub(crate) fn has_piece_in(&self, file: FileNumber) -> bool {
        let grouped = self.groups.iter().flatten().flat_map(|group| group.records());
        let mut records = self.waiting.iter().flatten().map(|record| &**record).chain(grouped);
        records.any(|record| record.has_piece_in(file))
    }

    /// Leaves away what lies in a file whose bytes are no longer there, and says how many bytes that were.
    pub(crate) fn leave_out(&mut self, file: FileNumber) -> u64 {
        let mut bytes = 0;
        for waiting in &mut self.waiting {
            let Some(record) = waiting else { continue };
            bytes += record.bytes_in(file);
            record.forget(file);
            if record.pieces.is_empty() {
                *waiting = None;
            }
        }
        for place in &mut self.groups {
            let Some(group) = place.take() else { continue };
            bytes += group.records().map(|record| record.bytes_in(file)).sum::<u64>();
            *place = group.without(file);
        }
        bytes
    }
}
