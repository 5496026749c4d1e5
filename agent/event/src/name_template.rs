//! Names made of a stream's attributes and an event's time: `logs-app-{namespace}-%Y.%m.%d`.
//!
//! 1. A template is checked when it is parsed: every placeholder is known, so rendering cannot fail.
//! 2. The time is that of the event, in UTC, and counts to the hour: within one hour a stream has one name.

use crate::stream::Attributes;
use crate::time::write_rfc3339;

/// Nanoseconds for which a name stays the same.
pub const NAME_GRAIN: i64 = 3600 * 1_000_000_000;
/// What an attribute is in a name where the stream has none.
const ABSENT: &str = "none";

/// A template of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Attribute(Attribute),
    Time(TimeField),
}

/// The attributes that a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Namespace,
    Pod,
    Container,
    Cluster,
    Node,
}

/// A part of a time, by its place in `2026-11-22T10:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeField {
    Year,
    Month,
    Day,
    Hour,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that is not known.
    #[error(
        "unknown placeholder {{{0}}}; known are {{namespace}}, {{pod}}, {{container}}, {{cluster}}, {{node}}"
    )]
    UnknownPlaceholder(String),
    /// A brace without its other.
    #[error("a brace stands alone; placeholders are written {{namespace}}")]
    LoneBrace,
    /// A part of the time that a name cannot have.
    #[error("unknown time field %{0}; known are %Y, %m, %d, %H and %% for a percent sign")]
    UnknownTimeField(String),
    /// Nothing at all.
    #[error("the name is empty")]
    Empty,
}

// === impl NameTemplate ===

impl NameTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<NameTemplate, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let part = match character {
                '{' => {
                    let (name, behind) = rest.as_str().split_once('}').ok_or(TemplateError::LoneBrace)?;
                    rest = behind.chars();
                    Part::Attribute(Attribute::named(name)?)
                }
                '}' => return Err(TemplateError::LoneBrace),
                '%' => match rest.next() {
                    Some('%') => {
                        literal.push('%');
                        continue;
                    }
                    field => Part::Time(TimeField::of(field)?),
                },
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(NameTemplate { parts })
    }

    /// The name for a stream and a time in nanoseconds since the Unix epoch, appended to `out`.
    pub fn render(&self, attributes: &Attributes, time: i64, out: &mut String) {
        let mut date = Vec::new();
        write_rfc3339(&mut date, time);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Attribute(attribute) => {
                    let value = attribute.of(attributes);
                    out.push_str(if value.is_empty() { ABSENT } else { value });
                }
                Part::Time(field) => {
                    let digits = date.get(field.place()).unwrap_or_default();
                    out.extend(digits.iter().map(|digit| char::from(*digit)));
                }
            }
        }
    }

    /// The text before the first placeholder.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// A pattern that every rendered name matches, with `*` for each placeholder and field of time.
    pub fn pattern(&self) -> String {
        let mut pattern = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => pattern.push_str(text),
                _ if pattern.ends_with('*') => {}
                _ => pattern.push('*'),
            }
        }
        // What is between two parts of a date matches as well.
        match pattern.find('*') {
            Some(first) => pattern.get(..=first).unwrap_or_default().to_owned(),
            None => pattern,
        }
    }
}

impl Attribute {
    fn named(name: &str) -> Result<Attribute, TemplateError> {
        Ok(match name {
            "namespace" => Attribute::Namespace,
            "pod" => Attribute::Pod,
            "container" => Attribute::Container,
            "cluster" => Attribute::Cluster,
            "node" => Attribute::Node,
            other => return Err(TemplateError::UnknownPlaceholder(other.chars().take(40).collect())),
        })
    }

    fn of(self, attributes: &Attributes) -> &str {
        match self {
            Attribute::Namespace => &attributes.namespace,
            Attribute::Pod => &attributes.pod,
            Attribute::Container => &attributes.container,
            Attribute::Cluster => &attributes.cluster,
            Attribute::Node => &attributes.node,
        }
    }
}

impl TimeField {
    fn of(letter: Option<char>) -> Result<TimeField, TemplateError> {
        Ok(match letter {
            Some('Y') => TimeField::Year,
            Some('m') => TimeField::Month,
            Some('d') => TimeField::Day,
            Some('H') => TimeField::Hour,
            other => return Err(TemplateError::UnknownTimeField(other.into_iter().collect())),
        })
    }

    fn place(self) -> std::ops::Range<usize> {
        match self {
            TimeField::Year => 0..4,
            TimeField::Month => 5..7,
            TimeField::Day => 8..10,
            TimeField::Hour => 11..13,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, time: i64) -> String {
        let attributes =
            Attributes { namespace: "shop".into(), cluster: "dev".into(), ..Attributes::default() };
        let mut out = String::new();
        NameTemplate::parse(template).unwrap().render(&attributes, time, &mut out);
        out
    }

    #[test]
    fn attributes_and_the_time_of_the_event_make_the_name() {
        let eve = 1_798_761_599_999_999_999;
        assert_eq!(rendered("logs-app-{namespace}-%Y.%m.%d", eve), "logs-app-shop-2026.12.31");
        assert_eq!(rendered("logs-app-{namespace}-%Y.%m.%d", eve + 1), "logs-app-shop-2027.01.01");
        assert_eq!(rendered("{cluster}{pod}%H%%", eve), "devnone23%");
        assert_eq!(rendered("%Y", -1), "1969");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |text| NameTemplate::parse(text).unwrap_err().to_string();
        assert!(refused("a-{team}").contains("{team}"));
        assert!(refused("a-%q").contains("%q"));
        assert!(refused("a-%").contains("time field"));
        assert!(refused("a-{pod").contains("brace"));
        assert!(refused("a}").contains("brace"));
        assert_eq!(NameTemplate::parse(""), Err(TemplateError::Empty));
    }

    #[test]
    fn prefix_and_pattern_cover_every_name() {
        let template = NameTemplate::parse("logs-app-{namespace}-%Y.%m.%d").unwrap();
        assert_eq!((template.prefix(), template.pattern().as_str()), ("logs-app-", "logs-app-*"));
        assert_eq!(NameTemplate::parse("logs").unwrap().pattern(), "logs");
    }
}
