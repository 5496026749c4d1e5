//! Members from the named groups of a regular expression.

use regex::{Regex, RegexBuilder};

use super::{MAX_MEMBERS, end_document, start_document};
use crate::json;

/// Bound of the compiled expression's size, and of each worker's cache for it.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;

/// Why a regular expression cannot be a parser.
#[derive(Debug, thiserror::Error)]
pub enum RegexError {
    /// It is no regular expression, or too large a one.
    #[error("cannot compile the regular expression: {0}")]
    Compile(#[from] regex::Error),
    /// Without a named group it would add nothing.
    #[error("the regular expression has no named group; name what is to be a member: (?<name>...)")]
    NoNamedGroup,
    /// The document would have too many members.
    #[error("the regular expression has {count} named groups; take at most {max}")]
    TooManyGroups {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Two groups would be the same member.
    #[error("the groups message and regex.message are the same member; rename one of them")]
    SameMember,
}

/// A regular expression whose named groups are members.
///
/// It matches anywhere in the text unless it is anchored, and the first match counts. A group that took no
/// part in the match is no member. The group `message` is the member `regex.message`, since `message` is the
/// text.
#[derive(Clone, Debug)]
pub struct RegexParser {
    regex: Regex,
    /// Index of each named group, and what stands before its value: `,"name":"`.
    groups: Vec<(usize, Vec<u8>)>,
}

impl RegexParser {
    /// Compiles `pattern`, in the syntax of the `regex` crate.
    pub fn new(pattern: &str) -> Result<RegexParser, RegexError> {
        let regex = RegexBuilder::new(pattern)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()?;
        let names = || regex.capture_names().enumerate().filter_map(|(index, name)| Some((index, name?)));
        let (count, max) = (names().count(), MAX_MEMBERS - 1);
        if count == 0 {
            return Err(RegexError::NoNamedGroup);
        }
        if count > max {
            return Err(RegexError::TooManyGroups { count, max });
        }
        if ["message", "regex.message"].iter().all(|own| names().any(|(_, name)| name == *own)) {
            return Err(RegexError::SameMember);
        }
        let groups = names().map(|(index, name)| (index, member_start(name))).collect();
        Ok(RegexParser { regex, groups })
    }

    /// Appends a document; `false`, and nothing appended, if the text does not match.
    pub(super) fn render(&self, text: &str, out: &mut Vec<u8>) -> bool {
        let Some(captures) = self.regex.captures(text) else { return false };
        start_document(out, text);
        for (index, member_start) in &self.groups {
            if let Some(group) = captures.get(*index) {
                out.extend_from_slice(member_start);
                json::write_escaped(out, group.as_str().as_bytes());
                out.push(b'"');
            }
        }
        end_document(out);
        true
    }
}

fn member_start(name: &str) -> Vec<u8> {
    let mut out = vec![b','];
    json::write_string(&mut out, if name == "message" { "regex.message" } else { name });
    out.extend_from_slice(b":\"");
    out
}
