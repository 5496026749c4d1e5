//! Any objects and any plans: the sheet against the model, value by value and member by member.

use proptest::prelude::*;

use super::harness::{Stage, batch, column, new_event, own, own_tree, run_batch, strings};
use super::tree::{Json, parse};
use super::{model, tree};
use crate::column::{Column, Kind};
use crate::parse::Parser;
use crate::transform::{Edit, Handled, NewEvent, Outcome, Patch, Plan, WrittenColumn};

/// Keys as they are spelled in the text: paths, parts of paths, names of the envelope and what looks like them.
const KEYS: [&str; 26] = [
    "a",
    "b",
    "c",
    "a.b",
    "b.c",
    "a.b.c",
    "a.x",
    "a.",
    ".a",
    "a..b",
    "",
    ".",
    "x",
    "aa",
    r"\u0061",
    r"a\u002eb",
    r"\u0062",
    "cluster",
    r"c\u006custer",
    "event",
    "event.a",
    "kubernetes.namespace",
    "log",
    "log.x",
    "é",
    r"a\n",
];
const PATHS: [&str; 18] = [
    "a",
    "b",
    "c",
    "a.b",
    "a.c",
    "b.c",
    "a.b.c",
    "a.b.d",
    "c.d.e",
    "x",
    "cluster",
    "cluster.a",
    "event",
    "event.a",
    "kubernetes.namespace",
    "log",
    "log.x",
    "é",
];
const VALUES: [&str; 10] = [
    "1",
    "-2.5e3",
    "true",
    "null",
    "\"s\"",
    "\"\\ud800\\u0041\"",
    "{}",
    "{\"b\": {\"c\":\n3}}",
    "[ {\"b\":1}, 2 ]",
    "[]",
];

/// What a stage answers, for as many rows as there are.
#[derive(Clone, Debug)]
struct Answer {
    columns: Vec<(usize, Vec<Option<&'static str>>)>,
    patches: Vec<(usize, Edit)>,
    events: Vec<(usize, String)>,
    verdicts: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Step {
    plan: Plan,
    answer: Answer,
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(&KEYS[..]).prop_map(|key| format!("\"{key}\""))
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(&VALUES[..6]).prop_map(str::to_owned),
        "[ -~é]{0,40}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            1 => (prop::collection::vec(inner.clone(), 0..3), space())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},{s}")))),
            3 => object_of(inner),
        ]
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", "", " ", "\t", "\n", " \r\n "])
}

fn object_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((key(), inner), 0..5), space()).prop_map(|(members, s)| {
        let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}{s}:{s}{value}")).collect();
        format!("{{{s}{}{s}}}", members.join(&format!("{s},{s}")))
    })
}

fn object() -> impl Strategy<Value = String> {
    object_of(json())
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(&PATHS[..]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&VALUES[..])
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => path().prop_map(Edit::Remove),
        4 => (path(), value()).prop_map(|(path, value)| Edit::Set(path, value.to_owned())),
        4 => (path(), path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => prop::collection::vec(path(), 0..4).prop_map(Edit::KeepOnly),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let paths = |count| prop::collection::vec(path(), count);
    // A stage that reads everything sees everything applied; most must not, or nothing would ever wait.
    let reads = prop_oneof![3 => paths(0..3), 1 => Just(strings(&["*"]))];
    let plan = (reads, paths(0..5), any::<bool>(), prop::collection::vec(edit(), 0..4));
    let index = || any::<prop::sample::Index>();
    let columns = prop::collection::vec((index(), prop::collection::vec(prop::option::of(value()), 4)), 0..3);
    let patches = prop::collection::vec((0..4_usize, edit()), 0..4);
    let events = prop::collection::vec((0..4_usize, object()), 0..2);
    let verdicts = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..2_u8, 4)];
    (plan, columns, patches, events, verdicts).prop_map(|(plan, columns, patches, events, verdicts)| {
        let (reads, mut writes, any, edits) = plan;
        let columns = match writes.len() {
            0 => Vec::new(),
            len => columns.into_iter().map(|(index, values)| (index.index(len), values)).collect(),
        };
        if any {
            writes.push("*".to_owned());
        }
        let reasons = vec![super::harness::reason("r", crate::transform::ReasonClass::Dropped)];
        let plan = Plan { reads, writes, edits, reasons, ..Plan::default() };
        Step { plan, answer: Answer { columns, patches, events, verdicts } }
    })
}

impl Answer {
    fn outcome(&self, rows: usize) -> Outcome {
        let cells = |values: &[Option<&'static str>]| -> Vec<(Kind, &'static str)> {
            (0..rows).map(|row| cell(values[row % 4])).collect()
        };
        let columns: Vec<WrittenColumn> =
            self.columns.iter().map(|(field, values)| column(*field as u32, &cells(values))).collect();
        let patch = |(row, edit): &(usize, Edit)| Patch { row: (row % rows) as u32, edit: edit.clone() };
        let event = |(parent, document): &(usize, String)| -> NewEvent {
            new_event((parent % rows) as u32, document)
        };
        let verdicts = match self.verdicts.is_empty() {
            true => Vec::new(),
            false => (0..rows).map(|row| self.verdicts[row % 4]).collect(),
        };
        Outcome {
            verdicts,
            columns,
            patches: self.patches.iter().map(patch).collect(),
            events: self.events.iter().map(event).collect(),
        }
    }
}

fn cell(value: Option<&'static str>) -> (Kind, &'static str) {
    match value {
        None => (Kind::Absent, ""),
        // In a column, strings are plain text.
        Some(text) if text.starts_with('"') => (Kind::String, "s\n\"\\é"),
        Some(text) => (parse(text).kind(), text),
    }
}

/// What a stage reads, said by the model.
fn expected_column(events: &[Json], path: &str) -> Vec<(Kind, Option<Json>)> {
    let read = |json: &Json| if path == "*" { Some(json.clone()) } else { model::read(json, path) };
    events.iter().map(read).map(|json| (json.as_ref().map_or(Kind::Absent, Json::kind), json)).collect()
}

fn check_column(column: &Column, events: &[Json], path: &str) {
    let expected = expected_column(events, path);
    assert_eq!(column.len(), expected.len());
    for (row, (kind, json)) in expected.into_iter().enumerate() {
        let (got_kind, text) = column.get(row).unwrap();
        let text = std::str::from_utf8(text).unwrap();
        assert_eq!(got_kind, kind, "{path} of {events:?}");
        match json {
            None => assert_eq!(text, ""),
            Some(Json::Scalar(raw)) if kind == Kind::String => assert_eq!(text, tree::unescaped(&raw)),
            Some(json) => assert_eq!(parse(text).sorted(), json.sorted(), "{path}"),
        }
    }
}

/// One stage on the model's events: what is left of them, and what was made.
fn model_step(events: Vec<Json>, step: &Step) -> Vec<Json> {
    let outcome = step.answer.outcome(events.len());
    let verdict = |row: usize| outcome.verdicts.get(row).copied().unwrap_or(0);
    let mut left = Vec::new();
    for (row, mut json) in events.into_iter().enumerate().filter(|(row, _)| verdict(*row) == 0) {
        for column in &outcome.columns {
            let path = &step.plan.writes[column.field as usize];
            let (kind, text) = column.values.get(row).unwrap();
            let text = std::str::from_utf8(text).unwrap();
            let value =
                if kind == Kind::String { serde_json::to_string(text).unwrap() } else { text.to_owned() };
            if kind != Kind::Absent {
                model::apply(&mut json, &Edit::Set(path.clone(), value));
            }
        }
        let own = outcome.patches.iter().filter(|patch| patch.row as usize == row);
        own.for_each(|patch| model::apply(&mut json, &patch.edit));
        step.plan.edits.iter().for_each(|edit| model::apply(&mut json, edit));
        left.push(json);
    }
    let made = outcome.events.iter().map(|event| parse(std::str::from_utf8(&event.document).unwrap()));
    left.into_iter().chain(made).collect()
}

fn check_steps(lines: &[String], steps: &[Step]) {
    let mut events: Vec<Json> = lines.iter().map(|line| parse(line)).collect();
    let mut before = Vec::new();
    for step in steps {
        before.push(events.clone());
        if events.is_empty() {
            break;
        }
        events = model_step(events, step);
    }
    let mut before = before.into_iter();
    let before = std::cell::RefCell::new(&mut before);
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for step in steps {
        let before = &before;
        stages.push(Stage::new(step.plan.clone(), move |call, _| {
            let events = before.borrow_mut().next().unwrap();
            for (column, path) in call.columns.iter().zip(&step.plan.reads) {
                check_column(column, &events, path);
            }
            Handled { outcome: step.answer.outcome(call.rows as usize), suspects: Vec::new() }
        }));
    }
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let out = run_batch(&batch(&lines), &Parser::Json, &mut stages);
    assert!(out.applied.iter().all(|applied| applied.refused == 0), "{:?}", out.applied);
    let documents: Vec<Json> = out.documents.iter().map(|document| own_tree(document).sorted()).collect();
    let expected: Vec<Json> = events.into_iter().map(|json| model::document(json).sorted()).collect();
    assert_eq!(documents, expected);
}

proptest! {
    #[test]
    fn any_plans_do_to_any_objects_what_the_model_says(
        lines in prop::collection::vec(object(), 1..4),
        steps in prop::collection::vec(step(), 0..4),
    ) {
        check_steps(&lines, &steps);
    }

    #[test]
    fn one_edit_does_what_the_model_says(line in object(), edits in prop::collection::vec(edit(), 1..4)) {
        let mut json = parse(&line);
        edits.iter().for_each(|edit| model::apply(&mut json, edit));
        let expected = model::document(json).sorted();
        let out = run_batch(&batch(&[line.as_bytes(); 3]), &Parser::Json, &mut [Stage::edits(&edits)]);
        for document in &out.documents {
            prop_assert_eq!(own_tree(document).sorted(), expected.clone(), "{}", own(document));
        }
    }

    #[test]
    fn any_bytes_become_one_document(bytes in prop::collection::vec(any::<u8>(), 0..200), edits in prop::collection::vec(edit(), 0..3)) {
        for parser in [Parser::Json, Parser::Auto, Parser::Logfmt, Parser::Klog, Parser::None] {
            let out = run_batch(&batch(&[&bytes]), &parser, &mut [Stage::edits(&edits)]);
            prop_assert_eq!(out.documents.len(), 1);
        }
    }

    /// Removal is what privacy rests on: no spelling, order or neighbour brings a removed value back.
    #[test]
    fn a_removed_value_is_nowhere(
        line in object(),
        before in prop::collection::vec(step(), 0..3),
        after in prop::collection::vec(step(), 0..3),
    ) {
        let mut before = before;
        for step in &mut before {
            // What is called otherwise by then is not removed.
            step.plan.edits.retain(|edit| !matches!(edit, Edit::Rename(..)));
            step.answer.patches.retain(|(_, edit)| !matches!(edit, Edit::Rename(..)));
        }
        let secret = r#"{"a":{"b":"SECRET"},"a.b":["SECRET"],"a.b.c":"SECRET","a":[{"b.d":"SECRET"}],"\u0061.b":"SECRET""#;
        let comma = if parse(&line).into_members().is_empty() { "" } else { "," };
        let line = line.replacen('{', &format!("{secret}{comma}"), 1);
        let stage = |step: &Step| {
            let answer = step.answer.clone();
            Stage::new(step.plan.clone(), move |call, _| {
                Handled { outcome: answer.outcome(call.rows as usize), suspects: Vec::new() }
            })
        };
        let mut stages: Vec<Stage<'_>> = before.iter().map(stage).collect();
        stages.push(Stage::edits(&[Edit::Remove("a.b".to_owned())]));
        stages.extend(after.iter().map(stage));
        let out = run_batch(&batch(&[line.as_bytes(); 2]), &Parser::Json, &mut stages);
        for document in &out.documents {
            prop_assert!(!document.contains("SECRET"), "{}", document);
        }
    }
}

#[test]
fn strings_of_paths_are_paths() {
    for path in strings(&PATHS) {
        assert_eq!(crate::path::check(&path), Ok(()));
    }
}
