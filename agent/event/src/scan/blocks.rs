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
    /// Below 0x20.
    pub control: u64,
    /// 0x80 and above.
    pub non_ascii: u64,
}

/// How the masks of a block are made.
pub(super) trait Classify: Copy {
    fn masks(self, block: &[u8; BLOCK]) -> Masks;
    /// Bit i of the answer is the exclusive or of bits 0 to i.
    fn prefix_xor(self, mask: u64) -> u64;
}

/// Works on every CPU.
#[derive(Clone, Copy)]
pub(super) struct Portable;

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
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        for (at, byte) in block.iter().enumerate() {
            let class = CLASS[*byte as usize];
            masks.quote |= u64::from(class & QUOTE != 0) << at;
            masks.backslash |= u64::from(class & BACKSLASH != 0) << at;
            masks.structural |= u64::from(class & STRUCTURAL != 0) << at;
            masks.space |= u64::from(class & SPACE != 0) << at;
            masks.control |= u64::from(class & CONTROL != 0) << at;
            masks.non_ascii |= u64::from(class & NON_ASCII != 0) << at;
        }
        masks
    }

    fn prefix_xor(self, mut mask: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            mask ^= mask << shift;
        }
        mask
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
}

/// Lists where tokens begin in the first `len` bytes of `padded`. Refuses an unterminated string and a control
/// character inside one (RFC 8259 section 7).
#[inline(always)]
pub(super) fn index<C: Classify>(
    classify: C,
    padded: &[u8],
    len: usize,
    tokens: &mut Vec<u32>,
) -> Result<Facts, NotAnObject> {
    // A token per byte at the most; flattening writes whole groups of eight behind the last one.
    if tokens.len() < len + 2 * BLOCK {
        tokens.resize(len + 2 * BLOCK, 0);
    }
    let (mut carry, mut count) = (Carry::default(), 0);
    let (mut backslash, mut non_ascii, mut refused) = (0, 0, 0);
    let mut at = 0;
    while at < len {
        let block = padded.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()).ok_or(NotAnObject)?;
        let mut masks = classify.masks(block);
        if len - at < BLOCK {
            let inside = (1 << (len - at)) - 1;
            masks.quote &= inside;
            masks.backslash &= inside;
            masks.structural &= inside;
            masks.space |= !inside;
            masks.control &= inside;
            masks.non_ascii &= inside;
        }
        backslash |= masks.backslash;
        non_ascii |= masks.non_ascii;
        let (starts, bad) = starts(classify, &masks, &mut carry);
        refused |= bad;
        count = flatten(starts, at as u32, tokens, count).ok_or(NotAnObject)?;
        at += BLOCK;
    }
    if refused != 0 || carry.in_string != 0 {
        return Err(NotAnObject);
    }
    tokens.truncate(count);
    Ok(Facts { backslash: backslash != 0, non_ascii: non_ascii != 0 })
}

/// Where tokens begin in a block, and where a control character lies in a string.
#[inline(always)]
fn starts<C: Classify>(classify: C, masks: &Masks, carry: &mut Carry) -> (u64, u64) {
    let escaped = escaped(masks.backslash, &mut carry.escaped);
    let quote = masks.quote & !escaped;
    let in_string = classify.prefix_xor(quote) ^ carry.in_string;
    carry.in_string = ((in_string as i64) >> 63) as u64;
    let scalar = !(masks.structural | masks.space);
    let plain_scalar = scalar & !quote;
    let follows = (plain_scalar << 1) | carry.scalar;
    carry.scalar = plain_scalar >> 63;
    let tail = in_string ^ quote;
    ((masks.structural | (scalar & !follows)) & !tail, masks.control & in_string)
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
fn flatten(mut starts: u64, at: u32, tokens: &mut [u32], count: usize) -> Option<usize> {
    let total = starts.count_ones() as usize;
    let out = tokens.get_mut(count..)?.first_chunk_mut::<BLOCK>()?;
    for group in 0..8 {
        if group * 8 >= total {
            break;
        }
        for slot in &mut out[group * 8..group * 8 + 8] {
            *slot = at.wrapping_add(starts.trailing_zeros());
            starts &= starts.wrapping_sub(1);
        }
    }
    Some(count + total)
}
