//! `key=value` pairs, as logfmt and klog have them: found in a text, made unique, written as members.

use super::quoted::Quoted;
use crate::{json, swar};

/// So many pairs of a text are read, the rest stays in `message`. With what a parser adds of its own, a
/// document keeps to [`super::MAX_MEMBERS`].
pub(super) const MAX_PAIRS: usize = 120;
/// The most members any parser adds to the pairs: klog's `message`, `level`, `thread`, `source` and `msg`.
const MAX_OWN_MEMBERS: usize = 5;
const _: () = assert!(MAX_PAIRS + MAX_OWN_MEMBERS <= super::MAX_MEMBERS);

/// What stands behind the `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Up to the next blank.
    Bare(&'a [u8]),
    /// In quotes.
    Quoted(Quoted<'a>),
}

impl Value<'_> {
    /// Appends it as the content of a JSON string.
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Value::Bare(bytes) => json::write_escaped(out, bytes),
            Value::Quoted(quoted) => quoted.write(out),
        }
    }
}

/// `key=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    /// At least one byte; without blanks, control characters, `=` and `"`.
    pub key: &'a [u8],
    pub value: Value<'a>,
}

/// How far a value without quotes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BareValues {
    /// To the next blank.
    ToBlank,
    /// The same, but one that begins with a bracket or a brace goes to where it is closed: klog writes JSON.
    ToBlankOrClosed,
}

/// Goes through the first line of a text: `Ok` for a pair, `Err` for a word that is none.
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
    bare: BareValues,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a [u8], bare: BareValues) -> Tokens<'a> {
        Tokens { rest: text, bare }
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest.iter().position(|byte| *byte > b' ' || *byte == b'\n');
        self.rest = blanks.map_or(&[], |blanks| &self.rest[blanks..]);
    }

    /// The pair that `rest` begins with; `rest` is then what follows it.
    fn pair(&mut self) -> Option<Pair<'a>> {
        let ends = |word| swar::below(word, b'!') | swar::equal(word, b'=') | swar::equal(word, b'"');
        let (key, behind) = self.rest.split_at(swar::find(self.rest, ends));
        let value = behind.strip_prefix(b"=").filter(|_| !key.is_empty())?;
        let (value, rest) = match value {
            [b'"', quoted @ ..] => {
                let (quoted, rest) = Quoted::read(quoted)?;
                (Value::Quoted(quoted), rest)
            }
            _ => {
                let (bare, rest) = value.split_at(self.bare_len(value));
                (Value::Bare(bare), rest)
            }
        };
        self.rest = rest;
        Some(Pair { key, value })
    }

    fn bare_len(&mut self, value: &[u8]) -> usize {
        if self.bare == BareValues::ToBlank || !matches!(value.first(), Some(b'{' | b'[')) {
            return word_len(value);
        }
        if let Some(len) = closed_len(value)
            && value.get(len).is_none_or(|byte| *byte <= b' ')
        {
            return len;
        }
        // It is not looked for again: each time might go through all of the text.
        self.bare = BareValues::ToBlank;
        word_len(value)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Pair<'a>, ()>;

    fn next(&mut self) -> Option<Result<Pair<'a>, ()>> {
        self.skip_blanks();
        if matches!(self.rest, [] | [b'\n', ..]) {
            return None;
        }
        if let Some(pair) = self.pair() {
            return Some(Ok(pair));
        }
        self.rest = &self.rest[word_len(self.rest)..];
        Some(Err(()))
    }
}

fn word_len(bytes: &[u8]) -> usize {
    swar::find(bytes, |word| swar::below(word, b'!'))
}

/// Length of a value that begins with `{` or `[`, up to the bracket that closes it on the same line. Strings
/// within it are skipped.
fn closed_len(value: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match value.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => at += Quoted::read(&value[at + 1..])?.0.content.len() + 1,
            b'\n' => return None,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The names that a parser keeps for members of its own. A pair of such a name is written under `prefix`.
#[derive(Debug)]
pub(super) struct OwnNames {
    /// The parser's name and a dot.
    pub prefix: &'static [u8],
    pub names: &'static [&'static [u8]],
}

impl OwnNames {
    fn has(&self, key: &[u8]) -> bool {
        self.names.contains(&key)
    }

    /// The key without a prefix that it would be written with anyway: where two of these are equal, so are
    /// the names of their members.
    fn unprefixed<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        if key.first() != self.prefix.first() {
            return key;
        }
        key.strip_prefix(self.prefix).filter(|rest| self.has(rest)).unwrap_or(key)
    }
}

/// The pairs of a text, each key once.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    own: &'static OwnNames,
    pairs: Vec<Pair<'a>>,
    /// How many were given, those whose key had been there included.
    given: usize,
    /// A bit for each key, so that most keys are known to be new without a search.
    seen: u64,
}

impl<'a> Pairs<'a> {
    pub fn new(own: &'static OwnNames) -> Pairs<'a> {
        Pairs { own, pairs: Vec::with_capacity(16), given: 0, seen: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether no more can be added.
    pub fn is_full(&self) -> bool {
        self.given >= MAX_PAIRS
    }

    /// Adds a pair; it replaces an earlier one of its name.
    pub fn add(&mut self, mut pair: Pair<'a>) {
        debug_assert!(!self.is_full());
        self.given += 1;
        pair.key = self.own.unprefixed(pair.key);
        let bit = key_bit(pair.key);
        if self.seen & bit != 0
            && let Some(earlier) = self.pairs.iter_mut().find(|earlier| earlier.key == pair.key)
        {
            earlier.value = pair.value;
            return;
        }
        self.seen |= bit;
        self.pairs.push(pair);
    }

    /// Appends them as members, a comma before each.
    pub fn write(&self, out: &mut Vec<u8>) {
        for pair in &self.pairs {
            out.extend_from_slice(b",\"");
            if self.own.has(pair.key) {
                out.extend_from_slice(self.own.prefix);
            }
            json::write_escaped(out, pair.key);
            out.extend_from_slice(b"\":\"");
            pair.value.write(out);
            out.push(b'"');
        }
    }
}

fn key_bit(key: &[u8]) -> u64 {
    let (first, last) = (key.first().copied().unwrap_or(0), key.last().copied().unwrap_or(0));
    let mixed = key.len() * 7 + usize::from(first) * 5 + usize::from(last) * 3;
    1 << (mixed % 64)
}
