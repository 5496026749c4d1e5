//! Removal: every spelling of a path, and every place of a member in its object.

use super::harness::{check_edits, remove};

#[test]
fn members_go_with_their_commas() {
    for (line, paths, expected) in [
        (r#"{"a":1,"b":2,"c":3}"#, &["a"][..], r#"{"b":2,"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["b"], r#"{"a":1,"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["c"], r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["a", "b"], r#"{"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["a", "c"], r#"{"b":2}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["b", "c"], r#"{"a":1}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["c", "b", "a"], "{}"),
        (r#"{"a":1}"#, &["a"], "{}"),
        ("{}", &["a"], "{}"),
        (r#"{"b":2}"#, &["a"], r#"{"b":2}"#),
        (r#" { "a" : 1 , "b" : 2 , "c" : 3 } "#, &["a"], r#"{ "b" : 2 , "c" : 3 }"#),
        (r#" { "a" : 1 , "b" : 2 , "c" : 3 } "#, &["b"], r#"{ "a" : 1 ,  "c" : 3 }"#),
        (r#" { "a" : 1 , "b" : 2 , "c" : 3 } "#, &["c"], r#"{ "a" : 1 , "b" : 2 }"#),
        (r#" { "a" : 1 , "b" : 2 , "c" : 3 } "#, &["a", "b", "c"], "{}"),
        ("{\t\"a\":1\t}", &["a"], "{}"),
        ("{\t\"a\":1\t,\t\"b\":[ ]\t}", &["b"], "{\t\"a\":1}"),
    ] {
        // White space before what goes is dropped with it or stays; that is no part of the promise.
        let edits: Vec<_> = paths.iter().map(|path| remove(path)).collect();
        check_spaceless(line, &edits, expected);
    }
}

/// Holds the answer against the expected one without the white space between tokens.
#[track_caller]
fn check_spaceless(line: &str, edits: &[crate::transform::Edit], expected: &str) {
    use super::harness::{Stage, own_tree, run};
    use super::tree::parse;
    let out = run(&[line], &crate::parse::Parser::Json, &mut [Stage::edits(edits)]);
    assert_eq!(own_tree(&out.documents[0]).text(), parse(expected).text(), "{line}");
    if !line.contains([' ', '\t']) {
        check_edits(line, edits, expected);
    }
}

#[test]
fn every_spelling_goes() {
    for (line, path, expected) in [
        (r#"{"labels":{"app":1},"x":0}"#, "labels", r#"{"x":0}"#),
        (r#"{"l\u0061bels":1,"x":0}"#, "labels", r#"{"x":0}"#),
        (r#"{"\u006c\u0061\u0062\u0065\u006c\u0073":1}"#, "labels", "{}"),
        (r#"{"labels":1,"x":0,"labels":2}"#, "labels", r#"{"x":0}"#),
        (r#"{"labels.app":1,"x":0}"#, "labels", r#"{"x":0}"#),
        (r#"{"labels\u002eapp":1,"x":0}"#, "labels", r#"{"x":0}"#),
        (r#"{"labels.":1,"labels..a":2,"x":0}"#, "labels", r#"{"x":0}"#),
        (r#"{"user":{"email":1,"name":2}}"#, "user.email", r#"{"user":{"name":2}}"#),
        (r#"{"user":{"email":1}}"#, "user.email", r#"{"user":{}}"#),
        (
            r#"{"user.email":1,"user":{"email":2,"email.work":3,"name":4}}"#,
            "user.email",
            r#"{"user":{"name":4}}"#,
        ),
        (r#"{"user":[{"email":1},[{"email":2,"n":3}],4]}"#, "user.email", r#"{"user":[{},[{"n":3}],4]}"#),
        (
            r#"{"a":{"b.c":1},"a.b":{"c":2},"a.b.c":3,"a":{"b":{"c":4}}}"#,
            "a.b.c",
            r#"{"a":{},"a.b":{},"a":{"b":{}}}"#,
        ),
        // What only looks alike stays.
        (
            r#"{"label":1,"labelsx":2,"xlabels":3,"Labels":4,"":5}"#,
            "labels",
            r#"{"label":1,"labelsx":2,"xlabels":3,"Labels":4,"":5}"#,
        ),
        (
            r#"{"email":1,"x":{"user":{"email":2}},".user.email":3}"#,
            "user.email",
            r#"{"email":1,"x":{"user":{"email":2}},".user.email":3}"#,
        ),
        (r#"{"user":"email","user ":{"email":1}}"#, "user.email", r#"{"user":"email","user ":{"email":1}}"#),
        (r#"{"a":"{\"labels\":1}"}"#, "labels", r#"{"a":"{\"labels\":1}"}"#),
    ] {
        check_edits(line, &[remove(path)], expected);
    }
}

#[test]
fn paths_that_cover_each_other() {
    let line = r#"{"a":{"b":{"c":1,"d":2},"e":3},"f":4}"#;
    check_edits(line, &[remove("a.b.c"), remove("a.b")], r#"{"a":{"e":3},"f":4}"#);
    check_edits(line, &[remove("a.b"), remove("a.b.c")], r#"{"a":{"e":3},"f":4}"#);
    check_edits(line, &[remove("a.e"), remove("a.b.c"), remove("f")], r#"{"a":{"b":{"d":2}}}"#);
    check_edits(line, &[remove("a"), remove("a.b"), remove("f")], "{}");
}

#[test]
fn a_hundred_paths_are_one_step() {
    let paths: Vec<String> = (0..400).map(|n| format!("k{n}.x")).collect();
    let line =
        format!("{{{}\"z\":0}}", (0..400).map(|n| format!("\"k{n}\":{{\"x\":{n}}},")).collect::<String>());
    let edits: Vec<_> = paths.iter().map(|path| remove(path)).collect();
    let expected = format!("{{{}\"z\":0}}", (0..400).map(|n| format!("\"k{n}\":{{}},")).collect::<String>());
    super::harness::check(&line, &mut [super::harness::Stage::edits(&edits)], &expected);
}

/// A path that a stage reads is known to the scanner; what is spelled like it goes all the same.
#[test]
fn what_stages_read_goes_too() {
    let mut seen = Vec::new();
    let mut stages = [
        super::harness::Stage::reads(&["a.b.c", "a.b", "x.y"], &mut seen),
        super::harness::Stage::edits(&[remove("a.b"), remove("x")]),
    ];
    let line = r#"{"a.b.c":"s","a":{"b.c":"s","b":{"c":"s"},"d":0},"x.y":"s","x.z":"s"}"#;
    super::harness::check(line, &mut stages, r#"{"a":{"d":0}}"#);
}
