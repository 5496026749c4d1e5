//! The first pass: blocks of 64 bytes to bit masks, masks to positions of tokens.

use super::{Facts, NotAnObject};

/// Bytes of a block, and bits of a mask.
pub(super) const BLOCK: usize = 64;

/// One bit per byte of a block.
#[derive(Clone, Copy, Default)]
pub(super) struct Masks {
    pub quote: u64,
    pub backslash: u64,
    /// `{ } [ ] : ,`
    pub structural: u64,
    /// Space, tab, line feed, carriage return.
    pub space: u64,
}

/// What is somewhere in the text.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// A byte below 0x20.
    pub control: bool,
    /// A byte from 0x80.
    pub non_ascii: bool,
}

/// How the masks of a block are made. Remembers what it has seen.
pub(super) trait Classify {
    /// A block of which all bytes count.
    fn masks(&mut self, block: &[u8; BLOCK]) -> Masks;
    /// A block of which only the first `len` bytes count; the others are taken for spaces.
    fn masks_of_tail(&mut self, block: &[u8; BLOCK], len: usize) -> Masks;
    /// Bit i of the answer is the exclusive or of bits 0 to i.
    fn prefix_xor(&self, mask: u64) -> u64;
    /// What was in all blocks.
    fn seen(&self) -> Seen;
}

/// Works on every CPU.
#[derive(Default)]
pub(super) struct Portable {
    classes: u8,
}

const QUOTE: u8 = 1;
const BACKSLASH: u8 = 2;
const STRUCTURAL: u8 = 4;
const SPACE: u8 = 8;
const CONTROL: u8 = 16;
const NON_ASCII: u8 = 32;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'"' => QUOTE,
            b'\\' => BACKSLASH,
            b'{' | b'}' | b'[' | b']' | b':' | b',' => STRUCTURAL,
            b' ' => SPACE,
            b'\t' | b'\n' | b'\r' => SPACE | CONTROL,
            0..0x20 => CONTROL,
            0x80.. => NON_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    table
}

impl Classify for Portable {
    fn masks(&mut self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        for (at, byte) in block.iter().enumerate() {
            let class = CLASS[*byte as usize];
            self.classes |= class;
            masks.quote |= u64::from(class & QUOTE != 0) << at;
            masks.backslash |= u64::from(class & BACKSLASH != 0) << at;
            masks.structural |= u64::from(class & STRUCTURAL != 0) << at;
            masks.space |= u64::from(class & SPACE != 0) << at;
        }
        masks
    }

    fn masks_of_tail(&mut self, block: &[u8; BLOCK], len: usize) -> Masks {
        let mut copy = [b' '; BLOCK];
        for (to, from) in copy.iter_mut().zip(block).take(len) {
            *to = *from;
        }
        self.masks(&copy)
    }

    fn prefix_xor(&self, mut mask: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            mask ^= mask << shift;
        }
        mask
    }

    fn seen(&self) -> Seen {
        Seen { control: self.classes & CONTROL != 0, non_ascii: self.classes & NON_ASCII != 0 }
    }
}

/// What one block hands to the next.
#[derive(Default)]
struct Carry {
    /// 1 when the first byte of the next block is escaped.
    escaped: u64,
    /// All ones inside a string.
    in_string: u64,
    /// 1 when the last byte belonged to a number, a literal or nothing valid.
    scalar: u64,
    /// Whether a value began since the last structural character.
    value: bool,
    /// Bits of what must not be: a value right behind another.
    refused: u64,
}

/// Lists where the structural characters are in the first `len` bytes of `padded`, and says how many there are; what
/// stands behind them in `tokens` means nothing. Refuses an unterminated string, a
/// control character inside one (RFC 8259 section 7), and two values without a structural character between them:
/// whatever stands between two structural characters is then white space and at most one value.
#[inline(always)]
pub(super) fn index<C: Classify>(
    mut classify: C,
    padded: &[u8],
    len: usize,
    tokens: &mut Vec<u32>,
) -> Result<(Facts, usize), NotAnObject> {
    // A token per byte at the most; flattening writes whole groups of eight behind the last one.
    if tokens.len() < len + 2 * BLOCK {
        tokens.resize(len + 2 * BLOCK, 0);
    }
    let (mut carry, mut count, mut backslash) = (Carry::default(), 0, 0);
    let mut at = 0;
    while at < len {
        let block = padded.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()).ok_or(NotAnObject)?;
        let rest = len - at;
        let masks = if rest < BLOCK { classify.masks_of_tail(block, rest) } else { classify.masks(block) };
        backslash |= masks.backslash;
        let structural = carry.step(&classify, &masks);
        count = flatten(structural, at as u32, tokens, count).ok_or(NotAnObject)?;
        at += BLOCK;
    }
    if carry.refused | carry.in_string != 0 {
        return Err(NotAnObject);
    }
    let Seen { control, non_ascii } = classify.seen();
    if control && has_control_in_string(padded.get(..len).unwrap_or_default()) {
        return Err(NotAnObject);
    }
    Ok((Facts { backslash: backslash != 0, non_ascii, control }, count))
}

/// Whether a control character stands in a string; for the few texts that have one anywhere.
#[cold]
fn has_control_in_string(text: &[u8]) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            0..0x20 if in_string => return true,
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped;
    }
    false
}

impl Carry {
    /// The structural characters of a block that stand outside strings.
    #[inline(always)]
    fn step<C: Classify>(&mut self, classify: &C, masks: &Masks) -> u64 {
        let quote = masks.quote & !escaped(masks.backslash, &mut self.escaped);
        let in_string = classify.prefix_xor(quote) ^ self.in_string;
        self.in_string = ((in_string as i64) >> 63) as u64;
        // What lies behind an opening quote, up to and with the closing one.
        let tail = in_string ^ quote;
        let structural = masks.structural & !tail;
        let scalar = !(masks.structural | masks.space);
        let plain_scalar = scalar & !quote;
        let follows = (plain_scalar << 1) | self.scalar;
        self.scalar = plain_scalar >> 63;
        let values = scalar & !follows & !tail;
        // Between structural characters everything is ones: the first value's bit, added, turns the ones from there
        // on to zeros, up to the next structural character that takes the carry. A second value meets zeros and
        // leaves its bit standing.
        let (sum, first) = (!structural).overflowing_add(values);
        let (sum, second) = sum.overflowing_add(u64::from(self.value));
        self.value = first | second;
        self.refused |= sum & values;
        structural
    }
}

/// The bytes that a backslash escapes. Of a run of backslashes every second one is escaped itself.
#[inline(always)]
fn escaped(backslash: u64, carry: &mut u64) -> u64 {
    if backslash == 0 {
        return std::mem::take(carry);
    }
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let escaping = backslash & !*carry;
    let follows = (escaping << 1) | *carry;
    // Runs that begin at an odd place: adding their start to the run carries out at its end.
    let odd_starts = escaping & !EVEN & !follows;
    let (even_carries, overflow) = odd_starts.overflowing_add(escaping);
    *carry = u64::from(overflow);
    let invert = even_carries << 1;
    (EVEN ^ invert) & follows
}

/// Appends the places of the set bits. The usual few are written without a branch for each.
#[inline(always)]
fn flatten(mut bits: u64, at: u32, tokens: &mut [u32], count: usize) -> Option<usize> {
    let total = bits.count_ones() as usize;
    let out = tokens.get_mut(count..)?.first_chunk_mut::<BLOCK>()?;
    for group in 0..8 {
        for slot in &mut out[group * 8..group * 8 + 8] {
            *slot = at.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        if bits == 0 {
            break;
        }
    }
    Some(count + total)
}
