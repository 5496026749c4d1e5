//! Tests of the tree: values, places, bounds.

use std::time::{Duration, Instant};

use super::*;

/// The tree as JSON, or the first error.
fn read(text: &str) -> String {
    let mut report = Report::default();
    let file = report.add_file("x.yaml".to_string());
    let tree = parse(text, file, &mut Budget::default(), &mut report);
    match report.finish(tree) {
        Ok((tree, _)) => tree.to_json().to_string(),
        Err(errors) => errors.0[0].to_string(),
    }
}

#[test]
fn yaml_becomes_json() {
    let cases = [
        ("a: 1\nb: [x, 'y', \"z\\n\"]\n", r#"{"a":1,"b":["x","y","z\n"]}"#),
        ("a: |\n  two\n  lines\nb: >-\n  one\n  line\n", r#"{"a":"two\nlines\n","b":"one line"}"#),
        ("a: !!str 1\nb: '1'\nc: 1", r#"{"a":"1","b":"1","c":1}"#),
        ("200: ok\ntrue: b\n~: c", r#"{"200":"ok","true":"b","~":"c"}"#),
        ("a: &x {b: 1}\nc: *x\nd: [*x]", r#"{"a":{"b":1},"c":{"b":1},"d":[{"b":1}]}"#),
        ("a: &x 1\nb: &x 2\nc: *x", r#"{"a":1,"b":2,"c":2}"#),
        ("a: # nothing\nb: ''", r#"{"a":null,"b":""}"#),
        ("a: 1\r\nb:\r\n  - 2\r\n", r#"{"a":1,"b":[2]}"#),
        ("---\na: 1\n...\n", r#"{"a":1}"#),
        ("{\"json\": [1, 2.5, true, null]}", r#"{"json":[1,2.5,true,null]}"#),
        ("", "{}"),
        ("---\n", "{}"),
        ("- a\n- b", r#"["a","b"]"#),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn every_value_and_key_knows_its_place() {
    let mut report = Report::default();
    let tree = parse("a:\n  b: [x, {c: y}]\n", 0, &mut Budget::default(), &mut report).unwrap();
    let place = |at: Position| (at.line, at.column);
    let a = tree.entry("a").unwrap();
    assert_eq!((place(a.key_at), place(a.at())), ((1, 1), (1, 1)));
    let b = a.value.entry("b").unwrap();
    assert_eq!(place(b.key_at), (2, 3));
    let Value::List(items) = &b.value.value else { panic!() };
    assert_eq!((place(items[0].at), place(items[1].at)), ((2, 7), (2, 10)));
    assert_eq!(place(items[1].entry("c").unwrap().at()), (2, 14));
}

#[test]
fn text_repeated_by_aliases_is_counted() {
    let text = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(20));
    assert!(read(&text).contains("the configuration is too large"), "{}", &read(&text)[..200]);
}

#[test]
fn depth_counts_what_aliases_expand_to() {
    let mut text = "a0: &a0 []\n".to_string();
    for level in 1..=MAX_DEPTH {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(read(&text).contains("more than 64 maps and lists inside each other"), "{}", read(&text));
}

/// The parser is not ours: what it makes of hostile text must stay in proportion to its length.
#[test]
fn hostile_text_is_read_quickly() {
    let pieces = [
        "[",
        "{",
        "- ",
        "? ",
        "a: ",
        "&a ",
        "*a ",
        "!a ",
        "\"",
        "'",
        "|\n",
        "a",
        " ",
        "\n",
        "#",
        "[a, ",
        "{a: ",
        "- a\n",
        "a\n",
        "%TAG ! a\n",
        "---\n",
        "[],",
        "a:\n ",
        ": ",
        "\t",
        "\r",
        "\\",
        ",",
        "\u{85}",
        "{a, ",
    ];
    for piece in pieces {
        for text in [
            piece.repeat((256 << 10) / piece.len()),
            format!("a: [{}", piece.repeat((256 << 10) / piece.len())),
        ] {
            let start = Instant::now();
            read(&text);
            let spent = start.elapsed();
            assert!(spent < Duration::from_secs(10), "{piece:?} took {spent:?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "([-?:,\\[\\]{}#&*!|>'\"%@`a~ \n\t0.]|: |- |\n  |\u{feff}|é){0,80}") {
        read(&text);
    }
}
