//! The reader against another parser, and its bounds.

use proptest::prelude::*;

use super::*;

/// Reads any value through the typed calls, and skips it; both agree.
fn is_json(text: &str) -> bool {
    let mut reader = Reader::new(text.as_bytes(), usize::MAX).unwrap();
    reader.skip().and_then(|()| reader.end()).is_ok()
}

#[test]
fn what_is_json_is_passed_over_and_nothing_else() {
    for text in [
        "{}",
        "[]",
        " [ 1 , -0.5e+3 , \"a\\u00e9\\n\" , { \"b\" : [ null ] } , true ] ",
        "\"\"",
        "0",
        "-0",
        "1e5",
        "{\"a\":{},\"b\":[[],[{}]]}",
    ] {
        assert!(is_json(text), "{text}");
    }
    for text in [
        "",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "\"\\x\"",
        "\"\n\"",
        "\"",
        "tru",
        "[1 2]",
        "{\"a\":1,}",
        "[}",
        "{]",
        "nul",
        "1 1",
        "\"\\u12\"",
        "\"\\ud800\"",
        "NaN",
    ] {
        assert!(!is_json(text), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |depth: usize| "[".repeat(depth) + "1" + &"]".repeat(depth);
    assert!(is_json(&deep(200)));
    assert!(!is_json(&deep(201)) && !is_json(&"[".repeat(1_000_000)));
}

#[test]
fn memory_is_charged() {
    let mut reader = Reader::new(b"[\"abcdefgh\",\"abcdefgh\"]", 8 + ALLOCATION_BYTES + 4 * 24).unwrap();
    let mut texts = Vec::new();
    let read = reader.array(|reader| {
        let text = reader.owned_string()?;
        reader.push(&mut texts, text).map(|_| ())
    });
    assert_eq!((read, texts.len()), (Err(JsonError::TooLarge), 1));
}

proptest! {
    #[test]
    fn another_parser_agrees(text in "[\\[\\]{}:,\"\\\\0-2eE.+\\-a ntrufls]{0,24}") {
        let other = serde_json::from_str::<serde_json::Value>(&text);
        // It refuses numbers beyond those of a double; here they are text.
        let beyond = other.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(beyond || is_json(&text) == other.is_ok(), "{text}");
    }
}
