//! The Journal Export Format (systemd.io/JOURNAL_EXPORT_FORMATS), read piece by piece.
//!
//! 1. A byte is looked for twice at the most and copied once; what is not kept is passed over without being copied.
//!    Nothing is read again when the next piece comes.
//! 2. What an entry takes of memory has a bound, whatever it claims to have: see the limits below.
//! 3. Whatever comes, each call consumes something or asks for more. After what is no export format the next entry is
//!    looked for behind the next empty line; what was passed over makes no entry.

use std::ops::Range;

use weir_event::batch::MAX_EVENT_BYTES;

use crate::selection::Selection;

/// A longer value is cut here.
pub(crate) const MAX_FIELD_BYTES: usize = MAX_EVENT_BYTES;
/// Names and values of one entry together, in bytes; what is beyond is cut.
pub(crate) const MAX_ENTRY_BYTES: usize = 2 * MAX_EVENT_BYTES;
/// Further fields of an entry are left out. Journald itself takes 1,024.
pub(crate) const MAX_FIELDS: usize = 1_024;
/// Journald takes no longer names.
const MAX_NAME_BYTES: usize = 64;
/// Journald keeps no entry that is longer, in bytes: a value that says so is none.
const MAX_BINARY_BYTES: u64 = 1 << 30;
/// Memory for an entry that grew beyond this is given back, in bytes.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// An entry of the journal, as far as its fields are of use.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// Whether something of it was longer than the limits and was cut.
    pub is_cut: bool,
    /// Whether a field with a name that cannot be was left out.
    pub is_malformed: bool,
}

#[derive(Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// What [`Parser::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// An entry: [`Parser::entry`], until the next call.
    Entry,
    /// Something that is no export format, with which an entry was lost.
    Malformed,
}

/// Reads entries from pieces of any size.
#[derive(Debug)]
pub(crate) struct Parser {
    selection: Selection,
    entry: Entry,
    state: State,
    /// The begun field's name, or one byte more than a name can have.
    name: Vec<u8>,
    /// Whether the begun field's value is kept, and whether it was cut.
    keeps: bool,
    is_field_cut: bool,
    /// Whether the entry was handed out.
    is_done: bool,
    /// Whether the entry has any field at all.
    is_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a field's name, or at its beginning.
    Name,
    /// In a value up to the next newline.
    Text,
    /// In the length of a value: what is there of it.
    Length { bytes: [u8; 8], count: usize },
    /// In a value with so many bytes left.
    Binary { left: u64 },
    /// At the newline behind such a value.
    BinaryEnd,
    /// Looking for an empty line.
    Lost { at_line_start: bool },
}

// === impl Entry ===

impl Entry {
    /// The fields that were kept, in order, as name and value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (self.slice(&field.name), self.slice(&field.value)))
    }

    /// The first value of a field.
    pub(crate) fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The name of the field with this index.
    pub(crate) fn name(&self, index: usize) -> &[u8] {
        self.fields.get(index).map_or(&[], |field| self.slice(&field.name))
    }

    /// The value of the field with this index.
    pub(crate) fn value(&self, index: usize) -> &[u8] {
        self.fields.get(index).map_or(&[], |field| self.slice(&field.value))
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(MAX_KEPT_BYTES);
        self.fields.clear();
        self.is_cut = false;
        self.is_malformed = false;
    }
}

// === impl Parser ===

impl Parser {
    pub(crate) fn new(selection: Selection) -> Parser {
        Parser {
            selection,
            entry: Entry::default(),
            state: State::Name,
            name: Vec::with_capacity(MAX_NAME_BYTES + 1),
            keeps: false,
            is_field_cut: false,
            is_done: false,
            is_begun: false,
        }
    }

    /// The entry that was just found.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Forgets what was begun: another output comes.
    pub(crate) fn reset(&mut self) {
        self.begin_entry();
        self.state = State::Name;
        self.name.clear();
    }

    /// Takes bytes from the front of `input` until something is found. `None` where all are taken.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<Parsed> {
        if self.is_done {
            self.begin_entry();
        }
        while !input.is_empty() {
            let found = match self.state {
                State::Name => self.take_name(input),
                State::Text => self.take_text(input),
                State::Length { bytes, count } => self.take_length(input, bytes, count),
                State::Binary { left } => self.take_binary(input, left),
                State::BinaryEnd => self.take_binary_end(input),
                State::Lost { at_line_start } => self.look_for_entry(input, at_line_start),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn begin_entry(&mut self) {
        self.entry.clear();
        self.is_done = false;
        self.is_begun = false;
    }

    fn take_name(&mut self, input: &mut &[u8]) -> Option<Parsed> {
        let end = memchr::memchr2(b'=', b'\n', input);
        let (name, rest) = input.split_at_checked(end.unwrap_or(input.len()))?;
        let room = (MAX_NAME_BYTES + 1).saturating_sub(self.name.len());
        self.name.extend(name.iter().take(room));
        *input = rest;
        match take_byte(input)? {
            b'=' => {
                let is_named = is_field_name(&self.name);
                self.entry.is_malformed |= !is_named;
                self.begin_value();
                self.state = State::Text;
                None
            }
            // The empty line.
            _ if self.name.is_empty() => self.end_entry(),
            _ if is_field_name(&self.name) => {
                self.begin_value();
                self.state = State::Length { bytes: [0; 8], count: 0 };
                None
            }
            // Neither a value nor a length: who knows what comes now.
            _ => self.lose(true),
        }
    }

    /// An empty line ends the entry. Several of them are as good as one.
    fn end_entry(&mut self) -> Option<Parsed> {
        if !self.is_begun {
            return None;
        }
        self.is_done = true;
        Some(Parsed::Entry)
    }

    fn begin_value(&mut self) {
        self.is_begun = true;
        self.is_field_cut = false;
        self.keeps = is_field_name(&self.name) && self.selection.keeps(&self.name);
        let room = MAX_ENTRY_BYTES.saturating_sub(self.entry.bytes.len());
        if self.keeps && (self.entry.fields.len() >= MAX_FIELDS || room < self.name.len()) {
            self.keeps = false;
            self.entry.is_cut = true;
        }
        if self.keeps {
            let start = self.entry.bytes.len();
            self.entry.bytes.extend_from_slice(&self.name);
            let end = self.entry.bytes.len();
            self.entry.fields.push(Field { name: start..end, value: end..end });
        }
        self.name.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.keeps || self.is_field_cut {
            return;
        }
        let Entry { bytes: kept, fields, is_cut, .. } = &mut self.entry;
        let Some(field) = fields.last_mut() else { return };
        let room = (MAX_FIELD_BYTES.saturating_sub(field.value.len()))
            .min(MAX_ENTRY_BYTES.saturating_sub(kept.len()));
        kept.extend(bytes.get(..room).unwrap_or(bytes));
        field.value.end = kept.len();
        if bytes.len() > room {
            self.is_field_cut = true;
            *is_cut = true;
            let value = kept.get(field.value.clone()).unwrap_or_default();
            kept.truncate(field.value.start + whole_characters(value));
            field.value.end = kept.len();
        }
    }

    fn take_text(&mut self, input: &mut &[u8]) -> Option<Parsed> {
        let end = memchr::memchr(b'\n', input);
        let (value, rest) = input.split_at_checked(end.unwrap_or(input.len()))?;
        self.keep(value);
        *input = rest;
        take_byte(input)?;
        self.state = State::Name;
        None
    }

    fn take_length(&mut self, input: &mut &[u8], mut bytes: [u8; 8], count: usize) -> Option<Parsed> {
        let byte = take_byte(input)?;
        if let Some(place) = bytes.get_mut(count) {
            *place = byte;
        }
        let count = count + 1;
        if count < bytes.len() {
            self.state = State::Length { bytes, count };
            return None;
        }
        match u64::from_le_bytes(bytes) {
            left @ ..=MAX_BINARY_BYTES => {
                self.state = State::Binary { left };
                None
            }
            _ => self.lose(false),
        }
    }

    fn take_binary(&mut self, input: &mut &[u8], left: u64) -> Option<Parsed> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (value, rest) = input.split_at_checked(count)?;
        self.keep(value);
        *input = rest;
        self.state = match left - count as u64 {
            0 => State::BinaryEnd,
            left => State::Binary { left },
        };
        None
    }

    fn take_binary_end(&mut self, input: &mut &[u8]) -> Option<Parsed> {
        match take_byte(input)? {
            b'\n' => {
                self.state = State::Name;
                None
            }
            _ => self.lose(false),
        }
    }

    /// Gives the entry up.
    fn lose(&mut self, at_line_start: bool) -> Option<Parsed> {
        self.begin_entry();
        self.name.clear();
        self.state = State::Lost { at_line_start };
        Some(Parsed::Malformed)
    }

    fn look_for_entry(&mut self, input: &mut &[u8], at_line_start: bool) -> Option<Parsed> {
        if at_line_start && input.first() == Some(&b'\n') {
            take_byte(input)?;
            self.state = State::Name;
            return None;
        }
        let line = memchr::memchr(b'\n', input).map(|end| end + 1);
        *input = input.get(line.unwrap_or(input.len())..)?;
        self.state = State::Lost { at_line_start: line.is_some() };
        None
    }
}

/// Whether a field can have this name: capital letters, digits and underscores, no digit first, 64 at the most.
pub(crate) fn is_field_name(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let starts_well = name.first().is_some_and(|first| !first.is_ascii_digit());
    starts_well && name.len() <= MAX_NAME_BYTES && name.iter().all(is_plain)
}

/// How many of these bytes are left without a character at the end of which only the beginning is there.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    const LONGEST: usize = 4;
    let tail = bytes.get(bytes.len().saturating_sub(LONGEST - 1)..).unwrap_or_default();
    for (place, byte) in tail.iter().enumerate().rev() {
        let missing = tail.len() - place;
        let needed = match byte {
            0x80..0xc0 => continue,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => LONGEST,
            _ => 1,
        };
        return if needed > missing { bytes.len() - missing } else { bytes.len() };
    }
    bytes.len()
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}
