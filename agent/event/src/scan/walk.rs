//! The second pass: the grammar of RFC 8259 over the tokens, and the members that are wanted.

use super::{Hit, NotAnObject, Value};
use crate::column::Kind;
use crate::json;
use crate::path::{Match, NONE, Node, PathTree, ROOT};

/// An object or array that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Where members of objects inside are looked up; [`NONE`] where nothing is wanted.
    node: Node,
    is_object: bool,
    /// Which hit ends where this ends, 0 for none, else one more than its index.
    hit: u32,
    /// Which value ends where this ends, 0 for none, else one more than its index.
    value: u16,
}

/// A text and its structural characters, with the gaps between them.
#[derive(Clone, Copy)]
pub(super) struct Gaps<'a> {
    pub padded: &'a [u8],
    pub len: usize,
    pub tokens: &'a [u32],
}

/// One walk over one text.
pub(super) struct Walk<'a> {
    pub text: Gaps<'a>,
    pub tree: &'a PathTree,
    pub max_depth: usize,
    pub stack: &'a mut Vec<Frame>,
    pub hits: &'a mut Vec<Hit>,
    pub values: &'a mut [Value],
}

/// A key that somebody wants.
#[derive(Clone, Copy)]
struct Key {
    at: u32,
    fits: Match,
}

impl Walk<'_> {
    /// Where the object begins and ends. `BACKSLASH`: whether keys may be escaped.
    ///
    /// The first pass has listed the structural characters and proved that between two of them there is at most one
    /// value, so what remains is to look at each gap once.
    pub fn run<const BACKSLASH: bool>(mut self) -> Result<(u32, u32), NotAnObject> {
        self.stack.clear();
        let mut tokens = self.text.tokens.iter();
        let (open, byte) = self.token(&mut tokens)?;
        if byte != b'{' || !self.text.is_blank(0, open) {
            return Err(NotAnObject);
        }
        let mut frame = Frame { node: ROOT, is_object: true, hit: 0, value: 0 };
        // `before` is the structural character before a member or element.
        let (mut before, mut just_opened) = (open, true);
        'value: loop {
            let (at, byte) = self.token(&mut tokens)?;
            let mut end = at;
            if !(just_opened && byte == frame.close() && self.text.is_blank(before + 1, at)) {
                let mut key = None;
                let (mut start, mut byte) = (before + 1, byte);
                if frame.is_object {
                    if byte != b':' {
                        return Err(NotAnObject);
                    }
                    key = self.key::<BACKSLASH>(frame.node, start, at)?;
                    start = at + 1;
                    (end, byte) = self.token(&mut tokens)?;
                }
                if byte == b'{' || byte == b'[' {
                    if self.stack.len() + 1 >= self.max_depth || !self.text.is_blank(start, end) {
                        return Err(NotAnObject);
                    }
                    let is_object = byte == b'{';
                    self.stack.push(frame);
                    frame = self.open(frame, key, is_object, end);
                    (before, just_opened) = (end, true);
                    continue;
                }
                self.scalar(key, start, end)?;
                if byte == b',' {
                    (before, just_opened) = (end, false);
                    continue;
                }
                if byte != frame.close() {
                    return Err(NotAnObject);
                }
            }
            // What ended may end what it lies in, and that again.
            loop {
                self.close(frame, end);
                let Some(outer) = self.stack.pop() else {
                    let at_end = tokens.next().is_none() && self.text.is_blank(end + 1, self.text.len as u32);
                    return if at_end { Ok((open, end)) } else { Err(NotAnObject) };
                };
                frame = outer;
                let (at, byte) = self.token(&mut tokens)?;
                if !self.text.is_blank(end + 1, at) {
                    return Err(NotAnObject);
                }
                if byte == b',' {
                    (before, just_opened) = (at, false);
                    continue 'value;
                }
                if byte != frame.close() {
                    return Err(NotAnObject);
                }
                end = at;
            }
        }
    }

    #[inline(always)]
    fn token(&self, tokens: &mut std::slice::Iter<'_, u32>) -> Result<(u32, u8), NotAnObject> {
        let at = *tokens.next().ok_or(NotAnObject)?;
        Ok((at, self.text.byte(at)))
    }

    /// The key in the gap before a colon, `None` where nobody wants its member.
    #[inline(always)]
    fn key<const BACKSLASH: bool>(
        &self,
        node: Node,
        start: u32,
        colon: u32,
    ) -> Result<Option<Key>, NotAnObject> {
        let (mut at, mut end) = (start, colon);
        if self.text.byte(at) != b'"' || self.text.byte(end - 1) != b'"' {
            at = self.text.skip_space(start, colon);
            end = self.text.trim_end(at, colon);
            if end - at < 2 || self.text.byte(at) != b'"' {
                return Err(NotAnObject);
            }
        }
        if node == NONE {
            return Ok(None);
        }
        if !BACKSLASH && !self.tree.may_match(node, self.text.byte(at + 1), self.text.byte(at + 2)) {
            return Ok(None);
        }
        self.wanted_key::<BACKSLASH>(node, at, end)
    }

    #[inline(never)]
    fn wanted_key<const BACKSLASH: bool>(
        &self,
        node: Node,
        at: u32,
        end: u32,
    ) -> Result<Option<Key>, NotAnObject> {
        let padded = self.text.padded.get(at as usize + 1..).unwrap_or_default();
        let len = (end - at) as usize - 2;
        let fits = match padded.get(..len) {
            Some(key) if BACKSLASH && key.contains(&b'\\') => self.escaped_key(node, key),
            _ => self.tree.match_key(node, padded, len),
        };
        Ok(match fits {
            Match::Nothing if self.tree.records_others(node) => Some(Key { at, fits: Match::Beyond(node) }),
            Match::Nothing => None,
            _ => Some(Key { at, fits }),
        })
    }

    #[cold]
    fn escaped_key(&self, node: Node, key: &[u8]) -> Match {
        let mut plain = Vec::with_capacity(key.len() + crate::batch::PADDING);
        json::unescape(key, &mut plain);
        let len = plain.len();
        plain.resize(len + crate::batch::PADDING, 0);
        self.tree.match_key(node, &plain, len)
    }

    /// The frame of an object or array that begins at `at`. Paths pass through arrays: objects inside are looked up
    /// at the array's node.
    #[inline(always)]
    fn open(&mut self, outer: Frame, key: Option<Key>, is_object: bool, at: u32) -> Frame {
        let Some(key) = key else {
            let node = if outer.is_object { NONE } else { outer.node };
            return Frame { node, is_object, hit: 0, value: 0 };
        };
        let kind = if is_object { Kind::Object } else { Kind::Array };
        // The stack holds the outer frame already.
        let (node, hit, value) = self.found(key, kind, at, at, self.stack.len() == 1);
        Frame { node, is_object, hit, value }
    }

    /// A string, number or literal in a gap.
    #[inline(always)]
    fn scalar(&mut self, key: Option<Key>, start: u32, end: u32) -> Result<(), NotAnObject> {
        let at = self.text.skip_space(start, end);
        let end = self.text.trim_end(at, end);
        let byte = self.text.byte(at);
        let kind =
            if byte == b'"' && end > at { Kind::String } else { self.text.plain_scalar(byte, at, end)? };
        if let Some(key) = key {
            self.found(key, kind, at, end, self.stack.is_empty());
        }
        Ok(())
    }

    /// A member that is read, recorded, or on the way to one that is: the node inside it, and which hit and value
    /// end where it ends.
    fn found(&mut self, key: Key, kind: Kind, at: u32, end: u32, top: bool) -> (Node, u32, u16) {
        let (node, beyond) = match key.fits {
            Match::Exact(node) => (node, false),
            Match::Beyond(node) => (node, true),
            Match::Nothing => return (NONE, 0, 0),
        };
        let mut hit = 0;
        if beyond || self.tree.is_recorded(node) {
            self.hits.push(Hit { node, beyond, kind, top, key: key.at, value: at, end });
            hit = self.hits.len() as u32;
        }
        if beyond {
            return (NONE, hit, 0);
        }
        let mut value = 0;
        if let Some(field) = self.tree.field(node)
            && let Some(place) = self.values.get_mut(field as usize)
        {
            let inside = u32::from(kind == Kind::String);
            *place = Value { start: at + inside, end: end - inside, kind };
            value = field + 1;
        }
        (self.tree.inside(node), hit, value)
    }

    /// An object or array ended: so do the hit and the value that it is.
    #[inline(always)]
    fn close(&mut self, frame: Frame, at: u32) {
        if frame.hit != 0
            && let Some(hit) = self.hits.get_mut(frame.hit as usize - 1)
        {
            hit.end = at + 1;
        }
        if frame.value != 0
            && let Some(value) = self.values.get_mut(frame.value as usize - 1)
        {
            value.end = at + 1;
        }
    }
}

impl Gaps<'_> {
    /// The byte at a place inside the text. Every place that is asked for is a token, lies between two tokens, or is
    /// the first byte of the text or of its padding.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub fn byte(&self, at: u32) -> u8 {
        debug_assert!((at as usize) < self.padded.len());
        // SAFETY: the first pass lists tokens inside the text only, and `Scanner::scan` makes sure that the text is
        // followed by its padding.
        unsafe { *self.padded.get_unchecked(at as usize) }
    }

    /// Whether there is only white space from `start` up to `end`.
    #[inline(always)]
    fn is_blank(&self, start: u32, end: u32) -> bool {
        start >= end || self.skip_space(start, end) == end
    }

    #[inline(always)]
    pub fn skip_space(&self, mut start: u32, end: u32) -> u32 {
        while start < end && is_space(self.byte(start)) {
            start += 1;
        }
        start
    }

    /// The place behind the last byte from `start` up to `end` that is not white space.
    #[inline(always)]
    pub fn trim_end(&self, start: u32, mut end: u32) -> u32 {
        while end > start && is_space(self.byte(end - 1)) {
            end -= 1;
        }
        end
    }

    #[inline(always)]
    pub fn plain_scalar(&self, byte: u8, at: u32, end: u32) -> Result<Kind, NotAnObject> {
        if matches!(byte, b'-' | b'0'..=b'9') {
            return if self.number_end(at) == Some(end) { Ok(Kind::Number) } else { Err(NotAnObject) };
        }
        match self.padded.get(at as usize..end as usize) {
            Some(b"true" | b"false") => Ok(Kind::Bool),
            Some(b"null") => Ok(Kind::Null),
            _ => Err(NotAnObject),
        }
    }

    /// Where the number that begins here ends (RFC 8259 section 6). A structural character stands somewhere behind
    /// it, so no digit is looked for beyond the text.
    #[inline(always)]
    fn number_end(&self, start: u32) -> Option<u32> {
        let start = start + u32::from(self.byte(start) == b'-');
        let mut at = self.digits_end(start);
        if at == start || (at > start + 1 && self.byte(start) == b'0') {
            return None;
        }
        if self.byte(at) == b'.' {
            let fraction = at + 1;
            at = self.digits_end(fraction);
            if at == fraction {
                return None;
            }
        }
        if self.byte(at) | 0x20 == b'e' {
            let exponent = at + 1 + u32::from(matches!(self.byte(at + 1), b'+' | b'-'));
            at = self.digits_end(exponent);
            if at == exponent {
                return None;
            }
        }
        Some(at)
    }

    /// [`Gaps::number_end`] where nothing is known of what follows: the padding may go on with digits, but a number
    /// that reaches the end of the text has nothing behind it and is none of an object's.
    #[inline(always)]
    pub fn bounded_number_end(&self, start: u32) -> Option<u32> {
        self.number_end(start).filter(|end| (*end as usize) < self.len)
    }

    #[inline(always)]
    fn digits_end(&self, mut at: u32) -> u32 {
        while self.byte(at).is_ascii_digit() && (at as usize) < self.len {
            at += 1;
        }
        at
    }
}

impl Frame {
    #[inline(always)]
    fn close(self) -> u8 {
        if self.is_object { b'}' } else { b']' }
    }
}

#[inline(always)]
fn is_space(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// RFC 8259 section 7: what may stand behind a backslash. A lone surrogate (`\ud800`) is allowed by the grammar.
pub(super) fn check_escapes(text: &[u8]) -> Result<(), NotAnObject> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', text.get(at..).unwrap_or_default()) {
        let escape = at + found + 1;
        match text.get(escape) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at = escape + 1,
            Some(b'u') => {
                let digits = text.get(escape + 1..escape + 5).ok_or(NotAnObject)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(NotAnObject);
                }
                at = escape + 5;
            }
            _ => return Err(NotAnObject),
        }
    }
    Ok(())
}
