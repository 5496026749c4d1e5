//! The second pass: the grammar of RFC 8259 over the tokens, and the members that are wanted.

use super::{Hit, MAX_DEPTH, NotAnObject, Value};
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

/// One walk over one text.
pub(super) struct Walk<'a> {
    pub padded: &'a [u8],
    pub len: usize,
    pub tokens: &'a [u32],
    pub tree: &'a PathTree,
    pub stack: &'a mut Vec<Frame>,
    pub hits: &'a mut Vec<Hit>,
    pub values: &'a mut [Value],
}

/// A key that was read.
#[derive(Clone, Copy)]
struct Key {
    at: u32,
    fits: Match,
    /// Recorded only because the object's others are.
    other: bool,
}

impl Walk<'_> {
    /// Where the object begins and ends. `BACKSLASH`: whether keys may be escaped.
    pub fn run<const BACKSLASH: bool>(mut self) -> Result<(u32, u32), NotAnObject> {
        self.stack.clear();
        let mut next = 0;
        let (open, byte) = self.token(&mut next)?;
        if byte != b'{' {
            return Err(NotAnObject);
        }
        let mut frame = Frame { node: ROOT, is_object: true, hit: 0, value: 0 };
        let mut first = true;
        loop {
            let (at, byte) = self.token(&mut next)?;
            let close = if frame.is_object { b'}' } else { b']' };
            if first && byte == close {
                self.end(frame, at);
                let Some(outer) = self.stack.pop() else { return self.finish(next, open, at) };
                frame = outer;
                // As behind any value.
            } else {
                let opened = if frame.is_object {
                    self.member::<BACKSLASH>(&mut next, frame, at, byte)?
                } else {
                    self.element(&next, frame, at, byte)?
                };
                if let Some(inner) = opened {
                    if self.stack.len() + 1 >= MAX_DEPTH {
                        return Err(NotAnObject);
                    }
                    self.stack.push(frame);
                    frame = inner;
                    first = true;
                    continue;
                }
            }
            // Behind a value: a comma, or the end of what it lies in, or of that again.
            loop {
                let (at, byte) = self.token(&mut next)?;
                if byte == b',' {
                    first = false;
                    break;
                }
                let close = if frame.is_object { b'}' } else { b']' };
                if byte != close {
                    return Err(NotAnObject);
                }
                self.end(frame, at);
                let Some(outer) = self.stack.pop() else { return self.finish(next, open, at) };
                frame = outer;
            }
        }
    }

    fn finish(&self, next: usize, open: u32, close: u32) -> Result<(u32, u32), NotAnObject> {
        if next == self.tokens.len() { Ok((open, close)) } else { Err(NotAnObject) }
    }

    #[inline(always)]
    fn token(&self, next: &mut usize) -> Result<(u32, u8), NotAnObject> {
        let at = *self.tokens.get(*next).ok_or(NotAnObject)?;
        *next += 1;
        let byte = *self.padded.get(at as usize).ok_or(NotAnObject)?;
        Ok((at, byte))
    }

    /// Where the token behind begins, the end of the text when there is none.
    #[inline(always)]
    fn following(&self, next: usize) -> usize {
        self.tokens.get(next).map_or(self.len, |at| *at as usize)
    }

    /// A member of an object from its key on. Returns what its value opens.
    #[inline(always)]
    fn member<const BACKSLASH: bool>(
        &mut self,
        next: &mut usize,
        frame: Frame,
        at: u32,
        byte: u8,
    ) -> Result<Option<Frame>, NotAnObject> {
        if byte != b'"' {
            return Err(NotAnObject);
        }
        let (colon, byte) = self.token(next)?;
        if byte != b':' {
            return Err(NotAnObject);
        }
        let key = if frame.node == NONE {
            Key { at, fits: Match::Nothing, other: false }
        } else {
            self.key::<BACKSLASH>(frame.node, at, colon)
        };
        let (value, byte) = self.token(next)?;
        match key.fits {
            Match::Nothing if !key.other => self.plain(*next, value, byte, NONE),
            _ => self.wanted(*next, key, value, byte),
        }
    }

    #[inline(always)]
    fn key<const BACKSLASH: bool>(&self, node: Node, at: u32, colon: u32) -> Key {
        let start = at as usize + 1;
        let mut end = colon as usize - 1;
        while self.padded.get(end).is_some_and(|b| *b != b'"') {
            end -= 1;
        }
        let padded = self.padded.get(start..).unwrap_or_default();
        let len = end - start;
        let fits = match padded.get(..len) {
            Some(key) if BACKSLASH && key.contains(&b'\\') => self.escaped_key(node, key),
            _ => self.tree.match_key(node, padded, len),
        };
        Key { at, fits, other: fits == Match::Nothing && self.tree.records_others(node) }
    }

    #[cold]
    fn escaped_key(&self, node: Node, key: &[u8]) -> Match {
        let mut plain = Vec::with_capacity(key.len() + crate::batch::PADDING);
        json::unescape(key, &mut plain);
        let len = plain.len();
        plain.resize(len + crate::batch::PADDING, 0);
        self.tree.match_key(node, &plain, len)
    }

    /// An element of an array. Paths pass through arrays, so objects inside are looked up at the array's node.
    #[inline(always)]
    fn element(&mut self, next: &usize, frame: Frame, at: u32, byte: u8) -> Result<Option<Frame>, NotAnObject> {
        self.plain(*next, at, byte, frame.node)
    }

    /// A value that nobody wants for itself.
    #[inline(always)]
    fn plain(&self, next: usize, at: u32, byte: u8, node: Node) -> Result<Option<Frame>, NotAnObject> {
        match byte {
            b'"' => Ok(None),
            b'{' | b'[' => Ok(Some(Frame { node, is_object: byte == b'{', hit: 0, value: 0 })),
            _ => self.scalar(next, at, byte).map(|_| None),
        }
    }

    /// A value that is read, recorded, or on the way to one that is.
    fn wanted(&mut self, next: usize, key: Key, at: u32, byte: u8) -> Result<Option<Frame>, NotAnObject> {
        let (kind, end) = match byte {
            b'{' => (Kind::Object, at),
            b'[' => (Kind::Array, at),
            b'"' => (Kind::String, self.trimmed(self.following(next))),
            _ => self.scalar(next, at, byte)?,
        };
        let (node, beyond) = match key.fits {
            Match::Exact(node) => (node, false),
            Match::Beyond(node) => (node, true),
            Match::Nothing => (NONE, false),
        };
        let mut hit = 0;
        if key.other || self.tree.is_recorded(node) {
            let top = self.stack.is_empty();
            self.hits.push(Hit { node, beyond, kind, top, key: key.at, value: at, end });
            hit = self.hits.len() as u32;
        }
        let inner = if beyond { NONE } else { node };
        let mut value = 0;
        if inner != NONE
            && let Some(field) = self.tree.field(inner)
            && let Some(place) = self.values.get_mut(field as usize)
        {
            let inside = u32::from(kind == Kind::String);
            *place = Value { start: at + inside, end: end - inside, kind };
            value = field + 1;
        }
        let opens = matches!(kind, Kind::Object | Kind::Array);
        Ok(opens.then_some(Frame { node: inner, is_object: kind == Kind::Object, hit, value }))
    }

    /// An object or array ended: so do the hit and the value that it is.
    #[inline(always)]
    fn end(&mut self, frame: Frame, at: u32) {
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

    /// A number or literal: its kind and end.
    #[inline(always)]
    fn scalar(&self, next: usize, at: u32, byte: u8) -> Result<(Kind, u32), NotAnObject> {
        let end = self.trimmed(self.following(next));
        let text = self.padded.get(at as usize..end as usize).ok_or(NotAnObject)?;
        let kind = match byte {
            b'-' | b'0'..=b'9' if is_number(text) => Kind::Number,
            b't' if text == b"true" => Kind::Bool,
            b'f' if text == b"false" => Kind::Bool,
            b'n' if text == b"null" => Kind::Null,
            _ => return Err(NotAnObject),
        };
        Ok((kind, end))
    }

    /// The place behind the last byte before `end` that is not white space.
    #[inline(always)]
    fn trimmed(&self, mut end: usize) -> u32 {
        while end > 0 && self.padded.get(end - 1).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            end -= 1;
        }
        end as u32
    }
}

/// RFC 8259 section 6.
#[inline(always)]
fn is_number(text: &[u8]) -> bool {
    let digits = |mut at: usize| {
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut at = digits(start);
    if at == start || (at > start + 1 && text.get(start) == Some(&b'0')) {
        return false;
    }
    if text.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return false;
        }
        at = end;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end == at + 1 + sign {
            return false;
        }
        at = end;
    }
    at == text.len()
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
