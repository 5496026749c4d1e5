//! What compiles, and what can be done in one splice: it is what makes an edited event cheap.

use super::*;

fn plan(reads: &[&str], writes: &[&str], edits: &[Edit]) -> Plan {
    let own = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    Plan { reads: own(reads), writes: own(writes), edits: edits.to_vec(), ..Plan::default() }
}

fn remove(path: &str) -> Edit {
    Edit::Remove(path.to_owned())
}

fn set(path: &str, json: &str) -> Edit {
    Edit::Set(path.to_owned(), json.to_owned())
}

fn rename(from: &str, to: &str) -> Edit {
    Edit::Rename(from.to_owned(), to.to_owned())
}

fn keep_only(path: &str) -> Edit {
    Edit::KeepOnly(vec![path.to_owned()])
}

fn compiled(plans: &[Plan]) -> Compiled {
    Compiled::new(&plans.iter().collect::<Vec<_>>()).unwrap()
}

/// How many splices an event goes through, the encoder's among them.
fn splices(compiled: &Compiled, ways: Ways) -> usize {
    let (mut from, mut count) = (0, 0);
    while from < compiled.passes() {
        from = compiled.program(from, compiled.passes(), ways).1;
        count += 1;
    }
    count
}

#[test]
fn what_does_not_compile() {
    let refused = |edits: &[Edit]| Compiled::new(&[&plan(&[], &[], edits)]).err();
    assert!(matches!(refused(&[remove("a..b")]), Some(CompileError::Path(PathError::EmptyPart(_)))));
    assert!(matches!(refused(&[rename("a", "")]), Some(CompileError::Path(_))));
    assert!(Compiled::new(&[&plan(&["*"], &["*"], &[])]).is_ok());
    assert!(Compiled::new(&[&plan(&["a."], &[], &[])]).is_err());
    assert!(Compiled::new(&[&plan(&[], &[".a"], &[])]).is_err());
    let swaps: Vec<Edit> = (0..100).map(|n| rename("a", &format!("b{n}"))).collect();
    assert_eq!(refused(&swaps), Some(CompileError::TooManyEdits(100)));
}

#[test]
fn values_are_json_text() {
    for (json, is_value) in [
        ("1", true),
        (" [1, {\"a\":\n2}] ", true),
        ("\"\\ud800\"", true),
        ("", false),
        ("x", false),
        ("1,\"b\":2", false),
        ("1}", false),
        ("{}{}", false),
        ("\"a\":1", false),
        ("\"a", false),
    ] {
        let answer = Compiled::new(&[&plan(&[], &[], &[set("a", json)])]).map(|_| ());
        let expected = if is_value { Ok(()) } else { Err(CompileError::NotJson("a".to_owned())) };
        assert_eq!(answer, expected, "{json}");
    }
}

#[test]
fn what_is_apart_is_one_splice() {
    let many: Vec<Edit> = (0..500).map(|n| remove(&format!("k{n}.x"))).collect();
    for (edits, passes, objects, arrays) in [
        (&[][..], 0, 0, 0),
        (&many, 1, 1, 1),
        (&[remove("a"), remove("a.b"), set("c", "1"), rename("d", "e")], 1, 1, 1),
        // Side by side under one parent: apart, unless the parent is an array that the first one replaces.
        (&[set("a.b", "1"), set("a.c", "2"), remove("a.d")], 2, 1, 2),
        (&[set("a", "1"), remove("a.b")], 2, 2, 2),
        (&[rename("a", "b"), rename("b", "c"), rename("d", "e")], 2, 2, 2),
        (&[remove("a"), keep_only("b")], 2, 2, 2),
        (&[keep_only("b"), keep_only("c"), remove("d")], 3, 3, 3),
    ] {
        let compiled = compiled(&[plan(&[], &[], edits)]);
        assert_eq!(compiled.passes(), passes, "{edits:?}");
        let found = (splices(&compiled, Ways::Objects), splices(&compiled, Ways::Arrays));
        assert_eq!(found, (objects, arrays), "{edits:?}");
    }
}

/// The stages of the first-party plugins in a row: a sampler that reads and a filter that edits.
#[test]
fn a_sampler_and_a_filter_leave_everything_to_the_encoder() {
    let sampler = plan(&["level", "trace_id"], &["sample_rate"], &[]);
    let filter = plan(
        &["message"],
        &["message"],
        &[remove("user.email"), remove("labels"), set("cluster", "\"dev-1\""), rename("msg", "text")],
    );
    let compiled = compiled(&[sampler, filter]);
    for ways in [Ways::Objects, Ways::Arrays] {
        for stage in &compiled.stages {
            assert_eq!(*stage.needs(ways), Needs::default());
        }
        assert_eq!(splices(&compiled, ways), 1);
    }
}

#[test]
fn a_stage_needs_what_it_could_see() {
    let first = plan(&[], &["w.x"], &[remove("r"), set("a.b", "1"), set("c", "2")]);
    let needs = |reads: &[&str], writes: &[&str], ways: Ways| {
        *compiled(&[first.clone(), plan(reads, writes, &[])]).stages[1].needs(ways)
    };
    let passes = compiled(std::slice::from_ref(&first)).passes();
    assert_eq!(passes, 1);
    for (reads, writes, objects, arrays) in [
        (&["other"][..], &["other"][..], (0, false, 0), (0, false, 0)),
        (&["r"], &[], (1, false, 0), (1, false, 0)),
        (&["r.x.y"], &[], (1, false, 0), (1, false, 0)),
        (&["a"], &[], (1, false, 0), (1, false, 0)),
        (&["a.c"], &[], (0, false, 0), (1, false, 0)),
        (&["w"], &[], (0, true, 0), (0, true, 0)),
        (&["w.y"], &[], (0, false, 0), (0, true, 0)),
        (&["*"], &[], (1, true, 0), (1, true, 0)),
        (&[], &["c.d"], (0, false, 1), (0, false, 1)),
        (&[], &["*"], (0, false, 1), (0, false, 1)),
    ] {
        for (ways, expected) in [(Ways::Objects, objects), (Ways::Arrays, arrays)] {
            let needs = needs(reads, writes, ways);
            assert_eq!(
                (needs.reads, needs.reads_row_edits, needs.writes),
                expected,
                "{reads:?} {writes:?} {ways:?}"
            );
        }
    }
    // Of its own edits and those behind it, the ones that touch what it writes come after.
    for (edit, at_once) in
        [(remove("w"), true), (remove("w.x.y"), true), (remove("v"), false), (keep_only("w"), true)]
    {
        let stages = compiled(&[plan(&[], &["w.x"], &[]), plan(&[], &[], std::slice::from_ref(&edit))]);
        assert_eq!(stages.stages[0].needs(Ways::Objects).writes_at_once, at_once, "{edit:?}");
    }
}
