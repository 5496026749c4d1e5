//! Bloom filters over values of fields: "surely not here" for the price of some bits a value.
//!
//! 1. A value that was put in is always admitted, also after folding.
//! 2. The number of bits is a power of two of at least 512, so that a filter folds: both halves over each other are the
//!    filter that would have been made with half the bits. It is made with [`MAX_BITS`] or less and folded down to the
//!    smallest with [`BITS_PER_VALUE`] bits for each distinct value: below 1 of 100 other values is admitted. With
//!    more values than [`MAX_BITS`] are for, more are admitted.
//! 3. Bit `i` of the six that belong to a value is `(low + i * (high | 1)) mod bits`, of the low and the high half of the
//!    value's XXH3-128 with seed 0, in 64 bits. Bit `n` is bit `n mod 8`, the lowest first, of byte `n / 8`.

use twox_hash::XxHash3_128;

/// Bits that each value sets.
pub const HASHES: u64 = 6;
/// Bits of a filter for each distinct value, at least.
pub const BITS_PER_VALUE: u64 = 10;
/// Bits of the largest filter: 128 KiB.
pub const MAX_BITS: u64 = 1 << 20;
/// Bits of the smallest: six bits in an arithmetic progression would often be the same in fewer.
pub const MIN_BITS: u64 = 512;

/// A value's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueHash {
    low: u64,
    high: u64,
}

/// A filter that values are put into.
#[derive(Clone, Debug)]
pub struct Bloom {
    bytes: Vec<u8>,
    bits: u64,
    /// Values that were not admitted before they were put in.
    distinct: u64,
}

// === impl ValueHash ===

impl ValueHash {
    /// The hash of a value's bytes.
    pub fn of(value: &[u8]) -> ValueHash {
        let hash = XxHash3_128::oneshot(value);
        ValueHash { low: hash as u64, high: (hash >> 64) as u64 }
    }

    /// The bits that belong to it, in a filter of so many.
    fn bits(self, bits: u64) -> impl Iterator<Item = u64> {
        let step = self.high | 1;
        // The number of bits is a power of two.
        (0..HASHES).map(move |i| self.low.wrapping_add(i.wrapping_mul(step)) & bits.wrapping_sub(1))
    }
}

// === impl Bloom ===

impl Bloom {
    /// An empty filter of so many bits, rounded up to a power of two within bounds.
    pub fn new(bits: u64) -> Bloom {
        let bits = bits.clamp(MIN_BITS, MAX_BITS).next_power_of_two();
        Bloom { bytes: vec![0; (bits / 8) as usize], bits, distinct: 0 }
    }

    /// Puts a value in.
    pub fn insert(&mut self, value: ValueHash) {
        let mut is_new = false;
        for bit in value.bits(self.bits) {
            if let Some(byte) = self.bytes.get_mut((bit / 8) as usize) {
                is_new |= *byte & (1 << (bit % 8)) == 0;
                *byte |= 1 << (bit % 8);
            }
        }
        self.distinct += u64::from(is_new);
    }

    /// About how many distinct values it holds.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
        self.distinct = 0;
    }

    /// The smallest filter with enough bits, as it is stored. Empty where there are no values.
    pub fn folded(&self) -> Vec<u8> {
        if self.distinct == 0 {
            return Vec::new();
        }
        let mut folded = self.bytes.clone();
        let mut bits = self.bits;
        while bits / 2 >= MIN_BITS.max(self.distinct.saturating_mul(BITS_PER_VALUE)) {
            let upper = folded.split_off(folded.len() / 2);
            folded.iter_mut().zip(upper).for_each(|(byte, other)| *byte |= other);
            bits /= 2;
        }
        folded
    }
}

/// Whether a stored filter admits a value. One that is empty admits nothing. `None` for bytes that are no filter.
pub fn admits(filter: &[u8], value: ValueHash) -> Option<bool> {
    if filter.is_empty() {
        return Some(false);
    }
    let bits = filter.len() as u64 * 8;
    if !bits.is_power_of_two() || !(MIN_BITS..=MAX_BITS).contains(&bits) {
        return None;
    }
    let is_set = |bit: u64| filter.get((bit / 8) as usize).is_some_and(|byte| byte & (1 << (bit % 8)) != 0);
    Some(value.bits(bits).all(is_set))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(number: u64) -> ValueHash {
        ValueHash::of(format!("value-{number}").as_bytes())
    }

    #[test]
    fn as_many_others_are_admitted_as_the_design_says() {
        for count in [1_u64, 100, 2_000, 6_553, 100_000] {
            let mut bloom = Bloom::new(MAX_BITS);
            (0..count).for_each(|number| bloom.insert(hash(number)));
            let filter = bloom.folded();
            let bits = filter.len() as f64 * 8.0;
            let tries = 50_000;
            let admitted = (count..count + tries).filter(|n| admits(&filter, hash(*n)).unwrap()).count();
            let rate = admitted as f64 / tries as f64;
            let design = (1.0 - (-(HASHES as f64) * count as f64 / bits).exp()).powi(HASHES as i32);
            println!(
                "{count} values: {} bytes, {rate:.5} of others admitted, {design:.5} by design",
                filter.len()
            );
            assert!(rate < 0.01 && rate < design * 1.5 + 0.001, "{count}: {rate} against {design}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for bytes in [1, 7, 9, 12, 1 << 18] {
            assert_eq!(admits(&vec![0xff; bytes], hash(0)), None, "{bytes}");
        }
        assert_eq!(admits(&[], hash(0)), Some(false));
    }

    #[test]
    fn bits_are_those_of_the_description() {
        let mut bloom = Bloom::new(512);
        bloom.insert(ValueHash { low: 500, high: 16 });
        // 500 + 17 i mod 512, and the lowest bit of a byte first.
        let mut expected = [0_u8; 64];
        for bit in [500_usize, 5, 22, 39, 56, 73] {
            expected[bit / 8] |= 1 << (bit % 8);
        }
        assert_eq!(bloom.folded(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_asked(filter in proptest::collection::vec(any::<u8>(), 0..300), number: u64) {
            let _ = admits(&filter, hash(number));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_was_put_in_is_admitted(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..3_000),
            bits in 0..MAX_BITS * 2,
        ) {
            let mut bloom = Bloom::new(bits);
            values.iter().for_each(|value| bloom.insert(ValueHash::of(value)));
            let filter = bloom.folded();
            for value in &values {
                prop_assert_eq!(admits(&filter, ValueHash::of(value)), Some(true));
            }
        }

        #[test]
        fn folding_is_making_with_fewer_bits(numbers in proptest::collection::vec(any::<u64>(), 1..200)) {
            let (mut large, mut small) = (Bloom::new(MAX_BITS), Bloom::new(MIN_BITS));
            for number in &numbers {
                large.insert(hash(*number));
                small.insert(hash(*number));
            }
            let mut folded = large.bytes.clone();
            while folded.len() > small.bytes.len() {
                let upper = folded.split_off(folded.len() / 2);
                folded.iter_mut().zip(upper).for_each(|(byte, other)| *byte |= other);
            }
            prop_assert_eq!(folded, small.bytes);
        }
    }
}
