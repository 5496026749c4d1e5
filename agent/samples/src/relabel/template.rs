//! What a match is replaced by: text with `$1`, `${1}`, `$name` and `${name}`, as Go's `Regexp.Expand` reads it.

use regex::Captures;

use super::re2::Pattern;

/// A replacement, or a target label.
#[derive(Clone, Debug, Default)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// What the first of these groups matched that took part.
    Groups(Vec<usize>),
}

/// More text than [`super::MAX_WRITTEN_BYTES`] was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLong;

// === impl Template ===

impl Template {
    /// Reads a template for the groups of a pattern. Nothing is wrong here: what is no reference is text, and what refers to
    /// no group is empty.
    pub(super) fn new(template: &str, pattern: &Pattern) -> Template {
        let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), template);
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
                continue;
            }
            let Some((name, after)) = reference(rest) else {
                text.push('$');
                continue;
            };
            rest = after;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Groups(groups(name, &pattern.names)));
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Template(parts)
    }

    /// Its text where it has no reference.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends it to `out`, with what was matched.
    pub(super) fn expand(&self, captures: &Captures<'_>, out: &mut String) -> Result<(), TooLong> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Groups(groups) => {
                    out.push_str(
                        groups
                            .iter()
                            .find_map(|group| captures.get(*group))
                            .map_or("", |group| group.as_str()),
                    );
                }
            }
            if out.len() > super::MAX_WRITTEN_BYTES {
                return Err(TooLong);
            }
        }
        Ok(())
    }
}

/// The name that a reference begins with, behind its `$`, and what follows the reference.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, in_braces) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    Some((name, if in_braces { rest.strip_prefix('}')? } else { rest }))
}

/// The groups that a name may mean: one by its number, or all of this name.
fn groups(name: &str, names: &[Option<String>]) -> Vec<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    // Go counts to 100,000,000 and takes what is beyond for a name.
    if let Some(number) = name.parse().ok().filter(|number| is_number && *number < 1_000_000_000) {
        return if number < names.len() { vec![number] } else { Vec::new() };
    }
    let named = names.iter().enumerate().filter(|(_, known)| known.as_deref() == Some(name));
    named.map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_go_reads_them() {
        let pattern = Pattern::new("(?P<a>x)|(?P<a>y)(?P<b_1>z)?|(?P<01>w)").unwrap();
        let cases = [
            ("$1", "x", "x"),
            ("$1x", "x", ""),
            ("${1}x", "x", "xx"),
            ("$0-$9", "x", "x-"),
            ("$a", "y", "y"),
            ("${a}${b_1}", "yz", "yz"),
            ("$$1", "x", "$1"),
            ("$", "x", "$"),
            ("a$", "x", "a$"),
            ("$-${}${1", "x", "$-${}${1"),
            ("${1-}", "x", "${1-}"),
            ("${01}$01", "w", "ww"),
            ("$1ü", "x", ""),
            ("$b_1.", "y", "."),
        ];
        for (template, text, wanted) in cases {
            let mut out = String::new();
            let captures = pattern.regex.captures(text).unwrap();
            Template::new(template, &pattern).expand(&captures, &mut out).unwrap();
            assert_eq!(out, wanted, "{template} with {text}");
        }
    }
}
