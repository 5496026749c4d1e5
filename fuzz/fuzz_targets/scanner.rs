//! The structural scan: every level, with and without what it learnt of other texts, gives the same answer, takes the
//! same texts as another parser does, and finds nothing but what is there.
//!
//! An input is a stream of texts, one a line.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use weir_event::batch::PADDING;
use weir_event::column::Kind;
use weir_event::path::PathTree;
use weir_event::scan::{Found, Hit, Level, MAX_DEPTH, NotAnObject, Scanner, Text, Value};

type Answer = Result<(Found, Vec<Hit>, Vec<Value>), NotAnObject>;

/// Scanners that live on from input to input, one for each level.
struct Bench {
    tree: PathTree,
    learnt: Vec<Scanner>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

impl Bench {
    fn new() -> Bench {
        let mut tree = PathTree::default();
        for path in ["level", "a", "user.email", "a.b.c"] {
            let _ = tree.add_field(path);
        }
        for path in ["labels", "user.email", "a.b", "cluster"] {
            let _ = tree.add_recorded(path);
        }
        if let Some(user) = tree.find("user") {
            tree.record_others(user);
        }
        Bench { tree, learnt: levels().map(Scanner::new).collect() }
    }
}

fn levels() -> impl Iterator<Item = Level> {
    let best = Level::detect();
    std::iter::once(Level::Portable).chain((best != Level::Portable).then_some(best))
}

fuzz_target!(|data: &[u8]| BENCH.with_borrow_mut(|bench| {
    for text in data.split(|byte| *byte == b'\n') {
        let expected = scan(&mut Scanner::new(Level::Portable), text, 0, &bench.tree);
        check_grammar(text, &expected);
        for scanner in bench.learnt.iter_mut().chain(&mut levels().map(Scanner::new).collect::<Vec<_>>()) {
            // The second time its shape is known.
            for padding in *b" \"" {
                assert_eq!(scan(scanner, text, padding, &bench.tree), expected);
            }
        }
        if let Ok((found, hits, values)) = &expected {
            check_found(text, found, hits, values);
        }
    }
}));

fn scan(scanner: &mut Scanner, text: &[u8], padding: u8, tree: &PathTree) -> Answer {
    let mut padded = text.to_vec();
    padded.resize(text.len() + PADDING, padding);
    let (mut hits, mut values) = (Vec::new(), vec![Value::default(); tree.fields()]);
    let found =
        scanner.scan(Text { stream: 1, padded: &padded, len: text.len() }, tree, &mut hits, &mut values)?;
    Ok((found, hits, values))
}

/// UTF-8 is not the scanner's to check, and it has a limit for depth that the other parser has not.
fn check_grammar(text: &[u8], answer: &Answer) {
    let Ok(utf8) = std::str::from_utf8(text) else { return };
    let is_object = utf8.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    let valid = is_object && serde_json::from_str::<IgnoredAny>(utf8).is_ok();
    if answer.is_ok() != valid {
        let opened = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
        assert!(valid && opened >= MAX_DEPTH, "said {answer:?}, the other parser {valid}");
    }
}

fn check_found(text: &[u8], found: &Found, hits: &[Hit], values: &[Value]) {
    assert_eq!((text[found.open as usize], text[found.close as usize]), (b'{', b'}'));
    assert_eq!(found.facts.backslash, text.contains(&b'\\'));
    assert_eq!(found.facts.non_ascii, !text.is_ascii());
    assert_eq!(found.facts.control, text.iter().any(|byte| *byte < b' '));
    assert!(hits.is_sorted_by_key(|hit| hit.key));
    for hit in hits {
        assert_eq!(text[hit.key as usize], b'"');
        assert!(hit.key < hit.value && hit.end <= found.close);
        check_value(text, hit.kind, hit.value, hit.end);
    }
    for value in values.iter().filter(|value| value.kind != Kind::Absent) {
        let quote = u32::from(value.kind == Kind::String);
        check_value(text, value.kind, value.start - quote, value.end + quote);
    }
}

fn check_value(text: &[u8], kind: Kind, start: u32, end: u32) {
    let value = &text[start as usize..end as usize];
    let told = match value[0] {
        b'"' => Kind::String,
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        b't' | b'f' => Kind::Bool,
        b'n' => Kind::Null,
        _ => Kind::Number,
    };
    assert_eq!(told, kind);
    if let Ok(utf8) = std::str::from_utf8(value) {
        assert!(serde_json::from_str::<IgnoredAny>(utf8).is_ok(), "{utf8}");
    }
}
