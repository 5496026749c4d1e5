//! Reads JSON text piece by piece, strictly by RFC 8259, for messages whose members are known.
//!
//! Unlike a tree of values it takes no memory but what its caller makes of the pieces, and counts that.
//!
//! 1. Objects lie at most [`MAX_DEPTH`] deep below the first one; what is skipped too.
//! 2. What the caller keeps is charged before it is allocated.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use super::weigh::{ALLOCATION_BYTES, MAX_DEPTH};

/// The text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// It is not UTF-8.
    Utf8,
    /// Something else was expected at this byte.
    Expected(&'static str, usize),
    /// Objects or arrays lie too deep in each other.
    TooDeep,
    /// It takes too much memory.
    TooLarge,
}

/// A text, and how far it is read.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    memory: usize,
}

// === impl JsonError ===

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::Utf8 => formatter.write_str("it is not UTF-8"),
            JsonError::Expected(what, at) => write!(formatter, "expected {what} at byte {at}"),
            JsonError::TooDeep => write!(formatter, "objects lie more than {MAX_DEPTH} deep in each other"),
            JsonError::TooLarge => formatter.write_str("it takes too much memory"),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// At the beginning of a text, with so many bytes of memory to spend.
    pub(super) fn new(text: &'a [u8], memory: usize) -> Result<Reader<'a>, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::Utf8)?;
        Ok(Reader { text, at: 0, depth: 0, memory })
    }

    /// Reads an object: `member` is called with each name and must read or skip the value. `null` is an object
    /// without members.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Reader<'a>, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.null() {
            return Ok(());
        }
        self.expect(b'{', "an object")?;
        if self.depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        if !self.accept(b'}') {
            loop {
                let name = self.text_value("a member's name")?;
                self.expect(b':', "a colon")?;
                member(self, &name)?;
                if !self.accept(b',') {
                    break;
                }
            }
            self.expect(b'}', "a comma or the end of the object")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array: `element` is called before each element and must read or skip it. `null` is an empty array.
    pub(super) fn array(
        &mut self,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.null() {
            return Ok(());
        }
        self.expect(b'[', "an array")?;
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.accept(b',') {
                break;
            }
        }
        self.expect(b']', "a comma or the end of the array")
    }

    /// Reads a string; `null` is an empty one.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.null() { Ok(Cow::Borrowed("")) } else { self.text_value("a string") }
    }

    /// Reads a string to keep.
    pub(super) fn owned_string(&mut self) -> Result<String, JsonError> {
        let text = self.string()?;
        self.charge(text.len() + ALLOCATION_BYTES)?;
        Ok(text.into_owned())
    }

    /// Reads a boolean; `null` is false.
    pub(super) fn boolean(&mut self) -> Result<bool, JsonError> {
        if self.word("true") {
            return Ok(true);
        }
        if self.word("false") || self.null() {
            return Ok(false);
        }
        Err(self.expected("true or false"))
    }

    /// Reads a number, or a string with one, as text. `null` is 0.
    pub(super) fn number(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.null() {
            return Ok(Cow::Borrowed("0"));
        }
        match self.peek() {
            Some(b'"') => self.text_value("a number"),
            Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(self.number_text()?)),
            _ => Err(self.expected("a number")),
        }
    }

    /// Whether `null` comes next; then it is read.
    pub(super) fn null(&mut self) -> bool {
        self.word("null")
    }

    /// Passes over any value.
    pub(super) fn skip(&mut self) -> Result<(), JsonError> {
        // What is open, the innermost last; as deep as messages may be, each an array in an object.
        let mut open: Vec<u8> = Vec::new();
        loop {
            let opened = self.skip_one(&mut open)?;
            if open.len() > 2 * MAX_DEPTH as usize {
                return Err(JsonError::TooDeep);
            }
            if opened {
                continue;
            }
            while let Some(end) = open.last().copied() {
                if self.accept(b',') {
                    break;
                }
                self.expect(end, "a comma or the end of an array or object")?;
                open.pop();
            }
            let Some(end) = open.last() else { return Ok(()) };
            if *end == b'}' {
                self.skip_name()?;
            }
        }
    }

    /// Fails unless nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end")) }
    }

    /// Takes bytes off those that may be spent.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), JsonError> {
        self.memory = self.memory.checked_sub(bytes).ok_or(JsonError::TooLarge)?;
        Ok(())
    }

    /// Appends to a vector, whose growth is charged.
    pub(super) fn push<'v, T>(&mut self, vector: &'v mut Vec<T>, value: T) -> Result<&'v mut T, JsonError> {
        if vector.len() == vector.capacity() {
            let more = vector.len().max(4);
            self.charge(more.saturating_mul(size_of::<T>()))?;
            vector.reserve(more);
        }
        vector.push(value);
        vector.last_mut().ok_or(JsonError::TooLarge)
    }

    /// What is wrong here.
    pub(super) fn expected(&self, what: &'static str) -> JsonError {
        JsonError::Expected(what, self.at)
    }

    /// Reads a value's beginning, or all of it where it has no parts; returns whether a part comes next.
    fn skip_one(&mut self, open: &mut Vec<u8>) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.text_value("a string").map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number_text().map(|_| false),
            Some(b'{') => {
                self.at += 1;
                if self.accept(b'}') {
                    return Ok(false);
                }
                open.push(b'}');
                self.skip_name().map(|()| true)
            }
            Some(b'[') => {
                self.at += 1;
                if self.accept(b']') {
                    return Ok(false);
                }
                open.push(b']');
                Ok(true)
            }
            _ if self.word("true") || self.word("false") || self.null() => Ok(false),
            _ => Err(self.expected("a value")),
        }
    }

    fn skip_name(&mut self) -> Result<(), JsonError> {
        self.text_value("a member's name")?;
        self.expect(b':', "a colon")
    }

    /// A string, by RFC 8259 section 7.
    fn text_value(&mut self, what: &'static str) -> Result<Cow<'a, str>, JsonError> {
        let start = self.at_token();
        self.expect(b'"', what)?;
        let mut escaped = false;
        loop {
            let Some(byte) = self.text.as_bytes().get(self.at) else { return Err(self.expected("a quote")) };
            match byte {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                }
                0..0x20 => return Err(self.expected("no control character")),
                _ => {}
            }
            self.at += 1;
        }
        let content = self.text.get(start + 1..self.at).unwrap_or_default();
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(content));
        }
        // Rare enough to be left to a general parser.
        let whole = self.text.get(start..self.at).unwrap_or_default();
        let text = serde_json::from_str(whole).map_err(|_| JsonError::Expected("valid escapes", start))?;
        Ok(Cow::Owned(text))
    }

    /// A number, by RFC 8259 section 6.
    fn number_text(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at_token();
        self.byte(b'-');
        if !self.byte(b'0') {
            self.digits()?;
        }
        if self.byte(b'.') {
            self.digits()?;
        }
        if self.byte(b'e') || self.byte(b'E') {
            let _ = self.byte(b'+') || self.byte(b'-');
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Reads this byte, if it comes next without white space before it.
    fn byte(&mut self, wanted: u8) -> bool {
        let is_next = self.text.as_bytes().get(self.at) == Some(&wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str) -> bool {
        let start = self.at_token();
        let is_next = self.text.get(start..).is_some_and(|rest| rest.starts_with(word));
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn accept(&mut self, wanted: u8) -> bool {
        self.at_token();
        self.byte(wanted)
    }

    fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), JsonError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.expected(what)) }
    }

    fn peek(&mut self) -> Option<u8> {
        let start = self.at_token();
        self.text.as_bytes().get(start).copied()
    }

    /// Passes over white space.
    fn at_token(&mut self) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
        self.at
    }
}
