//! Searching eight bytes at a time in plain integer arithmetic, for texts of a few bytes to a few hundred:
//! there a call into a vectorised search costs more than it saves.
//!
//! A set of bytes is given by marks: the high bit of each byte of a word that belongs to it. Marks above the
//! lowest one may be wrong, since a borrow runs upwards from each true one; the lowest is always right.

const ONES: u64 = 0x0101_0101_0101_0101;

/// Marks the bytes below `bound`, which is at most 0x80.
#[inline]
pub(crate) fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & (ONES << 7)
}

/// Marks the bytes equal to `byte`.
#[inline]
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// Marks the bytes that are no decimal digits. Unlike the others it may carry upwards, which is as harmless.
#[inline]
pub(crate) fn not_digits(word: u64) -> u64 {
    let digits = word ^ (ONES * u64::from(b'0'));
    (digits.wrapping_add(ONES * 0x76) | digits) & (ONES << 7)
}

/// How many bytes come before the first that `marks` marks.
#[inline]
pub(crate) fn find(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let Some(last) = bytes.last_chunk::<8>() else {
        return lowest(marks(load_few(bytes))).min(bytes.len());
    };
    let (chunks, tail) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*chunk));
        if found != 0 {
            return index * 8 + lowest(found);
        }
    }
    if tail.is_empty() {
        return bytes.len();
    }
    // The last eight bytes; those of them that have been looked at are known to be unmarked.
    bytes.len() - 8 + lowest(marks(u64::from_le_bytes(*last)))
}

/// Fewer than eight bytes as a word, with zeros behind them.
#[inline]
pub(crate) fn load_few(bytes: &[u8]) -> u64 {
    debug_assert!(bytes.len() < 8);
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => {
            // The two overlap, in equal bytes.
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | (u64::from(last) << (8 * (bytes.len() - 4)))
        }
        (_, _, [a, b, c]) => u64::from_le_bytes([*a, *b, *c, 0, 0, 0, 0, 0]),
        (_, _, [a, b]) => u64::from_le_bytes([*a, *b, 0, 0, 0, 0, 0, 0]),
        (_, _, [a]) => u64::from(*a),
        _ => 0,
    }
}

/// The index of the lowest marked byte, 8 if there is none.
#[inline]
pub(crate) fn lowest(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'"'), any::<u8>()], 0..40),
            bound in 0..=0x80u8,
            byte: u8,
        ) {
            let expected = |wanted: &dyn Fn(u8) -> bool| {
                bytes.iter().position(|byte| wanted(*byte)).unwrap_or(bytes.len())
            };
            prop_assert_eq!(find(&bytes, |word| below(word, bound)), expected(&|b| b < bound));
            prop_assert_eq!(find(&bytes, |word| equal(word, byte)), expected(&|b| b == byte));
            let both = find(&bytes, |word| below(word, bound) | equal(word, byte));
            prop_assert_eq!(both, expected(&|b| b < bound || b == byte));
        }
    }
}
