//! How many series there are beyond a limit, without knowing them: HyperLogLog (Flajolet and others, 2007).

use super::{RING, place};

/// Registers are told apart by so many bits of a hash.
const BITS: u32 = 10;
const REGISTERS: usize = 1 << BITS;

/// A sketch for each tick that counts.
#[derive(Debug, Default)]
pub(super) struct Sketches {
    by_place: [Option<Box<Sketch>>; RING],
}

/// In each register the longest run of zeros, and one.
#[derive(Clone, Debug)]
struct Sketch([u8; REGISTERS]);

// === impl Sketches ===

impl Sketches {
    /// Whether nothing was added in the ticks that count.
    pub(super) fn is_empty(&self) -> bool {
        self.by_place.iter().all(Option::is_none)
    }

    /// Adds a series that came in this tick.
    pub(super) fn add(&mut self, key: u64, tick: u64) {
        if let Some(sketch) = self.by_place.get_mut(place(tick)) {
            sketch.get_or_insert_with(|| Box::new(Sketch([0; REGISTERS]))).add(key);
        }
    }

    /// Forgets what came in the ticks at these places.
    pub(super) fn forget(&mut self, places: impl Iterator<Item = usize>) {
        for place in places {
            if let Some(sketch) = self.by_place.get_mut(place) {
                *sketch = None;
            }
        }
    }

    /// How many series were added in the ticks that count, more or less.
    pub(super) fn estimate(&self) -> u64 {
        let mut all = Sketch([0; REGISTERS]);
        self.by_place.iter().flatten().for_each(|sketch| all.merge(sketch));
        all.estimate()
    }
}

// === impl Sketch ===

impl Sketch {
    fn add(&mut self, key: u64) {
        let rank = ((key << BITS) | 1).leading_zeros() as u8 + 1;
        if let Some(register) = self.0.get_mut((key >> (64 - BITS)) as usize) {
            *register = rank.max(*register);
        }
    }

    fn merge(&mut self, other: &Sketch) {
        for (one, other) in self.0.iter_mut().zip(other.0) {
            *one = other.max(*one);
        }
    }

    fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let free = self.0.iter().filter(|rank| **rank == 0).count();
        if raw <= 2.5 * registers && free > 0 {
            return (registers * (registers / free as f64).ln()).round() as u64;
        }
        raw.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twox_hash::XxHash3_64;

    #[test]
    fn an_estimate_is_near() {
        for (count, seed) in
            [(0u64, 1u64), (1, 2), (7, 3), (100, 4), (2_000, 5), (5_000, 6), (100_000, 7), (1_000_000, 8)]
        {
            let mut sketches = Sketches::default();
            for number in 0..count {
                let key = XxHash3_64::oneshot_with_seed(seed, &number.to_le_bytes());
                sketches.add(key, number % 7);
                sketches.add(key, number % 3);
            }
            let error = sketches.estimate() as f64 - count as f64;
            assert!(error.abs() <= 0.1 * count as f64, "{count}: {error}");
        }
    }

    #[test]
    fn ticks_go_one_by_one() {
        let mut sketches = Sketches::default();
        sketches.add(1, 3);
        sketches.add(u64::MAX, 4);
        assert_eq!(sketches.estimate(), 2);
        sketches.forget([3].into_iter());
        assert_eq!(sketches.estimate(), 1);
        sketches.forget([4].into_iter());
        assert!(sketches.is_empty());
    }
}
