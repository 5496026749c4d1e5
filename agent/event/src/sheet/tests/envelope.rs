//! The envelope: nobody can forge it. The harness holds every document of every test to that; here is what becomes of
//! those who try.

use super::harness::{Stage, check, check_edits, column, remove, rename, run, set};
use crate::column::Kind;
use crate::parse::Parser;
use crate::transform::Outcome;

#[test]
fn the_whole_document() {
    let out = run(&[r#"{"level":"info"}"#, "hello"], &Parser::Json, &mut []);
    let start = r#"{"@timestamp":"2026-11-22T10:00:00.000000000Z","cluster":"dev","node":"n1","kubernetes":{"namespace":"shop","pod":"cart-1","container":"app"},"stream":"stdout","log":{"#;
    assert_eq!(out.documents[0], format!(r#"{start}"offset":0}},"level":"info"}}"#));
    assert_eq!(out.documents[1], format!(r#"{start}"offset":16}},"message":"hello"}}"#));
    assert_eq!(run(&["{}"], &Parser::Json, &mut []).documents, [format!(r#"{start}"offset":0}}}}"#)]);
}

#[test]
fn own_members_of_its_names_move() {
    for (line, expected) in [
        (r#"{"cluster":"mine","a":1}"#, r#"{"a":1,"event":{"cluster":"mine"}}"#),
        (r#"{"a":1,"cluster":"mine"}"#, r#"{"a":1,"event":{"cluster":"mine"}}"#),
        (r#"{"cluster":"mine"}"#, r#"{"event":{"cluster":"mine"}}"#),
        (r#"{"c\u006custer":"mine","a":1}"#, r#"{"a":1,"event":{"c\u006custer":"mine"}}"#),
        (r#"{"\u0040timestamp":"1970"}"#, r#"{"event":{"\u0040timestamp":"1970"}}"#),
        (r#"{"kubernetes.namespace":"mine"}"#, r#"{"event":{"kubernetes.namespace":"mine"}}"#),
        (r#"{"kubernetes\u002enamespace":"mine"}"#, r#"{"event":{"kubernetes\u002enamespace":"mine"}}"#),
        (
            r#"{"kubernetes":{"namespace":"mine","x":[1]}}"#,
            r#"{"event":{"kubernetes":{"namespace":"mine","x":[1]}}}"#,
        ),
        (
            r#"{"log":"text","log.flags":["x"],"log.offset":-1}"#,
            r#"{"event":{"log":"text","log.flags":["x"],"log.offset":-1}}"#,
        ),
        (r#"{"event":1}"#, r#"{"event":{"event":1}}"#),
        (
            r#"{"event":{"cluster":1},"event.kind":2,"cluster":3}"#,
            r#"{"event":{"event":{"cluster":1},"event.kind":2,"cluster":3}}"#,
        ),
        (
            r#"{"@timestamp":1,"cluster":2,"node":3,"kubernetes":4,"stream":5,"log":6,"event":7}"#,
            r#"{"event":{"@timestamp":1,"cluster":2,"node":3,"kubernetes":4,"stream":5,"log":6,"event":7}}"#,
        ),
        (r#"{"cluster":1,"a":0,"cluster":2}"#, r#"{"a":0,"event":{"cluster":1,"cluster":2}}"#),
        (r#"{ "cluster" : 1 , "a" : 0 , "node" : 2 }"#, r#"{  "a" : 0,"event":{"cluster" : 1,"node" : 2}}"#),
        // Names that only look alike, and names further in, are the event's own.
        (
            r#"{"clusters":1,"Cluster":2,"time":3,"x":{"cluster":4},"timestamp":5,"events":6}"#,
            r#"{"clusters":1,"Cluster":2,"time":3,"x":{"cluster":4},"timestamp":5,"events":6}"#,
        ),
    ] {
        check(line, &mut [], expected);
        check_edits(line, &[], expected);
    }
}

#[test]
fn what_stages_write_to_its_names_moves() {
    for (line, path, expected) in [
        ("{}", "cluster", r#"{"event":{"cluster":9}}"#),
        (r#"{"a":1}"#, "@timestamp", r#"{"a":1,"event":{"@timestamp":9}}"#),
        (r#"{"cluster":1}"#, "cluster", r#"{"event":{"cluster":9}}"#),
        (
            r#"{"cluster":1,"a":0,"cluster":2,"cluster.x":3}"#,
            "cluster",
            r#"{"a":0,"event":{"cluster":9,"cluster":9}}"#,
        ),
        ("{}", "kubernetes.pod", r#"{"event":{"kubernetes":{"pod":9}}}"#),
        (
            r#"{"kubernetes":{"x":1},"a":0}"#,
            "kubernetes.pod",
            r#"{"a":0,"event":{"kubernetes":{"x":1,"pod":9}}}"#,
        ),
        (
            r#"{"kubernetes":{"pod":1,"x":2}}"#,
            "kubernetes.pod",
            r#"{"event":{"kubernetes":{"pod":9,"x":2}}}"#,
        ),
        (r#"{"kubernetes.pod":1}"#, "kubernetes.pod", r#"{"event":{"kubernetes.pod":9}}"#),
        (r#"{"kubernetes":"text","a":0}"#, "kubernetes.pod", r#"{"a":0,"event":{"kubernetes":{"pod":9}}}"#),
        (
            r#"{"kubernetes":[{"x":1}],"kubernetes.y":2}"#,
            "kubernetes.pod",
            r#"{"event":{"kubernetes":{"pod":9},"kubernetes.y":2}}"#,
        ),
        // Paths name the event's own members, so `event.x` is in its own `event`.
        ("{}", "event", r#"{"event":{"event":9}}"#),
        ("{}", "event.kind", r#"{"event":{"event":{"kind":9}}}"#),
        (r#"{"event":{"kind":1},"node":2}"#, "event.kind", r#"{"event":{"event":{"kind":9},"node":2}}"#),
        (r#"{"event":"text"}"#, "event.kind", r#"{"event":{"event":{"kind":9}}}"#),
        (r#"{"cluster":1}"#, "event.cluster", r#"{"event":{"cluster":1,"event":{"cluster":9}}}"#),
    ] {
        check_edits(line, &[set(path, "9")], expected);
        let written = Outcome { columns: vec![column(0, &[(Kind::Number, "9")])], ..Outcome::default() };
        check(line, &mut [Stage::answers(&[path], written)], expected);
    }
}

#[test]
fn members_move_in_and_out() {
    check_edits(r#"{"a":1}"#, &[rename("a", "cluster")], r#"{"event":{"cluster":1}}"#);
    check_edits(r#"{"cluster":1}"#, &[rename("cluster", "a")], r#"{"a":1}"#);
    check_edits(r#"{"cluster":1,"node":2}"#, &[rename("cluster", "node")], r#"{"event":{"node":1}}"#);
    check_edits(
        r#"{"cluster":{"x":1,"y":2}}"#,
        &[rename("cluster.x", "a")],
        r#"{"a":1,"event":{"cluster":{"y":2}}}"#,
    );
    check_edits(
        r#"{"cluster":{"x":1},"b":2}"#,
        &[rename("b", "cluster.y")],
        r#"{"event":{"cluster":{"x":1,"y":2}}}"#,
    );
    check_edits(r#"{"cluster":1,"a":2}"#, &[remove("cluster")], r#"{"a":2}"#);
    check_edits(r#"{"cluster":1,"cluster.x":2}"#, &[remove("cluster")], "{}");
    check_edits(
        r#"{"kubernetes":{"pod":1,"x":{"y":2,"z":3}}}"#,
        &[remove("kubernetes.pod"), remove("kubernetes.x.y")],
        r#"{"event":{"kubernetes":{"x":{"z":3}}}}"#,
    );
}

/// What a stage reads at such a path is the event's own member, never the envelope.
#[test]
fn the_envelope_is_not_read() {
    let mut seen = Vec::new();
    let line = r#"{"cluster":"mine","event":{"kind":"x"}}"#;
    run(
        &[line, "{}"],
        &Parser::Json,
        &mut [Stage::reads(&["cluster", "node", "event.kind", "*"], &mut seen)],
    );
    let columns: Vec<_> = seen[0].columns.iter().map(super::harness::values).collect();
    let absent = || (Kind::Absent, String::new());
    assert_eq!(columns[0], [(Kind::String, "mine".to_owned()), absent()]);
    assert_eq!(columns[1], [absent(), absent()]);
    assert_eq!(columns[2], [(Kind::String, "x".to_owned()), absent()]);
    assert_eq!(columns[3], [(Kind::Object, line.to_owned()), (Kind::Object, "{}".to_owned())]);
}

#[test]
fn events_of_stages_cannot_forge_it_either() {
    let new = super::harness::new_event(0, "{\n\"cluster\": \"x\",\r\n\"log.offset\": 1, \"a\": 2}");
    let outcome = Outcome { events: vec![new], ..Outcome::default() };
    let out = run(&["{}"], &Parser::Json, &mut [Stage::answers(&[], outcome)]);
    assert_eq!(
        super::harness::own_tree(&out.documents[1]).text(),
        r#"{"a":2,"event":{"cluster":"x","log.offset":1}}"#
    );
}

/// A path that a stage reads is known to the scanner; that opens no way past the envelope.
#[test]
fn what_stages_read_cannot_be_forged_either() {
    let line =
        r#"{"kubernetes.namespace":"mine","kubernetes":{"pod":"mine"},"log.flags":[],"cluster.a.b":1,"x":0}"#;
    let event = line.replace(",\"x\":0", "");
    let reads = ["kubernetes.namespace", "kubernetes.pod", "log.flags", "cluster.a.b", "cluster.a.c", "x"];
    let mut seen = Vec::new();
    check(line, &mut [Stage::reads(&reads, &mut seen)], &format!(r#"{{"x":0,"event":{event}}}"#));
    assert_eq!(super::harness::values(&seen[0].columns[0]), [(Kind::String, "mine".to_owned())]);
}
