//! Renaming: a value moves, and takes the place that a set would take.

use super::harness::{check_edits, remove, rename, set};

#[test]
fn a_value_moves() {
    for (line, from, to, expected) in [
        (r#"{"a":1,"b":2}"#, "a", "c", r#"{"b":2,"c":1}"#),
        (r#"{"a":1,"b":2}"#, "a", "b", r#"{"b":1}"#),
        (r#"{"b":2,"a":{"x":[1 ]}}"#, "a", "b", r#"{"b":{"x":[1 ]}}"#),
        (r#"{"b":2}"#, "a", "b", r#"{"b":2}"#),
        ("{}", "a", "b", "{}"),
        (r#"{"a":1}"#, "a", "b.c", r#"{"b":{"c":1}}"#),
        (r#"{"a":1,"b":{"x":0}}"#, "a", "b.c", r#"{"b":{"x":0,"c":1}}"#),
        (r#"{"a":1,"b":"text"}"#, "a", "b.c", r#"{"b":{"c":1}}"#),
        (r#"{"a":{"b":1},"c":2}"#, "a.b", "d", r#"{"a":{},"c":2,"d":1}"#),
        (r#"{"a":{"b":1,"x":0},"c":{"d":2}}"#, "a.b", "c.d", r#"{"a":{"x":0},"c":{"d":1}}"#),
        (r#"{"a":{"b":1}}"#, "a.b", "a.c", r#"{"a":{"c":1}}"#),
        // The last of several is what is read, and all of them go.
        (r#"{"a":1,"b":0,"a":2}"#, "a", "c", r#"{"b":0,"c":2}"#),
        (r#"{"a":{"b":1},"a.b":2}"#, "a.b", "c", r#"{"a":{},"c":2}"#),
        (r#"{"a":[{"b":1},{"b":2,"x":0}]}"#, "a.b", "c", r#"{"a":[{},{"x":0}],"c":2}"#),
        // All of the other path's members take it, and what lies beyond that goes.
        (r#"{"a":1,"b":2,"b":3,"b.x":4}"#, "a", "b", r#"{"b":1,"b":1}"#),
        // What lies beyond the first path is no value of it.
        (r#"{"a.x":1}"#, "a", "b", r#"{"a.x":1}"#),
        (r#"{"a":0,"a.x":1}"#, "a", "b", r#"{"a.x":1,"b":0}"#),
        (r#"{"a":1}"#, "a", "a", r#"{"a":1}"#),
        (r#"{"a":1,"a":2,"a.x":3}"#, "a", "a", r#"{"a":1,"a":2,"a.x":3}"#),
    ] {
        check_edits(line, &[rename(from, to)], expected);
    }
}

#[test]
fn a_value_moves_into_or_out_of_itself() {
    for (line, from, to, expected) in [
        (r#"{"a":1}"#, "a", "a.b", r#"{"a":{"b":1}}"#),
        (r#"{"a":{"x":1}}"#, "a", "a.b", r#"{"a":{"b":{"x":1}}}"#),
        (r#"{"a":{"b":1}}"#, "a", "a.b", r#"{"a":{"b":{"b":1}}}"#),
        (r#"{"a":{"b":1},"a.b":2}"#, "a", "a.b", r#"{"a.b":{"b":1}}"#),
        (r#"{"x":{"a":{"b":1}}}"#, "x.a", "x.a.b.c", r#"{"x":{"a":{"b":{"c":{"b":1}}}}}"#),
        (r#"{"a":{"b":1,"c":2}}"#, "a.b", "a", r#"{"a":1}"#),
        (r#"{"a.b":1,"a.c":2,"a.b.d":3}"#, "a.b", "a", r#"{"a":1}"#),
        (r#"{"a":0,"a.b":1}"#, "a.b", "a", r#"{"a":1}"#),
        (r#"{"a":{"c":2}}"#, "a.b", "a", r#"{"a":{"c":2}}"#),
        (r#"{"a.c":1}"#, "x", "a", r#"{"a.c":1}"#),
    ] {
        check_edits(line, &[rename(from, to)], expected);
    }
}

/// A rename that finds nothing must not clear what lies below its goal, also where the goal's inner paths are known.
#[test]
fn nothing_moves_and_nothing_is_cleared() {
    let edits = [rename("x", "a"), remove("a.c"), set("a.b", "7")];
    check_edits(r#"{"a":{"b":1,"c":2,"d":3}}"#, &edits, r#"{"a":{"b":7,"d":3}}"#);
    check_edits(r#"{"a.b":1,"a.c":2}"#, &[rename("x", "a"), remove("a.c")], r#"{"a.b":1}"#);
}

#[test]
fn chains_of_renames() {
    let swap = [rename("a", "t"), rename("b", "a"), rename("t", "b")];
    check_edits(r#"{"a":1,"b":2}"#, &swap, r#"{"a":2,"b":1}"#);
    check_edits(r#"{"a":1,"b":2}"#, &[rename("a", "b"), rename("b", "c")], r#"{"c":1}"#);
    check_edits(r#"{"a":1}"#, &[rename("a", "b"), set("a", "2"), rename("b", "c")], r#"{"a":2,"c":1}"#);
}
