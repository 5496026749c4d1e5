//! The first pass with AVX2: two loads of 32 bytes for a block, and a carry-less multiplication for the strings.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_blendv_epi8,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_setr_epi8, _mm256_shuffle_epi8,
};

use super::blocks::{self, BLOCK, Classify, Masks, Seen};
use super::shape::{Block, Chunk, Fit, Probe, Shapes};
use super::{Facts, Found, Hit, NotAnObject, Text, Value};

/// Whether this CPU has what is needed.
pub(super) fn is_supported() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("pclmulqdq") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
}

/// See [`blocks::index`]. Only for CPUs that [`is_supported`] accepts.
pub(super) fn index(padded: &[u8], len: usize, tokens: &mut Vec<u32>) -> Result<(Facts, usize), NotAnObject> {
    debug_assert!(is_supported());
    // SAFETY: a Scanner is given this level only where is_supported() holds.
    unsafe { index_avx2(padded, len, tokens) }
}

#[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
fn index_avx2(padded: &[u8], len: usize, tokens: &mut Vec<u32>) -> Result<(Facts, usize), NotAnObject> {
    let spaces = _mm256_set1_epi8(b' ' as i8);
    blocks::index(Avx2 { lowest: spaces, all: spaces }, padded, len, tokens)
}

/// Only made in [`index_avx2`], so every method runs on a CPU that has what it needs.
struct Avx2 {
    /// The lowest byte at each place of the vectors so far, as unsigned numbers.
    lowest: __m256i,
    /// All bytes at each place, or-ed.
    all: __m256i,
}

/// 32 bytes that take, then 32 that leave: a window onto it at 32 - n takes the first n.
static WINDOW: [u8; 64] = {
    let mut window = [0; 64];
    let mut at = 0;
    while at < 32 {
        window[at] = 0xff;
        at += 1;
    }
    window
};

impl Classify for Avx2 {
    #[inline(always)]
    fn masks(&mut self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: see Avx2; both loads lie inside the block and need no alignment.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast::<__m256i>());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast::<__m256i>());
            masks(self, low, high)
        }
    }

    #[inline(always)]
    fn masks_of_tail(&mut self, block: &[u8; BLOCK], len: usize) -> Masks {
        // SAFETY: see Avx2; the window's offset is at most 32, so 32 bytes are left behind it.
        unsafe {
            let spaces = _mm256_set1_epi8(b' ' as i8);
            let cut = |at: usize, count: usize| {
                let vector = _mm256_loadu_si256(block.as_ptr().add(at).cast::<__m256i>());
                let taken = _mm256_loadu_si256(WINDOW.as_ptr().add(32 - count).cast::<__m256i>());
                _mm256_blendv_epi8(spaces, vector, taken)
            };
            masks(self, cut(0, len.min(32)), cut(32, len.saturating_sub(32).min(32)))
        }
    }

    #[inline(always)]
    fn prefix_xor(&self, mask: u64) -> u64 {
        // SAFETY: see Avx2.
        unsafe {
            let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, mask as i64), _mm_set1_epi8(-1));
            _mm_cvtsi128_si64(product) as u64
        }
    }

    #[inline(always)]
    fn seen(&self) -> Seen {
        // SAFETY: see Avx2.
        unsafe {
            let last_control = _mm256_set1_epi8(0x1f);
            let control = _mm256_cmpeq_epi8(_mm256_min_epu8(self.lowest, last_control), self.lowest);
            Seen {
                control: _mm256_movemask_epi8(control) != 0,
                non_ascii: _mm256_movemask_epi8(self.all) != 0,
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn masks(seen: &mut Avx2, low: __m256i, high: __m256i) -> Masks {
    seen.lowest = _mm256_min_epu8(seen.lowest, _mm256_min_epu8(low, high));
    seen.all = _mm256_or_si256(seen.all, _mm256_or_si256(low, high));
    // A shuffle looks a byte's low four bits up: the byte is of the class if the table has the byte itself there.
    // Bytes from 0x80 look up zero.
    #[rustfmt::skip]
    let spaces = _mm256_setr_epi8(
        32, 100, 100, 100, 17, 100, 113, 2, 100, 9, 10, 112, 100, 13, 100, 100,
        32, 100, 100, 100, 17, 100, 113, 2, 100, 9, 10, 112, 100, 13, 100, 100,
    );
    // `[` and `]` become `{` and `}` by setting bit 5; so do control characters become `:` and `,`, which is
    // harmless: inside a string they are refused, outside the second pass looks at the byte itself.
    #[rustfmt::skip]
    let structurals = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 58, 123, 44, 125, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 58, 123, 44, 125, 0, 0,
    );
    let bit_5 = _mm256_set1_epi8(0x20);
    let quote = _mm256_set1_epi8(b'"' as i8);
    let slash = _mm256_set1_epi8(b'\\' as i8);
    let (slash_low, slash_high) = (_mm256_cmpeq_epi8(low, slash), _mm256_cmpeq_epi8(high, slash));
    let any_slash = _mm256_movemask_epi8(_mm256_or_si256(slash_low, slash_high)) != 0;
    let structural = |v| _mm256_cmpeq_epi8(_mm256_shuffle_epi8(structurals, v), _mm256_or_si256(v, bit_5));
    let space = |v| _mm256_cmpeq_epi8(_mm256_shuffle_epi8(spaces, v), v);
    Masks {
        quote: bits(_mm256_cmpeq_epi8(low, quote), _mm256_cmpeq_epi8(high, quote)),
        backslash: if any_slash { bits(slash_low, slash_high) } else { 0 },
        structural: bits(structural(low), structural(high)),
        space: bits(space(low), space(high)),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn bits(low: __m256i, high: __m256i) -> u64 {
    u64::from(_mm256_movemask_epi8(low) as u32) | u64::from(_mm256_movemask_epi8(high) as u32) << 32
}

/// See [`Shapes::apply`]. Only for CPUs that [`is_supported`] accepts.
#[inline]
pub(super) fn apply(
    shapes: &mut Shapes,
    text: Text<'_>,
    hits: &mut Vec<Hit>,
    values: &mut [Value],
) -> Option<Fit> {
    debug_assert!(is_supported());
    // SAFETY: a Scanner is given this level only where is_supported() holds.
    unsafe { apply_avx2(shapes, text, hits, values) }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn apply_avx2(shapes: &mut Shapes, text: Text<'_>, hits: &mut Vec<Hit>, values: &mut [Value]) -> Option<Fit> {
    shapes.apply_with(Avx2Probe { all: _mm256_set1_epi8(0) }, text, hits, values)
}

/// See [`Shapes::apply_pair`]. Only for CPUs that [`is_supported`] accepts.
#[inline]
pub(super) fn apply_pair(
    shapes: &mut Shapes,
    texts: [Text<'_>; 2],
    hits: &mut Vec<Hit>,
    values: &mut [Value],
    found: &mut [Found; 2],
) -> Option<usize> {
    debug_assert!(is_supported());
    // SAFETY: a Scanner is given this level only where is_supported() holds.
    unsafe { apply_pair_avx2(shapes, texts, hits, values, found) }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn apply_pair_avx2(
    shapes: &mut Shapes,
    texts: [Text<'_>; 2],
    hits: &mut Vec<Hit>,
    values: &mut [Value],
    found: &mut [Found; 2],
) -> Option<usize> {
    shapes.apply_pair_with(Avx2Probe { all: _mm256_set1_epi8(0) }, texts, hits, values, found)
}

/// Only made in [`apply_avx2`] and [`apply_pair_avx2`], so every method runs on a CPU that has what it needs.
struct Avx2Probe {
    /// All bytes at each place of the strings so far, or-ed.
    all: __m256i,
}

impl Probe for Avx2Probe {
    #[inline(always)]
    fn equals(&self, block: &Block, chunk: &Chunk) -> bool {
        // SAFETY: see Avx2Probe; both loads are of 32 bytes that are there and need no alignment.
        unsafe {
            let text = _mm256_loadu_si256(block.as_ptr().cast::<__m256i>());
            let literal = _mm256_loadu_si256(chunk.bytes.as_ptr().cast::<__m256i>());
            let equal = _mm256_movemask_epi8(_mm256_cmpeq_epi8(text, literal)) as u32;
            !equal & chunk.mask == 0
        }
    }

    #[inline(always)]
    fn string(&mut self, block: &Block) -> (u32, u32) {
        // SAFETY: see Avx2Probe; the load is of 32 bytes that are there and needs no alignment.
        unsafe {
            let text = _mm256_loadu_si256(block.as_ptr().cast::<__m256i>());
            self.all = _mm256_or_si256(self.all, text);
            let quote = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'"' as i8));
            let slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'\\' as i8));
            let control = _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text);
            let other = _mm256_or_si256(slash, control);
            (_mm256_movemask_epi8(quote) as u32, _mm256_movemask_epi8(other) as u32)
        }
    }

    #[inline(always)]
    fn non_ascii(&self) -> bool {
        // SAFETY: see Avx2Probe.
        unsafe { _mm256_movemask_epi8(self.all) != 0 }
    }
}
