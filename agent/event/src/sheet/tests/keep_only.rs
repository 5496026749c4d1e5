//! Keeping: nothing but what is named survives.

use super::harness::{Stage, check, check_edits, keep_only, remove, set};
use crate::transform::{Handled, Plan};

#[test]
fn only_what_is_named_stays() {
    for (line, paths, expected) in [
        (r#"{"a":1,"secret":2,"b":3}"#, &["a", "b"][..], r#"{"a":1,"b":3}"#),
        (r#"{"secret":2}"#, &["a"], "{}"),
        (r#"{"secret":2}"#, &[], "{}"),
        (r#"{"":1," ":2,"a ":3,"A":4,".a":5}"#, &["a"], "{}"),
        // Nested, and spelled in other ways.
        (r#"{"user":{"id":1,"email":"s"},"x":"s"}"#, &["user.id"], r#"{"user":{"id":1}}"#),
        (
            r#"{"user.id":1,"user.email":"s","user":{"id":2,"a":{"b":"s"}}}"#,
            &["user.id"],
            r#"{"user.id":1,"user":{"id":2}}"#,
        ),
        (r#"{"us\u0065r":{"id":1,"em\u0061il":"s"}}"#, &["user.id"], r#"{"us\u0065r":{"id":1}}"#),
        (
            r#"{"user":{"id":1},"user":{"email":"s"},"user":{"id":2}}"#,
            &["user.id"],
            r#"{"user":{"id":1},"user":{},"user":{"id":2}}"#,
        ),
        (
            r#"{"a":{"b":{"c":1,"s":"s"},"s":"s"},"s":{"a":{"b":{"c":"s"}}}}"#,
            &["a.b.c"],
            r#"{"a":{"b":{"c":1}}}"#,
        ),
        // What lies beyond a kept path belongs to it.
        (
            r#"{"labels":{"app":1},"labels.team":2,"labelss":"s"}"#,
            &["labels"],
            r#"{"labels":{"app":1},"labels.team":2}"#,
        ),
        // On the way, only objects stay.
        (r#"{"user":"s"}"#, &["user.id"], "{}"),
        (r#"{"user":["s",{"id":1,"email":"s"}]}"#, &["user.id"], "{}"),
        (r#"{"user":null,"user.":"s","user..id":"s"}"#, &["user.id"], "{}"),
        // A path that is below another one, or twice.
        (r#"{"a":{"b":1,"c":2},"a.d":3}"#, &["a", "a.b"], r#"{"a":{"b":1,"c":2},"a.d":3}"#),
        (r#"{"a":{"b":1,"c":2}}"#, &["a.b", "a"], r#"{"a":{"b":1,"c":2}}"#),
        (r#"{"a":1,"b":"s"}"#, &["a", "a"], r#"{"a":1}"#),
        // The envelope's names are like any other.
        (r#"{"cluster":1,"node":"s","a":2}"#, &["cluster", "a"], r#"{"a":2,"event":{"cluster":1}}"#),
        (
            r#"{"kubernetes":{"pod":1,"namespace":"s"},"kubernetes.x":"s"}"#,
            &["kubernetes.pod"],
            r#"{"event":{"kubernetes":{"pod":1}}}"#,
        ),
    ] {
        check_edits(line, &[keep_only(paths)], expected);
    }
}

/// What other stages read or edit is known to the scanner, and must not survive for that.
#[test]
fn what_others_name_does_not_survive() {
    let line = r#"{"secret":"s","user":{"email":"s","id":1},"x":{"y":{"z":"s"}},"keep":2}"#;
    let stage = || {
        let reads = ["secret", "user.email", "x.y.z", "user.id"].map(str::to_owned).to_vec();
        let writes = ["secret", "user.name"].map(str::to_owned).to_vec();
        Stage::new(Plan { reads, writes, ..Plan::default() }, |_, _| Handled::default())
    };
    let keep = || Stage::edits(&[keep_only(&["keep", "user.id"])]);
    check(line, &mut [stage(), keep()], r#"{"user":{"id":1},"keep":2}"#);
    check(line, &mut [keep(), stage()], r#"{"user":{"id":1},"keep":2}"#);
    check(line, &mut [stage(), Stage::edits(&[remove("x.y.a"), keep_only(&["keep"])])], r#"{"keep":2}"#);
}

#[test]
fn before_and_after_other_edits() {
    let line = r#"{"a":1,"b":{"c":2,"d":3}}"#;
    check_edits(line, &[keep_only(&["b.c"]), set("e", "4")], r#"{"b":{"c":2},"e":4}"#);
    check_edits(line, &[set("b.e", "4"), keep_only(&["b.c"])], r#"{"b":{"c":2}}"#);
    check_edits(line, &[keep_only(&["b"]), keep_only(&["b.c"])], r#"{"b":{"c":2}}"#);
    check_edits(line, &[keep_only(&["a"]), keep_only(&["b.c"])], "{}");
    check_edits(line, &[remove("b.c"), keep_only(&["b.c"])], r#"{"b":{}}"#);
}
