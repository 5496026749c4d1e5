//! Lines of every sort: each has a document of its own, whatever its neighbours are.

use super::harness::{Stage, batch, check, flags, own, remove, run, run_batch, set, values};
use super::tree::{parse, unescaped};
use crate::batch::{Flags, MAX_EVENT_BYTES};
use crate::column::Kind;
use crate::parse::{Parser, RegexParser};
use crate::scan::MAX_DEPTH;

fn parsers() -> Vec<Parser> {
    let regex = RegexParser::new(r"^(?<word>\w+) (?<message>.*)$").unwrap();
    vec![
        Parser::Json,
        Parser::Auto,
        Parser::Logfmt,
        Parser::Klog,
        Parser::Regex(Box::new(regex)),
        Parser::None,
    ]
}

/// What one line gives, among neighbours that must not notice.
fn document(line: &[u8], parser: &Parser, edits: &[crate::transform::Edit]) -> String {
    let good = br#"{"good":1}"#;
    let out = run_batch(&batch(&[good, line, good]), parser, &mut [Stage::edits(edits)]);
    assert_eq!(out.documents.len(), 3, "{}", line.escape_ascii());
    if parser.takes_json() {
        assert!([0, 2].iter().all(|at| own(&out.documents[*at]).starts_with(r#"{"good":1"#)), "{out:?}");
    }
    assert_eq!(out.finished.iter().map(|one| one.bytes).collect::<Vec<_>>(), [10, line.len() as u64, 10]);
    out.documents[1].clone()
}

#[test]
fn text_is_kept_under_message() {
    for line in [
        "",
        " ",
        "hello",
        "null",
        "1",
        "\"text\"",
        "[1,{\"a\":2}]",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{\"a\":1,}",
        "{\"a\":\"unterminated",
        "{\"a\":\"unterminated\\\"}",
        "{\"a\":1}\0",
        "\0",
        "\0\0{\"a\":1}",
        "{\"a\":\"tab\tin a string\"}",
        "{\"a\":01}",
        "{'a':1}",
        "{\"a\":\"\\x\"}",
        "\u{feff}{\"a\":1}",
        "é \u{fffd} \u{1f600} \u{2028}",
        "\u{1b}[31mred\u{1b}[0m\r",
        "a\nb\r\nc",
    ] {
        let out = document(line.as_bytes(), &Parser::Json, &[]);
        let message = serde_json::from_str::<serde_json::Value>(&own(&out)).unwrap();
        assert_eq!(message, serde_json::json!({"message": line}), "{line:?}");
        assert!(flags(&out).is_empty());
    }
}

#[test]
fn objects_are_kept_byte_for_byte() {
    for line in [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":{"b":[1,2,{"c":null}]},"d":-0.0e+1}"#,
        r#"{"a":"\ud800","b":"\udc00x","\ud800":1}"#,
        r#"{"a":"\u0000\b\f\/"}"#,
        "{\"\":\"\u{2028}é\"}",
        r#"{"a":1,"a":2,"a.b":3}"#,
        r#"{ "a" : 1}"#,
    ] {
        for parser in parsers().iter().filter(|parser| parser.takes_json()) {
            assert_eq!(own(&document(line.as_bytes(), parser, &[])), line);
            assert_eq!(own(&document(format!(" {line}\r").as_bytes(), parser, &[])), line);
        }
        let text = own(&document(line.as_bytes(), &Parser::None, &[]));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["message"], line);
    }
}

/// A record that was joined of several lines may be one object; its document is one line all the same.
#[test]
fn an_object_of_several_lines_is_written_on_one() {
    for (line, expected) in [
        ("{\n  \"a\": 1,\r\n  \"b\": [\n]\n}", "{   \"a\": 1,    \"b\": [ ]}"),
        ("{\"a\":1\n}\n", "{\"a\":1}"),
        ("\n{\"a\":1}", "{\"a\":1}"),
        ("{\"a\":\t1}", "{\"a\":\t1}"),
        ("{\"cluster\"\n:\n1}", "{\"event\":{\"cluster\" : 1}}"),
        ("{\"a\":{\n\"b\"\n:1}}", "{\"a\":{ \"b\" :1}}"),
    ] {
        // The third time its shape is known.
        let out = run(&[line; 4], &Parser::Json, &mut []);
        assert!(out.documents.iter().all(|document| own(document) == expected), "{line:?}: {out:?}");
        let edited = own(&document(line.as_bytes(), &Parser::Json, &[set("a.b", "2"), remove("b")]));
        assert!(edited.contains("2}") && !edited.contains("\"b\": ["), "{edited}");
    }
}

#[test]
fn what_is_not_utf8_is_replaced_and_flagged() {
    for (line, expected) in [
        (&b"\xff"[..], "{\"message\":\"\u{fffd}\"}"),
        (b"caf\xe9 {\xc3\xa9}", "{\"message\":\"caf\u{fffd} {é}\"}"),
        (b"{\"a\":\"\xff\xfe\",\"b\":1}", "{\"a\":\"\u{fffd}\u{fffd}\",\"b\":1}"),
        (b"{\"\xed\xa0\x80\":1}", "{\"\u{fffd}\u{fffd}\u{fffd}\":1}"),
        (b"{\"a\":1}\xff", "{\"message\":\"{\\\"a\\\":1}\u{fffd}\"}"),
        (b"{\"a\":\"\xff}", "{\"message\":\"{\\\"a\\\":\\\"\u{fffd}}\"}"),
        (b"\xff{\"a\":1}", "{\"message\":\"\u{fffd}{\\\"a\\\":1}\"}"),
    ] {
        let out = document(line, &Parser::Json, &[]);
        assert_eq!((own(&out).as_str(), flags(&out)), (expected, vec!["invalid_utf8".to_owned()]));
    }
    // Edits find what is there once the bytes are replaced.
    let out = document(b"{\"secret\":\"\xff\",\"b\":1}", &Parser::Json, &[remove("secret")]);
    assert_eq!((own(&out).as_str(), flags(&out).len()), (r#"{"b":1}"#, 1));
    let valid = document("{\"a\":\"\u{fffd}é\"}".as_bytes(), &Parser::Json, &[]);
    assert!(flags(&valid).is_empty());
}

#[test]
fn flags_have_names() {
    let pool = crate::batch::ArenaPool::new();
    let compiled = crate::edit::Compiled::new(&[]).unwrap();
    let mut sheet = crate::sheet::Sheet::new();
    let batch = {
        let mut builder = crate::batch::BatchBuilder::new(pool.take());
        let stream = builder.add_stream(&crate::stream::Stream::new(Default::default(), 1));
        for flags in 0..128 {
            let content = builder.arena.append(b"{}");
            builder.push(crate::batch::Row {
                content,
                raw: content,
                offset: 5,
                time: 0,
                stream,
                flags: Flags(flags),
            });
        }
        builder.finish(&pool)
    };
    sheet.load(&compiled, &Parser::Json, None, &batch);
    let mut out = Vec::new();
    sheet.encode(&compiled, &batch, crate::sheet::Encoded::Kept, &mut out, |_, _| ());
    let documents: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
    assert!(documents[0].ends_with(r#""log":{"offset":5}}"#), "{}", documents[0]);
    for (bits, document) in documents.iter().enumerate() {
        let expected: Vec<_> =
            (0..Flags::NAMES.len()).filter(|bit| bits >> bit & 1 == 1).map(|bit| Flags::NAMES[bit]).collect();
        assert_eq!(flags(document), expected);
    }
}

#[test]
fn long_lines() {
    for len in [1024 * 1024, MAX_EVENT_BYTES] {
        let long = "x".repeat(len - 20);
        let object = format!("{{\"a\":\"{long}\",\"b\":1}}");
        assert_eq!(
            own(&document(object.as_bytes(), &Parser::Json, &[remove("b")])),
            format!("{{\"a\":\"{long}\"}}")
        );
        assert_eq!(own(&document(object.as_bytes(), &Parser::Json, &[remove("a")])), r#"{"b":1}"#);
        let text = own(&document(long.as_bytes(), &Parser::Auto, &[]));
        assert_eq!(text, format!("{{\"message\":\"{long}\"}}"));
        let quotes = "\"".repeat(len);
        assert_eq!(own(&document(quotes.as_bytes(), &Parser::Json, &[])).len(), 2 * len + 14);
        let brackets = "[".repeat(len);
        assert_eq!(own(&document(brackets.as_bytes(), &Parser::Json, &[])).len(), len + 14);
    }
    let members: String = (0..50_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let wide = format!("{{{members}\"k7\":0}}");
    let out = own(&document(wide.as_bytes(), &Parser::Json, &[remove("k7"), set("k49999", "1")]));
    assert_eq!(
        out,
        format!("{{{}}}", members.replace("\"k7\":7,", "").replace("49999\":49999,", "49999\":1"))
    );
}

#[test]
fn deep_lines() {
    let nested =
        |depth: usize, inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let deepest = nested(MAX_DEPTH - 1, "{}");
    assert_eq!(own(&document(deepest.as_bytes(), &Parser::Json, &[])), deepest);
    let deeper = nested(MAX_DEPTH, "{}");
    assert!(own(&document(deeper.as_bytes(), &Parser::Json, &[])).starts_with(r#"{"message":"#));
    for open in ["[", "{\"a\":", "{\"a\":[", "[[{\"a\":"] {
        let unclosed = open.repeat(MAX_EVENT_BYTES / open.len());
        assert!(own(&document(unclosed.as_bytes(), &Parser::Json, &[])).starts_with(r#"{"message":"#));
    }
}

/// A value that a rename takes deeper than a line may be does not keep other edits from being made.
#[test]
fn an_edit_may_go_deeper_than_a_line() {
    let deep = format!("{}1{}", "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    let line = format!("{{\"secret\":1,\"a\":{deep}}}");
    let edits =
        [remove("secret"), super::harness::rename("a", "b.c.d.e"), super::harness::rename("x", "b.c.d")];
    let mut seen = Vec::new();
    let mut stages = [Stage::edits(&edits), Stage::reads(&["*", "b.c"], &mut seen)];
    let out = run(&[&line], &Parser::Json, &mut stages);
    drop(stages);
    let expected = format!("{{\"b\":{{\"c\":{{\"d\":{{\"e\":{deep}}}}}}}}}");
    assert_eq!(own(&out.documents[0]), expected);
    assert_eq!(values(&seen[0].columns[0]), [(Kind::Object, expected)]);
}

#[test]
fn parsers_make_members_of_text() {
    let klog = "I1122 10:00:00.123456    6111 file.go:12] \"Started\" pod=\"a/b\" cluster=\"mine\"";
    let logfmt = "level=info msg=\"a b\" cluster=mine kubernetes.pod=x";
    for (parser, line, expected) in [
        (
            Parser::Auto,
            logfmt,
            r#""level":"info","msg":"a b","event":{"cluster":"mine","kubernetes.pod":"x"}"#,
        ),
        (
            Parser::Logfmt,
            logfmt,
            r#""level":"info","msg":"a b","event":{"cluster":"mine","kubernetes.pod":"x"}"#,
        ),
        (
            Parser::Klog,
            klog,
            r#""level":"info","thread":"6111","source":"file.go:12","msg":"Started","pod":"a/b","event":{"cluster":"mine"}"#,
        ),
        (Parser::Json, logfmt, ""),
        (Parser::None, logfmt, ""),
        (Parser::Klog, logfmt, ""),
    ] {
        let out = own(&document(line.as_bytes(), &parser, &[remove("message")]));
        assert_eq!(out, format!("{{{expected}}}"), "{parser:?}");
        let whole = own(&document(line.as_bytes(), &parser, &[]));
        let message = parse(&whole).into_members().remove(0);
        assert_eq!((message.0.as_str(), unescaped(&message.1.text())), ("message", line.to_owned()));
    }
    let regex = own(&document(b"hello the world", &parsers()[4], &[]));
    assert_eq!(regex, r#"{"message":"hello the world","word":"hello","regex.message":"the world"}"#);
}

#[test]
fn strings_are_read_without_their_escapes() {
    let mut seen = Vec::new();
    let lines = [
        r#"{"a":"x\n\"\u00e9\ud83d\ude00\ud800y"}"#,
        r#"{"a":"plain"}"#,
        r#"{"a":""}"#,
        "text",
        r#"{"a":"\\"}"#,
    ];
    run(&lines, &Parser::Json, &mut [Stage::reads(&["a"], &mut seen)]);
    let texts: Vec<_> = values(&seen[0].columns[0]).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["x\n\"é\u{1f600}\u{fffd}y", "plain", "", "", "\\"]);
}

#[test]
fn the_last_of_several_is_read_and_all_are_edited() {
    for (line, read, edited) in [
        (r#"{"a":1,"b":0,"a":2}"#, "2", r#"{"b":0}"#),
        (r#"{"x":{"y":1},"x.y":2}"#, "", r#"{"x":{"y":1},"x.y":2}"#),
        (r#"{"\u0061":3}"#, "3", "{}"),
    ] {
        let mut seen = Vec::new();
        let mut stage = Stage::reads(&["a"], &mut seen);
        stage.plan.edits = vec![remove("a")];
        check(line, &mut [stage], edited);
        assert_eq!(values(&seen[0].columns[0])[0].1, read);
    }
}

#[test]
fn an_event_may_say_its_time_itself() {
    const LINES: [(&str, &str, bool); 7] = [
        (r#"{"at":"2026-11-22T09:59:58.25Z"}"#, "2026-11-22T09:59:58.250000000Z", false),
        (r#"{"at":1795341597.5,"a":"\\"}"#, "2026-11-22T09:59:57.500000000Z", false),
        (r#"{"a":1}"#, "2026-11-22T10:00:00.000000000Z", false),
        (r#"{"at":null}"#, "2026-11-22T10:00:00.000000000Z", false),
        (r#"{"at":"2020-01-01T00:00:00Z"}"#, "2026-11-22T10:00:00.000000000Z", true),
        (r#"{"at":{"b":1}}"#, "2026-11-22T10:00:00.000000000Z", true),
        ("level=info at=2026-11-22T09:59:59Z msg=x", "2026-11-22T09:59:59.000000000Z", false),
    ];
    let plan = crate::transform::Plan { edits: vec![remove("at")], ..Default::default() };
    let (compiled, fields) = crate::edit::Compiled::with_times(&[&plan], &["at"]).unwrap();
    let batch = batch(&LINES.map(|(line, ..)| line.as_bytes()));
    let mut sheet = crate::sheet::Sheet::new();
    sheet.load(&compiled, &Parser::Auto, Some(fields[0]), &batch);
    let times = sheet.call(&compiled, 0, &batch).unwrap().times.clone();
    let (mut out, mut finished) = (Vec::new(), Vec::new());
    sheet.encode(&compiled, &batch, crate::sheet::Encoded::Kept, &mut out, |one, _| finished.push(one.time));
    assert_eq!(times, finished);
    for (document, (line, time, ignored)) in std::str::from_utf8(&out).unwrap().lines().zip(LINES) {
        assert!(document.starts_with(&format!("{{\"@timestamp\":\"{time}\"")), "{line}: {document}");
        assert_eq!(flags(document).contains(&"time_ignored".to_owned()), ignored, "{line}: {document}");
        assert!(!document.contains("\"at\""), "{document}");
    }
}
