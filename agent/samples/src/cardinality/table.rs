//! The series that a group knows: their hashes, and in which tick each came last.
//!
//! Open addressing with linear probing. A hash has its own array, and its tick one byte in another, so a series takes 9 bytes
//! and the free places; the table grows by a third, which keeps these few.

use super::RING;

/// The smallest table.
const FEWEST_PLACES: usize = 16;

/// Hashes with the tick in which each came last.
#[derive(Debug, Default)]
pub(super) struct Table {
    keys: Vec<u64>,
    /// The place of the tick in rings and one; 0 where no key is.
    marks: Vec<u8>,
    /// Series by the tick in which they came last.
    by_place: [usize; RING],
    len: usize,
}

// === impl Table ===

impl Table {
    /// Series in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        9 * self.keys.len()
    }

    /// Marks a series as seen in the tick at `place`, and says where it was before; `None` where it is not known.
    #[inline]
    pub(super) fn touch(&mut self, key: u64, place: usize) -> Option<usize> {
        let at = self.find(key).ok()?;
        let mark = self.marks.get_mut(at)?;
        let before = usize::from(*mark).checked_sub(1)?;
        if before != place {
            *mark = place as u8 + 1;
            self.count(before, place);
        }
        Some(before)
    }

    /// Adds a series that is not known, seen in the tick at `place`.
    pub(super) fn insert(&mut self, key: u64, place: usize) {
        if (self.len + 1) * 5 > self.keys.len() * 4 {
            self.rebuild((self.keys.len() * 4 / 3 + 1).max(FEWEST_PLACES), |_| true);
        }
        self.put(key, place as u8 + 1);
        self.len += 1;
        if let Some(count) = self.by_place.get_mut(place) {
            *count += 1;
        }
    }

    /// Forgets the series that came last in the ticks at these places; says how many.
    pub(super) fn forget(&mut self, places: impl Iterator<Item = usize>) -> usize {
        let mut gone = [false; RING];
        let mut count = 0;
        for place in places {
            if let (Some(series), Some(gone)) = (self.by_place.get_mut(place), gone.get_mut(place)) {
                count += std::mem::take(series);
                *gone = true;
            }
        }
        if count == 0 {
            return 0;
        }
        self.len -= count;
        let stays = |mark: u8| !gone.get(usize::from(mark) - 1).copied().unwrap_or_default();
        self.rebuild((self.len * 3 / 2).max(FEWEST_PLACES), stays);
        count
    }

    /// Lays the table out anew with so many places.
    fn rebuild(&mut self, places: usize, stays: impl Fn(u8) -> bool) {
        let keys = std::mem::replace(&mut self.keys, vec![0; places]);
        let marks = std::mem::replace(&mut self.marks, vec![0; places]);
        for (key, mark) in keys.into_iter().zip(marks) {
            if mark != 0 && stays(mark) {
                self.put(key, mark);
            }
        }
    }

    fn put(&mut self, key: u64, mark: u8) {
        if let Err(free) = self.find(key)
            && let (Some(place), Some(known)) = (self.keys.get_mut(free), self.marks.get_mut(free))
        {
            (*place, *known) = (key, mark);
        }
    }

    /// Where a key is, or else where it would be put.
    #[inline]
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut at = ((u128::from(key) * self.keys.len() as u128) >> 64) as usize;
        loop {
            match (self.marks.get(at), self.keys.get(at)) {
                (Some(0), _) => return Err(at),
                (Some(_), Some(known)) if *known == key => return Ok(at),
                (Some(_), _) => at += 1,
                // There are free places in every table but the empty one.
                (None, _) if at > 0 => at = 0,
                (None, _) => return Err(0),
            }
        }
    }

    fn count(&mut self, before: usize, after: usize) {
        if let Some(count) = self.by_place.get_mut(before) {
            *count -= 1;
        }
        if let Some(count) = self.by_place.get_mut(after) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_knows_what_a_map_knows(steps in prop::collection::vec((0u64..300, 0usize..RING, any::<bool>()), 0..2000)) {
            let (mut table, mut model) = (Table::default(), HashMap::new());
            for (number, place, forget) in steps {
                // Some near each other and at the end of the table, so that keys get into each other's way.
                let key = if number % 3 == 0 { u64::MAX - number } else { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
                if forget && number < 5 {
                    let before = model.len();
                    model.retain(|_, known| *known != place);
                    prop_assert_eq!(table.forget([place].into_iter()), before - model.len());
                }
                let known = table.touch(key, place);
                prop_assert_eq!(known, model.insert(key, place));
                if known.is_none() {
                    table.insert(key, place);
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for (key, place) in &model {
                prop_assert_eq!(table.touch(*key, *place), Some(*place));
            }
        }
    }

    #[test]
    fn a_series_takes_at_most_16_bytes() {
        let mut table = Table::default();
        for number in 0..200_000u64 {
            table.insert(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
            assert!(
                number < 100 || table.bytes() <= 16 * table.len(),
                "{} of {}",
                table.bytes(),
                table.len()
            );
        }
    }
}
