//! The small parts of RE2's syntax: counts, escapes, named classes.

use super::re2_unicode;

/// The characters of an expression, from front to back.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(&'a str);

/// Classes by their names in brackets: `[:alpha:]`.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];
/// Perl's classes, of ASCII alone.
const PERL: [(&str, &str); 6] = [
    (r"\d", "[0-9]"),
    (r"\D", "[^0-9]"),
    (r"\s", r"[\t\n\x0c\r\x20]"),
    (r"\S", r"[^\t\n\x0c\r\x20]"),
    (r"\w", "[0-9A-Za-z_]"),
    (r"\W", "[^0-9A-Za-z_]"),
];

// === impl Cursor ===

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor(text)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let first = chars.next();
        self.0 = chars.as_str();
        first
    }

    /// Bytes that are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn starts_with(&self, text: &str) -> bool {
        self.0.starts_with(text)
    }

    /// Goes behind this text where it is next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// What is before the next `end`; goes behind that.
    pub(super) fn until(&mut self, end: &str) -> Option<&'a str> {
        let (text, rest) = self.0.split_once(end)?;
        self.0 = rest;
        Some(text)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0)
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is no count, and stays.
    pub(super) fn count(&mut self) -> Option<(u32, Option<u32>)> {
        let mut ahead = self.clone();
        ahead.take("{").then_some(())?;
        let min = ahead.number()?;
        let max = match ahead.next()? {
            '}' => Some(min),
            ',' if ahead.take("}") => None,
            ',' => {
                let max = ahead.number()?;
                ahead.take("}").then_some(())?;
                Some(max)
            }
            _ => return None,
        };
        *self = ahead;
        Some((min, max))
    }

    /// A number without leading zeros; a very large one is some large one.
    fn number(&mut self) -> Option<u32> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        self.0 = rest;
        Some(digits.parse().unwrap_or(u32::MAX))
    }

    /// `[:name:]` inside of a class.
    pub(super) fn named_class(&mut self) -> Result<Option<&'a str>, String> {
        let Some(inner) = self.0.strip_prefix("[:") else { return Ok(None) };
        let Some(end) = inner.find(":]") else { return Ok(None) };
        let (name, _) = inner.split_at_checked(end).unwrap_or_default();
        if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("there is no class [:{name}:]"));
        }
        let (class, rest) = self.0.split_at_checked(end + 4).unwrap_or_default();
        self.0 = rest;
        Ok(Some(class))
    }

    /// A class behind a backslash, as it is written for the crate `regex`.
    pub(super) fn class_escape(&mut self) -> Result<Option<String>, String> {
        for (text, class) in PERL {
            if self.take(text) {
                return Ok(Some(class.to_owned()));
            }
        }
        let negated = self.starts_with(r"\P");
        if !negated && !self.starts_with(r"\p") {
            return Ok(None);
        }
        let mut ahead = self.clone();
        ahead.next();
        ahead.next();
        let name = match ahead.take("{") {
            true => ahead.until("}").ok_or(r"\p{ has no end")?.to_owned(),
            false => ahead.next().map(String::from).unwrap_or_default(),
        };
        let (name, negated) = name.strip_prefix('^').map_or((&*name, negated), |name| (name, !negated));
        let class = re2_unicode::class(name, negated)
            .ok_or_else(|| format!("{name:?} behind \\p is no general category or script that Go knows"))?;
        *self = ahead;
        Ok(Some(class))
    }

    /// A character of a class, escaped or not; a code point, which may be a surrogate.
    pub(super) fn class_character(&mut self) -> Result<u32, String> {
        match self.peek() {
            Some('\\') => self.character_escape(),
            Some(_) => Ok(self.next().map_or(0, u32::from)),
            None => Err("a class has no closing ]".to_owned()),
        }
    }

    /// A character behind a backslash; a code point, which may be a surrogate.
    pub(super) fn character_escape(&mut self) -> Result<u32, String> {
        self.next();
        let c = self.next().ok_or("a backslash is at the end")?;
        let invalid = || format!("there is no escape \\{c}");
        match c {
            '0' => Ok(self.octal(0)),
            '1'..='7' if matches!(self.peek(), Some('0'..='7')) => {
                Ok(self.octal(c.to_digit(8).unwrap_or_default()))
            }
            'x' if self.take("{") => {
                let digits = self.until("}").ok_or_else(invalid)?;
                let all_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let trimmed = digits.trim_start_matches('0');
                let number = if trimmed.is_empty() { Ok(0) } else { u32::from_str_radix(trimmed, 16) };
                number.ok().filter(|number| all_hex && *number <= u32::from(char::MAX)).ok_or_else(invalid)
            }
            'x' => {
                let mut digit = || self.next().and_then(|c| c.to_digit(16)).ok_or_else(invalid);
                Ok(digit()? * 16 + digit()?)
            }
            'a' => Ok(7),
            'f' => Ok(12),
            'n' => Ok(10),
            'r' => Ok(13),
            't' => Ok(9),
            'v' => Ok(11),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(u32::from(c)),
            _ => Err(invalid()),
        }
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: u32) -> u32 {
        let mut number = first;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            self.next();
            number = number * 8 + digit;
        }
        number
    }
}
