//! Regular expressions in RE2's syntax, as Go reads it, for the crate `regex`.
//!
//! The expression is read token by token and written anew, because the two do not mean the same by the same text:
//!
//! 1. `\d`, `\w`, `\s`, `\b` and their opposites are of ASCII in RE2, and of Unicode in `regex`.
//! 2. `{` that opens no count, and `[`, `&`, `-`, `~` in a class, are characters in RE2.
//! 3. `\Q...\E`, octal escapes, and flags that are given twice or not at all, are of RE2 alone; the flags `x`, `u` and `R`,
//!    set operations in classes, `\u`, `a**` and `{,n}` are of `regex` alone, and refused.
//! 4. Groups may have any names of letters, digits and `_` in RE2, and one name may be there twice. So groups go without
//!    names, and their names are kept beside the expression.
//!
//! What is left of differences is in the head of [`super`].

use regex::{Regex, RegexBuilder};

use super::re2_escape::Cursor;

/// Bytes that a compiled expression may take.
const MAX_COMPILED_BYTES: usize = 10 << 20;
/// The largest count of a repetition in RE2.
const MAX_REPEAT: u32 = 1000;

/// A compiled expression, anchored at both ends as Prometheus anchors it.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What is run.
    pub(super) regex: Regex,
    /// The names of its groups by number; the first is the whole match.
    pub(super) names: Vec<Option<String>>,
}

/// Reads an expression and writes it anew.
struct Translator<'a> {
    input: Cursor<'a>,
    out: String,
    names: Vec<Option<String>>,
    /// Whether a repetition has something to repeat.
    repeatable: bool,
    before: Before,
}

/// What stands directly before the place where the translator is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    /// Something that a repetition may follow, or nothing.
    Other,
    /// A repetition, after which RE2 allows no other.
    Repetition,
    /// What RE2 looks through and `regex` does not: flags, or an empty `\Q\E`.
    Transparent,
}

/// Flags of a group, in the order of [`FLAGS`]: `None` where nothing was said.
type Flags = [Option<bool>; 4];
const FLAGS: [char; 4] = ['i', 'm', 's', 'U'];

// === impl Pattern ===

impl Pattern {
    /// Compiles an expression; the error says what is wrong with it.
    pub(super) fn new(expression: &str) -> Result<Pattern, String> {
        Pattern::unanchored(&format!("^(?s:{expression})$"))
    }

    /// Compiles an expression as it is.
    pub(super) fn unanchored(expression: &str) -> Result<Pattern, String> {
        let (text, names) = translate(expression)?;
        let regex = RegexBuilder::new(&text)
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|error| explain(&error))?;
        Ok(Pattern { regex, names })
    }

    /// Whether it matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The expression for the crate `regex`, and the names of its groups.
fn translate(expression: &str) -> Result<(String, Vec<Option<String>>), String> {
    let mut translator = Translator {
        input: Cursor::new(expression),
        out: String::with_capacity(2 * expression.len()),
        names: vec![None],
        repeatable: false,
        before: Before::Other,
    };
    while translator.token()? {}
    Ok((translator.out, translator.names))
}

/// The last line of what `regex` says, which is the one with the reason.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it takes more than {limit} bytes when compiled; make it smaller")
        }
        error => {
            let text = error.to_string();
            let line = text.lines().last().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

// === impl Translator ===

impl Translator<'_> {
    /// Translates one token; false at the end.
    fn token(&mut self) -> Result<bool, String> {
        let Some(first) = self.input.peek() else { return Ok(false) };
        match first {
            '*' | '+' | '?' => {
                self.input.next();
                self.repetition(&first.to_string())?;
            }
            '{' => match self.input.count() {
                Some((min, max)) => self.counted(min, max)?,
                None => {
                    self.input.next();
                    self.literal('{');
                }
            },
            '(' => self.open()?,
            '|' => self.structure("|", false),
            ')' => self.structure(")", true),
            '[' => self.class()?,
            '.' => self.structure(".", true),
            '^' => self.structure("^", true),
            '$' => self.structure("$", true),
            '\\' => self.escape()?,
            other => {
                self.input.next();
                self.literal(other);
            }
        }
        Ok(true)
    }

    /// One character of syntax that means the same to both.
    fn structure(&mut self, text: &str, repeatable: bool) {
        self.input.next();
        self.atom(text, repeatable);
    }

    fn atom(&mut self, text: &str, repeatable: bool) {
        self.out.push_str(text);
        self.repeatable = repeatable;
        self.before = Before::Other;
    }

    fn literal(&mut self, c: char) {
        write_literal(&mut self.out, c);
        self.repeatable = true;
        self.before = Before::Other;
    }

    fn counted(&mut self, min: u32, max: Option<u32>) -> Result<(), String> {
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(format!("a repetition counts to {MAX_REPEAT} at the most, and not downwards"));
        }
        let text = match max {
            Some(max) if max == min => format!("{{{min}}}"),
            Some(max) => format!("{{{min},{max}}}"),
            None => format!("{{{min},}}"),
        };
        self.repetition(&text)
    }

    fn repetition(&mut self, text: &str) -> Result<(), String> {
        if !self.repeatable {
            return Err(format!("{text:?} has nothing to repeat"));
        }
        match self.before {
            Before::Repetition => {
                return Err(format!("{text:?} follows another repetition; put the first in a group"));
            }
            Before::Transparent => {
                return Err(format!("{text:?} follows flags or an empty \\Q\\E; move it before them"));
            }
            Before::Other => {}
        }
        self.out.push_str(text);
        if self.input.take("?") {
            self.out.push('?');
        }
        self.before = Before::Repetition;
        Ok(())
    }

    /// What begins with an opening parenthesis.
    fn open(&mut self) -> Result<(), String> {
        self.input.next();
        if !self.input.take("?") {
            self.names.push(None);
            self.atom("(", false);
            return Ok(());
        }
        if self.input.take("P<") || self.input.take("<") {
            let name = self.input.until(">").unwrap_or_default();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(
                    "a group's name is letters, digits and _ between < and >; there is no looking behind"
                        .to_owned(),
                );
            }
            self.names.push(Some(name.to_owned()));
            self.atom("(", false);
            return Ok(());
        }
        self.flags()
    }

    /// Flags with or without a group, behind `(?`.
    fn flags(&mut self) -> Result<(), String> {
        let (mut flags, mut value, mut saw): (Flags, bool, bool) = ([None; 4], true, true);
        loop {
            match self.input.next() {
                Some('-') if value => (value, saw) = (false, false),
                Some(end @ (':' | ')')) if saw => {
                    write_flags(&mut self.out, flags, end);
                    match end {
                        ':' => (self.repeatable, self.before) = (false, Before::Other),
                        // Flags without a group: what may be repeated stays what it was.
                        _ => self.before = Before::Transparent,
                    }
                    return Ok(());
                }
                Some(c) => {
                    let known = FLAGS.iter().position(|flag| *flag == c).and_then(|at| flags.get_mut(at));
                    *known.ok_or("behind (? are only the flags i, m, s and U, and P<name> or <name>")? =
                        Some(value);
                    saw = true;
                }
                None => return Err("flags behind (? have no end".to_owned()),
            }
        }
    }

    /// What begins with a backslash, outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let assertions = [(r"\A", r"\A"), (r"\z", r"\z"), (r"\b", r"(?-u:\b)"), (r"\B", r"(?-u:\B)")];
        for (text, translated) in assertions {
            if self.input.take(text) {
                self.atom(translated, true);
                return Ok(());
            }
        }
        if self.input.take(r"\Q") {
            // Without its end it goes to the end of the expression, the closing anchor with it, as in Go.
            let text = self.input.until(r"\E").unwrap_or_else(|| self.input.rest());
            text.chars().for_each(|c| self.literal(c));
            if text.is_empty() {
                self.before = Before::Transparent;
            }
            return Ok(());
        }
        if let Some(class) = self.input.class_escape()? {
            self.atom(&class, true);
            return Ok(());
        }
        match char::from_u32(self.input.character_escape()?) {
            Some(c) => self.literal(c),
            None => self.atom(NOTHING, true),
        }
        Ok(())
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<(), String> {
        self.input.next();
        self.out.push_str(if self.input.take("^") { "[^" } else { "[" });
        let start = self.out.len();
        let mut first = true;
        while first || self.input.peek() != Some(']') {
            first = false;
            if let Some(class) = self.input.named_class()? {
                self.out.push_str(class);
            } else if let Some(class) = self.input.class_escape()? {
                self.out.push_str(&class);
            } else {
                self.class_range()?;
            }
        }
        self.input.next();
        if self.out.len() == start {
            // Only surrogates, which no text has.
            self.out.push_str("a&&b");
        }
        self.atom("]", true);
        Ok(())
    }

    /// A character or a range of a class.
    fn class_range(&mut self) -> Result<(), String> {
        let low = self.input.class_character()?;
        let mut high = low;
        if self.input.starts_with("-") && !self.input.starts_with("-]") && self.input.len() > 1 {
            self.input.next();
            high = self.input.class_character()?;
        }
        if high < low {
            return Err("a range of a class goes downwards".to_owned());
        }
        // Surrogates are in no text: the range goes on beside them.
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        if low <= high {
            write_literal(&mut self.out, low);
            self.out.push('-');
            write_literal(&mut self.out, high);
        }
        Ok(())
    }
}

/// A class that matches nothing.
pub(super) const NOTHING: &str = "[a&&b]";

fn write_literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() || c == '_' {
        return out.push(c);
    }
    out.push_str(&format!("\\x{:02x}", u32::from(c)));
}

/// Flags in the canonical form, and nothing where flags without a group say nothing.
fn write_flags(out: &mut String, flags: Flags, end: char) {
    let with =
        |wanted| FLAGS.iter().zip(flags).filter(move |(_, flag)| *flag == Some(wanted)).map(|(c, _)| *c);
    let (on, off): (String, String) = (with(true).collect(), with(false).collect());
    if on.is_empty() && off.is_empty() && end == ')' {
        return;
    }
    let minus = if off.is_empty() { "" } else { "-" };
    out.push_str(&format!("(?{on}{minus}{off}{end}"));
}

#[cfg(test)]
mod tests;
