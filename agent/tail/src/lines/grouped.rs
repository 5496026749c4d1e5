//! Joins lines, or the records that they are parts of, to events.
//!
//! 1. An ordinary line costs one question to the grammar, and becomes a row where it lies.
//! 2. What belongs to a group is kept by its place, like the parts of a record, and its file is read again from the
//!    group's beginning after a restart.
//! 3. Read again, each output is looked at from where its own group began, or from where all was sent: the grammar
//!    stands there as it stood before.
//! 4. Whatever needs room is done only when the batch has it; until then the line was not looked at.

use std::sync::atomic::Ordering;

use weir_event::batch::{Flags, Row, Span};
use weir_event::cri::parse_line;

use super::{Cursor, Ending, Line, Lines, Taken};
use crate::file::Output;
use crate::multiline::{Grammar, MAX_PENDING, Next, State};
use crate::record::{Block, Group, Piece, Record};
use crate::settings::Format;

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It is an event, or begins a group; the group before it ends.
    Own { opens: Option<State>, cuts: bool },
    /// It goes on with the group, perhaps.
    Joins { state: State, sure: bool },
}

/// A whole line of an output.
struct Fed {
    line: Line,
    output: Output,
    content_start: usize,
    time: i64,
    /// Whether it is the first part of a record, or one in the middle.
    partial: bool,
    /// Whether a timer ended the group behind it when it was read before.
    is_cut: bool,
}

/// Whether a line was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    NeedsRoom,
}

impl Lines<'_> {
    pub(super) fn take_grouped(
        &mut self,
        block: &Block,
        cursor: &mut Cursor,
        format: Format,
        grammar: &Grammar,
    ) -> Taken {
        let (needed_from, cuts) = match self.files.get(&block.file) {
            Some(file) => (file.progress.needed_from, file.progress.cuts.clone()),
            None => return Taken { bytes: 0, needs_room: false },
        };
        // What is looked at at all was not sent.
        cursor.sent_until = 0;
        let mut at = block.start;
        while let Some((line, bytes)) = self.line(block, at) {
            let mut fed = Fed {
                line,
                output: Output::Unknown,
                content_start: 0,
                time: cursor.fallback_time,
                partial: false,
                is_cut: cuts.iter().any(|(_, end)| *end == line.end),
            };
            let mut well_formed = true;
            match format {
                Format::Cri => match parse_line(bytes, &mut cursor.reader) {
                    Ok(head) => {
                        fed.output = Output::of(head.stream);
                        fed.content_start = head.content_start;
                        fed.time = head.time;
                        fed.partial = head.partial;
                    }
                    Err(_) => well_formed = false,
                },
                Format::Json | Format::Text => {
                    let strip = bytes.last() == Some(&b'\r') && line.end > line.offset + bytes.len() as u64;
                    fed.line.span.len -= u32::from(strip);
                }
            }
            let is_needed = needed_from.get(fed.output.index()).is_none_or(|from| line.offset >= *from);
            let answer = match (is_needed, well_formed) {
                (false, _) => Answer::Taken,
                (true, true) => self.feed(block, cursor, &fed, format, grammar),
                (true, false) => {
                    self.push_malformed(cursor, line);
                    Answer::Taken
                }
            };
            if answer == Answer::NeedsRoom {
                return Taken { bytes: at - block.start, needs_room: true };
            }
            if format == Format::Cri && well_formed {
                cursor.dated(fed.time);
            }
            at = block.start + (line.end - block.base) as usize;
        }
        Taken { bytes: at - block.start, needs_room: false }
    }

    #[inline]
    fn feed(
        &mut self,
        block: &Block,
        cursor: &mut Cursor,
        fed: &Fed,
        format: Format,
        grammar: &Grammar,
    ) -> Answer {
        let is_plain = !fed.partial && self.records.get(fed.output).is_none();
        if is_plain && self.records.group(fed.output).is_none() {
            let from = fed.line.span.start as usize + fed.content_start;
            let span = Span::between(from.min(fed.line.span.end()), fed.line.span.end());
            let content = self.outgoing.batch.arena.filled().get(span.range()).unwrap_or_default();
            match grammar.start(content) {
                Some(state) if !fed.is_cut => {
                    self.open(block, cursor, fed, state, None);
                    return Answer::Taken;
                }
                // Cut behind its only line.
                _ => {
                    if format == Format::Cri || !content.is_empty() {
                        self.push_one(cursor, fed, span);
                    }
                    return Answer::Taken;
                }
            }
        }
        self.feed_to_group(block, cursor, fed, format, grammar)
    }

    fn push_one(&mut self, cursor: &mut Cursor, fed: &Fed, content: Span) {
        let row = Row {
            content,
            raw: fed.line.span,
            offset: fed.line.offset,
            time: fed.time,
            stream: 0,
            flags: Flags::default(),
        };
        self.push(cursor, fed.output, fed.line.end, row);
    }

    fn piece(&self, block: &Block, fed: &Fed) -> Piece {
        Piece {
            file: block.file,
            offset: fed.line.offset,
            len: fed.line.span.len,
            content_start: (fed.content_start as u32).min(fed.line.span.len),
            ends_record: false,
        }
    }

    /// Begins a group with a line, or with the record that it ended.
    fn open(&mut self, block: &Block, cursor: &Cursor, fed: &Fed, state: State, record: Option<Record>) {
        let record = record.unwrap_or_else(|| Record::new(self.piece(block, fed), fed.time, cut(cursor)));
        let files = record.files().to_vec();
        let last = (block.file, fed.line.end);
        let seen = self.now.elapsed;
        let group = Group { joined: record, pending: Vec::new(), state, records: 1, last, seen };
        self.records.open_group(fed.output, group);
        self.let_go(&files, fed.output);
    }

    /// A line of an output with something that waits.
    fn feed_to_group(
        &mut self,
        block: &Block,
        cursor: &mut Cursor,
        fed: &Fed,
        format: Format,
        grammar: &Grammar,
    ) -> Answer {
        let output = fed.output;
        let piece = self.piece(block, fed);
        if fed.partial {
            self.records.add(output, piece, fed.time, cut(cursor));
            let held = self.records.needed_from(output, block.file).unwrap_or(fed.line.offset);
            super::hold(self.files, block.file, output, held);
            return Answer::Taken;
        }
        if !self.has_room_to_judge(output, fed) {
            return Answer::NeedsRoom;
        }
        let record = match self.records.get(output) {
            Some(waiting) => {
                let mut record = waiting.clone();
                record.flags = record.flags.with(cut(cursor));
                record.add(piece);
                record
            }
            None => Record::new(piece, fed.time, cut(cursor)),
        };
        let part = self.judge(block, output, &record, grammar);
        if !self.has_room(output, fed, part) {
            return Answer::NeedsRoom;
        }
        if let Part::Own { cuts, .. } = part
            && self.records.group(output).is_some()
        {
            let flags = if cuts { Flags::MULTILINE_CUT } else { Flags::default() };
            self.end_group(output, Some(block), flags, format);
            // An event larger than a batch is one of its own: the line is looked at again, without a group.
            if self.outgoing.room() == 0 {
                return Answer::NeedsRoom;
            }
        }
        let waited = self.records.take(output);
        match part {
            Part::Joins { state, sure } => {
                if let Some(group) = self.records.group_mut(output) {
                    group.state = state;
                    group.records += 1;
                    group.last = (block.file, fed.line.end);
                    group.seen = self.now.elapsed;
                    group.pending.push(record);
                    if sure {
                        group.confirm();
                    }
                }
            }
            Part::Own { opens, .. } => match opens {
                Some(state) => self.open(block, cursor, fed, state, Some(record)),
                None => self.push_alone(record, output, Some(block), format),
            },
        }
        if let Some(waited) = waited {
            self.let_go(waited.files(), output);
        }
        if fed.is_cut {
            self.end_group(output, Some(block), Flags::default(), format);
        }
        Answer::Taken
    }

    /// What a record is to the group before it.
    fn judge(&mut self, block: &Block, output: Output, record: &Record, grammar: &Grammar) -> Part {
        let arena = &mut self.outgoing.batch.arena;
        let filled = arena.len();
        let content = record.lay_out(arena, self.files, Some(block)).map(|laid_out| laid_out.content);
        // Where a part cannot be read any more, the event is judged by nothing.
        let span = content.unwrap_or_default();
        let text = arena.filled().get(span.range()).unwrap_or_default();
        let own = |cuts| Part::Own { opens: grammar.start(text), cuts };
        let part = match self.records.group(output) {
            None => own(false),
            Some(group) => {
                let is_full = group.records >= grammar.max_lines
                    || group.content_len() + record.content_len() > grammar.max_bytes;
                match grammar.next(group.state, text) {
                    Next::Joins(_) if is_full => own(true),
                    Next::Joins(state) => Part::Joins { state, sure: true },
                    Next::Perhaps(state) if !is_full && group.pending.len() < MAX_PENDING => {
                        Part::Joins { state, sure: false }
                    }
                    Next::Perhaps(_) | Next::Ends => own(false),
                }
            }
        };
        arena.truncate(filled);
        part
    }

    /// Whether the batch has room to look at a record in parts, or is empty.
    fn has_room_to_judge(&self, output: Output, fed: &Fed) -> bool {
        let needed = self
            .records
            .get(output)
            .map_or(0, |record| record.bytes_needed() + 2 * fed.line.span.len as usize);
        needed <= self.outgoing.room() || self.outgoing.batch.rows() == 0
    }

    /// Whether the batch has room for what ends with a line, or is empty.
    fn has_room(&self, output: Output, fed: &Fed, part: Part) -> bool {
        if matches!(part, Part::Joins { .. }) && !fed.is_cut {
            return true;
        }
        let group = self.records.group(output);
        let rows = 2 + group.map_or(0, |group| group.pending.len());
        let waiting = self.records.get(output).map_or(0, Record::bytes_needed);
        let bytes = waiting + group.map_or(0, Group::bytes_needed) + 2 * fed.line.span.len as usize;
        let is_empty = self.outgoing.batch.rows() == 0;
        is_empty || rows <= self.outgoing.row_room() && bytes <= self.outgoing.room()
    }

    /// Sends the events of a group on their way.
    pub(crate) fn end_group(&mut self, output: Output, near: Option<&Block>, flags: Flags, format: Format) {
        let Some(mut group) = self.records.take_group(output) else { return };
        if flags.has(Flags::MULTILINE_CUT) {
            group.confirm();
            self.metrics.multiline_cut.fetch_add(1, Ordering::Relaxed);
        }
        group.joined.flags = group.joined.flags.with(flags);
        for record in group.into_records() {
            self.push_alone(record, output, near, format);
        }
    }

    /// Makes an event of a record. Its blank lines are none in files without a format.
    fn push_alone(&mut self, mut record: Record, output: Output, near: Option<&Block>, format: Format) {
        let is_nothing = format != Format::Cri && record.content_len() == 0;
        if !is_nothing {
            let truncated = u64::from(record.flags.has(Flags::TRUNCATED));
            let events = u64::from(self.push_record(&mut record, output, near));
            self.metrics.events.fetch_add(events, Ordering::Relaxed);
            self.metrics.truncated.fetch_add(truncated * events, Ordering::Relaxed);
        }
        self.let_go(record.files(), output);
    }
}

fn cut(cursor: &Cursor) -> Flags {
    if cursor.ending == Ending::Cut { Flags::TRUNCATED } else { Flags::default() }
}
