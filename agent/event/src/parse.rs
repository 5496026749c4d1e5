//! Parsers: a line that is not a JSON object is given one.
//!
//! Whatever a parser finds, the text itself is kept byte for byte under `message`, and the other members are
//! strings, numbers too: a member of one type everywhere is what an index can map. A member stands in a
//! document once; of a name that a text has twice, the last value holds.
//!
//! | parser | members besides `message` |
//! |---|---|
//! | `json`, `none` | none |
//! | `logfmt` | one for each pair `key=value` or `key="quoted value"`; see [`logfmt`] |
//! | `klog` | `level`, `thread`, `source`; of structured records `msg` and one for each pair; see [`klog`] |
//! | `auto` | those of `klog` or `logfmt` where the text is surely one of them, else none |
//! | `regex` | one for each named group that took part in the match; see [`RegexParser`] |
//!
//! A text that is not what its parser expects gets `message` alone. A pair or group whose name the parser
//! needs itself (`message`, and with `klog` also `level`, `thread`, `source` and `msg`) goes under the
//! parser's name: `logfmt.message`, `klog.level`, `regex.message`. Names with dots stay as they are. At most
//! [`MAX_MEMBERS`] members are made; what goes beyond them stays in `message` only.

pub mod klog;
pub mod logfmt;
mod pairs;
mod quoted;
mod regex;
#[cfg(test)]
mod tests;

pub use self::regex::{RegexError, RegexParser};

use crate::json;

/// A document made from text has at most so many members, `message` among them.
pub const MAX_MEMBERS: usize = 128;

/// How a line that is not a JSON object becomes a document.
#[derive(Clone, Debug, Default)]
pub enum Parser {
    /// Such a line is text. The default.
    #[default]
    Json,
    /// klog and logfmt are recognised, everything else is text.
    Auto,
    /// `key=value` pairs.
    Logfmt,
    /// The format of Kubernetes' own components.
    Klog,
    /// The named groups of a regular expression.
    Regex(Box<RegexParser>),
    /// Every line is text, JSON too: the caller does not look for JSON.
    None,
}

impl Parser {
    /// Whether a line that is a JSON object is its own document, so that only other lines are rendered.
    pub fn takes_json(&self) -> bool {
        !matches!(self, Parser::None)
    }

    /// Appends a document for `text` to `out`: one JSON object, without a newline and without duplicate
    /// names.
    pub fn render(&self, text: &str, out: &mut Vec<u8>) {
        let rendered = match self {
            Parser::Json | Parser::None => false,
            Parser::Auto => klog::render(text, out) || logfmt::render_recognised(text, out),
            Parser::Logfmt => logfmt::render(text, out),
            Parser::Klog => klog::render(text, out),
            Parser::Regex(parser) => parser.render(text, out),
        };
        if !rendered {
            start_document(out, text);
            end_document(out);
        }
    }
}

fn start_document(out: &mut Vec<u8>, text: &str) {
    // Room for a few escapes, so that most documents grow their buffer once.
    out.reserve(text.len() + text.len() / 8 + 16);
    out.extend_from_slice(b"{\"message\":\"");
    json::write_escaped(out, text.as_bytes());
    out.push(b'"');
}

fn end_document(out: &mut Vec<u8>) {
    out.push(b'}');
}
