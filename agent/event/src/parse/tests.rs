//! What every parser does, and what holds for every document.

mod formats;
mod properties;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::*;

/// The members of an object of strings in the order in which they stand, duplicates included.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn document(parser: &Parser, text: &str) -> String {
    let mut out = b"before ".to_vec();
    parser.render(text, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
}

/// What a parser makes of a text besides `message`, once all that holds for every document has been checked.
fn members(parser: &Parser, text: &str) -> Vec<(String, String)> {
    let document = document(parser, text);
    let Members(mut members) = serde_json::from_str(&document).unwrap();
    assert!(members.len() <= MAX_MEMBERS, "{document}");
    let names: std::collections::HashSet<_> = members.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), members.len(), "a name twice: {document}");
    assert!(!document.contains('\n'), "{document}");
    assert_eq!(members.remove(0), ("message".to_owned(), text.to_owned()));
    members
}

fn check(parser: &Parser, text: &str, expected: &[(&str, &str)]) {
    let members = members(parser, text);
    let members: Vec<_> = members.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(members, expected, "{parser:?} of {text:?}");
}

fn regex(pattern: &str) -> Parser {
    Parser::Regex(Box::new(RegexParser::new(pattern).unwrap()))
}

#[test]
fn text_is_kept_under_message() {
    for (text, expected) in [
        ("", r#"{"message":""}"#),
        ("hello", r#"{"message":"hello"}"#),
        ("a \"b\" \\ c\td\r", r#"{"message":"a \"b\" \\ c\td\r"}"#),
        ("\0\u{1b}[31mé😀\u{fffd}\u{2028}", "{\"message\":\"\\u0000\\u001b[31mé😀\u{fffd}\u{2028}\"}"),
        ("[1,2]", r#"{"message":"[1,2]"}"#),
        (r#"{"a":1}"#, r#"{"message":"{\"a\":1}"}"#),
    ] {
        for parser in
            [Parser::Json, Parser::None, Parser::Auto, Parser::Logfmt, Parser::Klog, regex("(?<a>no)")]
        {
            assert_eq!(document(&parser, text), expected, "{parser:?}");
        }
    }
}

#[test]
fn only_none_makes_text_of_json() {
    assert!(!Parser::None.takes_json());
    for parser in [Parser::Json, Parser::Auto, Parser::Logfmt, Parser::Klog, regex("(?<a>b)")] {
        assert!(parser.takes_json());
    }
}

#[test]
fn named_groups_are_members() {
    let victoria = r"^(?<time>\S+)\t(?<level>\w+)\t(?<source>[^\t]+)\t(?<message>.*)$";
    for (pattern, text, expected) in [
        (
            victoria,
            "2026-11-22T10:20:09.458Z\tinfo\tVictoriaMetrics/app/vmstorage/main.go:108\topening storage at \"d\" with -retentionPeriod=1",
            &[
                ("time", "2026-11-22T10:20:09.458Z"),
                ("level", "info"),
                ("source", "VictoriaMetrics/app/vmstorage/main.go:108"),
                ("regex.message", "opening storage at \"d\" with -retentionPeriod=1"),
            ][..],
        ),
        (victoria, "something else", &[]),
        ("(?<a>x)|(?<b>y)", "-y-", &[("b", "y")]),
        ("(?<a.b>x*)(y)", "y", &[("a.b", "")]),
        (r"(?<größe>\d+)", "größe 7", &[("größe", "7")]),
    ] {
        check(&regex(pattern), text, expected);
    }
}

#[test]
fn bad_expressions_are_refused() {
    let many: String = (0..MAX_MEMBERS).map(|i| format!("(?<g{i}>a)")).collect();
    for (pattern, expected) in [
        ("(?<a>", "cannot compile the regular expression: regex parse error:"),
        (
            r"(?<a>(?:\w{100}){100}){100}",
            "cannot compile the regular expression: Compiled regex exceeds size limit",
        ),
        ("(a)(b)", "the regular expression has no named group; name what is to be a member: (?<name>...)"),
        (&many, "the regular expression has 128 named groups; take at most 127"),
        (
            "(?<message>a)(?<regex.message>b)",
            "the groups message and regex.message are the same member; rename one",
        ),
    ] {
        let error = RegexParser::new(pattern).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn members_are_bounded() {
    let pairs: String = (0..1000).map(|i| format!(" key{i}=value{i}")).collect();
    let first = ("key0".to_owned(), "value0".to_owned());
    for (parser, text, own) in [
        (&Parser::Logfmt, pairs.trim_start().to_owned(), 0),
        (&Parser::Auto, pairs.trim_start().to_owned(), 0),
        (&Parser::Klog, format!("I1122 11:04:24.943689    6111 a.go:1] \"m\"{pairs}"), 4),
    ] {
        let members = members(parser, &text);
        assert_eq!(members.len(), pairs::MAX_PAIRS + own);
        assert_eq!(members[own], first);
    }
    let same = "a=1 b=2 ".repeat(10_000);
    check(&Parser::Logfmt, &same, &[("a", "1"), ("b", "2")]);
}
