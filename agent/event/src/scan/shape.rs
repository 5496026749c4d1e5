//! Shapes: most events of a container look like the one before. Where the structural characters and the keys of a
//! text are those of one that was walked already, only the values are left to check, and the members that are wanted
//! lie at the same tokens.
//!
//! 1. A shape is made of a text that the walk accepted, and only of one without white space between its tokens.
//! 2. A text fits a shape only if every structural character, every key byte for byte and the kind of every gap
//!    agree, and every value passes the same check as in the walk. What does not fit is walked. So both give the
//!    same answers, and a property test holds them against each other.

use super::blocks::MIN_TOKENS;
use super::walk::Gaps;
use super::{Hit, Value};
use crate::column::Kind;
use crate::path::Node;

/// Shapes kept by one scanner. A node's containers have a few shapes each; some 4 KiB a shape at the most.
const SHAPES: usize = 64;
/// Longest key, with its quotes and colon, that a shape holds.
const MAX_KEY_BYTES: usize = 16;

/// The shapes that a scanner has seen lately.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    signature: u64,
    shape: Option<Shape>,
}

/// What texts of one shape have in common. Tokens are named by their index.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    /// The structural characters.
    bytes: Vec<u8>,
    keys: Vec<Key>,
    /// The tokens behind a string.
    strings: Vec<u8>,
    /// The tokens behind another value, or behind one that is not always a string.
    scalars: Vec<u8>,
    /// The tokens that stand right behind the one before.
    adjoining: Vec<u8>,
    members: Vec<Member>,
    fields: Vec<Field>,
}

/// What stands behind a token, from the quote to the colon, as two words and which of their bytes count.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    behind: u8,
    words: [u64; 2],
    masks: [u64; 2],
}

/// A recorded member by its colon.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    colon: u8,
    end: End,
    node: Node,
    beyond: bool,
    top: bool,
}

/// Which value of the table is behind which colon.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    colon: u8,
    end: End,
    field: u16,
}

/// Where a value ends: before a token for a string, number or literal, with it for an object or array.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Before(u8),
    With(u8, Kind),
}

/// The tokens of a text that has no more than an index of eight bits can name.
type Tokens<'a> = &'a [u32; MIN_TOKENS];

// === impl Shapes ===

impl Default for Shapes {
    fn default() -> Shapes {
        Shapes { slots: vec![Slot::default(); SHAPES] }
    }
}

impl Shapes {
    /// Fills in hits and values if the text fits the shape that texts like it had. `tokens` are the text's, with
    /// whatever stands behind them.
    #[inline(always)]
    pub fn apply(
        &self,
        signature: u64,
        text: Gaps<'_>,
        tokens: &[u32],
        hits: &mut Vec<Hit>,
        values: &mut [Value],
    ) -> bool {
        let slot = self.slots.get(slot(signature)).filter(|slot| slot.signature == signature);
        let Some(shape) = slot.and_then(|slot| slot.shape.as_ref()) else { return false };
        let Some(tokens) = tokens.first_chunk::<MIN_TOKENS>() else { return false };
        if !shape.fits(text, tokens) {
            return false;
        }
        shape.fill(text, tokens, hits, values);
        true
    }

    /// Learns the shape of a text that was walked, when one with this signature comes the second time in a row.
    pub fn learn(&mut self, signature: u64, text: Gaps<'_>, hits: &[Hit], values: &[Value]) {
        let Some(slot) = self.slots.get_mut(slot(signature)) else { return };
        if slot.signature != signature {
            *slot = Slot { signature, shape: None };
            return;
        }
        let Some(mut shape) = Shape::of(text, hits, values) else { return };
        if let Some(known) = slot.shape.take() {
            shape.generalise(known);
        }
        slot.shape = Some(shape);
    }
}

fn slot(signature: u64) -> usize {
    (signature >> 58) as usize % SHAPES
}

/// Tells texts of different shapes apart well enough to choose a slot: the number of tokens and the first key.
#[inline(always)]
pub(super) fn signature(text: Gaps<'_>) -> u64 {
    let head = text.padded.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    let colon = text.tokens.get(1).copied().unwrap_or_default();
    // As many bytes of the key as the first word has.
    let head = if colon < 8 { head & ((1 << (8 * colon)) - 1) } else { head };
    (head ^ ((text.tokens.len() as u64) << 40) ^ u64::from(colon)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

// === impl Shape ===

impl Shape {
    fn of(text: Gaps<'_>, hits: &[Hit], values: &[Value]) -> Option<Shape> {
        let tokens = text.tokens;
        let compact = tokens.first() == Some(&0) && tokens.last().map(|at| *at as usize + 1) == Some(text.len);
        if !compact || tokens.len() > MIN_TOKENS {
            return None;
        }
        let bytes = tokens.iter().map(|at| text.byte(*at)).collect();
        let (keys, strings, scalars, adjoining) = Default::default();
        let (members, fields) = Default::default();
        let mut shape = Shape { bytes, keys, strings, scalars, adjoining, members, fields };
        for (index, pair) in tokens.windows(2).enumerate() {
            shape.add_gap(text, index as u8, *pair.first()?, *pair.last()?)?;
        }
        for hit in hits {
            let (colon, end) = place(text, hit.value, hit.end, hit.kind)?;
            shape.members.push(Member { colon, end, node: hit.node, beyond: hit.beyond, top: hit.top });
        }
        for (field, value) in values.iter().enumerate().filter(|(_, value)| value.kind != Kind::Absent) {
            let inside = u32::from(value.kind == Kind::String);
            let (colon, end) = place(text, value.start - inside, value.end + inside, value.kind)?;
            shape.fields.push(Field { colon, end, field: field as u16 });
        }
        Some(shape)
    }

    /// The gap between token `index`, at `before`, and the next one, at `at`.
    fn add_gap(&mut self, text: Gaps<'_>, index: u8, before: u32, at: u32) -> Option<()> {
        let next = index + 1;
        let gap = text.padded.get(before as usize + 1..at as usize)?;
        if gap.first().is_some_and(u8::is_ascii_whitespace) || gap.last().is_some_and(u8::is_ascii_whitespace) {
            return None;
        }
        match gap.first() {
            None => self.adjoining.push(next),
            Some(_) if text.byte(at) == b':' => {
                let key = text.padded.get(before as usize + 1..at as usize + 1)?;
                self.keys.push(Key::of(index, key)?);
            }
            Some(b'"') => self.strings.push(next),
            Some(_) => self.scalars.push(next),
        }
        Some(())
    }

    /// Takes a value that was a string in one and something else in the other for a value of any kind.
    fn generalise(&mut self, known: Shape) {
        let same = known.bytes == self.bytes && known.keys == self.keys && known.adjoining == self.adjoining;
        if !same {
            return;
        }
        self.scalars.extend(known.scalars.iter().filter(|token| self.strings.contains(token)));
        self.strings.retain(|token| !known.scalars.contains(token));
    }

    #[inline(always)]
    fn fits(&self, text: Gaps<'_>, tokens: Tokens<'_>) -> bool {
        if text.tokens.len() != self.bytes.len() || tokens[0] != 0 {
            return false;
        }
        // Differences are gathered without a branch for each: nearly always there are none.
        let mut differs = 0_u64;
        for (at, byte) in text.tokens.iter().zip(&self.bytes) {
            differs |= u64::from(text.byte(*at) ^ byte);
        }
        for token in &self.adjoining {
            differs |= u64::from(tokens[*token as usize] ^ (tokens[*token as usize - 1] + 1));
        }
        for key in &self.keys {
            let words = text.sixteen(tokens[key.behind as usize] + 1);
            differs |= (words[0] ^ key.words[0]) & key.masks[0];
            differs |= (words[1] ^ key.words[1]) & key.masks[1];
        }
        for token in &self.strings {
            differs |= u64::from(text.byte(tokens[*token as usize - 1] + 1) ^ b'"');
            differs |= u64::from(text.byte(tokens[*token as usize] - 1) ^ b'"');
        }
        let last = self.bytes.len().wrapping_sub(1) as u8;
        differs |= (text.len - 1) as u64 ^ u64::from(tokens[last as usize]);
        differs == 0
            && self.scalars.iter().all(|token| {
                let (start, end) = (tokens[*token as usize - 1] + 1, tokens[*token as usize]);
                text.is_compact_value(start, end)
            })
    }

    #[inline(always)]
    fn fill(&self, text: Gaps<'_>, tokens: Tokens<'_>, hits: &mut Vec<Hit>, values: &mut [Value]) {
        for member in &self.members {
            let (value, end, kind) = text.value(tokens, member.colon, member.end);
            let key = tokens[member.colon as usize - 1] + 1;
            let Member { node, beyond, top, .. } = *member;
            hits.push(Hit { node, beyond, kind, top, key, value, end });
        }
        for field in &self.fields {
            let (start, end, kind) = text.value(tokens, field.colon, field.end);
            let inside = u32::from(kind == Kind::String);
            if let Some(place) = values.get_mut(field.field as usize) {
                *place = Value { start: start + inside, end: end - inside, kind };
            }
        }
    }
}

/// The colon before a value, and where the value ends.
fn place(text: Gaps<'_>, start: u32, end: u32, kind: Kind) -> Option<(u8, End)> {
    let token = |at: u32| text.tokens.binary_search(&at).ok().map(|index| index as u8);
    let end = match kind {
        Kind::Object | Kind::Array => End::With(token(end - 1)?, kind),
        _ => End::Before(token(end)?),
    };
    Some((token(start - 1)?, end))
}

impl Key {
    /// The key whose text goes from its quote to its colon. One with an escape, or too long, has no shape.
    fn of(behind: u8, text: &[u8]) -> Option<Key> {
        if text.len() > MAX_KEY_BYTES || text.contains(&b'\\') {
            return None;
        }
        let (mut bytes, mut mask) = ([0; 16], [0; 16]);
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        mask.get_mut(..text.len())?.fill(0xff);
        Some(Key { behind, words: words(&bytes), masks: words(&mask) })
    }
}

#[inline(always)]
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let all = u128::from_le_bytes(*bytes);
    [all as u64, (all >> 64) as u64]
}

impl Gaps<'_> {
    #[inline(always)]
    fn value(&self, tokens: Tokens<'_>, colon: u8, end: End) -> (u32, u32, Kind) {
        let start = tokens[colon as usize] + 1;
        match end {
            End::With(token, kind) => (start, tokens[token as usize] + 1, kind),
            End::Before(token) => (start, tokens[token as usize], self.scalar_kind(start)),
        }
    }

    /// The kind of a value that was checked.
    #[inline(always)]
    fn scalar_kind(&self, start: u32) -> Kind {
        match self.byte(start) {
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether the gap is a string, number or literal without white space around it.
    #[inline(always)]
    fn is_compact_value(&self, start: u32, end: u32) -> bool {
        let byte = self.byte(start);
        if byte == b'"' {
            return self.byte(end - 1) == b'"';
        }
        start < end && self.plain_scalar(byte, start, end).is_ok()
    }

    #[inline(always)]
    fn sixteen(&self, at: u32) -> [u64; 2] {
        let chunk = self.padded.get(at as usize..).and_then(|rest| rest.first_chunk::<16>());
        chunk.map_or([0, 0], words)
    }
}
