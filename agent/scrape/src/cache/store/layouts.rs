//! Layouts: what label sets with labels of the same names have in common.
//!
//! 1. A layout is a list of pieces. A piece is a range of the labels that the whole target shares, then bytes of the
//!    layout's own, then one value; the last piece has no value. Either range may be empty.
//! 2. Before a value lie its label's tag, a place for its label's length, and its name.
//! 3. Pieces and bytes of all layouts lie in one arena each: a target may have many layouts with few series each.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::bytes::{CHUNK, Label, copy, read_varint, write_varint};

/// Layouts of one target.
#[derive(Debug)]
pub(super) struct Layouts {
    /// The shared labels, as a label set, with a chunk behind them.
    shared: Vec<u8>,
    list: Vec<Layout>,
    pieces: Vec<Piece>,
    /// With a chunk behind them.
    literals: Vec<u8>,
    numbers: HashTable<u16>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    pieces: u32,
    literals: u32,
    count: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Piece {
    /// The range of the shared labels.
    shared: u16,
    shared_len: u16,
    /// How many bytes of the layout's own.
    literal_len: u16,
    /// How many of them lie behind the place for a label's length; 0 where there is no value.
    head_len: u16,
}

/// A layout that is made. Keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
    literals: Vec<u8>,
    /// The piece that is not finished.
    last: Piece,
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
    shared: &'a [u8],
    literals: &'a [u8],
    pieces: std::slice::Iter<'a, Piece>,
}

// === impl Layouts ===

impl Layouts {
    /// None, for sets most of which have these labels.
    pub(super) fn new(mut shared: Vec<u8>) -> Layouts {
        shared.reserve_exact(CHUNK);
        shared.extend_from_slice(&[0; CHUNK]);
        Layouts {
            shared,
            list: Vec::new(),
            pieces: Vec::new(),
            literals: vec![0; CHUNK],
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The labels that sets share.
    pub(super) fn shared(&self) -> &[u8] {
        self.shared.get(..self.shared.len() - CHUNK).unwrap_or_default()
    }

    /// The number of this layout, which may be new; fewer than `limit` are there then.
    pub(super) fn number(&mut self, draft: &Draft, limit: usize) -> Option<u16> {
        let key = (&*draft.pieces, &*draft.literals);
        let hash = self.hasher.hash_one(key);
        if let Some(number) = self.numbers.find(hash, |number| self.key(*number) == key) {
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
        numbers.insert_unique(hash, number, |number| self.hasher.hash_one(self.key(*number)));
        self.numbers = numbers;
        Some(number)
    }

    /// A writer of sets with this layout.
    #[inline(always)]
    pub(super) fn writer(&self, number: u16) -> Option<Writer<'_>> {
        let layout = self.list.get(number as usize)?;
        let start = layout.pieces as usize;
        let pieces = self.pieces.get(start..start + layout.count as usize)?.iter();
        Some(Writer {
            shared: &self.shared,
            literals: self.literals.get(layout.literals as usize..)?,
            pieces,
        })
    }

    /// How far the arenas are filled.
    pub(super) fn mark(&self) -> LayoutsMark {
        let literals = self.literals.len() - CHUNK;
        LayoutsMark { list: self.list.len(), pieces: self.pieces.len(), literals }
    }

    /// Forgets what was added since.
    pub(super) fn roll_back(&mut self, mark: LayoutsMark) {
        for number in mark.list..self.list.len() {
            let hash = self.hasher.hash_one(self.key(number as u16));
            if let Ok(found) = self.numbers.find_entry(hash, |known| usize::from(*known) == number) {
                found.remove();
            }
        }
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
}

// === impl Draft ===

impl Draft {
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.literals.clear();
        self.last = Piece::default();
    }

    /// Next comes a shared label that lies there.
    pub(super) fn push_shared(&mut self, start: usize, len: usize) -> Option<()> {
        let (start, len) = (u16::try_from(start).ok()?, u16::try_from(len).ok()?);
        if self.last.shared_len == 0 {
            self.last.shared = start;
        } else if self.last.shared.checked_add(self.last.shared_len) != Some(start) {
            self.pieces.push(self.last);
            self.last = Piece { shared: start, ..Piece::default() };
        }
        self.last.shared_len = self.last.shared_len.checked_add(len)?;
        Some(())
    }

    /// Next comes a label with a value of the set's own.
    pub(super) fn push_own(&mut self, label: &Label<'_>) -> Option<()> {
        let start = self.literals.len();
        self.literals.extend_from_slice(label.bytes.first_chunk::<1>()?);
        self.literals.push(0);
        self.literals.extend_from_slice(label.head);
        self.last.literal_len = u16::try_from(self.literals.len() - start).ok()?;
        self.last.head_len = u16::try_from(label.head.len()).ok()?;
        self.pieces.push(self.last);
        self.last = Piece::default();
        Some(())
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self) {
        if self.last != Piece::default() {
            self.pieces.push(self.last);
        }
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Appends the next label with a value, and what lies before it; the value is taken from the beginning of `values`.
    /// Says whether there was one.
    #[inline(always)]
    pub(super) fn write_next(&mut self, values: &mut &[u8], out: &mut Vec<u8>) -> bool {
        let Some(piece) = self.pieces.next() else { return false };
        if piece.shared_len > 0 {
            copy(
                out,
                self.shared.get(piece.shared as usize..).unwrap_or_default(),
                piece.shared_len as usize,
            );
        }
        if piece.head_len == 0 {
            return true;
        }
        let literal_len = piece.literal_len as usize;
        // A place for the length is behind the tag, which is not part of the head.
        let place = (out.len() + literal_len).wrapping_sub(piece.head_len as usize + 1);
        copy(out, self.literals, literal_len);
        let (_, rest) = self.literals.split_at_checked(literal_len).unwrap_or_default();
        self.literals = rest;
        let len = 1 + values.first().copied().unwrap_or_default() as usize;
        let label_len = piece.head_len as usize + len;
        if label_len >= 0x80 {
            return write_long(piece, place, values, out);
        }
        if let Some(byte) = out.get_mut(place) {
            *byte = label_len as u8;
        }
        copy(out, values, len);
        (_, *values) = values.split_at_checked(len).unwrap_or_default();
        true
    }
}

/// Finishes a label that has more bytes than one byte can say: its tag and name were written already.
#[cold]
#[inline(never)]
fn write_long(piece: &Piece, place: usize, values: &mut &[u8], out: &mut Vec<u8>) -> bool {
    let Some((len, behind)) = read_varint(values) else { return false };
    let len = values.len() - behind.len() + len as usize;
    let head = out.len() - piece.head_len as usize;
    let head = out.get(head..).unwrap_or_default().to_vec();
    out.truncate(place);
    write_varint(out, (head.len() + len) as u64);
    out.extend_from_slice(&head);
    let (value, rest) = values.split_at_checked(len).unwrap_or_default();
    out.extend_from_slice(value);
    *values = rest;
    true
}
