//! Layouts: what label sets with labels of the same names have in common.
//!
//! 1. A layout is a list of pieces. A piece is bytes that are in all sets, then one value; the last has no value.
//! 2. Before a value lie its label's tag, a place for its label's length, and its name. Before these lie the labels that
//!    the whole target shares: with each layout again, for there are few, and long runs are copied faster than short ones.
//! 3. Pieces and bytes of all layouts lie in one arena each: a target may have many layouts with few series each.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use weir_samples::labels::LABEL_TAG;
use weir_samples::varint;

use super::bytes::{CHUNK, Label, copy, read_varint};

/// Layouts of one target.
#[derive(Debug)]
pub(super) struct Layouts {
    list: Vec<Layout>,
    pieces: Vec<Piece>,
    /// With a chunk behind them.
    literals: Vec<u8>,
    numbers: HashTable<u16>,
    hasher: DefaultHashBuilder,
    /// The one that was taken last.
    last: u16,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    pieces: u32,
    literals: u32,
    count: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Piece {
    /// How many bytes that are in all sets.
    literal_len: u16,
    /// How many of them lie behind the place for a label's length; 0 where there is no value.
    head_len: u16,
}

/// A layout that is made. Keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
    literals: Vec<u8>,
    /// Where the piece begins that is not finished.
    start: usize,
}

/// How far the arenas were filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LayoutsMark {
    list: usize,
    pieces: usize,
    literals: usize,
}

/// Writes a label set by its layout.
pub(super) struct Writer<'a> {
    literals: &'a [u8],
    pieces: std::slice::Iter<'a, Piece>,
}

// === impl Layouts ===

impl Layouts {
    /// None.
    pub(super) fn new() -> Layouts {
        Layouts {
            list: Vec::new(),
            pieces: Vec::new(),
            literals: vec![0; CHUNK],
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: 0,
        }
    }

    /// The number of this layout, which may be new; fewer than `limit` are there then.
    pub(super) fn number(&mut self, draft: &Draft, limit: usize) -> Option<u16> {
        let key = (&*draft.pieces, &*draft.literals);
        if self.key(self.last) == key && !self.list.is_empty() {
            return Some(self.last);
        }
        let hash = self.hash(key);
        if let Some(number) = self.numbers.find(hash, |number| self.key(*number) == key) {
            self.last = *number;
            return Some(*number);
        }
        if self.list.len() >= limit {
            return None;
        }
        let number = u16::try_from(self.list.len()).ok()?;
        let used = self.literals.len() - CHUNK;
        let (pieces, literals) = (u32::try_from(self.pieces.len()).ok()?, u32::try_from(used).ok()?);
        self.list.push(Layout { pieces, literals, count: u16::try_from(draft.pieces.len()).ok()? });
        self.pieces.extend_from_slice(&draft.pieces);
        self.literals.truncate(used);
        self.literals.extend_from_slice(&draft.literals);
        self.literals.extend_from_slice(&[0; CHUNK]);
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.insert_unique(hash, number, |number| self.hash(self.key(*number)));
        self.numbers = numbers;
        self.last = number;
        Some(number)
    }

    /// A writer of sets with this layout.
    #[inline(always)]
    pub(super) fn writer(&self, number: u16) -> Option<Writer<'_>> {
        let layout = self.list.get(number as usize)?;
        let start = layout.pieces as usize;
        let pieces = self.pieces.get(start..start + layout.count as usize)?.iter();
        Some(Writer { literals: self.literals.get(layout.literals as usize..)?, pieces })
    }

    /// How far the arenas are filled.
    pub(super) fn mark(&self) -> LayoutsMark {
        let literals = self.literals.len() - CHUNK;
        LayoutsMark { list: self.list.len(), pieces: self.pieces.len(), literals }
    }

    /// Forgets what was added since.
    pub(super) fn roll_back(&mut self, mark: LayoutsMark) {
        for number in mark.list..self.list.len() {
            let hash = self.hash(self.key(number as u16));
            if let Ok(found) = self.numbers.find_entry(hash, |known| usize::from(*known) == number) {
                found.remove();
            }
        }
        self.last = 0;
        self.list.truncate(mark.list);
        self.pieces.truncate(mark.pieces);
        self.literals.truncate(mark.literals);
        self.literals.extend_from_slice(&[0; CHUNK]);
    }

    /// Gives memory back that was taken ahead.
    pub(super) fn fit(&mut self) {
        self.list.shrink_to_fit();
        self.pieces.shrink_to_fit();
        self.literals.shrink_to_fit();
    }

    /// What tells a layout from others: its pieces and bytes.
    fn key(&self, number: u16) -> (&[Piece], &[u8]) {
        let Some(writer) = self.writer(number) else { return (&[], &[]) };
        let pieces = writer.pieces.as_slice();
        let len = pieces.iter().map(|piece| usize::from(piece.literal_len)).sum();
        (pieces, writer.literals.get(..len).unwrap_or_default())
    }

    /// Layouts with the same bytes are cut the same, but for strange ones.
    fn hash(&self, (_, literals): (&[Piece], &[u8])) -> u64 {
        self.hasher.hash_one(literals)
    }
}

// === impl Draft ===

impl Draft {
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.literals.clear();
        self.start = 0;
    }

    /// Next comes a label that all series of the target have.
    pub(super) fn push_shared(&mut self, label: &Label<'_>) {
        self.literals.extend_from_slice(label.bytes);
    }

    /// Next comes a label with a value of the set's own.
    pub(super) fn push_own(&mut self, label: &Label<'_>) -> Option<()> {
        self.literals.extend_from_slice(&[LABEL_TAG, 0]);
        self.literals.extend_from_slice(label.head);
        self.push_piece(label.head.len())
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self) -> Option<()> {
        if self.start < self.literals.len() { self.push_piece(0) } else { Some(()) }
    }

    fn push_piece(&mut self, head_len: usize) -> Option<()> {
        let literal_len = u16::try_from(self.literals.len() - self.start).ok()?;
        self.pieces.push(Piece { literal_len, head_len: u16::try_from(head_len).ok()? });
        self.start = self.literals.len();
        Some(())
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Appends the next label with a value, and what lies before it; the value is taken from the beginning of `values`.
    /// Says whether there was one.
    #[inline(always)]
    pub(super) fn write_next(&mut self, values: &mut &[u8], out: &mut Vec<u8>) -> bool {
        let Some(piece) = self.pieces.next() else { return false };
        let literal_len = piece.literal_len as usize;
        // A place for the length is behind the tag, which is not part of the head.
        let place = (out.len() + literal_len).wrapping_sub(piece.head_len as usize + 1);
        copy(out, self.literals, literal_len);
        let (literal, rest) = self.literals.split_at_checked(literal_len).unwrap_or_default();
        self.literals = rest;
        if piece.head_len == 0 {
            return true;
        }
        let len = 1 + values.first().copied().unwrap_or_default() as usize;
        let label_len = piece.head_len as usize + len;
        if label_len >= 0x80 {
            out.truncate(place);
            return write_long(literal, piece.head_len as usize, values, out);
        }
        if let Some(byte) = out.get_mut(place) {
            *byte = label_len as u8;
        }
        copy(out, values, len);
        (_, *values) = values.split_at_checked(len).unwrap_or_default();
        true
    }
}

/// Appends a label that has more bytes than one byte can say, from its length on; its head is the end of `literal`.
#[inline(never)]
fn write_long(literal: &[u8], head_len: usize, values: &mut &[u8], out: &mut Vec<u8>) -> bool {
    let Some((value_len, behind)) = read_varint(values) else { return false };
    let len = values.len() - behind.len() + value_len as usize;
    let head = literal.get(literal.len().saturating_sub(head_len)..).unwrap_or_default();
    varint::write(out, (head.len() + len) as u64);
    copy(out, head, head.len());
    let (value, rest) = values.split_at_checked(len).unwrap_or_default();
    out.extend_from_slice(value);
    *values = rest;
    true
}
