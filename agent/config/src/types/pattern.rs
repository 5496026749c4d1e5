//! Regular expressions for parsing lines.

use regex::RegexBuilder;

use super::Format;
use crate::error::Complaint;

/// A regular expression that was compiled once to prove it valid, and has at least one named group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// The compiled form of one expression may take this much memory.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;

/// A document may have 128 members, `message` among them.
const MAX_NAMED_GROUPS: usize = 127;

impl Pattern {
    /// The expression's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Format for Pattern {
    const NAME: &'static str = "Pattern";
    const DESCRIPTION: &'static str = "A regular expression with at least one named group, such as \
                                       `^(?P<level>[A-Z]+) (?P<message>.*)$`. No look-around, no back references.";
    const EXPECTED: &'static str = "a regular expression with named groups";

    fn parse(text: &str) -> Result<Pattern, Complaint> {
        let compiled = RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).build().map_err(describe)?;
        let names: Vec<&str> = compiled.capture_names().flatten().collect();
        if names.is_empty() {
            return Err(Complaint::new("the regular expression has no named group")
                .help("name what is to become a member: (?P<level>[A-Z]+)"));
        }
        if names.len() > MAX_NAMED_GROUPS {
            let message = format!("the regular expression has {} named groups", names.len());
            return Err(Complaint::new(message).help(format!("take at most {MAX_NAMED_GROUPS}")));
        }
        // The text itself is `message`, so a group of that name becomes the member `regex.message`.
        if names.contains(&"message") && names.contains(&"regex.message") {
            let complaint = Complaint::new("the groups message and regex.message are the same member");
            return Err(complaint.help("rename one of them"));
        }
        Ok(Pattern(text.to_string()))
    }
}

/// A regular expression for lines that was compiled once to prove it valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePattern(String);

impl LinePattern {
    /// The expression's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Format for LinePattern {
    const NAME: &'static str = "LinePattern";
    const DESCRIPTION: &'static str = "A regular expression that is looked for in a line, such as `^\\d{4}-`. No look-around, no back references.";
    const EXPECTED: &'static str = "a regular expression";

    fn parse(text: &str) -> Result<LinePattern, Complaint> {
        let compiled = RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).build().map_err(describe)?;
        if compiled.is_match("") {
            return Err(Complaint::new("the regular expression finds something in every line")
                .help("begin it with ^ and what the first line of an event begins with"));
        }
        Ok(LinePattern(text.to_string()))
    }
}

fn describe(error: regex::Error) -> Complaint {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            Complaint::new(format!("the regular expression needs more than {limit} bytes when compiled"))
                .help("make its repetitions smaller")
        }
        // The error draws the expression over several lines; the reason stands in the last one.
        error => {
            let drawn = error.to_string();
            let reason = drawn.lines().last().unwrap_or_default().trim();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            Complaint::new(format!("invalid regular expression: {reason}"))
        }
    }
}
