//! How many series each metric's name has, over all groups. A name is looked at when a series is seen for the first time in a
//! tick, not for every sample.

use std::collections::HashMap;

use super::{RING, TICKS, place};

/// A longer name is counted with those that found no place.
const MAX_NAME_BYTES: usize = 256;

/// Series by the tick in which they came last.
type ByPlace = [u32; RING];

/// Series by name.
#[derive(Debug)]
pub(super) struct Names {
    max_names: usize,
    by_name: HashMap<Box<str>, ByPlace>,
    /// Series of the names that found no place.
    others: ByPlace,
    tick: u64,
}

// === impl Names ===

impl Names {
    pub(super) fn new(max_names: usize) -> Names {
        Names { max_names, by_name: HashMap::new(), others: [0; RING], tick: 0 }
    }

    /// A series of this name came for the first time in `tick`, and before that last in `before`.
    pub(super) fn touch(&mut self, name: &str, tick: u64, before: Option<u64>) {
        self.advance(tick);
        let has_room = self.by_name.len() < self.max_names && name.len() <= MAX_NAME_BYTES;
        if has_room && !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), [0; RING]);
        }
        let known = self.by_name.get_mut(name);
        // A worker may be late by a tick, but not by more than a window.
        let counts = |tick: u64| tick + TICKS >= self.tick;
        let from = before.filter(|before| counts(*before)).map(place);
        let to = counts(tick).then(|| place(tick));
        let series = match (known, from) {
            (Some(series), Some(from)) if series.get(from).is_some_and(|count| *count > 0) => {
                add(series, from, -1);
                series
            }
            (known, from) => {
                if let Some(from) = from {
                    // It was counted before its name found a place.
                    add(&mut self.others, from, -1);
                }
                known.unwrap_or(&mut self.others)
            }
        };
        if let Some(to) = to {
            add(series, to, 1);
        }
    }

    /// Forgets what came before the window that ends with this tick.
    pub(super) fn advance(&mut self, tick: u64) {
        if tick <= self.tick {
            return;
        }
        let gone: Vec<usize> = super::group::expired(self.tick, tick).collect();
        self.tick = tick;
        let forget = |series: &mut ByPlace| {
            gone.iter().for_each(|place| series.iter_mut().skip(*place).take(1).for_each(|count| *count = 0));
        };
        forget(&mut self.others);
        self.by_name.retain(|_, series| {
            forget(series);
            series.iter().any(|count| *count > 0)
        });
    }

    /// The names with the most series, and how many series have names that found no place.
    pub(super) fn top(&self, top: usize) -> (Vec<(String, u64)>, u64) {
        let total = |series: &ByPlace| series.iter().map(|count| u64::from(*count)).sum::<u64>();
        let mut all: Vec<(&str, u64)> =
            self.by_name.iter().map(|(name, series)| (&**name, total(series))).collect();
        all.sort_by(|(one, series), (other, others)| others.cmp(series).then(one.cmp(other)));
        let names = all.into_iter().take(top).map(|(name, series)| (name.to_owned(), series)).collect();
        (names, total(&self.others))
    }
}

fn add(series: &mut ByPlace, place: usize, amount: i32) {
    if let Some(count) = series.get_mut(place) {
        *count = count.saturating_add_signed(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(names: &Names) -> Vec<(String, u64)> {
        names.top(9).0
    }

    #[test]
    fn a_series_counts_once_until_its_window_has_passed() {
        let mut names = Names::new(10);
        for _ in 0..3 {
            names.touch("a", 10, None);
        }
        names.touch("b", 10, None);
        names.touch("a", 12, Some(10));
        assert_eq!(top(&names), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        names.advance(16);
        assert_eq!(top(&names), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        names.advance(17);
        assert_eq!(top(&names), [("a".to_owned(), 1)]);
        names.advance(1000);
        assert_eq!(top(&names), []);
    }

    #[test]
    fn names_without_a_place_are_counted_together() {
        let mut names = Names::new(1);
        names.touch("a", 0, None);
        names.touch("b", 0, None);
        names.touch("c", 0, None);
        names.touch(&"d".repeat(300), 0, None);
        assert_eq!(names.top(5), (vec![("a".to_owned(), 1)], 3));
        names.touch("b", 7, None);
        names.touch("c", 7, Some(1));
        assert_eq!(names.top(5), (vec![("b".to_owned(), 1)], 1));
        names.touch("b", 8, Some(3));
        assert_eq!(names.top(5).0, [("b".to_owned(), 2)]);
    }
}
