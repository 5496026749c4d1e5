//! What a file begins with, to tell it from a later one with the same inode.

use std::io;

use memchr::memchr;
use twox_hash::XxHash3_64;

use crate::handle::Handle;

/// A fingerprint covers at most this many bytes.
pub(crate) const MAX_BYTES: usize = 1_024;

/// Hash of a file's first bytes. A growing file's is made anew until it covers [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub hash: u64,
    /// How many bytes it covers; 0 matches every file.
    pub len: u64,
}

impl Fingerprint {
    pub(crate) fn of(head: &[u8]) -> Fingerprint {
        Fingerprint { hash: XxHash3_64::oneshot(head), len: head.len() as u64 }
    }

    /// Whether a file that begins with these bytes can be the same one.
    pub(crate) fn matches(&self, head: &[u8]) -> bool {
        let covered = usize::try_from(self.len).ok().and_then(|len| head.get(..len));
        covered.is_some_and(|covered| covered.is_empty() || XxHash3_64::oneshot(covered) == self.hash)
    }

    /// Whether a longer one can be made once the file has grown.
    pub(crate) fn can_grow(&self) -> bool {
        self.len < MAX_BYTES as u64
    }
}

/// A file's first bytes.
pub(crate) struct Head {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Head {
    /// Reads up to `limit` of them.
    pub(crate) fn read(file: &Handle, limit: u64) -> io::Result<Head> {
        let mut bytes = [0; MAX_BYTES];
        let limit = usize::try_from(limit).unwrap_or(MAX_BYTES).min(MAX_BYTES);
        let len = file.read_fully(&mut bytes[..limit], 0)?;
        Ok(Head { bytes, len })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether a whole line lies in them.
    pub(crate) fn has_line(&self) -> bool {
        memchr(b'\n', self.as_slice()).is_some()
    }

    /// Whether two files are alike as far as both are known, and that is not nothing.
    pub(crate) fn begins_as(&self, other: &Head) -> bool {
        let len = self.len.min(other.len);
        len > 0 && self.bytes.get(..len) == other.bytes.get(..len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_begins_alike_matches() {
        let known = Fingerprint::of(b"first line");
        for (head, expected) in [
            (&b"first line"[..], true),
            (b"first line and more", true),
            (b"first lime and more", false),
            (b"first lin", false),
            (b"", false),
        ] {
            assert_eq!(known.matches(head), expected, "{head:?}");
        }
        assert!(Fingerprint::default().matches(b"anything"));
    }
}
