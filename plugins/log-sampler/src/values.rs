//! Which rate belongs to a value, in whatever case it is written.

use weir_sdk::Kind;

use crate::config::Config;
use crate::rates::{DEFAULT, PROTECTED, RateIndex};

/// Rates by value. Levels are short, so those values are numbers that are looked up in a table, a handful of instructions
/// a row; longer ones are compared as text.
#[derive(Default)]
pub(crate) struct Values {
    short: Table,
    long: Vec<(Box<[u8]>, RateIndex)>,
}

/// Rates by short value: its hash says where to begin to look.
#[derive(Default)]
struct Table {
    /// A power of two, of which at least three quarters are empty: nearly every look is the only one.
    slots: Vec<Option<(Short, RateIndex)>>,
    count: usize,
}

impl Values {
    /// The configured rates, and by themselves the protected values where they are those of another field.
    pub(crate) fn new(config: &Config) -> (Values, Option<Values>) {
        let mut rates = Values::default();
        for (position, value) in config.rates.keys().enumerate() {
            rates.insert(value, DEFAULT + 1 + position);
        }
        let protected = config.protect.values.iter();
        if config.protects_by_rate_field() {
            // A rate below 1 was told, and holds.
            let told =
                |value: &str| config.rates.iter().any(|(other, &rate)| rate < 1.0 && same(other, value));
            protected.filter(|value| !told(value)).for_each(|value| rates.insert(value, PROTECTED));
            return (rates, None);
        }
        let mut values = Values::default();
        protected.for_each(|value| values.insert(value, PROTECTED));
        (rates, (!config.protect.values.is_empty()).then_some(values))
    }

    /// The rate for a string, number or bool of this text. Compiled into the loop over the rows: a call for each costs
    /// more than the look.
    #[inline(always)]
    pub(crate) fn find(&self, (kind, value): (Kind, &[u8])) -> Option<RateIndex> {
        if !matches!(kind, Kind::String | Kind::Number | Kind::Bool) {
            return None;
        }
        match Short::new(value) {
            Some(short) => self.short.find(short),
            None => self.find_long(value),
        }
    }

    /// The rate for a value, whatever it is.
    #[inline(always)]
    pub(crate) fn rate(&self, value: (Kind, &[u8])) -> RateIndex {
        self.find(value).unwrap_or(DEFAULT)
    }

    #[inline(never)]
    fn find_long(&self, value: &[u8]) -> Option<RateIndex> {
        self.long.iter().find(|(known, _)| known.eq_ignore_ascii_case(value)).map(|&(_, rate)| rate)
    }

    /// The last rate for a value holds.
    fn insert(&mut self, value: &str, rate: RateIndex) {
        let value = value.as_bytes();
        match Short::new(value) {
            Some(short) => self.short.insert(short, rate),
            None => {
                self.long.retain(|(known, _)| !known.eq_ignore_ascii_case(value));
                self.long.push((value.into(), rate));
            }
        }
    }
}

impl Table {
    #[inline(always)]
    fn find(&self, wanted: Short) -> Option<RateIndex> {
        let mut place = wanted.hash();
        // Empty slots end every search; a table without values has no slots.
        while let Some(Some((known, rate))) = self.slots.get(place & self.slots.len().wrapping_sub(1)) {
            if *known == wanted {
                return Some(*rate);
            }
            place += 1;
        }
        None
    }

    fn insert(&mut self, wanted: Short, rate: RateIndex) {
        if self.slots.len() < (self.count + 1) * 4 {
            let slots = vec![None; ((self.count + 1) * 4).next_power_of_two() * 2];
            let known = std::mem::replace(&mut self.slots, slots);
            known.into_iter().flatten().for_each(|(known, rate)| self.put(known, rate));
        }
        self.count += usize::from(self.find(wanted).is_none());
        self.put(wanted, rate);
    }

    fn put(&mut self, wanted: Short, rate: RateIndex) {
        let last = self.slots.len() - 1;
        let mut place = wanted.hash() & last;
        while self.slots[place].is_some_and(|(known, _)| known != wanted) {
            place = (place + 1) & last;
        }
        self.slots[place] = Some((wanted, rate));
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Up to eight bytes in lower case, and how many they are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short {
    bytes: u64,
    len: u32,
}

impl Short {
    /// Its upper bits depend on every bit of the value.
    #[inline(always)]
    fn hash(self) -> usize {
        ((self.bytes ^ self.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
    }

    #[inline(always)]
    fn new(value: &[u8]) -> Option<Short> {
        let len = value.len();
        let bytes = match (value.first_chunk(), value.last_chunk()) {
            _ if len > 8 => return None,
            // Between four and eight bytes the two halves overlap and still hold every byte.
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => few_bytes(value),
        };
        Some(Short { bytes: to_lower_case(bytes), len: len as u32 })
    }
}

#[inline(never)]
fn few_bytes(value: &[u8]) -> u64 {
    value.iter().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte))
}

/// Eight bytes at once; those that are not ASCII stay.
#[inline(always)]
fn to_lower_case(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = EACH * 0x80;
    let low_bits = bytes & !HIGH_BITS;
    // The high bit of a byte tells whether its low bits are at least `A`, and above `Z`.
    let from_a = low_bits + EACH * (0x80 - b'A' as u64);
    let above_z = low_bits + EACH * (0x7f - b'Z' as u64);
    let upper = (from_a ^ above_z) & !bytes & HIGH_BITS;
    bytes | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_gets_its_lower_case() {
        for byte in 0..=u8::MAX {
            let expected = u64::from_le_bytes([byte.to_ascii_lowercase(); 8]);
            assert_eq!(to_lower_case(u64::from_le_bytes([byte; 8])), expected, "{byte}");
        }
    }

    #[test]
    fn a_value_is_found_in_any_case_and_no_other_is() {
        let names =
            ["", "a", "ab", "abc", "warn", "error", "notice", "warning", "critical", "emergency", "größe"];
        let mut values = Values::default();
        for (rate, name) in names.iter().enumerate() {
            values.insert(name, 100 + rate);
        }
        let find = |text: &str| values.find((Kind::String, text.as_bytes()));
        for (rate, name) in names.iter().enumerate() {
            assert_eq!(find(name), Some(100 + rate), "{name}");
            assert_eq!(find(&name.to_ascii_uppercase()), Some(100 + rate), "{name}");
        }
        for other in
            ["b", "ba", "\0a", "a\0", "warm", "errors", "warn\0", "wwarn", "critica1", "emergencz", "GRÖßE"]
        {
            assert_eq!(find(other), None, "{other}");
        }
        assert_eq!(values.find((Kind::Null, b"")), None);
        values.insert("WARN", 7);
        assert_eq!(values.find((Kind::String, b"warn")), Some(7));
    }

    #[test]
    fn a_table_finds_each_of_many_values_and_no_other() {
        let mut table = Table::default();
        let short = |number: usize| Short::new(format!("v{number}").as_bytes()).unwrap();
        assert_eq!(table.find(short(0)), None);
        for number in 0..5_000 {
            table.insert(short(number), number);
            table.insert(short(number), number + 1);
        }
        assert_eq!(table.count, 5_000);
        assert!((0..5_000).all(|number| table.find(short(number)) == Some(number + 1)));
        assert!((5_000..10_000).all(|number| table.find(short(number)).is_none()));
    }
}
