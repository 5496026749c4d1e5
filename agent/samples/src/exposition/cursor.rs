//! Reads the text formats byte by byte.
//!
//! 1. Whatever needs a byte beyond the end says [`Stop::Incomplete`]; nothing else looks at where the bytes end. So what a
//!    beginning says to be wrong or whole, more bytes do not change.
//! 2. Behind the end of a body in the text format stands a line break, once.

use memchr::{memchr, memchr2};

/// Why reading went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are too few bytes.
    Incomplete,
    /// They are not what the format says.
    Invalid(&'static str),
}

/// What text in quotes may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoted {
    /// A name: no NUL.
    Name,
    /// A label's value in the text format: anything.
    Value,
    /// A label's value in OpenMetrics: no line break.
    LineValue,
    /// A name or value of an exemplar: neither.
    Exemplar,
}

/// Bytes, and how far they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Whether a line break stands behind the bytes.
    pub(super) ends_line: bool,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], at: usize, ends_line: bool) -> Cursor<'a> {
        Cursor { bytes, at, ends_line }
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Result<u8, Stop> {
        match self.bytes.get(self.at) {
            Some(byte) => Ok(*byte),
            None if self.ends_line && self.at == self.bytes.len() => Ok(b'\n'),
            None => Err(Stop::Incomplete),
        }
    }

    /// Everything that is not read yet.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// What was read since there.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at.min(self.bytes.len())).unwrap_or_default()
    }

    /// Reads this byte.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(Stop::Invalid(otherwise));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads blanks and tabs.
    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Reads as long as the bytes are wanted; there is at least one that is not.
    #[inline]
    pub(super) fn take_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
        let rest = self.rest();
        let length = match rest.iter().position(|byte| !is_wanted(*byte)) {
            Some(length) => length,
            None if self.ends_line => rest.len(),
            None => return Err(Stop::Incomplete),
        };
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// Reads up to the next line break, which is read too.
    pub(super) fn take_line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = self.rest();
        let length = match memchr(b'\n', rest) {
            Some(length) => length,
            None if self.ends_line => rest.len(),
            None => return Err(Stop::Incomplete),
        };
        self.at += length + 1;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// Reads text in quotes, the first of which comes next; what stands between them, with its escapes.
    pub(super) fn quoted(&mut self, rules: Quoted) -> Result<&'a [u8], Stop> {
        self.expect(b'"', "a quote was expected")?;
        let start = self.at;
        loop {
            let rest = self.rest();
            let end = memchr2(b'"', b'\\', rest);
            check_quoted(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(), rules)?;
            let Some(end) = end else { return Err(Stop::Incomplete) };
            self.at += end;
            let text = self.since(start);
            let mark = self.peek()?;
            self.at += 1;
            if mark == b'"' {
                return Ok(text);
            }
            match self.bytes.get(self.at) {
                Some(b'\n' | 0) => return Err(Stop::Invalid("nothing behind a backslash")),
                Some(_) => self.at += 1,
                None => return Err(Stop::Incomplete),
            }
        }
    }
}

fn check_quoted(text: &[u8], rules: Quoted) -> Result<(), Stop> {
    let found = match rules {
        Quoted::Name => memchr(0, text),
        Quoted::Value => None,
        Quoted::LineValue => memchr(b'\n', text),
        Quoted::Exemplar => memchr2(b'\n', 0, text),
    };
    match found.and_then(|at| text.get(at)) {
        Some(0) => Err(Stop::Invalid("a NUL in a name or an exemplar")),
        Some(_) => Err(Stop::Invalid("a line ends before a closing quote")),
        None => Ok(()),
    }
}

/// Whether a metric's name without quotes may begin with this.
#[inline]
pub(super) fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

/// Whether a metric's name without quotes may hold this.
#[inline]
pub(super) fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

/// Whether a label's name without quotes may begin with this.
#[inline]
pub(super) fn begins_label(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether a label's name without quotes may hold this.
#[inline]
pub(super) fn is_in_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
