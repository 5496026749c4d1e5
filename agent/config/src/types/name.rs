//! Names, labels and field paths.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// The name of a source, plugin, pipeline or sink: `[a-z0-9][a-z0-9_-]*`, at most 63 characters, so that it can stand
/// in metrics, paths and Kubernetes labels. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Where a pipeline's rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A source.
    Source(Name),
    /// The metrics that this pipeline makes of its events.
    Metrics(Name),
}

/// A cluster or node: letters, digits, `.`, `_` and `-`, as Kubernetes has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub String);

/// A dotted path into an event, such as `user.email`; `*` is the whole event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldPath(pub String);

const MAX_NAME_CHARS: usize = 63;
/// The longest DNS subdomain, which is what Kubernetes names nodes by.
const MAX_LABEL_CHARS: usize = 253;

// === impl Name ===

impl Format for Name {
    const NAME: &'static str = "Name";
    const DESCRIPTION: &'static str = "A name: lower-case letters, digits, `-` and `_`, beginning with a letter or digit, at most 63 characters.";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9_-]{0,62}$");
    const EXPECTED: &'static str = "a name such as app-logs";

    fn parse(text: &str) -> Result<Name, Complaint> {
        let mut bytes = text.bytes();
        let is_first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_valid =
            bytes.next().is_some_and(is_first) && bytes.all(|b| is_first(b) || b == b'-' || b == b'_');
        if !is_valid || text.len() > MAX_NAME_CHARS {
            return Err(Complaint::new(format!("{} is not a valid name", quoted(text))).help(
                "names are lower-case letters, digits, - and _, begin with a letter or digit, and have at most 63 characters",
            ));
        }
        Ok(Name(text.into()))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl Origin ===

/// What follows the name of a pipeline whose metrics are meant.
const METRICS_SUFFIX: &str = ".metrics";

impl Format for Origin {
    const NAME: &'static str = "Origin";
    const DESCRIPTION: &'static str = "The name of a source, or the name of a pipeline and `.metrics`: the metrics that its stages `log_to_metric` make.";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9_-]{0,62}(\\.metrics)?$");
    const EXPECTED: &'static str =
        "the name of a source such as pods, or of a pipeline's metrics such as app-logs.metrics";

    fn parse(text: &str) -> Result<Origin, Complaint> {
        match text.strip_suffix(METRICS_SUFFIX) {
            Some(pipeline) => Name::parse(pipeline).map(Origin::Metrics),
            None => Name::parse(text).map(Origin::Source),
        }
    }
}

// === impl Label ===

impl Format for Label {
    const NAME: &'static str = "Label";
    const DESCRIPTION: &'static str = "The name of a cluster or node: letters, digits, `.`, `_` and `-`, \
                                       beginning with a letter or digit, at most 253 characters.";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$");
    const EXPECTED: &'static str = "a name such as dev-1";

    fn parse(text: &str) -> Result<Label, Complaint> {
        let mut bytes = text.bytes();
        let is_valid = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !is_valid || text.len() > MAX_LABEL_CHARS {
            return Err(Complaint::new(format!("{} is not a valid name", quoted(text))).help(
                "use letters, digits, ., - and _, beginning with a letter or digit, at most 253 characters",
            ));
        }
        Ok(Label(text.to_string()))
    }
}

// === impl FieldPath ===

impl Format for FieldPath {
    const NAME: &'static str = "FieldPath";
    const DESCRIPTION: &'static str = "A dotted path into an event, such as `user.email`, or the name of a stream attribute; `*` is the whole event.";
    const EXPECTED: &'static str = "a field's path such as user.email";

    fn parse(text: &str) -> Result<FieldPath, Complaint> {
        if text.is_empty() {
            return Err(Complaint::new(format!("expected {}, found an empty text", FieldPath::EXPECTED)));
        }
        Ok(FieldPath(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_and_labels_are_what_their_patterns_match(text in "([a-zA-Z0-9._é -]{0,4}|[a-z0-9]{60,66}|[a-z]{250,256})") {
            let matches = |pattern: Option<&str>| regex::Regex::new(pattern.unwrap()).unwrap().is_match(&text);
            prop_assert_eq!(Name::parse(&text).is_ok(), matches(Name::PATTERN));
            prop_assert_eq!(Label::parse(&text).is_ok(), matches(Label::PATTERN));
        }
    }
}
