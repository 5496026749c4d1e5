//! What holds for any text.

use proptest::prelude::*;

use super::*;

fn parsers() -> [Parser; 7] {
    [
        Parser::Json,
        Parser::Auto,
        Parser::Logfmt,
        Parser::Klog,
        Parser::None,
        regex(r#"^(?<a>\S*)\s+(?<message>.*?)(?<b.c>["=\\]+)?$"#),
        regex("(?<a>[^=]*)=(?<b>.*)"),
    ]
}

/// Lines of the formats themselves, to be broken.
fn line() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        r#"time="2026-11-22T10:58:25Z" level=error msg="a \"b\" \u00e9\n" err.code=x message=y level=2 logfmt.message=z"#,
        r#"ts=1 caller=a.go:1 level=info component=a component=b msg=hello empty= "quoted""#,
        r#"E1122 11:04:26.091579    6111 controller.go:201] "Failed \"x\"" err="a b" level=1 klog.level=2 ips=["a b",{"c":[1]}]"#,
        "I1122 11:04:24.943689    6111 server.go:150] Version: v1.36.3\nnext line",
        "a=1 a=2 a=3 b=\"\\\\\" b=\"\\\"\"",
    ])
    .prop_map(str::to_owned)
}

/// What the formats are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "level",
        "message",
        "msg",
        "logfmt.",
        "klog.",
        "=",
        "=",
        "\"",
        "\"",
        "\\",
        "\\\"",
        "\\u",
        "d83d",
        "\\n",
        " ",
        " ",
        "\n",
        "\t",
        "\0",
        "é",
        "😀",
        "{",
        "}",
        "[",
        "]",
        ",",
        "<",
        "I1122 11:04:24.943689    6111 a.go:1] ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A line with some of its characters changed, removed or repeated.
fn broken_line() -> impl Strategy<Value = String> {
    let change =
        (any::<prop::sample::Index>(), prop_oneof![any::<char>(), prop::char::range('\0', '\x7f')], 0..3u8);
    (line(), prop::collection::vec(change, 0..6)).prop_map(|(line, changes)| {
        let mut characters: Vec<char> = line.chars().collect();
        for (at, character, kind) in changes {
            let at = at.index(characters.len());
            match kind {
                0 => characters[at] = character,
                1 => characters.truncate(at + 1),
                _ => characters.insert(at, character),
            }
        }
        characters.into_iter().collect()
    })
}

/// A document is valid, keeps the text, and has no name twice: [`members`] asserts that. `auto` gives what
/// klog, logfmt or json give.
fn check_all(text: &str) {
    for parser in parsers() {
        members(&parser, text);
    }
    let auto = document(&Parser::Auto, text);
    let others = [Parser::Klog, Parser::Logfmt, Parser::Json].map(|parser| document(&parser, text));
    assert!(others.contains(&auto), "{auto}");
}

/// As Go's `%q` and go-kit's encoder would.
fn quote(value: &str) -> String {
    let mut out = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\u{7}' => out.push_str("\\a"),
            '\0'..' ' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
            'é' => out.push_str("\\u00e9"),
            '\u{10000}'.. => out.push_str(&format!("\\U{:08x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out + "\""
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn documents_are_sound_for_any_text(text in any::<String>()) {
        check_all(&text);
    }

    #[test]
    fn documents_are_sound_for_pieces_of_the_formats(text in pieces()) {
        check_all(&text);
    }

    #[test]
    fn documents_are_sound_for_broken_lines(text in broken_line()) {
        check_all(&text);
    }

    #[test]
    fn pairs_that_were_written_are_read_back(
        pairs in prop::collection::vec(("[a-z._@é-]{1,9}", any::<String>(), any::<bool>()), 1..20),
    ) {
        let (mut text, mut expected) = (String::new(), Vec::<(String, String)>::new());
        let own = ["message", "logfmt.message", "level", "thread", "source", "msg"];
        let plain = |(key, value, _): &(String, String, bool)| {
            !value.starts_with(['{', '[', '<']) && !own.contains(&&key[..])
        };
        let klog_has_the_same = pairs.iter().all(plain);
        for (key, value, bare) in pairs {
            let bare = bare && !value.starts_with('"') && value.bytes().all(|byte| byte > b' ');
            text += &format!("{key}={} ", if bare { value.clone() } else { quote(&value) });
            let name = if key == "message" { "logfmt.message".to_owned() } else { key };
            match expected.iter_mut().find(|(earlier, _)| *earlier == name) {
                Some(earlier) => earlier.1 = value,
                None => expected.push((name, value)),
            }
        }
        prop_assert_eq!(members(&Parser::Logfmt, &text), expected.clone());
        let klog = format!("I1122 11:04:24.943689    6111 a.go:1] \"m\" {text}");
        if klog_has_the_same {
            prop_assert_eq!(&members(&Parser::Klog, &klog)[4..], &expected[..]);
        }
    }
}
