//! The structural scan: proves that a text is one JSON object by RFC 8259 and finds the members that are wanted.
//!
//! Two passes over one event. The first classifies blocks of 64 bytes into bit masks, with SIMD where the CPU has it
//! (chosen once, at run time) and portably elsewhere, and lists where tokens begin: structural characters, the
//! opening quotes of strings, the first bytes of numbers and literals. The second walks the tokens, checks the
//! grammar and matches keys against a [`PathTree`]. Nothing is skipped: the last of two equal keys counts, and a
//! fault behind the last wanted member is a fault.
//!
//! 1. A row is scanned by itself. An unterminated string cannot change what its neighbours are.
//! 2. The first pass may differ between implementations in how it classifies bytes that are invalid outside strings;
//!    what the second pass makes of them is the same. A property test holds both against each other and against
//!    another parser.
//! 3. A text that is shaped like one before it in its stream needs neither pass; see `shape`.
//! 4. UTF-8 is the caller's to check where [`Facts::non_ascii`] says that there is something to check.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod blocks;
mod shape;
mod walk;

use crate::column::Kind;
use crate::path::{Node, PathTree};

/// Deepest nesting that is taken as JSON; what goes deeper is text. OpenSearch refuses documents at this depth too.
pub const MAX_DEPTH: usize = 1_000;

/// Memory for so many tokens is kept: enough for any text but one that is a batch of its own.
const MAX_KEPT_TOKENS: usize = crate::batch::MAX_BATCH_BYTES;

/// A text to scan.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Tells streams apart, whose events look alike; it changes no answer.
    pub stream: u64,
    /// The text and at least [`crate::batch::PADDING`] bytes behind it.
    pub padded: &'a [u8],
    /// Bytes of the text itself.
    pub len: usize,
}

/// The text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

/// A value that a stage reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Where its text begins, from the start of the event; behind the quote for a string.
    pub start: u32,
    /// Where its text ends; before the quote for a string.
    pub end: u32,
    /// What it is.
    pub kind: Kind,
}

/// A recorded member. Positions count from the start of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The node that its path matches.
    pub node: Node,
    /// Whether the member's path goes on behind the node's: a key such as `labels.app` where `labels` is recorded, or
    /// another member of an object whose others are recorded.
    pub beyond: bool,
    /// What its value is.
    pub kind: Kind,
    /// Whether it hangs on the event itself, not on an inner object.
    pub top: bool,
    /// Where the key's opening quote is.
    pub key: u32,
    /// Where the value begins, with its quote.
    pub value: u32,
    /// Behind the value's last byte.
    pub end: u32,
}

/// What the first pass learnt of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// There is a backslash somewhere.
    pub backslash: bool,
    /// There is a byte beyond ASCII somewhere.
    pub non_ascii: bool,
    /// There is a control character somewhere, a tab or the end of a line: white space between tokens.
    pub control: bool,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Facts of the whole text.
    pub facts: Facts,
    /// Where the object's `{` is.
    pub open: u32,
    /// Where the object's `}` is.
    pub close: u32,
}

/// Scans texts; keeps its memory between them, and the shapes it has seen: a scanner is for one tree.
#[derive(Debug)]
pub struct Scanner {
    tokens: Vec<u32>,
    stack: Vec<walk::Frame>,
    shapes: shape::Shapes,
    max_depth: usize,
    level: Level,
}

/// Which implementation of the first pass is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Byte by byte over a table.
    Portable,
    /// AVX2 and carry-less multiplication.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

// === impl Level ===

impl Level {
    /// The best that this CPU can do.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        if avx2::is_supported() {
            return Level::Avx2;
        }
        Level::Portable
    }
}

// === impl Scanner ===

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new(Level::detect())
    }
}

impl Scanner {
    /// A scanner at this level. A level that the CPU lacks falls back to the portable one.
    pub fn new(level: Level) -> Scanner {
        let supported = level == Level::Portable || Level::detect() == level;
        let level = if supported { level } else { Level::Portable };
        let shapes = shape::Shapes::default();
        Scanner { tokens: Vec::new(), stack: Vec::new(), shapes, max_depth: MAX_DEPTH, level }
    }

    /// Forgets what it has learnt of texts, so that it can go on with another tree.
    pub fn forget(&mut self) {
        self.shapes = shape::Shapes::default();
    }

    /// Gives memory back that a giant text took.
    pub(crate) fn trim(&mut self) {
        if self.tokens.len() > MAX_KEPT_TOKENS {
            self.tokens = Vec::new();
        }
    }

    /// Takes nesting up to `depth`, in place of [`MAX_DEPTH`].
    pub(crate) fn set_max_depth(&mut self, depth: usize) {
        self.max_depth = depth;
    }

    /// [`Scanner::scan`] for two texts of one stream at once, where both are shaped like the last of it: much faster than
    /// one after the other. `None` where they are not; each is to be scanned by itself then. `values` has the places of
    /// the first, then those of the second. Answers how many hits each has.
    #[inline]
    pub fn scan_pair(
        &mut self,
        texts: [Text<'_>; 2],
        hits: &mut Vec<Hit>,
        values: &mut [Value],
        found: &mut [Found; 2],
    ) -> Option<usize> {
        self.shapes.apply_pair(self.level, texts, hits, values, found)
    }

    /// Scans a text. Appends the recorded members to `hits`, in the order of their keys, and writes the values that are read to
    /// `values`, which has a place for each of the tree's fields and comes in with every place absent. On a refusal
    /// both may hold remains that mean nothing.
    pub fn scan(
        &mut self,
        text: Text<'_>,
        tree: &PathTree,
        hits: &mut Vec<Hit>,
        values: &mut [Value],
    ) -> Result<Found, NotAnObject> {
        let Text { stream, padded, len } = text;
        debug_assert!(padded.len() >= len + crate::batch::PADDING && values.len() >= tree.fields());
        if let Some((facts, open, close)) = self.shapes.apply(self.level, text, hits, values) {
            return Ok(Found { facts, open, close });
        }
        let (facts, count) = match self.level {
            Level::Portable => blocks::index(blocks::Portable::default(), padded, len, &mut self.tokens)?,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::index(padded, len, &mut self.tokens)?,
        };
        let text = walk::Gaps { padded, len, tokens: self.tokens.get(..count).ok_or(NotAnObject)? };
        if facts.backslash {
            walk::check_escapes(padded.get(..len).ok_or(NotAnObject)?)?;
        }
        let known = hits.len();
        let max_depth = self.max_depth;
        let walk = walk::Walk { text, tree, max_depth, stack: &mut self.stack, hits, values };
        let (open, close) = if facts.backslash { walk.run::<true>()? } else { walk.run::<false>()? };
        self.shapes.learn(stream, text, hits.get(known..).unwrap_or_default(), values);
        Ok(Found { facts, open, close })
    }
}

#[cfg(test)]
mod tests;
