//! The scan against another parser, and both implementations against each other.

use proptest::prelude::*;

use super::*;
use crate::batch::PADDING;
use crate::path::Node;

fn levels() -> Vec<Level> {
    let mut levels = vec![Level::Portable];
    if Level::detect() != Level::Portable {
        levels.push(Level::detect());
    }
    levels
}

type Answer = Result<(Found, Vec<Hit>, Vec<Value>), NotAnObject>;

fn scan_at(level: Level, text: &[u8], padding: u8, tree: &PathTree) -> Answer {
    let mut scanner = Scanner::new(level);
    let walked = scan_with(&mut scanner, text, padding, tree);
    // The second time its shape is learnt, the third time used.
    for _ in 0..2 {
        assert_eq!(
            scan_with(&mut scanner, text, padding, tree),
            walked,
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }
    walked
}

fn scan_with(scanner: &mut Scanner, text: &[u8], padding: u8, tree: &PathTree) -> Answer {
    let mut padded = text.to_vec();
    padded.resize(text.len() + PADDING, padding);
    let (mut hits, mut values) = (Vec::new(), vec![Value::default(); tree.fields()]);
    let found =
        scanner.scan(Text { stream: 3, padded: &padded, len: text.len() }, tree, &mut hits, &mut values)?;
    Ok((found, hits, values))
}

/// Scans with every implementation and several bytes behind the text; all must agree.
fn scan(text: &[u8], tree: &PathTree) -> Answer {
    let expected = scan_at(Level::Portable, text, 0, tree);
    for level in levels() {
        for padding in *b"\0\"}\\\n1 " {
            let got = scan_at(level, text, padding, tree);
            assert_eq!(got, expected, "{level:?}, {:?}", String::from_utf8_lossy(text));
        }
    }
    expected
}

fn is_object(text: &[u8]) -> bool {
    scan(text, &PathTree::default()).is_ok() && std::str::from_utf8(text).is_ok()
}

/// The other parser's answer on the grammar alone: it does not look at the range of numbers that it ignores.
fn serde_says(text: &[u8]) -> bool {
    let valid = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    valid && text.trim_ascii_start().starts_with(b"{") && std::str::from_utf8(text).is_ok()
}

fn tree(fields: &[&str], recorded: &[&str]) -> PathTree {
    let mut tree = PathTree::default();
    for path in fields {
        tree.add_field(path).unwrap();
    }
    for path in recorded {
        tree.add_recorded(path).unwrap();
    }
    tree
}

fn values(text: &str, fields: &[&str]) -> Vec<(Kind, String)> {
    let (_, _, values) = scan(text.as_bytes(), &tree(fields, &[])).unwrap();
    values.iter().map(|v| (v.kind, text[v.start as usize..v.end as usize].to_owned())).collect()
}

/// Node path, whether beyond, member's text.
fn hits(text: &str, recorded: &[&str]) -> Vec<(String, bool, String)> {
    let tree = tree(&[], recorded);
    let (_, hits, _) = scan(text.as_bytes(), &tree).unwrap();
    let name = |node: Node| String::from_utf8_lossy(tree.name(node)).into_owned();
    let member = |hit: &Hit| text[hit.key as usize..hit.end as usize].to_owned();
    hits.iter().map(|hit| (name(hit.node), hit.beyond, member(hit))).collect()
}

#[test]
fn what_is_an_object_and_what_is_not() {
    for good in [
        "{}",
        " {} ",
        "\t{\"a\":1}\r",
        r#"{"a":[],"b":{},"c":[[],{}]}"#,
        r#"{"a":-0.5e+10,"b":0,"c":1E2}"#,
        r#"{"a":"\u0041\n\"\\\/"}"#,
        r#"{"":""}"#,
        r#"{"a" : [ 1 , 2 ] , "b" : null }"#,
        "{\"a\":\"\u{7f}é\"}",
        r#"{"a":"\ud800"}"#,
        r#"{"a":true,"a":false}"#,
        r#"{"a":"\\"}"#,
        r#"{"a":"\\\""}"#,
    ] {
        assert!(is_object(good.as_bytes()), "{good}");
    }
    for bad in [
        "",
        " ",
        "[]",
        "1",
        "\"a\"",
        "null",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":--1}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":nul}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":\"b}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u123\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\0\"}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1}\0",
        "{\"a\"\x1a1}",
        "{\"a\":1\x0c\"b\":2}",
        "{\"a\":\"b\"c}",
        "{\"a\":1\"b\"}",
        "{\"a\":\"b\"\"c\"}",
        "{\"a\":{}",
        "{\"a\":[}",
        "{\"a\":1}}",
        "{\"a\":\\\"b\"}",
        "{\"a\"::1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":0x10}",
        "{1:2}",
        "{\"a\":- 1}",
        "\u{feff}{}",
    ] {
        assert!(!is_object(bad.as_bytes()), "{bad:?}");
        assert!(!serde_says(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn strings_and_escapes_across_blocks() {
    for pad in 0..140 {
        let filler = "x".repeat(pad);
        for tail in ["\\\"", "\\\\", "\\\\\\\"", "\\u00e9", "é", "{}[]:,"] {
            let text = format!("{{\"k\":\"{filler}{tail}{filler}\",\"n\":{pad}}}");
            assert!(is_object(text.as_bytes()), "{text}");
            assert_eq!(values(&text, &["n"])[0].1, pad.to_string());
        }
        let open = format!("{{\"k\":\"{filler}\\\"}}");
        assert!(!is_object(open.as_bytes()), "{open}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_object(nested(MAX_DEPTH - 1).as_bytes()));
    assert!(!is_object(nested(MAX_DEPTH).as_bytes()));
    assert!(!is_object("{\"a\":".repeat(100_000).as_bytes()));
}

#[test]
fn values_of_every_kind() {
    let text = r#"{"s":"x","n":-1.5 ,"t":true,"f":false,"z":null,"o":{"a":[1]},"a":[{"b":"c"}] }"#;
    let got = values(text, &["s", "n", "t", "f", "z", "o", "a", "missing"]);
    let expected = [
        (Kind::String, "x"),
        (Kind::Number, "-1.5"),
        (Kind::Bool, "true"),
        (Kind::Bool, "false"),
        (Kind::Null, "null"),
        (Kind::Object, r#"{"a":[1]}"#),
        (Kind::Array, r#"[{"b":"c"}]"#),
        (Kind::Absent, ""),
    ];
    assert_eq!(got, expected.map(|(kind, text)| (kind, text.to_owned())));
}

#[test]
fn reads_take_the_last_of_every_spelling() {
    let email = |text: &str| values(text, &["user.email"])[0].1.clone();
    assert_eq!(email(r#"{"user":{"email":1,"email":2}}"#), "2");
    assert_eq!(email(r#"{"user.email":1,"user":{"email":2}}"#), "2");
    assert_eq!(email(r#"{"user":{"email":1},"user.email":2}"#), "2");
    assert_eq!(email(r#"{"us\u0065r":{"\u0065mail":3}}"#), "3");
    assert_eq!(email(r#"{"user\u002eemail":4}"#), "4");
    assert_eq!(email(r#"{"user":[{"email":5},[{"email":6}]]}"#), "6");
    assert_eq!(email(r#"{"user":{"x":{"email":1}},"email":2}"#), "");
}

#[test]
fn every_spelling_is_recorded() {
    let text = r#"{"labels":{"a":1},"x":"\"","labels.app":2,"l\u0061bels" : [3] ,"user":[{"email":4}],"user.email":5}"#;
    let got = hits(text, &["labels", "user.email"]);
    let expected = [
        ("labels", false, r#""labels":{"a":1}"#),
        ("labels", true, r#""labels.app":2"#),
        ("labels", false, r#""l\u0061bels" : [3]"#),
        ("email", false, r#""email":4"#),
        ("email", false, r#""user.email":5"#),
    ];
    assert_eq!(got, expected.map(|(name, beyond, member)| (name.to_owned(), beyond, member.to_owned())));
}

#[test]
fn others_are_recorded_where_asked() {
    let mut tree = tree(&[], &["keep", "user.id"]);
    tree.record_others(ROOT_NODE);
    tree.record_others(tree.find("user").unwrap());
    let text = r#"{"keep":1,"drop":{"deep":2},"user":{"id":3,"email":4}}"#;
    let (_, hits, _) = scan(text.as_bytes(), &tree).unwrap();
    let others: Vec<_> = hits.iter().filter(|hit| hit.beyond).collect();
    assert_eq!(others.len(), 2);
    assert!(others[0].top && !others[1].top);
    assert_eq!((others[0].node, Some(others[1].node)), (ROOT_NODE, tree.find("user")));
    assert_eq!(&text[others[0].key as usize..others[0].end as usize], r#""drop":{"deep":2}"#);
}

const ROOT_NODE: Node = crate::path::ROOT;

/// Any JSON value as text with random white space and spelling.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        "[\\x20-\\x7e]{0,80}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop_oneof![Just("user".to_owned()), Just("email".to_owned()), "[a-z.\"\\\\]{0,9}"];
        let space = "[ \t\r\n]{0,2}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..6), space)
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},")))),
            (proptest::collection::vec((key, inner), 0..6), space).prop_map(|(members, s)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(k, v)| format!("{}{s}:{v}", serde_json::to_string(k).unwrap()))
                    .collect();
                format!("{{{s}{}{s}}}", members.join(&format!("{s},{s}")))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_another_parser_on_valid_text(text in json_text()) {
        prop_assert!(serde_says(text.as_bytes()) == is_object(text.as_bytes()), "{}", text);
    }

    #[test]
    fn agrees_with_another_parser_on_mutated_text(
        text in json_text(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (at, byte, how) in edits {
            if bytes.is_empty() { break }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, *b"{}[]:,\"\\ 0e-.tn".get(byte as usize % 15).unwrap()),
            }
        }
        prop_assert!(serde_says(&bytes) == is_object(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn agrees_with_another_parser_on_token_soup(
        pieces in proptest::collection::vec(
            prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"", "\\", "\"a\"", "1", "-", "true", " ", "\n", "null", "\"b\":", "\u{e9}", "\u{1}", "e5"]),
            0..40,
        ),
    ) {
        let text = pieces.concat();
        prop_assert!(serde_says(text.as_bytes()) == is_object(text.as_bytes()), "{}", text);
    }

    #[test]
    fn what_was_seen_before_changes_no_answer(
        base in "\\{(\"(user|email|a|bcdefghijklmnop)\":(1|-2.5|\"[a-z\\\\\\\\]{0,3}\"|true|\\[1,2\\]|\\{\"email\":[12]\\}),){1,5}\"z\":0\\}",
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8), 0..12),
    ) {
        let tree = tree(&["user.email", "email", "a"], &["user", "bcdefghijklmnop", "user.email"]);
        for level in levels() {
            let mut scanner = Scanner::new(level);
            let mut text = base.clone().into_bytes();
            for (at, with, how) in &edits {
                for _ in 0..3 {
                    let fresh = scan_with(&mut Scanner::new(level), &text, b' ', &tree);
                    prop_assert_eq!(scan_with(&mut scanner, &text, b' ', &tree), fresh, "{}", String::from_utf8_lossy(&text));
                }
                if text.is_empty() { break }
                let at = at.index(text.len());
                let byte = *with.get(b"{}[]:,\"\\ 012a.-tue\t");
                match how {
                    0 => text[at] = byte,
                    1 => { text.remove(at); }
                    2 => text.insert(at, byte),
                    _ => text = base.clone().into_bytes(),
                }
            }
        }
    }

    #[test]
    fn any_bytes_get_the_same_answer_everywhere(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(serde_says(&bytes) == is_object(&bytes));
    }
}
