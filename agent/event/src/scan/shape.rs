//! Shapes: most events of a stream look like one before it. Where the text between the values is byte for byte that
//! of a text that was walked already, only the values are left to check, and the members that are wanted lie at the
//! same places between them. Neither pass is needed then.
//!
//! 1. A shape is made of a text that the walk accepted: its *literals* (braces, keys, colons, commas, white space, the
//!    quotes of strings) and the *slots* between them (the content of a string; a number or literal name).
//! 2. A text fits if every literal is the same and every slot holds a valid value: the content of a string up to its
//!    quote by RFC 8259 section 7, else what the walk takes for a number or literal name. It is then the accepted text
//!    with some values changed, and so an object with the same keys at the same depths.
//! 3. What does not fit is walked. Both give the same answers; a property test holds them against each other.
//! 4. Where a value ends is known only when its bytes have come, so a text by itself is a chain of waits. Two texts that
//!    follow each other are fitted in step where they have one shape: the waits of one are filled with the other.

use super::walk::Gaps;
use super::{Facts, Found, Hit, Level, Text, Value};
use crate::column::Kind;
use crate::path::Node;
use crate::swar;

/// Streams, hashed, that have shapes of their own.
const SETS: usize = 64;
/// Shapes of one stream. The last that fitted is tried first.
const WAYS: usize = 8;
/// A text with more values is walked.
const MAX_SLOTS: usize = 64;
/// A text that is longer between its values is walked: a shape takes some 4 KiB at the most.
const MAX_LITERAL_BYTES: usize = 2_048;
/// Bytes that are compared at once; most literals have no more.
pub(super) const CHUNK: usize = 32;

/// 32 bytes of a literal and how many of them count, as bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub bytes: [u8; CHUNK],
    pub mask: u32,
}

/// 32 bytes of a text or of the padding behind it.
pub(super) type Block = [u8; CHUNK];

#[derive(Clone, Debug)]
struct Literal {
    len: u32,
    /// Its first bytes; most literals have no more.
    first: Chunk,
    /// Where the others begin in the shape's bytes.
    rest: u32,
    /// Whether the slot behind it is the content of a string.
    before_string: bool,
}

/// A place in a text: so many bytes behind the start of a literal.
#[derive(Clone, Copy, Debug)]
struct Place {
    literal: u32,
    offset: u32,
}

#[derive(Clone, Debug)]
struct Member {
    node: Node,
    beyond: bool,
    top: bool,
    /// `None` for a number or literal name, which is told by its first byte.
    kind: Option<Kind>,
    key: Place,
    value: Place,
    end: Place,
}

#[derive(Clone, Debug)]
struct Field {
    field: u16,
    kind: Option<Kind>,
    start: Place,
    end: Place,
}

/// What texts of one shape have in common.
#[derive(Clone, Debug)]
struct Shape {
    literals: Vec<Literal>,
    /// What literals have beyond a chunk.
    rests: Vec<u8>,
    non_ascii: bool,
    control: bool,
    open: Place,
    close: Place,
    members: Vec<Member>,
    fields: Vec<Field>,
}

/// The shapes that a scanner has seen lately.
#[derive(Debug)]
pub(super) struct Shapes {
    sets: Vec<Set>,
    /// Where the literals of the texts at hand begin.
    starts: [Starts; 2],
}

type Starts = [u32; MAX_SLOTS + 1];

#[derive(Clone, Debug, Default)]
struct Set {
    shapes: Vec<Shape>,
    /// Texts in a row that fitted none.
    misses: u32,
}

/// How bytes are compared and looked for.
pub(super) trait Probe {
    /// Whether the block is the chunk's, as far as that counts.
    fn equals(&self, block: &Block, chunk: &Chunk) -> bool;
    /// Where the quotes of a block are, and where its backslashes and control characters, as bits.
    fn string(&mut self, block: &Block) -> (u32, u32);
    /// Whether a byte beyond ASCII was in any block of a string, also behind the string's end.
    fn non_ascii(&self) -> bool;
}

/// A text that fits: its facts and where its braces are.
pub(super) type Fit = (Facts, u32, u32);

// === impl Shapes ===

impl Default for Shapes {
    fn default() -> Shapes {
        Shapes { sets: vec![Set::default(); SETS], starts: [[0; MAX_SLOTS + 1]; 2] }
    }
}

impl Shapes {
    /// Fills in hits and values if the text fits a shape of its stream.
    #[inline]
    pub fn apply(
        &mut self,
        level: Level,
        text: Text<'_>,
        hits: &mut Vec<Hit>,
        values: &mut [Value],
    ) -> Option<Fit> {
        match level {
            Level::Portable => self.apply_with(Portable::default(), text, hits, values),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::avx2::apply(self, text, hits, values),
        }
    }

    #[inline(always)]
    pub fn apply_with<P: Probe>(
        &mut self,
        mut probe: P,
        text: Text<'_>,
        hits: &mut Vec<Hit>,
        values: &mut [Value],
    ) -> Option<Fit> {
        let Text { stream, padded, len } = text;
        let set = self.sets.get_mut(set_of(stream))?;
        let starts = &mut self.starts[0];
        for way in 0..set.shapes.len() {
            let Some(shape) = set.shapes.get(way) else { break };
            let Some(facts) = shape.fit(&mut probe, padded, len, starts) else { continue };
            shape.fill(padded, starts, hits, values);
            let (open, close) = (shape.open.at(starts), shape.close.at(starts));
            set.misses = 0;
            if way > 0 {
                set.shapes.swap(0, way);
            }
            return Some((facts, open, close));
        }
        None
    }

    /// [`Shapes::apply`] for two texts of one stream at once, if both fit the shape that fitted last. `values` has the
    /// places of the first, then those of the second. Answers how many hits each has.
    #[inline]
    pub fn apply_pair(
        &mut self,
        level: Level,
        texts: [Text<'_>; 2],
        hits: &mut Vec<Hit>,
        values: &mut [Value],
        found: &mut [Found; 2],
    ) -> Option<usize> {
        match level {
            Level::Portable => self.apply_pair_with(Portable::default(), texts, hits, values, found),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::avx2::apply_pair(self, texts, hits, values, found),
        }
    }

    #[inline(always)]
    pub fn apply_pair_with<P: Probe>(
        &mut self,
        mut probe: P,
        texts: [Text<'_>; 2],
        hits: &mut Vec<Hit>,
        values: &mut [Value],
        found: &mut [Found; 2],
    ) -> Option<usize> {
        let shape = self.sets.get(set_of(texts[0].stream))?.shapes.first()?;
        let facts = shape.fit_pair(&mut probe, texts, &mut self.starts)?;
        let (first, second) = values.split_at_mut(values.len() / 2);
        shape.fill(texts[0].padded, &self.starts[0], hits, first);
        shape.fill(texts[1].padded, &self.starts[1], hits, second);
        for ((found, facts), starts) in found.iter_mut().zip(facts).zip(&self.starts) {
            *found = Found { facts, open: shape.open.at(starts), close: shape.close.at(starts) };
        }
        Some(shape.members.len())
    }

    /// Learns the shape of a text that was walked. Where nothing ever fits it does so ever more rarely.
    pub fn learn(&mut self, stream: u64, text: Gaps<'_>, hits: &[Hit], values: &[Value]) {
        let Some(set) = self.sets.get_mut(set_of(stream)) else { return };
        set.misses = set.misses.saturating_add(1);
        if set.misses > 2 * WAYS as u32 && !set.misses.is_power_of_two() {
            return;
        }
        let Some(shape) = Shape::of(text, hits, values) else { return };
        if set.shapes.len() >= WAYS {
            set.shapes.pop();
        }
        set.shapes.insert(0, shape);
    }
}

fn set_of(stream: u64) -> usize {
    (stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % SETS
}

// === impl Shape ===

impl Shape {
    fn of(text: Gaps<'_>, hits: &[Hit], values: &[Value]) -> Option<Shape> {
        let slots = slots(text)?;
        let (open, close) = (*text.tokens.first()?, *text.tokens.last()?);
        let nowhere = Place { literal: 0, offset: 0 };
        let mut shape = Shape {
            literals: Vec::new(),
            rests: Vec::new(),
            non_ascii: false,
            control: false,
            open: nowhere,
            close: nowhere,
            members: Vec::new(),
            fields: Vec::new(),
        };
        let mut starts = Vec::new();
        let mut from = 0;
        for slot in &slots {
            shape.add_literal(
                text.padded.get(from as usize..slot.start as usize)?,
                slot.kind == Kind::String,
            )?;
            starts.push(from);
            from = slot.end;
        }
        shape.add_literal(text.padded.get(from as usize..text.len)?, false)?;
        starts.push(from);
        (shape.open, shape.close) = (shape.place(&starts, open)?, shape.place(&starts, close)?);
        for hit in hits {
            let Hit { node, beyond, top, .. } = *hit;
            let (key, value) = (shape.place(&starts, hit.key)?, shape.place(&starts, hit.value)?);
            let end = shape.end_place(&starts, hit.end)?;
            shape.members.push(Member { node, beyond, top, kind: fixed_kind(hit.kind), key, value, end });
        }
        for (field, value) in values.iter().enumerate().filter(|(_, value)| value.kind != Kind::Absent) {
            let (start, end) = (shape.place(&starts, value.start)?, shape.end_place(&starts, value.end)?);
            shape.fields.push(Field { field: field as u16, kind: fixed_kind(value.kind), start, end });
        }
        Some(shape)
    }

    fn add_literal(&mut self, bytes: &[u8], before_string: bool) -> Option<()> {
        let whole = self.rests.len() + bytes.len();
        // A key with an escape has no shape: what is unescaped once need not be the same for another tree of paths.
        if whole > MAX_LITERAL_BYTES || self.literals.len() > MAX_SLOTS || bytes.contains(&b'\\') {
            return None;
        }
        let (first, rest) = bytes.split_at(bytes.len().min(CHUNK));
        let (first, behind) = (chunk(first)?, self.rests.len() as u32);
        self.literals.push(Literal { len: bytes.len() as u32, first, rest: behind, before_string });
        self.non_ascii |= !bytes.is_ascii();
        self.control |= bytes.iter().any(|byte| *byte < b' ');
        self.rests.extend_from_slice(rest);
        Some(())
    }

    /// The place of a position where something begins: the end of a literal rather than the start of the next.
    fn place(&self, starts: &[u32], at: u32) -> Option<Place> {
        let found =
            starts.iter().zip(&self.literals).position(|(start, literal)| at <= start + literal.len)?;
        Some(Place { literal: found as u32, offset: at.checked_sub(*starts.get(found)?)? })
    }

    /// The place of a position where something ends: the start of a literal rather than the end of the one before.
    fn end_place(&self, starts: &[u32], at: u32) -> Option<Place> {
        let found = starts.iter().rposition(|start| *start <= at)?;
        let offset = at - starts.get(found)?;
        (offset <= self.literals.get(found)?.len).then_some(Place { literal: found as u32, offset })
    }

    /// Whether the text fits; notes where its literals begin.
    #[inline(always)]
    fn fit<P: Probe>(&self, probe: &mut P, padded: &[u8], len: usize, starts: &mut Starts) -> Option<Facts> {
        let (last, others) = self.literals.split_last()?;
        let (mut at, mut backslash) = (0, false);
        for (literal, start) in others.iter().zip(starts.iter_mut()) {
            *start = at as u32;
            at = self.skip_literal(probe, literal, padded, len, at)?;
            at = match literal.before_string {
                true => skip_string(probe, padded, len, at, &mut backslash)?,
                false => skip_scalar(padded, len, at)?,
            };
        }
        *starts.get_mut(others.len())? = at as u32;
        if self.skip_literal(probe, last, padded, len, at)? != len {
            return None;
        }
        Some(self.facts(probe, padded, len, backslash))
    }

    /// [`Shape::fit`] for two texts in step.
    #[inline(always)]
    fn fit_pair<P: Probe>(
        &self,
        probe: &mut P,
        texts: [Text<'_>; 2],
        starts: &mut [Starts; 2],
    ) -> Option<[Facts; 2]> {
        let (last, others) = self.literals.split_last()?;
        let [Text { padded: text_a, len: len_a, .. }, Text { padded: text_b, len: len_b, .. }] = texts;
        let [starts_a, starts_b] = starts;
        let (mut a, mut b) = (0, 0);
        let (mut backslash_a, mut backslash_b) = (false, false);
        for ((literal, start_a), start_b) in others.iter().zip(&mut *starts_a).zip(&mut *starts_b) {
            (*start_a, *start_b) = (a as u32, b as u32);
            a = self.skip_literal(probe, literal, text_a, len_a, a)?;
            b = self.skip_literal(probe, literal, text_b, len_b, b)?;
            if literal.before_string {
                a = skip_string(probe, text_a, len_a, a, &mut backslash_a)?;
                b = skip_string(probe, text_b, len_b, b, &mut backslash_b)?;
            } else {
                a = skip_scalar(text_a, len_a, a)?;
                b = skip_scalar(text_b, len_b, b)?;
            }
        }
        *starts_a.get_mut(others.len())? = a as u32;
        *starts_b.get_mut(others.len())? = b as u32;
        if self.skip_literal(probe, last, text_a, len_a, a)? != len_a
            || self.skip_literal(probe, last, text_b, len_b, b)? != len_b
        {
            return None;
        }
        Some([self.facts(probe, text_a, len_a, backslash_a), self.facts(probe, text_b, len_b, backslash_b)])
    }

    /// The facts of a text that fits.
    #[inline(always)]
    fn facts<P: Probe>(&self, probe: &P, padded: &[u8], len: usize, backslash: bool) -> Facts {
        let maybe = self.non_ascii || probe.non_ascii();
        let non_ascii = maybe && !padded.get(..len).is_some_and(<[u8]>::is_ascii);
        Facts { backslash, non_ascii, control: self.control }
    }

    /// Behind the literal, if it stands at `at`: at most a chunk behind the text's end, since the padding may go on
    /// like the literal.
    #[inline(always)]
    fn skip_literal<P: Probe>(
        &self,
        probe: &P,
        literal: &Literal,
        padded: &[u8],
        len: usize,
        at: usize,
    ) -> Option<usize> {
        let end = at + literal.len as usize;
        if !probe.equals(block(padded, at), &literal.first) {
            return None;
        }
        (literal.len as usize <= CHUNK || self.rest_equals(literal, padded, len, at)).then_some(end)
    }

    /// Whether what a long literal has beyond its first chunk stands in the text too. Apart, so that the many short ones
    /// have the registers.
    #[inline(never)]
    fn rest_equals(&self, literal: &Literal, padded: &[u8], len: usize, at: usize) -> bool {
        let rest = self.rests.get(literal.rest as usize..).unwrap_or_default();
        let end = at + literal.len as usize;
        end <= len && padded.get(at + CHUNK..end).is_some_and(|text| rest.starts_with(text))
    }

    #[inline(always)]
    fn fill(&self, padded: &[u8], starts: &Starts, hits: &mut Vec<Hit>, values: &mut [Value]) {
        for member in &self.members {
            let (key, value, end) = (member.key.at(starts), member.value.at(starts), member.end.at(starts));
            let kind = member.kind.unwrap_or_else(|| scalar_kind(padded, value));
            let Member { node, beyond, top, .. } = *member;
            hits.push(Hit { node, beyond, kind, top, key, value, end });
        }
        for field in &self.fields {
            let (start, end) = (field.start.at(starts), field.end.at(starts));
            let kind = field.kind.unwrap_or_else(|| scalar_kind(padded, start));
            if let Some(place) = values.get_mut(field.field as usize) {
                *place = Value { start, end, kind };
            }
        }
    }
}

impl Place {
    #[inline(always)]
    fn at(self, starts: &Starts) -> u32 {
        starts.get(self.literal as usize).map_or(0, |start| start + self.offset)
    }
}

/// A value that may be another in another text of the shape.
#[derive(Clone, Copy)]
struct Slot {
    start: u32,
    end: u32,
    kind: Kind,
}

/// The values in the gaps of a text that was walked: without their quotes where they are strings.
fn slots(text: Gaps<'_>) -> Option<Vec<Slot>> {
    let mut slots = Vec::new();
    for pair in text.tokens.windows(2) {
        let (before, at) = (*pair.first()?, *pair.last()?);
        let start = text.skip_space(before + 1, at);
        if start == at || text.byte(at) == b':' {
            continue;
        }
        let end = text.trim_end(start, at);
        slots.push(match text.byte(start) {
            b'"' => Slot { start: start + 1, end: end - 1, kind: Kind::String },
            _ => Slot { start, end, kind: Kind::Number },
        });
        if slots.len() > MAX_SLOTS {
            return None;
        }
    }
    Some(slots)
}

/// The kind that all texts of a shape have at a place; `None` where it may be any but a string.
fn fixed_kind(kind: Kind) -> Option<Kind> {
    matches!(kind, Kind::String | Kind::Object | Kind::Array).then_some(kind)
}

#[inline(always)]
fn scalar_kind(padded: &[u8], start: u32) -> Kind {
    match padded.get(start as usize) {
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// The block at a place in the text, or less than a chunk behind its end.
#[inline(always)]
#[allow(unsafe_code)]
fn block(padded: &[u8], at: usize) -> &Block {
    debug_assert!(at + CHUNK <= padded.len());
    // SAFETY: a value is looked for only inside the text, so its end, where a literal begins, is less than a chunk
    // behind the text's end; and `Scanner::scan` makes sure that the text is followed by 64 bytes of padding.
    unsafe { &*padded.as_ptr().add(at).cast::<Block>() }
}

/// Up to 32 bytes of a literal.
fn chunk(part: &[u8]) -> Option<Chunk> {
    let mut bytes = [0; CHUNK];
    bytes.get_mut(..part.len())?.copy_from_slice(part);
    let mask = if part.len() == CHUNK { u32::MAX } else { (1 << part.len()) - 1 };
    Some(Chunk { bytes, mask })
}

/// The place of the quote behind a string's content that begins at `at`; it may be one of the padding.
#[inline(always)]
fn skip_string<P: Probe>(
    probe: &mut P,
    padded: &[u8],
    len: usize,
    mut at: usize,
    backslash: &mut bool,
) -> Option<usize> {
    loop {
        if at >= len {
            return None;
        }
        let (quotes, others) = probe.string(block(padded, at));
        // Up to and with the first quote.
        let content = quotes ^ quotes.wrapping_sub(1);
        if others & content != 0 {
            at = skip_escape(padded.get(..len)?, at + others.trailing_zeros() as usize)?;
            *backslash = true;
        } else if quotes != 0 {
            return Some(at + quotes.trailing_zeros() as usize);
        } else {
            at += CHUNK;
        }
    }
}

/// Behind an escape (RFC 8259 section 7); `None` for a control character too.
#[inline(never)]
fn skip_escape(text: &[u8], at: usize) -> Option<usize> {
    if *text.get(at)? != b'\\' {
        return None;
    }
    match text.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' if text.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => Some(at + 6),
        _ => None,
    }
}

/// Behind a number or literal name.
#[inline(always)]
fn skip_scalar(padded: &[u8], len: usize, at: usize) -> Option<usize> {
    if at >= len {
        return None;
    }
    match skip_short_number(padded, at) {
        Some(end) => (end < len).then_some(end),
        None => skip_any_scalar(padded, len, at),
    }
}

#[inline(never)]
fn skip_any_scalar(padded: &[u8], len: usize, at: usize) -> Option<usize> {
    let text = Gaps { padded, len, tokens: &[] };
    let at = at as u32;
    let end = match text.byte(at) {
        b'-' | b'0'..=b'9' => text.bounded_number_end(at)?,
        _ => {
            let rest = padded.get(at as usize..len)?;
            let name = [&b"true"[..], b"false", b"null"].into_iter().find(|name| rest.starts_with(name))?;
            at + name.len() as u32
        }
    };
    Some(end as usize)
}

/// Behind a number of a few digits without sign and exponent, as most are, without a branch for each digit. `None` for
/// everything else. May go on into the padding.
#[inline(always)]
fn skip_short_number(padded: &[u8], at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let word = padded.get(at..)?.first_chunk::<8>()?;
        let count = swar::lowest(swar::not_digits(u64::from_le_bytes(*word)));
        (1..8).contains(&count).then_some(count)
    };
    let whole = digits(at)?;
    if whole > 1 && padded.get(at) == Some(&b'0') {
        return None;
    }
    let end = at + whole;
    let end = match padded.get(end) {
        Some(b'.') => end + 1 + digits(end + 1)?,
        _ => end,
    };
    padded.get(end).is_none_or(|byte| byte | 0x20 != b'e').then_some(end)
}

/// Works on every CPU.
#[derive(Default)]
struct Portable {
    /// All bytes of the strings so far, or-ed.
    all: u8,
}

impl Probe for Portable {
    fn equals(&self, block: &Block, chunk: &Chunk) -> bool {
        let count = chunk.mask.trailing_ones() as usize;
        block.get(..count) == chunk.bytes.get(..count)
    }

    fn string(&mut self, block: &Block) -> (u32, u32) {
        let (mut quotes, mut others) = (0, 0);
        for (index, byte) in block.iter().enumerate() {
            self.all |= byte;
            quotes |= u32::from(*byte == b'"') << index;
            others |= u32::from(*byte < b' ' || *byte == b'\\') << index;
        }
        (quotes, others)
    }

    fn non_ascii(&self) -> bool {
        !self.all.is_ascii()
    }
}
