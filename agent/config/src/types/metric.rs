//! Names and patterns of metrics and labels.

use weir_samples::relabel::{Action, Rule, Rules};

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// Any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlainText(pub String);

/// The name of a label, as Prometheus 3 takes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LabelName(pub String);

/// The name of a label of a metric that the agent makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetricLabel(pub String);

/// The name of a metric that the agent makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricName(pub String);

/// A regular expression for a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnchoredPattern(pub String);

impl Format for PlainText {
    const NAME: &'static str = "Text";
    const DESCRIPTION: &'static str = "Any text. A number is taken as it is written.";
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Result<PlainText, Complaint> {
        Ok(PlainText(text.to_owned()))
    }
}

impl Format for LabelName {
    const NAME: &'static str = "LabelName";
    const DESCRIPTION: &'static str = "The name of a label: any text that is not empty.";
    const PATTERN: Option<&'static str> = Some("^[\\s\\S]+$");
    const EXPECTED: &'static str = "the name of a label such as namespace";

    fn parse(text: &str) -> Result<LabelName, Complaint> {
        if text.is_empty() {
            return Err(Complaint::new(format!("expected {}, found an empty text", LabelName::EXPECTED)));
        }
        Ok(LabelName(text.to_owned()))
    }
}

impl Format for MetricLabel {
    const NAME: &'static str = "MetricLabel";
    const DESCRIPTION: &'static str = "The name of a label: letters, digits and `_`, beginning with neither a digit nor `__`; not `le`, `cluster` or `node`, which have a meaning of their own.";
    const PATTERN: Option<&'static str> = Some("^([a-zA-Z]|_[a-zA-Z0-9]|_$)[a-zA-Z0-9_]*$");
    const EXPECTED: &'static str = "the name of a label such as level";

    fn parse(text: &str) -> Result<MetricLabel, Complaint> {
        if text.starts_with("__") {
            let complaint = Complaint::new(format!("{} begins with __", quoted(text)));
            return Err(complaint.help("such names are reserved; take another one"));
        }
        if ["le", "cluster", "node"].contains(&text) {
            let what =
                if text == "le" { "is what tells buckets apart" } else { "is stamped on every sample" };
            let complaint = Complaint::new(format!("the label {} {what}", quoted(text)));
            return Err(complaint.help("take another name"));
        }
        let mut bytes = text.bytes();
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        let is_valid =
            bytes.next().is_some_and(is_letter) && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit());
        if !is_valid {
            let complaint = Complaint::new(format!("{} is not a valid name of a label", quoted(text)));
            return Err(complaint.help("use letters, digits and _, beginning with a letter or _"));
        }
        Ok(MetricLabel(text.to_owned()))
    }
}

impl Format for MetricName {
    const NAME: &'static str = "MetricName";
    const DESCRIPTION: &'static str =
        "The name of a metric: letters, digits, `_` and `:`, not beginning with a digit.";
    const PATTERN: Option<&'static str> = Some("^[a-zA-Z_:][a-zA-Z0-9_:]*$");
    const EXPECTED: &'static str = "the name of a metric such as log_events_total";

    fn parse(text: &str) -> Result<MetricName, Complaint> {
        let mut bytes = text.bytes();
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':');
        let is_valid =
            bytes.next().is_some_and(is_letter) && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit());
        if !is_valid {
            let complaint = Complaint::new(format!("{} is not a valid name of a metric", quoted(text)));
            return Err(complaint.help("use letters, digits, _ and :, not beginning with a digit"));
        }
        Ok(MetricName(text.to_owned()))
    }
}

impl Format for AnchoredPattern {
    const NAME: &'static str = "AnchoredPattern";
    const DESCRIPTION: &'static str = "A regular expression that must match the whole text, such as `go_.*`, as Prometheus has them, in RE2's syntax.";
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "a regular expression such as go_.*";

    fn parse(text: &str) -> Result<AnchoredPattern, Complaint> {
        // What compiles it for a rule is what says whether it is one.
        let rule = Rule { action: Action::Keep, regex: text.to_owned(), ..Rule::default() };
        match Rules::new(&[rule]) {
            Ok(_) => Ok(AnchoredPattern(text.to_owned())),
            Err(error) => Err(Complaint::new(error.problem.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_what_the_engine_takes() {
        // The last ones the crate regex would refuse, or read in another way.
        for good in ["a|b", "", "(?i)up", "go_.*", "5", r"\Qa.b\E", "{", "a{,2}", "(?P<1>a)", "a)|(b"] {
            assert!(AnchoredPattern::parse(good).is_ok(), "{good}");
        }
        // The last ones are of the crate regex alone.
        for wrong in ["(", "[", "(?=a)", "a**", r"\u0041", "(?x)a"] {
            assert!(AnchoredPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn names_are_what_their_patterns_match(text in "[a-zA-Z0-9_:é.]{0,4}") {
            let matches = |pattern: Option<&str>| regex::Regex::new(pattern.unwrap()).unwrap().is_match(&text);
            prop_assert_eq!(MetricName::parse(&text).is_ok(), matches(MetricName::PATTERN));
            if text != "le" {
                prop_assert_eq!(MetricLabel::parse(&text).is_ok(), matches(MetricLabel::PATTERN), "{}", text);
            }
        }
    }
}
