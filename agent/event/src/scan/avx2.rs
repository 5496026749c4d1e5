//! The first pass with AVX2: two loads of 32 bytes for a block, and a carry-less multiplication for the strings.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setr_epi8, _mm256_shuffle_epi8,
};

use super::blocks::{self, BLOCK, Classify, Masks};
use super::{Facts, NotAnObject};

/// Whether this CPU has what is needed.
pub(super) fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// See [`blocks::index`]. Only for CPUs that [`is_supported`] accepts.
pub(super) fn index(padded: &[u8], len: usize, tokens: &mut Vec<u32>) -> Result<Facts, NotAnObject> {
    debug_assert!(is_supported());
    // SAFETY: a Scanner is given this level only where is_supported() holds.
    unsafe { index_avx2(padded, len, tokens) }
}

#[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
fn index_avx2(padded: &[u8], len: usize, tokens: &mut Vec<u32>) -> Result<Facts, NotAnObject> {
    blocks::index(Avx2, padded, len, tokens)
}

#[derive(Clone, Copy)]
struct Avx2;

impl Classify for Avx2 {
    #[inline(always)]
    fn masks(self, block: &[u8; BLOCK]) -> Masks {
        // SAFETY: only reached from index_avx2; both loads lie inside the block and need no alignment.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast::<__m256i>());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast::<__m256i>());
            masks(low, high)
        }
    }

    #[inline(always)]
    fn prefix_xor(self, mask: u64) -> u64 {
        // SAFETY: only reached from index_avx2.
        unsafe {
            let product =
                _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, mask as i64), _mm_set1_epi8(-1));
            _mm_cvtsi128_si64(product) as u64
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn masks(low: __m256i, high: __m256i) -> Masks {
    let equal = |byte: u8| bits(low, high, |v| _mm256_cmpeq_epi8(v, _mm256_set1_epi8(byte as i8)));
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
    let last_control = _mm256_set1_epi8(0x1f);
    Masks {
        quote: equal(b'"'),
        backslash: equal(b'\\'),
        structural: bits(low, high, |v| {
            _mm256_cmpeq_epi8(_mm256_shuffle_epi8(structurals, v), _mm256_or_si256(v, bit_5))
        }),
        space: bits(low, high, |v| _mm256_cmpeq_epi8(_mm256_shuffle_epi8(spaces, v), v)),
        control: bits(low, high, |v| _mm256_cmpeq_epi8(_mm256_max_epu8(v, last_control), last_control)),
        non_ascii: bits(low, high, |v| v),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn bits(low: __m256i, high: __m256i, test: impl Fn(__m256i) -> __m256i) -> u64 {
    let low = _mm256_movemask_epi8(test(low)) as u32;
    let high = _mm256_movemask_epi8(test(high)) as u32;
    u64::from(low) | u64::from(high) << 32
}
