//! Whether bytes are JSON text (RFC 8259), for what plugins write.

use serde::de::IgnoredAny;
use weir_event::column::Kind;

/// The kind of the JSON value that `text` is, white space around it allowed; `None` if it is not exactly one
/// value in valid UTF-8.
pub(crate) fn kind_of(text: &[u8]) -> Option<Kind> {
    let text = trim(text);
    match text.first()? {
        b'n' => (text == b"null").then_some(Kind::Null),
        b't' => (text == b"true").then_some(Kind::Bool),
        b'f' => (text == b"false").then_some(Kind::Bool),
        b'"' => is_string(text).then_some(Kind::String),
        b'{' => is_value(text).then_some(Kind::Object),
        b'[' => is_value(text).then_some(Kind::Array),
        _ => is_number(text).then_some(Kind::Number),
    }
}

/// JSON's white space, which is less than ASCII's.
fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// Plain strings are told at once, those with escapes by the parser.
fn is_string(text: &[u8]) -> bool {
    let Some(content) = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return false;
    };
    if content.iter().any(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        return is_value(text);
    }
    std::str::from_utf8(content).is_ok()
}

/// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`
fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let Some(mut rest) = digits(text) else { return false };
    if text.first() == Some(&b'0') && text.len() - rest.len() > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let Some(after) = digits(fraction) else { return false };
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let unsigned = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let Some(after) = digits(unsigned) else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// What follows one or more digits.
fn digits(text: &[u8]) -> Option<&[u8]> {
    match text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()) {
        0 => None,
        count => text.get(count..),
    }
}

fn is_value(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_have_a_kind_and_nothing_else_has() {
        let cases: [(&[u8], Option<Kind>); 21] = [
            (b"null", Some(Kind::Null)),
            (b"\"a\\u00e9\"", Some(Kind::String)),
            ("\"grün\"".as_bytes(), Some(Kind::String)),
            (b" true\n", Some(Kind::Bool)),
            (b"false", Some(Kind::Bool)),
            (b"-0.5e+7", Some(Kind::Number)),
            (b"{\"a\":[1,{}]}", Some(Kind::Object)),
            (b"[]", Some(Kind::Array)),
            (b"", None),
            (b"  ", None),
            (b"nul", None),
            (b"01", None),
            (b"+1", None),
            (b"1 2", None),
            (b"{\"a\":1,}", None),
            (b"\"", None),
            (b"\"a", None),
            (b"\"a\"b\"", None),
            (b"\"\n\"", None),
            (b"\"\xff\"", None),
            (b"\x0c1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(kind_of(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    /// Texts that are JSON, or nearly.
    const NEARLY_JSON: &str = concat!(
        "[ \t]?(-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "|\"[a\"\\\\nué]{0,4}\"?",
        "|[\\[\\]{},:1\"a]{0,6})[ \n]?",
    );

    proptest! {
        #[test]
        fn it_agrees_with_the_parser(text in NEARLY_JSON) {
            let parsed = serde_json::from_str::<IgnoredAny>(&text);
            prop_assert_eq!(kind_of(text.as_bytes()).is_some(), parsed.is_ok());
        }
    }
}
