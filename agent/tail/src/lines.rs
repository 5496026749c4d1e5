//! Makes rows of the lines of a block that was read into the batch's arena. Nothing is copied but the content of
//! records that were written in parts.

use std::sync::atomic::Ordering;

use memchr::memchr;
use weir_event::batch::{Flags, MAX_BATCH_BYTES, Row, Span};
use weir_event::cri::{CriLine, parse_line};
use weir_event::stream::Attributes;
use weir_event::time::Rfc3339Reader;
use weir_pipeline::source::SourceMetrics;

use crate::chain::FileTable;
use crate::file::{FileNumber, FollowedFile, Output, STREAMS};
use crate::multiline::Grammar;
use crate::now::Now;
use crate::outgoing::Outgoing;
use crate::problems::Problems;
use crate::record::{Block, LaidOut, Piece, Record, Records};
use crate::settings::Format;

mod grouped;

/// How the last line of a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a newline.
    Whole,
    /// With the file's last byte: nothing more will come.
    Unfinished,
    /// At the size limit, its rest is skipped.
    Cut,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many of its bytes were made rows of, or are kept as parts.
    pub bytes: usize,
    /// Whether what follows needs a batch of its own.
    pub needs_room: bool,
}

/// What making rows works with.
pub(crate) struct Lines<'a> {
    pub files: &'a mut FileTable,
    pub records: &'a mut Records,
    pub outgoing: &'a mut Outgoing,
    pub problems: &'a mut Problems,
    pub attributes: &'a Attributes,
    pub metrics: &'a SourceMetrics,
    /// How lines are joined, where they are.
    pub grammar: Option<&'a Grammar>,
    pub now: Now,
}

/// One line of a block.
#[derive(Clone, Copy)]
struct Line {
    /// Its bytes in the arena, without the newline.
    span: Span,
    /// Where it begins in the file.
    offset: u64,
    /// Where the next begins.
    end: u64,
}

/// What is known of the file while its lines are gone through.
struct Cursor {
    file: FileNumber,
    sent_until: u64,
    /// Time of what has none: that of the last dated event, or when the file was first seen.
    fallback_time: i64,
    last_time: i64,
    reader: Rfc3339Reader,
    indices: [Option<u32>; STREAMS],
    ending: Ending,
    events: u64,
    malformed: u64,
    truncated: u64,
}

// === impl Cursor ===

impl Cursor {
    fn new(number: FileNumber, file: &FollowedFile, ending: Ending) -> Cursor {
        let last_time = file.progress.last_time;
        Cursor {
            file: number,
            sent_until: file.progress.sent_until,
            fallback_time: if last_time == 0 { file.first_seen } else { last_time },
            last_time,
            reader: file.progress.reader.clone(),
            indices: [None; STREAMS],
            ending,
            events: 0,
            malformed: 0,
            truncated: 0,
        }
    }

    #[inline]
    fn dated(&mut self, time: i64) {
        self.last_time = time;
        self.fallback_time = time;
    }

    fn count(&self, metrics: &SourceMetrics) {
        metrics.events.fetch_add(self.events, Ordering::Relaxed);
        metrics.malformed.fetch_add(self.malformed, Ordering::Relaxed);
        metrics.truncated.fetch_add(self.truncated, Ordering::Relaxed);
    }
}

// === impl Lines ===

impl Lines<'_> {
    /// Makes rows of a block's lines, until the batch is full.
    pub(crate) fn take(&mut self, block: &Block, ending: Ending, format: Format) -> Taken {
        let Some(file) = self.files.get(&block.file) else { return Taken { bytes: 0, needs_room: false } };
        let mut cursor = Cursor::new(block.file, file, ending);
        for output in self.records.note_file(block.file, block.base) {
            hold(self.files, block.file, output, block.base);
        }
        let rows = self.outgoing.batch.rows();
        let taken = match (self.grammar, format) {
            (Some(grammar), _) => self.take_grouped(block, &mut cursor, format, grammar),
            (None, Format::Cri) => self.take_cri(block, &mut cursor),
            (None, Format::Json | Format::Text) => self.take_text(block, &mut cursor),
        };
        cursor.count(self.metrics);
        if let Some(file) = self.files.get_mut(&block.file) {
            file.progress.last_time = cursor.last_time;
            file.progress.reader = cursor.reader;
            file.progress.offset = block.base + taken.bytes as u64;
            if file.after_truncation && block.base == 0 {
                self.outgoing.batch.flag_first(rows, Flags::AFTER_TRUNCATION);
            }
            if taken.bytes > 0 {
                self.outgoing.touch(block.file, file, self.now.elapsed);
            }
        }
        taken
    }

    /// The next line, and its bytes.
    #[inline]
    fn line(&self, block: &Block, at: usize) -> Option<(Line, &[u8])> {
        let filled = self.outgoing.batch.arena.filled();
        // What lies behind the block was put there for a record; a large one is a batch of its own.
        let is_over = filled.len() > block.end.max(MAX_BATCH_BYTES) || at >= MAX_BATCH_BYTES;
        if at >= block.end || is_over || self.outgoing.row_room() == 0 {
            return None;
        }
        let rest = filled.get(at..block.end)?;
        let len = memchr(b'\n', rest).unwrap_or(rest.len());
        let offset = block.base + (at - block.start) as u64;
        let next = (len + 1).min(rest.len());
        let line = Line { span: Span::between(at, at + len), offset, end: offset + next as u64 };
        Some((line, rest.get(..len)?))
    }

    fn take_text(&mut self, block: &Block, cursor: &mut Cursor) -> Taken {
        let mut at = block.start;
        while let Some((line, bytes)) = self.line(block, at) {
            at = block.start + (line.end - block.base) as usize;
            // A carriage return belongs to the line's end, where there is one.
            let strip = bytes.last() == Some(&b'\r') && line.end > line.offset + bytes.len() as u64;
            let len = bytes.len() - usize::from(strip);
            if len == 0 {
                continue;
            }
            let span = Span { start: line.span.start, len: len as u32 };
            let row = Row {
                content: span,
                raw: span,
                offset: line.offset,
                time: cursor.fallback_time,
                stream: 0,
                flags: Flags::default(),
            };
            self.push(cursor, Output::Unknown, line.end, row);
        }
        Taken { bytes: at - block.start, needs_room: false }
    }

    fn take_cri(&mut self, block: &Block, cursor: &mut Cursor) -> Taken {
        let mut at = block.start;
        while let Some((line, bytes)) = self.line(block, at) {
            let parsed = parse_line(bytes, &mut cursor.reader);
            match parsed {
                Ok(head) => {
                    let output = Output::of(head.stream);
                    if !head.partial && self.records.get(output).is_none() {
                        cursor.dated(head.time);
                        self.push_whole(cursor, output, line, &head);
                    } else if self.take_part(block, cursor, line, &head) {
                        cursor.dated(head.time);
                    } else {
                        return Taken { bytes: at - block.start, needs_room: true };
                    }
                }
                Err(_) => self.push_malformed(cursor, line),
            }
            at = block.start + (line.end - block.base) as usize;
        }
        Taken { bytes: at - block.start, needs_room: false }
    }

    #[inline]
    fn push_whole(&mut self, cursor: &mut Cursor, output: Output, line: Line, head: &CriLine) {
        let content_start = line.span.start as usize + head.content_start;
        let row = Row {
            content: Span::between(content_start, line.span.end()),
            raw: line.span,
            offset: line.offset,
            time: head.time,
            stream: 0,
            flags: Flags::default(),
        };
        self.push(cursor, output, line.end, row);
    }

    #[cold]
    fn push_malformed(&mut self, cursor: &mut Cursor, line: Line) {
        let row = Row {
            content: line.span,
            raw: line.span,
            offset: line.offset,
            time: cursor.fallback_time,
            stream: 0,
            flags: Flags::MALFORMED,
        };
        self.push(cursor, Output::Unknown, line.end, row);
    }

    /// Adds a row of the file, unless it was sent before the start. Its stream is filled in.
    #[inline]
    fn push(&mut self, cursor: &mut Cursor, output: Output, end: u64, mut row: Row) {
        if end <= cursor.sent_until {
            return;
        }
        let known = cursor.indices.get(output.index()).copied().flatten();
        row.stream = known.unwrap_or_else(|| self.stream_index(cursor, output));
        if cursor.ending == Ending::Cut {
            row.flags = row.flags.with(Flags::TRUNCATED);
            cursor.truncated += 1;
        }
        cursor.malformed += u64::from(row.flags.has(Flags::MALFORMED));
        cursor.events += 1;
        self.outgoing.batch.push(row);
    }

    #[cold]
    fn stream_index(&mut self, cursor: &mut Cursor, output: Output) -> u32 {
        let Some(file) = self.files.get_mut(&cursor.file) else { return 0 };
        let index = self.outgoing.stream_index(file, output, self.attributes);
        if let Some(known) = cursor.indices.get_mut(output.index()) {
            *known = Some(index);
        }
        index
    }

    /// Keeps a part of a record, or joins the record with its last part. `false` where the record needs an empty
    /// batch: then nothing was done.
    fn take_part(&mut self, block: &Block, cursor: &mut Cursor, line: Line, head: &CriLine) -> bool {
        let output = Output::of(head.stream);
        let piece = Piece {
            file: block.file,
            offset: line.offset,
            len: line.span.len,
            content_start: head.content_start as u32,
            ends_record: false,
        };
        let cut = if cursor.ending == Ending::Cut { Flags::TRUNCATED } else { Flags::default() };
        if head.partial {
            self.records.add(output, piece, head.time, cut);
            hold(self.files, block.file, output, line.offset);
            return true;
        }
        let needed = self.records.get(output).map_or(0, Record::bytes_needed) + 2 * line.span.len as usize;
        if needed > self.outgoing.room() && self.outgoing.batch.rows() > 0 {
            return false;
        }
        let Some(mut record) = self.records.take(output) else { return true };
        record.flags = record.flags.with(cut);
        record.add(piece);
        if line.end > cursor.sent_until {
            cursor.truncated += u64::from(record.flags.has(Flags::TRUNCATED));
            cursor.events += u64::from(self.push_record(&mut record, output, Some(block)));
        }
        self.let_go(record.files(), output);
        true
    }

    /// The positions of all its files move with the batch that the record is in, as far as nothing else waits.
    fn let_go(&mut self, files: &[(FileNumber, u64)], output: Output) {
        for (number, _) in files {
            let held = self.records.needed_from(output, *number);
            let Some(file) = self.files.get_mut(number) else { continue };
            if let Some(held_from) = file.progress.held_from.get_mut(output.index()) {
                *held_from = held;
            }
            self.outgoing.touch(*number, file, self.now.elapsed);
        }
    }

    /// Adds a record's row. Parts whose file cannot be read any more are missing from it.
    fn push_record(&mut self, record: &mut Record, output: Output, near: Option<&Block>) -> bool {
        let laid_out = loop {
            match record.lay_out(&mut self.outgoing.batch.arena, self.files, near) {
                Ok(laid_out) => break laid_out,
                Err((number, error)) => {
                    let path = self.files.get(&number).map(|file| file.path.as_path()).unwrap_or("".as_ref());
                    self.problems.report(self.now, "read a record's first part again", path, &error);
                    record.leave_out(number);
                }
            }
        };
        let Some((first, offset)) = record.begin() else { return false };
        let Some(file) = self.files.get_mut(&first) else { return false };
        let LaidOut { raw, content } = laid_out;
        let stream = self.outgoing.stream_index(file, output, self.attributes);
        let (time, flags) = (record.time, record.flags);
        self.outgoing.batch.push(Row { content, raw, offset, time, stream, flags });
        true
    }

    /// Sends a record on its way whose last part will never come.
    pub(crate) fn give_up(&mut self, output: Output) {
        let Some(mut record) = self.records.take(output) else { return };
        record.flags = record.flags.with(Flags::PARTIAL);
        let truncated = u64::from(record.flags.has(Flags::TRUNCATED));
        let events = u64::from(self.push_record(&mut record, output, None));
        self.metrics.events.fetch_add(events, Ordering::Relaxed);
        self.metrics.truncated.fetch_add(truncated * events, Ordering::Relaxed);
        self.let_go(record.files(), output);
    }
}

/// Notes from where on a file must be read again for a record that waits.
fn hold(files: &mut FileTable, number: FileNumber, output: Output, offset: u64) {
    let file = files.get_mut(&number);
    if let Some(held) = file.and_then(|file| file.progress.held_from.get_mut(output.index())) {
        held.get_or_insert(offset);
    }
}
