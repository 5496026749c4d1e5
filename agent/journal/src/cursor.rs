//! A cursor: where in the journal an entry stands.
//!
//! `s=…;i=…;b=…;m=…;t=…;x=…`: the id of the sequence that its number belongs to, the number (hexadecimal), the boot, the
//! monotonic and the wall clock's time in microseconds (hexadecimal), and a hash of the entry's fields. The journal says
//! that it is opaque; so what does not look like this is still a cursor, of which less is known.

use twox_hash::XxHash3_64;

/// What a cursor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    sequence: &'a str,
    number: Option<u64>,
    /// What is left when an entry is copied from one file of the journal to another: boot, times, hash.
    copied: [&'a str; 4],
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// `None` for what is no cursor at all.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Cursor<'a>> {
        const MAX_BYTES: usize = 512;
        let text = std::str::from_utf8(text).ok()?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_BYTES || !is_plain {
            return None;
        }
        let mut cursor = Cursor { text, ..Cursor::default() };
        let [boot, monotonic, realtime, hash] = &mut cursor.copied;
        for part in text.split(';') {
            match part.split_once('=') {
                Some(("s", value)) => cursor.sequence = value,
                Some(("i", value)) => cursor.number = u64::from_str_radix(value, 16).ok(),
                Some(("b", value)) => *boot = value,
                Some(("m", value)) => *monotonic = value,
                Some(("t", value)) => *realtime = value,
                Some(("x", value)) => *hash = value,
                _ => {}
            }
        }
        Some(cursor)
    }

    /// As it is given to `journalctl`.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The entry's number in its sequence; where none is known, one that is made of all of the cursor.
    pub(crate) fn number(&self) -> u64 {
        self.number.unwrap_or_else(|| XxHash3_64::oneshot(self.text.as_bytes()))
    }

    /// The boot and the sequence that the entry belongs to, which together with the machine tell two entries of one
    /// number apart.
    pub(crate) fn belongs_to(&self) -> [&'a str; 2] {
        let [boot, ..] = self.copied;
        [self.sequence, boot]
    }

    /// When the entry came into the journal, in microseconds since the Unix epoch.
    pub(crate) fn realtime(&self) -> Option<u64> {
        let [_, _, realtime, _] = self.copied;
        u64::from_str_radix(realtime, 16).ok()
    }

    /// Whether two entries have their numbers from one sequence.
    pub(crate) fn is_comparable_with(&self, other: &Cursor<'_>) -> bool {
        !self.sequence.is_empty() && self.sequence == other.sequence
    }

    /// Whether it is the place of the same entry. One that was copied, as from `/run` to `/var` early in a boot, has
    /// another number.
    pub(crate) fn is_same_entry(&self, other: &Cursor<'_>) -> bool {
        if self.is_comparable_with(other) && self.number.is_some() {
            return self.number == other.number;
        }
        let is_copied = self.copied == other.copied && self.copied.iter().all(|part| !part.is_empty());
        self.text == other.text || is_copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "s=40e725e3d815408aaab06c1097ac7f67;i=1f;b=0123456789abcdef0123456789abcdef;m=f4240;\
                        t=60a24181e4000;x=8df71c2c9f19e653";

    fn cursor(text: &str) -> Cursor<'_> {
        Cursor::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn its_parts_are_told_apart() {
        let found = cursor(TEXT);
        assert_eq!(found.number(), 31);
        assert_eq!(
            found.belongs_to(),
            ["40e725e3d815408aaab06c1097ac7f67", "0123456789abcdef0123456789abcdef"]
        );
        assert_eq!(found.realtime(), Some(1_700_000_000_000_000));
        assert_eq!(found.text(), TEXT);
    }

    #[test]
    fn what_looks_otherwise_still_tells_entries_apart() {
        let (one, other) = (cursor("elsewhere-1"), cursor("elsewhere-2"));
        assert_ne!(one.number(), other.number());
        assert_eq!(one.number(), cursor("elsewhere-1").number());
        assert!(!one.is_same_entry(&other) && one.is_same_entry(&one));
        assert!(!one.is_comparable_with(&one));
    }

    #[test]
    fn what_cannot_be_one_is_none() {
        for text in [&b""[..], b"s=1 i=2", b"s=\xff", b"s=\n", &[b'x'; 513]] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_same_entry_is_known_after_it_was_copied() {
        let cases = [
            ("s=a;i=1;b=c;m=d;t=e;x=f", true),
            ("s=a;i=1;b=c;m=d;t=e;x=0", true),
            ("s=z;i=9;b=c;m=d;t=e;x=f", true),
            ("s=z;i=1;b=c;m=d;t=e;x=0", false),
            ("s=a;i=2;b=c;m=d;t=e;x=f", false),
        ];
        for (other, expected) in cases {
            assert_eq!(cursor("s=a;i=1;b=c;m=d;t=e;x=f").is_same_entry(&cursor(other)), expected, "{other}");
        }
    }
}
