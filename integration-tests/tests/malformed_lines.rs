//! Lines that are not what they should be. Each has one defined result, and none touches the lines around it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use integration_tests::{Node, PodLog, count, lines, own_members, parse, until};
use serde_json::{Value, json};

/// What becomes of a line.
enum Expected {
    /// A document whose own members are these bytes.
    Bytes(String),
    /// A document with these own members.
    Members(Value),
    /// The text under `message`.
    Text(String),
}

use Expected::{Bytes, Members, Text};

struct Case {
    content: Vec<u8>,
    expected: Expected,
    flags: &'static [&'static str],
}

fn case(content: impl Into<Vec<u8>>, expected: Expected, flags: &'static [&'static str]) -> Case {
    Case { content: content.into(), expected, flags }
}

/// Arrays in arrays. An object around a thousand of them is no JSON to the agent.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

/// JSON objects of every kind: their bytes stay as they are.
fn objects() -> Vec<Case> {
    let deep = format!(r#""a":{}"#, nested(999));
    let long = format!(r#""a":"{}""#, "x".repeat(1 << 20));
    let many = (0..10_000).map(|n| format!(r#""m{n}":{n}"#)).collect::<Vec<_>>().join(",");
    [
        r#""a":1"#,
        "",
        r#""a":1,"a":2"#,
        r#""\u0061":1,"a":2"#,
        r#""a.b":1,"a":{"b":2}"#,
        r#""":1"#,
        r#""a":"\ud800","b":"\udc00x""#,
        r#""a":"\u0000\b\f\n\r\t\/\\\"""#,
        r#""a":-0,"b":1E+2,"c":1.5e-3,"d":1e999,"e":123456789012345678901234567890"#,
        r#""a":[[],{},[{"b":[null,true,false]}]]"#,
        "\"a\":\"\u{7f}\u{2028}\u{10ffff}\"",
        &deep,
        &long,
        &many,
    ]
    .into_iter()
    .map(|own| case(format!("{{{own}}}"), Bytes(own.to_owned()), &[]))
    .collect()
}

/// What looks like an object and is none, and valid JSON that is none: text.
fn texts() -> Vec<Case> {
    let (too_deep, far_too_deep) = (format!(r#"{{"a":{}}}"#, nested(1000)), "[".repeat(100_000));
    [
        &too_deep,
        &far_too_deep,
        r#"{"a":"x"#,
        r#"{"a":"x}"#,
        r#"{"a":1"#,
        r#"{"a":1}}"#,
        r#"{"a":1} x"#,
        r#"{"a":1}{"b":2}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a" 1}"#,
        r#"{"a"}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":1e}"#,
        r#"{"a":0x1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12"}"#,
        r#"{"a":[1}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":1/*b*/}"#,
        "{\"a\":\"tab\there\"}",
        "{\"a\":\"nul\0here\"}",
        "{\"a\":1\0}",
        "\u{feff}{\"a\":1}",
        "{",
        "}",
        "[1]",
        "1",
        "\"x\"",
        "null",
        "",
        "   ",
        "plain text",
        "nul\0 and \x1b[31mcolour",
        "a carriage return\r",
        "quotes \" and \\ backslashes",
    ]
    .into_iter()
    .map(|text| case(text, Text(text.to_owned()), &[]))
    .collect()
}

/// What is changed, and flagged where that could mislead.
fn others() -> Vec<Case> {
    vec![
        case("  { \"a\" : 1 }\t", Members(json!({"a": 1})), &[]),
        case(b"{\"a\":\"caf\xe9\"}", Bytes("\"a\":\"caf\u{fffd}\"".into()), &["invalid_utf8"]),
        case(b"caf\xe9 \xf0\x9f\x98", Text("caf\u{fffd} \u{fffd}".into()), &["invalid_utf8"]),
        case(b"{\"\xff\":1", Text("{\"\u{fffd}\":1".into()), &["invalid_utf8"]),
        // Nobody can forge the envelope.
        case(
            r#"{"@timestamp":"never","cluster":"x","kubernetes":{"pod":"x"},"log":1,"a":1,"event":{"b":2}}"#,
            Members(json!({"a": 1, "event": {
                "@timestamp": "never", "cluster": "x", "kubernetes": {"pod": "x"}, "log": 1, "event": {"b": 2},
            }})),
            &[],
        ),
        case(
            r#"{"\u0063luster":"x","nod\u0065":"x","a":1}"#,
            Members(json!({"a": 1, "event": {"cluster": "x", "node": "x"}})),
            &[],
        ),
    ]
}

/// Whole lines that are not a container runtime's. What follows `content` is what stands in the file.
fn not_cri() -> Vec<Case> {
    let text = |line: &str| case(line, Text(line.to_owned()), &["malformed"]);
    vec![
        text("no time at all"),
        text("2026-11-22T10:00:00.000000123Z"),
        text("2026-11-22T10:00:00.000000123Z stdlog F x"),
        text("2026-11-22T10:00:00.000000123Z stdout X x"),
        text("2026-99-99T10:00:00.000000123Z stdout F x"),
        text(""),
        case(
            r#"{"log":"hello\n","stream":"stdout","n":1}"#,
            Members(json!({"n": 1, "event": {"log": "hello\n", "stream": "stdout"}})),
            &["malformed"],
        ),
        case(b"\xff\xfe\0", Text("\u{fffd}\u{fffd}\0".into()), &["invalid_utf8", "malformed"]),
    ]
}

/// Checks a line of the output. Documents that are nested too deeply for the reader here are compared by their bytes.
#[track_caller]
fn check(line: &str, case: &Case) {
    let shown = String::from_utf8_lossy(&case.content[..case.content.len().min(80)]).into_owned();
    match &case.expected {
        Bytes(own) => {
            let end = if own.is_empty() { "}}".to_owned() } else { format!(",{own}}}") };
            assert!(line.ends_with(&end), "{shown}: {}", &line[..line.len().min(300)]);
        }
        Members(own) => {
            let document: Value = serde_json::from_str(line).unwrap();
            assert_eq!(&json!(own_members(&document)), own, "{shown}");
        }
        Text(text) => {
            let document: Value = serde_json::from_str(line).unwrap();
            assert_eq!(json!(own_members(&document)), json!({"message": text}), "{shown}");
        }
    }
    let flags: Vec<String> = case.flags.iter().map(|flag| format!("{flag:?}")).collect();
    let log = &line[line.find("\"log\":{").unwrap()..];
    let log = &log[..log.find('}').unwrap()];
    let told = if flags.is_empty() { String::new() } else { format!(",\"flags\":[{}]", flags.join(",")) };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = log.strip_prefix("\"log\":{\"offset\":").and_then(|log| log.strip_suffix(&told));
    assert!(number.is_some_and(digits), "{shown}: {log} should have the flags {flags:?}");
}

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

#[test]
fn every_line_has_its_defined_result() {
    let node = Node::new();
    node.configure(CONFIG);
    let cases: Vec<Case> = [objects(), texts(), others()].into_iter().flatten().collect();
    let bare = not_cri();
    let good = || case(r#"{"good":true}"#, Bytes(r#""good":true"#.into()), &[]);
    let mut log = node.pod("shop_cart_u1");
    let mut expected = Vec::new();
    for case in cases {
        log.line(&case.content);
        log.line(r#"{"good":true}"#);
        expected.extend([case, good()]);
    }
    for case in bare {
        log.bytes(&[&case.content[..], b"\n"].concat());
        log.line(r#"{"good":true}"#);
        expected.extend([case, good()]);
    }
    let bytes_read = log.len() - expected.len() as u64;
    node.run_once_well();
    let documents = lines(&node.path("out.ndjson"));
    assert_eq!(documents.len(), expected.len());
    for (line, case) in documents.iter().zip(&expected) {
        check(line, case);
    }
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.read.bytes), (expected.len() as u64, bytes_read));
    assert_eq!(account.read, account.delivered);
}

#[test]
fn an_event_that_is_too_long_is_cut_and_the_next_is_whole() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let long = |unit: &str| unit.repeat(3 * 1024 * 1024 / unit.len());
    log.line(r#"{"n":0}"#);
    log.line(format!(r#"{{"a":"{}"}}"#, long("x")));
    log.line(r#"{"n":1}"#);
    for part in 0..300 {
        log.record(if part == 299 { "stderr F" } else { "stderr P" }, long("y").split_at(10_240).0);
    }
    log.line(r#"{"n":2}"#);
    node.run_once_well();
    let documents = parse(&node.path("out.ndjson"));
    let numbers: Vec<&Value> = documents.iter().filter_map(|document| document.get("n")).collect();
    assert_eq!(numbers, [0, 1, 2]);
    let cut: Vec<&Value> =
        documents.iter().filter(|document| document["log"].get("flags").is_some()).collect();
    assert_eq!(cut.len(), 2);
    for document in cut {
        assert_eq!(document["log"]["flags"], json!(["truncated"]));
        let len = document["message"].as_str().unwrap().len();
        assert!((2_000_000..=2 * 1024 * 1024).contains(&len), "{len}");
    }
}

#[test]
fn records_in_parts_are_joined_for_each_of_the_two_streams() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    for (words, content) in [
        ("stdout P", "abc"),
        ("stderr P", r#"{"par"#),
        ("stdout P", ""),
        ("stdout P", "def"),
        ("stderr F", r#"ts":2}"#),
        ("stdout F", "ghi"),
        ("stdout F", "whole"),
        ("stdout P:x", "tags"),
        ("stdout F:y", " too"),
        ("stderr P", "never finished"),
    ] {
        log.record(words, content);
    }
    log.bytes(b"2026-11-22T10:00:01.000000123Z stdout F no newline");
    node.run_once_well();
    let documents = parse(&node.path("out.ndjson"));
    let flags = |document: &Value| document["log"].get("flags").cloned();
    let texts: Vec<(Value, Value, Option<Value>)> = documents
        .iter()
        .map(|document| (document["stream"].clone(), json!(own_members(document)), flags(document)))
        .collect();
    let message = |stream: &str, text: &str| (json!(stream), json!({"message": text}), None);
    let mut expected = vec![
        (json!("stderr"), json!({"parts": 2}), None),
        message("stdout", "abcdefghi"),
        message("stdout", "whole"),
        message("stdout", "tags too"),
        message("stdout", "no newline"),
        (json!("stderr"), json!({"message": "never finished"}), Some(json!(["partial"]))),
    ];
    let sorted = |mut texts: Vec<(Value, Value, Option<Value>)>| {
        texts.sort_by_key(|text| format!("{text:?}"));
        texts
    };
    assert_eq!(texts[..4], expected[..4], "in the order in which they were finished");
    assert_eq!(sorted(texts), sorted(std::mem::take(&mut expected)));
}

/// Whatever is parsed, every line becomes one document, and its text is kept.
#[test]
fn no_parser_loses_a_line() {
    let node = Node::new();
    let parsers = ["json", "auto", "logfmt", "klog", "none", "{regex: '^(?P<first>\\S+) (?P<second>.*)$'}"];
    let mut config = "sources: {pods: {type: kubernetes_logs, path: pods}}\npipelines:\n".to_owned();
    for (index, parser) in parsers.iter().enumerate() {
        config.push_str(&format!(
            "  p{index}: {{from: [pods], stages: [{{parse: {parser}}}], to: [s{index}]}}\n"
        ));
    }
    config.push_str("sinks:\n");
    for index in 0..parsers.len() {
        config.push_str(&format!("  s{index}: {{type: file, path: {index}.ndjson}}\n"));
    }
    node.configure(&config);
    let texts: Vec<String> =
        texts().into_iter().map(|case| String::from_utf8(case.content).unwrap()).collect();
    let more = [
        r#"level=info msg="say \"hi\"" a.b=1 a.b=2 ="x" == k="unfinished"#,
        r#"ts=1 message=forged level=warn"#,
        r#"I1122 10:00:00.123456    6111 file.go:123] "Quoted" pod="a/b" err="x\ny" n={"a":1}"#,
        "E1122 10:00:00.123456 1 file.go:1] plain",
        "I9999 99:99:99 nothing",
        "W1122 10:00:00.123456    6111 file.go:123] \"unfinished",
    ];
    let mut log = node.pod("shop_cart_u1");
    let all: Vec<&str> = texts.iter().map(String::as_str).chain(more).collect();
    all.iter().for_each(|text| log.line(text));
    log.line(r#"{"object":true}"#);
    node.run_once_well();
    for (index, parser) in parsers.iter().enumerate() {
        let documents = parse(&node.path(format!("{index}.ndjson")));
        let messages: Vec<&Value> = documents.iter().filter_map(|document| document.get("message")).collect();
        let object = (*parser == "none").then_some(r#"{"object":true}"#);
        let expected: Vec<Value> = all.iter().copied().chain(object).map(|text| json!(text)).collect();
        assert_eq!(documents.len(), all.len() + 1, "{parser}");
        assert!(messages.iter().copied().eq(&expected), "{parser}: {messages:#?}");
    }
}

/// A redaction is not passed by a trick of spelling.
#[test]
fn what_is_removed_or_redacted_stands_nowhere() {
    const SECRET: &str = "s3cr3t";
    let node = Node::with_compiled(&["field-filter"]);
    node.write("hash.key", "a key of at least sixteen bytes\n");
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins:
  filter:
    artifact: file:plugins/field-filter.wasm
    config:
      remove: [user.email]
      redact:
        - {field: token, hash: {key: {file: hash.key}}}
        - {field: note, pattern: 's3cr3t\\S*'}
pipelines: {all: {from: [pods], stages: [filter], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    let tricks = [
        r#"{"user":{"email":"s3cr3t"}}"#,
        r#"{"user.email":"s3cr3t"}"#,
        r#"{"user":{"email":"x","email":"s3cr3t"}}"#,
        r#"{"user":{"email":"s3cr3t","email":"x"}}"#,
        r#"{"user":{"em\u0061il":"s3cr3t"}}"#,
        r#"{"\u0075ser":{"email":"s3cr3t"}}"#,
        r#"{"\u0075s\u0065r\u002eemail":"s3cr3t"}"#,
        r#"{"user":{"email":{"deep":["s3cr3t"]}}}"#,
        r#"{"user":{"email":"x"},"user":{"email":"s3cr3t"}}"#,
        r#"{"user":{"email":"s3cr3t"},"user":1}"#,
        r#"{"user":{"email":"s3cr3t"},"user.email":"s3cr3t"}"#,
        r#"{"token":"s3cr3t"}"#,
        r#"{"tok\u0065n":"s3cr3t"}"#,
        r#"{"token":["s3cr3t"]}"#,
        r#"{"token":{"s3cr3t":"s3cr3t"}}"#,
        r#"{"token":"x","token":"s3cr3t"}"#,
        r#"{"token":"s3cr3t","token":"x"}"#,
        r#"{"token":"s3cr3t","token":null}"#,
        r#"{"token":"s3cr3t","t\u006fken":true}"#,
        r#"{"note":"say s3cr3t-1 and s3cr3t-2"}"#,
        r#"{"note":"say s3cr\u0033t"}"#,
        r#"{"note":{"deep":"s3cr3t"}}"#,
        r#"{"note":["s3cr3t"]}"#,
        r#"{"note":"s3cr3t","note":"x"}"#,
    ];
    let mut log = node.pod("shop_cart_u1");
    for (n, trick) in tricks.iter().enumerate() {
        log.line(trick.replacen('{', &format!("{{\"n\":{n},"), 1));
        // Bytes that are not UTF-8 must not open a way around.
        log.line([&trick.as_bytes()[..trick.len() - 1], b",\"x\":\"\xff\"}"].concat());
    }
    node.run_once_well();
    let documents = lines(&node.path("out.ndjson"));
    assert_eq!(documents.len(), 2 * tricks.len());
    for (at, document) in documents.iter().enumerate() {
        let unescaped = document.replace("\\u0033", "3");
        assert!(!unescaped.contains(SECRET), "{} became {document}", tricks[at / 2]);
        let members: Value = serde_json::from_str(document).unwrap();
        assert!(members["user"].get("email").is_none() && members.get("user.email").is_none(), "{document}");
    }
    assert!(documents.iter().any(|document| document.contains(r#""note":"say *** and ***""#)));
}

/// What is odd is counted where an operator looks.
#[test]
fn what_is_malformed_or_cut_is_counted() {
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start();
    let mut log: PodLog = node.pod("shop_cart_u1");
    log.line("good");
    log.bytes(b"bad\nworse\n");
    log.line("x".repeat(3 << 20));
    log.line("good");
    until("all lines are there", || count(&node.path("out.ndjson")) == 5);
    let metrics = agent.admin().metrics();
    let source = [("source", "pods")];
    assert_eq!(metrics.count("weir_source_events_total", &source), 5);
    assert_eq!(metrics.count("weir_source_malformed_lines_total", &source), 2);
    assert_eq!(metrics.count("weir_source_truncated_events_total", &source), 1);
    assert_eq!(metrics.count("weir_source_read_bytes_total", &source), log.len());
    assert_eq!(agent.terminate().code, Some(0));
}
