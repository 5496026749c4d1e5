//! Setting: in place of what is there, inside what is on the way, or as a new member.

use super::harness::{Stage, check, check_edits, own, rename, run, set};
use crate::edit::MAX_COPIED_BYTES;
use crate::parse::Parser;

#[test]
fn values_are_written_where_they_belong() {
    for (line, path, expected) in [
        // There.
        (r#"{"a":1,"b":2}"#, "a", r#"{"a":9,"b":2}"#),
        (r#"{"a" : {"x":[1]} ,"b":2}"#, "a", r#"{"a" : 9 ,"b":2}"#),
        (r#"{"a":1,"b":2,"a":3}"#, "a", r#"{"a":9,"b":2,"a":9}"#),
        (r#"{"\u0061":1}"#, "a", r#"{"\u0061":9}"#),
        (r#"{"a":{"b":1}}"#, "a.b", r#"{"a":{"b":9}}"#),
        (r#"{"a.b":1,"a":{"b":2}}"#, "a.b", r#"{"a.b":9,"a":{"b":9}}"#),
        (r#"{"a":[{"b":1},{"c":2},{"b":3}]}"#, "a.b", r#"{"a":[{"b":9},{"c":2},{"b":9}]}"#),
        // Absent.
        ("{}", "a", r#"{"a":9}"#),
        (" { } ", "a", r#"{"a":9}"#),
        (r#"{"b":2}"#, "a", r#"{"b":2,"a":9}"#),
        ("{\"b\":2\t}", "a", r#"{"b":2,"a":9}"#),
        (r#"{"b":2}"#, "a.b.c", r#"{"b":2,"a":{"b":{"c":9}}}"#),
        (r#"{"a":{}}"#, "a.b", r#"{"a":{"b":9}}"#),
        (r#"{"a":{"x":1 }}"#, "a.b", r#"{"a":{"x":1,"b":9}}"#),
        (r#"{"a":{"b":{"x":1}}}"#, "a.b.c", r#"{"a":{"b":{"x":1,"c":9}}}"#),
        (r#"{"a":{"x":1}}"#, "a.b.c", r#"{"a":{"x":1,"b":{"c":9}}}"#),
        (r#"{"a.b":{"x":1},"a":{"y":2}}"#, "a.b.c", r#"{"a.b":{"x":1,"c":9},"a":{"y":2}}"#),
        // Every object on the way that is there gets it, so that the one that is read has it.
        (r#"{"a":{},"a":{"x":1}}"#, "a.b", r#"{"a":{"b":9},"a":{"x":1,"b":9}}"#),
        (r#"{"a":[{"b":{}},{"b":{"x":1}}]}"#, "a.b.c", r#"{"a":[{"b":{"c":9}},{"b":{"x":1,"c":9}}]}"#),
        (r#"{"a":{},"a":1}"#, "a.b", r#"{"a":{"b":9},"a":1}"#),
        // Something else than an object is on the way: the write says that it is one.
        (r#"{"a":1,"x":0}"#, "a.b", r#"{"a":{"b":9},"x":0}"#),
        (r#"{"a":"text"}"#, "a.b.c", r#"{"a":{"b":{"c":9}}}"#),
        (r#"{"a":null}"#, "a.b", r#"{"a":{"b":9}}"#),
        (r#"{"a":[1,{"c":2}]}"#, "a.b", r#"{"a":{"b":9}}"#),
        (r#"{"a":1,"x":0,"a":[2]}"#, "a.b", r#"{"a":{"b":9},"x":0,"a":{"b":9}}"#),
        (r#"{"a":{"b":1,"x":0}}"#, "a.b.c", r#"{"a":{"b":{"c":9},"x":0}}"#),
        (r#"{"a.b":1,"a":{"x":0}}"#, "a.b.c", r#"{"a.b":{"c":9},"a":{"x":0}}"#),
        (r#"{"a":[{"b":1},{"b":2}]}"#, "a.b.c", r#"{"a":[{"b":{"c":9}},{"b":{"c":9}}]}"#),
        // What lies beyond goes, however it is written: the path has the new value and nothing else.
        (r#"{"a.b":1,"x":0}"#, "a", r#"{"x":0,"a":9}"#),
        (r#"{"a":1,"a.b":2,"a.b.c":3}"#, "a", r#"{"a":9}"#),
        (r#"{"a":{"b.c":1,"x":0}}"#, "a.b", r#"{"a":{"x":0,"b":9}}"#),
        // What lies beside stays.
        (r#"{"a.x":1}"#, "a.b", r#"{"a.x":1,"a":{"b":9}}"#),
    ] {
        check_edits(line, &[set(path, "9")], expected);
    }
}

#[test]
fn several_under_one_parent() {
    let abc = [set("a.b", "1"), set("a.c.d", "2"), set("a.c.e", "3"), set("f", "4")];
    for (line, expected) in [
        ("{}", r#"{"a":{"b":1,"c":{"d":2,"e":3}},"f":4}"#),
        (r#"{"a":{}}"#, r#"{"a":{"b":1,"c":{"d":2,"e":3}},"f":4}"#),
        (r#"{"a":0}"#, r#"{"a":{"b":1,"c":{"d":2,"e":3}},"f":4}"#),
        (r#"{"a":[{"b":7}]}"#, r#"{"a":{"c":{"d":2,"e":3}},"f":4}"#),
        (r#"{"a":{"c":0,"x":5}}"#, r#"{"a":{"c":{"d":2,"e":3},"x":5,"b":1},"f":4}"#),
        (r#"{"a":{"c":{"e":0}}}"#, r#"{"a":{"c":{"e":3,"d":2},"b":1},"f":4}"#),
        (r#"{"a":0,"a":{"x":5}}"#, r#"{"a":0,"a":{"x":5,"b":1,"c":{"d":2,"e":3}},"f":4}"#),
    ] {
        check_edits(line, &abc, expected);
    }
}

#[test]
fn an_array_on_the_way_is_replaced_once_and_then_an_object() {
    check_edits(r#"{"a":[{"c":1}]}"#, &[set("a.b", "1"), set("a.c", "2")], r#"{"a":{"b":1,"c":2}}"#);
    check_edits(r#"{"a":[{"c":1}]}"#, &[set("a.c", "2"), set("a.b", "1")], r#"{"a":{"b":1}}"#);
    check_edits(r#"{"a":[{"c":1}]}"#, &[set("a.b", "1"), rename("a.c", "z")], r#"{"a":{"b":1}}"#);
    check_edits(r#"{"a":[{"c":1}]}"#, &[rename("a.c", "z"), set("a.b", "1")], r#"{"a":{"b":1},"z":1}"#);
}

#[test]
fn values_of_every_kind_on_one_line() {
    for (json, expected) in [
        (r#""a \"b\" é""#, r#"{"a":"a \"b\" é"}"#),
        ("-1.5e+3", r#"{"a":-1.5e+3}"#),
        ("null", r#"{"a":null}"#),
        ("{\n  \"x\": [1,\r\n 2]\n}", "{\"a\":{   \"x\": [1,   2] }}"),
    ] {
        check_edits("{}", &[set("a", json)], expected);
    }
}

#[test]
fn names_are_escaped() {
    check_edits("{}", &[set("a\"b\\.c\u{1}é", "1")], "{\"a\\\"b\\\\\":{\"c\\u0001é\":1}}");
    check_edits(r#"{"a\"b\\":{}}"#, &[set("a\"b\\.c", "1")], r#"{"a\"b\\":{"c":1}}"#);
}

#[test]
fn copies_are_bounded() {
    let value = format!("\"{}\"", "v".repeat(MAX_COPIED_BYTES / 100));
    for (member, path, replaced) in
        [(r#""a":1"#, "a", true), (r#""a":{"x":1}"#, "a.b", false), (r#""a":1"#, "a.b", true)]
    {
        let few = format!("{{{}}}", [member; 60].join(","));
        let out = run(&[&few], &Parser::Json, &mut [Stage::edits(&[set(path, &value)])]);
        assert_eq!(out.documents[0].matches(&value).count(), 60, "{path}");
        let many = format!("{{{},\"z\":0}}", [member; 5_000].join(","));
        let out = run(&[&many], &Parser::Json, &mut [Stage::edits(&[set(path, &value), set("y", "1")])]);
        let own = own(&out.documents[0]);
        assert_eq!(own.matches(&value).count(), 1, "{path}");
        // What does not take the value goes, unless it is an object that only misses a member.
        assert_eq!(own.matches("\"a\":").count(), if replaced { 1 } else { 5_000 }, "{path}");
        assert!(own.ends_with(",\"z\":0,\"y\":1}"));
    }
}

#[test]
fn a_moved_value_is_not_copied_without_bound() {
    let line = format!("{{\"from\":\"{}\"{}}}", "v".repeat(100_000), ",\"to\":1".repeat(100_000));
    let out = run(&[&line], &Parser::Json, &mut [Stage::edits(&[rename("from", "to")])]);
    assert_eq!(own(&out.documents[0]), format!("{{\"to\":\"{}\"}}", "v".repeat(100_000)));
}

#[test]
fn the_same_place_with_many_and_few_copies() {
    let long = format!("\"{}\"", "v".repeat(MAX_COPIED_BYTES / 2));
    let line = r#"{"a":1,"a":2,"a":3}"#;
    check(
        line,
        &mut [Stage::edits(&[set("a.b", &long), set("a.c", "1")])],
        &format!("{{\"a\":{{\"b\":{long},\"c\":1}}}}"),
    );
    let expected = format!("{{\"a\":{{\"c\":1}},\"a\":{{\"c\":1}},\"a\":{{\"c\":1,\"b\":{long}}}}}");
    check(line, &mut [Stage::edits(&[set("a.c", "1"), set("a.b", &long)])], &expected);
}
