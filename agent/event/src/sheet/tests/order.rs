//! Order: a stage sees what the stages before it did, whatever could wait for the encoder and whatever could not.

use super::harness::{Stage, check, column, keep_only, own, remove, rename, run, set, strings, values};
use super::tree::Json;
use super::{model, tree};
use crate::column::Kind;
use crate::parse::Parser;
use crate::sheet::Sheet;
use crate::transform::{Edit, Handled, Outcome, Patch, Plan};

const LINE: &str = r#"{"a":1,"b":{"c":2,"d":"x"},"e":[{"f":3}],"cluster":4}"#;

/// Edits of every sort, near each other and apart.
fn edits() -> Vec<Edit> {
    vec![
        remove("a"),
        remove("b.c"),
        remove("e.f"),
        set("a", "\"new\""),
        set("b.c", "5"),
        set("b", "{\"c\":6}"),
        set("e.g", "7"),
        set("a.z", "8"),
        rename("a", "b.c"),
        rename("b.c", "a"),
        rename("e.f", "e.g"),
        rename("cluster", "a"),
        keep_only(&["b.c", "e"]),
        keep_only(&["a"]),
    ]
}

fn edited(edits: &[&Edit]) -> Json {
    let mut json = tree::parse(LINE);
    edits.iter().for_each(|edit| model::apply(&mut json, edit));
    json
}

#[track_caller]
fn check_document(stages: &mut [Stage<'_>], edits: &[&Edit]) {
    let out = run(&[LINE], &Parser::Json, stages);
    let expected = model::document(edited(edits));
    assert_eq!(tree::parse(&own(&out.documents[0])).sorted(), expected.sorted(), "{edits:?}");
}

#[test]
fn any_two_edits_one_after_the_other() {
    for one in &edits() {
        for other in &edits() {
            let both = [one, other];
            let pair = [one.clone(), other.clone()];
            check_document(&mut [Stage::edits(&pair)], &both);
            check_document(&mut [Stage::edits(&pair[..1]), Stage::edits(&pair[1..])], &both);
            check_document(&mut [Stage::patches(&["*"], &pair)], &both);
            check_document(&mut [Stage::patches(&["*"], &pair[..1]), Stage::edits(&pair[1..])], &both);
            check_document(&mut [Stage::edits(&pair[..1]), Stage::patches(&["*"], &pair[1..])], &both);
            let paths = ["a", "a.z", "b", "b.c", "e.f", "e.g", "cluster"];
            check_document(&mut [Stage::patches(&paths, &pair)], &both);
            check_document(&mut [Stage::patches(&paths, &pair[..1]), Stage::edits(&pair[1..])], &both);
            check_document(
                &mut [Stage::patches(&paths, &pair[..1]), Stage::patches(&paths, &pair[1..])],
                &both,
            );
            check_document(&mut [Stage::edits(&pair[..1]), Stage::patches(&paths, &pair[1..])], &both);
        }
    }
}

#[test]
fn a_row_is_edited_before_the_plan_of_its_stage_is_applied() {
    for one in &edits() {
        for other in &edits() {
            for writes in [&["*"][..], &["a", "a.z", "b", "b.c", "e.f", "e.g", "cluster"]] {
                let mut stage = Stage::patches(writes, std::slice::from_ref(one));
                stage.plan.edits = vec![other.clone()];
                check_document(&mut [stage], &[one, other]);
            }
        }
    }
}

#[test]
fn a_stage_reads_what_the_ones_before_it_wrote() {
    let paths = ["a", "a.z", "b", "b.c", "b.d", "e", "e.f", "e.g", "cluster", "*"];
    for edit in &edits() {
        for path in paths {
            for patched in [false, true] {
                let mut seen = Vec::new();
                let first = match patched {
                    true => Stage::patches(&["*"], std::slice::from_ref(edit)),
                    false => Stage::edits(std::slice::from_ref(edit)),
                };
                run(&[LINE], &Parser::Json, &mut [first, Stage::reads(&[path], &mut seen)]);
                let json = edited(&[edit]);
                let expected = if path == "*" { Some(json) } else { model::read(&json, path) };
                let (kind, text) = values(&seen[0].columns[0]).remove(0);
                assert_eq!(kind, expected.as_ref().map_or(Kind::Absent, Json::kind), "{edit:?}, then {path}");
                let got = match kind {
                    Kind::Absent => None,
                    Kind::String => Some(Json::Scalar(format!("\"{text}\""))),
                    _ => Some(tree::parse(&text).sorted()),
                };
                assert_eq!(got, expected.map(|json| json.sorted()), "{edit:?}, then {path}");
            }
        }
    }
}

#[test]
fn a_stage_does_not_read_its_own_edits() {
    let mut seen = Vec::new();
    let mut stage = Stage::reads(&["a"], &mut seen);
    stage.plan.edits = vec![remove("a")];
    check(r#"{"a":1}"#, &mut [stage], "{}");
    assert_eq!(values(&seen[0].columns[0]), [(Kind::Number, "1".to_owned())]);
}

#[test]
fn patches_keep_their_order_whatever_the_plan_names() {
    let patches = [set("user.name", "1"), remove("user"), set("user.id", "2")];
    for writes in
        [&["*"][..], &["user"], &["user", "user.name", "user.id"], &["user.name", "*"], &["user", "user.id"]]
    {
        check("{}", &mut [Stage::patches(writes, &patches)], r#"{"user":{"id":2}}"#);
    }
}

#[test]
fn columns_come_before_patches() {
    let patches = vec![Patch { row: 0, edit: rename("a", "b") }, Patch { row: 0, edit: set("a", "3") }];
    let columns = vec![column(0, &[(Kind::Number, "2")]), column(1, &[(Kind::String, "x\n\"")])];
    let outcome = Outcome { columns, patches, ..Outcome::default() };
    check(r#"{"a":1}"#, &mut [Stage::answers(&["a", "c"], outcome)], r#"{"c":"x\n\"","b":2,"a":3}"#);
}

#[test]
fn columns_leave_rows_without_a_value_as_they_are() {
    let rows =
        [(Kind::Number, "0.5"), (Kind::Absent, ""), (Kind::Null, "null"), (Kind::Object, "{ \"x\" :\n1}")];
    let outcome = Outcome { columns: vec![column(0, &rows)], ..Outcome::default() };
    let line = r#"{"rate":1}"#;
    let out = run(&[line, line, line, "{}"], &Parser::Json, &mut [Stage::answers(&["rate"], outcome)]);
    let own: Vec<_> = out.documents.iter().map(|document| own(document)).collect();
    assert_eq!(own, [r#"{"rate":0.5}"#, r#"{"rate":1}"#, r#"{"rate":null}"#, r#"{"rate":{ "x" : 1}}"#]);
}

#[test]
fn edits_of_many_rows_wait_through_many_stages() {
    let answer = |value: &str| {
        let columns = vec![column(0, &[(Kind::Number, value), (Kind::Absent, ""), (Kind::Number, value)])];
        Outcome { columns, ..Outcome::default() }
    };
    let mut seen = Vec::new();
    let mut stages = [
        Stage::answers(&["x"], answer("1")),
        Stage::answers(&["y"], answer("2")),
        Stage::edits(&[remove("gone")]),
        Stage::reads(&["y"], &mut seen),
        Stage::answers(&["x"], answer("3")),
    ];
    let line = r#"{"gone":0,"a":1}"#;
    let out = run(&[line, line, line], &Parser::Json, &mut stages);
    drop(stages);
    let own: Vec<_> = out.documents.iter().map(|document| own(document)).collect();
    assert_eq!(own, [r#"{"a":1,"x":3,"y":2}"#, r#"{"a":1}"#, r#"{"a":1,"x":3,"y":2}"#]);
    assert_eq!(
        values(&seen[0].columns[0]).iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["2", "", "2"]
    );
}

#[test]
fn edits_of_different_rows_wait_together() {
    let answer = |rows: [u32; 2], value: &str| {
        let patches = rows.iter().map(|row| Patch { row: *row, edit: set("x", value) }).collect();
        Outcome { patches, ..Outcome::default() }
    };
    let stages =
        &mut [Stage::answers(&["x"], answer([3, 1], "1")), Stage::answers(&["x"], answer([2, 0], "2"))];
    let out = run(&["{}", "{}", "{}", "{}"], &Parser::Json, stages);
    let own: Vec<_> = out.documents.iter().map(|document| own(document)).collect();
    assert_eq!(own, [r#"{"x":2}"#, r#"{"x":1}"#, r#"{"x":2}"#, r#"{"x":1}"#]);
}

#[test]
fn more_than_one_call_edits_the_same_row_many_times() {
    let many: Vec<Edit> = (0..200).map(|n| set("n", &n.to_string())).collect();
    let long = format!("{{\"n\":0,\"text\":\"{}\"}}", "x".repeat(100_000));
    let out =
        run(&[&long], &Parser::Json, &mut [Stage::patches(&["n"], &many), Stage::patches(&["*"], &many)]);
    assert!(own(&out.documents[0]).starts_with("{\"n\":199,"));
}

/// What a scanner has learnt for one pipeline's paths must not be used for another's.
#[test]
fn a_sheet_serves_one_pipeline_after_another() {
    let mut sheet = Sheet::new();
    let batch = super::harness::batch(&[LINE.as_bytes(); 4]);
    for edit in edits().iter().chain(&edits()) {
        let out = super::harness::run_on(
            &mut sheet,
            &batch,
            &Parser::Json,
            &mut [Stage::edits(std::slice::from_ref(edit))],
        );
        let expected = model::document(edited(&[edit])).sorted();
        for document in &out.documents {
            assert_eq!(tree::parse(&own(document)).sorted(), expected, "{edit:?}");
        }
    }
}

#[test]
fn attributes_are_those_of_the_stream() {
    let mut seen = Vec::new();
    let plan = Plan { attributes: strings(&["pod", "uid", "cluster"]), ..Plan::default() };
    let stage = Stage::new(plan, |call, context| {
        seen.push((call.clone(), context.clone()));
        Handled::default()
    });
    run(&["{}", "x"], &Parser::Json, &mut [stage]);
    let (call, context) = &seen[0];
    assert_eq!((call.rows, call.streams.as_slice(), call.times.len()), (2, &[0, 0][..], 2));
    let columns: Vec<_> = context.attributes.iter().map(values).collect();
    let string = |text: &str| vec![(Kind::String, text.to_owned())];
    assert_eq!(columns, [string("cart-1"), vec![(Kind::Absent, String::new())], string("dev")]);
}
