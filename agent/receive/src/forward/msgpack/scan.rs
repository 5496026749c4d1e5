//! Where a value ends in bytes that are still coming.
//!
//! 1. What was looked at is not looked at again when more bytes come, but for a head that was not whole (at most 6 bytes).
//! 2. A value that must become longer than the limit is refused by what its heads declare, before its bytes come.
//! 3. The scanner's memory does not depend on what it reads.

use super::{Fault, Head, MAX_DEPTH};

/// How many parts of a message are remembered: a tag, a time, a record and options are four.
const MAX_PARTS: usize = 4;

/// Finds the end of one value after another.
#[derive(Clone, Debug)]
pub struct Scanner {
    limit: usize,
    /// Where the next head begins, in bytes from the value's beginning. It may lie behind the bytes that are there.
    position: usize,
    /// How many values are declared and not begun. Each has one byte at the least.
    declared: u64,
    /// By level, how many values have not ended.
    open: [u32; MAX_DEPTH],
    depth: usize,
    frame: Frame,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The value is whole.
    Whole(Frame),
    /// The value has so many bytes at the least.
    More(usize),
}

/// Where a whole value ends, and where its parts begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    len: usize,
    parts: [u32; MAX_PARTS],
    count: usize,
}

// === impl Frame ===

impl Frame {
    /// How many bytes the value has.
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// Where the first values of an array begin, in bytes from the array's beginning. At most four; none for a value that
    /// is no array.
    pub fn parts(&self) -> &[u32] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    fn add_part(&mut self, position: usize) {
        if let Some(part) = self.parts.get_mut(self.count) {
            *part = position as u32;
            self.count += 1;
        }
    }
}

// === impl Scanner ===

impl Scanner {
    /// For values of at most `limit` bytes, and never more than 4 GiB.
    pub fn new(limit: usize) -> Scanner {
        Scanner {
            limit: limit.min(u32::MAX as usize),
            position: 0,
            declared: 1,
            open: [0; MAX_DEPTH],
            depth: 0,
            frame: Frame::default(),
        }
    }

    /// Looks on. `bytes` begins where the value begins, and has at least the bytes that it had before. Once the value was
    /// whole, the next call is for the next value.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scan, Fault> {
        while self.declared > 0 {
            let Some(rest) = bytes.get(self.position..) else { return Ok(self.more(bytes.len())) };
            match Head::read(rest) {
                Ok((head, behind)) => self.take(head, rest.len() - behind.len())?,
                Err(Fault::Incomplete) => return Ok(self.more(bytes.len())),
                Err(fault) => return Err(fault),
            }
        }
        if self.position > bytes.len() {
            return Ok(self.more(bytes.len()));
        }
        let frame = Frame { len: self.position, ..self.frame };
        (self.position, self.declared, self.frame) = (0, 1, Frame::default());
        Ok(Scan::Whole(frame))
    }

    fn more(&self, seen: usize) -> Scan {
        Scan::More((self.position + self.declared as usize).max(seen + 1))
    }

    /// Takes a head of so many bytes.
    fn take(&mut self, head: Head, head_len: usize) -> Result<(), Fault> {
        if self.depth == 1 {
            self.frame.add_part(self.position);
        }
        let position = self.position as u64 + head_len as u64 + u64::from(head.bytes());
        let declared = self.declared - 1 + head.values();
        if position + declared > self.limit as u64 {
            return Err(Fault::TooLarge { limit: self.limit });
        }
        (self.position, self.declared) = (position as usize, declared);
        match head.values() {
            0 => self.end_value(),
            values => {
                *self.open.get_mut(self.depth).ok_or(Fault::TooDeep)? = values as u32;
                self.depth += 1;
            }
        }
        Ok(())
    }

    /// A value has ended, and with it all that it was the last of.
    fn end_value(&mut self) {
        while let Some(left) = self.depth.checked_sub(1).and_then(|level| self.open.get_mut(level)) {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.depth -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forward::msgpack::Reader;
    use crate::forward::msgpack::json::tests::{Value, any_value, pack};

    fn packed(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| pack(&mut bytes, value));
        bytes
    }

    /// The ends that are found when so many bytes come at a time.
    fn ends(bytes: &[u8], pieces: &[usize]) -> Vec<usize> {
        let (mut scanner, mut pieces) = (Scanner::new(usize::MAX), pieces.iter().cycle());
        let (mut start, mut seen, mut ends) = (0, 0, Vec::new());
        while start < bytes.len() {
            match scanner.scan(&bytes[start..seen]).unwrap() {
                Scan::Whole(frame) => {
                    start += frame.bytes();
                    ends.push(start);
                }
                Scan::More(least) => {
                    assert!(least > seen - start && start + least <= bytes.len(), "{least} of {bytes:?}");
                    seen = (seen + pieces.next().unwrap()).min(bytes.len());
                }
            }
        }
        ends
    }

    proptest! {
        #[test]
        fn pieces_change_no_end(
            values in prop::collection::vec(any_value(), 1..4),
            pieces in prop::collection::vec(1usize..40, 1..10),
        ) {
            let bytes = packed(&values);
            let mut expected = Vec::new();
            for upto in 1..=values.len() {
                expected.push(packed(&values[..upto]).len());
            }
            prop_assert_eq!(ends(&bytes, &[bytes.len()]), expected.clone());
            prop_assert_eq!(ends(&bytes, &pieces), expected);
        }

        #[test]
        fn scanner_and_reader_find_the_same_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let skipped = reader.skip(1);
            match Scanner::new(1 << 20).scan(&bytes) {
                Ok(Scan::Whole(frame)) => prop_assert_eq!(frame.bytes(), bytes.len() - reader.rest().len()),
                Ok(Scan::More(_)) => prop_assert_eq!(skipped, Err(Fault::Incomplete)),
                Err(Fault::TooLarge { .. }) => prop_assert!(skipped.is_err()),
                Err(fault) => prop_assert_eq!(fault, Fault::Reserved),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_once() {
        let limit = 1 << 20;
        for bytes in [
            &[0xc6, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdb, 0, 0x10, 0, 0],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0xdf, 0, 8, 0, 0],
            &[0xc9, 0x7f, 0, 0, 0, 0],
            &[0x92, 0xdb, 0, 0x0f, 0xff, 0xfa],
        ] {
            assert_eq!(Scanner::new(limit).scan(bytes), Err(Fault::TooLarge { limit }), "{bytes:x?}");
        }
        assert_eq!(Scanner::new(limit).scan(&[0x92, 0xdb, 0, 0x0f, 0xff, 0xf9]), Ok(Scan::More(limit)));
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        let bytes = deep(MAX_DEPTH);
        assert!(
            matches!(Scanner::new(1000).scan(&bytes), Ok(Scan::Whole(frame)) if frame.bytes() == bytes.len())
        );
        assert_eq!(Scanner::new(1000).scan(&deep(MAX_DEPTH + 1)), Err(Fault::TooDeep));
    }

    #[test]
    fn parts_of_an_array_are_found() {
        let bytes = [0x95, 0xa1, b't', 0x92, 1, 2, 0x80, 0xc0, 7];
        let Ok(Scan::Whole(frame)) = Scanner::new(100).scan(&bytes) else { panic!("not whole") };
        assert_eq!((frame.bytes(), frame.parts()), (9, &[1, 3, 6, 7][..]));
    }
}
