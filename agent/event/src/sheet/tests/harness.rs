//! Lines through a sheet, as a pipeline drives it, with what holds for every document checked on the way.

use std::sync::Arc;

use super::tree::{Json, parse};
use crate::batch::{ArenaPool, Batch, BatchBuilder, Flags, Row};
use crate::column::{Column, Kind};
use crate::edit::Compiled;
use crate::parse::Parser;
use crate::sheet::{Applied, Encoded, Finished, OnFault, Sheet};
use crate::stream::{Attributes, ENVELOPE_NAMES, Stream};
use crate::transform::{
    Call, Context, Edit, Handled, NewEvent, Outcome, Patch, Plan, Reason, ReasonClass, WrittenColumn,
};

/// 2026-11-22T10:00:00Z
pub(super) const TIME: i64 = 1_795_341_600_000_000_000;
/// What stands before the offset in every document of [`batch`].
const ENVELOPE: &str = r#"{"@timestamp":"2026-11-22T10:00:00.000000000Z","cluster":"dev","node":"n1","kubernetes":{"namespace":"shop","pod":"cart-1","container":"app"},"stream":"stdout","log":{"offset":"#;

/// What a stage does with a call.
type Answer<'a> = Box<dyn FnMut(&Call, &Context) -> Handled + 'a>;

/// A stage: its plan and what it answers.
pub(super) struct Stage<'a> {
    pub plan: Plan,
    pub answer: Answer<'a>,
    pub on_fault: OnFault,
}

impl<'a> Stage<'a> {
    pub fn new(plan: Plan, answer: impl FnMut(&Call, &Context) -> Handled + 'a) -> Stage<'a> {
        Stage { plan, answer: Box::new(answer), on_fault: OnFault::Pass }
    }

    /// Answers nothing: only the plan works.
    pub fn edits(edits: &[Edit]) -> Stage<'a> {
        Stage::new(Plan { edits: edits.to_vec(), ..Plan::default() }, |_, _| Handled::default())
    }

    /// Answers each call with the same outcome.
    pub fn answers(writes: &[&str], outcome: Outcome) -> Stage<'a> {
        let plan = Plan { writes: strings(writes), ..Plan::default() };
        Stage::new(plan, move |_, _| Handled { outcome: outcome.clone(), suspects: Vec::new() })
    }

    /// Patches the first row.
    pub fn patches(writes: &[&str], edits: &[Edit]) -> Stage<'a> {
        let patches = edits.iter().map(|edit| Patch { row: 0, edit: edit.clone() }).collect();
        Stage::answers(writes, Outcome { patches, ..Outcome::default() })
    }

    /// Reads paths and keeps what it was shown.
    pub fn reads(reads: &[&str], seen: &'a mut Vec<Call>) -> Stage<'a> {
        let plan = Plan { reads: strings(reads), ..Plan::default() };
        Stage::new(plan, |call, _| {
            seen.push(call.clone());
            Handled::default()
        })
    }
}

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn remove(path: &str) -> Edit {
    Edit::Remove(path.to_owned())
}

pub(super) fn set(path: &str, json: &str) -> Edit {
    Edit::Set(path.to_owned(), json.to_owned())
}

pub(super) fn rename(from: &str, to: &str) -> Edit {
    Edit::Rename(from.to_owned(), to.to_owned())
}

pub(super) fn keep_only(paths: &[&str]) -> Edit {
    Edit::KeepOnly(strings(paths))
}

pub(super) fn reason(name: &str, class: ReasonClass) -> Reason {
    Reason { name: name.to_owned(), class }
}

pub(super) fn column(field: u32, values: &[(Kind, &str)]) -> WrittenColumn {
    let mut column = Column::default();
    for (kind, value) in values {
        column.push(*kind, value.as_bytes());
    }
    WrittenColumn { field, values: column }
}

pub(super) fn new_event(parent: u32, document: &str) -> NewEvent {
    NewEvent { parent, document: document.as_bytes().to_vec() }
}

/// A column as kinds and texts.
pub(super) fn values(column: &Column) -> Vec<(Kind, String)> {
    let value = |row| column.get(row).map(|(kind, text)| (kind, String::from_utf8(text.to_vec()).unwrap()));
    (0..column.len()).map(|row| value(row).unwrap()).collect()
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub documents: Vec<String>,
    pub finished: Vec<Finished>,
    pub dead: Vec<String>,
    /// By stage.
    pub applied: Vec<Applied>,
}

/// Rows of one container; the raw bytes of each are its content and the offset is where it lies.
pub(super) fn batch(lines: &[&[u8]]) -> Batch {
    let pool = ArenaPool::new();
    let mut builder = BatchBuilder::new(pool.take());
    let own = |text: &str| text.to_owned();
    let attributes = Attributes {
        cluster: own("dev"),
        node: own("n1"),
        namespace: own("shop"),
        pod: own("cart-1"),
        container: own("app"),
        stream: own("stdout"),
        ..Attributes::default()
    };
    let stream = builder.add_stream(&Stream::new(attributes, 7));
    for line in lines {
        let content = builder.arena.append(line);
        let offset = u64::from(content.start);
        let flags = Flags::default();
        builder.push(Row { content, raw: content, offset, time: TIME, stream, flags });
    }
    builder.finish(&Arc::clone(&pool))
}

/// Drives a batch through the stages as a pipeline does.
pub(super) fn run_batch(batch: &Batch, parser: &Parser, stages: &mut [Stage<'_>]) -> Out {
    run_on(&mut Sheet::new(), batch, parser, stages)
}

pub(super) fn run_on(sheet: &mut Sheet, batch: &Batch, parser: &Parser, stages: &mut [Stage<'_>]) -> Out {
    let plans: Vec<Plan> = stages.iter().map(|stage| stage.plan.clone()).collect();
    let compiled = Compiled::new(&plans.iter().collect::<Vec<_>>()).unwrap();
    let mut out = Out::default();
    sheet.load(&compiled, parser, None, batch);
    let mut context = Context::default();
    for (index, stage) in stages.iter_mut().enumerate() {
        Sheet::context(&compiled, index, batch, &mut context);
        let Some(call) = sheet.call(&compiled, index, batch) else { break };
        let handled = (stage.answer)(call, &context);
        let applied = sheet.apply(&compiled, index, batch, &handled, stage.on_fault);
        out.applied.push(applied);
        let mut dead = Vec::new();
        out.dead.extend(encode(sheet, &compiled, batch, Encoded::Dead, &mut dead));
    }
    out.documents = encode(sheet, &compiled, batch, Encoded::Kept, &mut out.finished);
    out
}

fn encode(
    sheet: &mut Sheet,
    compiled: &Compiled,
    batch: &Batch,
    which: Encoded,
    finished: &mut Vec<Finished>,
) -> Vec<String> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    sheet.encode(compiled, batch, which, &mut bytes, |one, end| {
        finished.push(one);
        ends.push(end);
    });
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches('\n').count(), ends.len(), "a document on several lines: {text:?}");
    assert_eq!(text.lines().count(), ends.len());
    assert!(!text.contains('\r'), "{text:?}");
    let documents: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut at = 0;
    for (document, end) in documents.iter().zip(ends) {
        at += document.len();
        assert_eq!(at, end, "a document ends somewhere else than said: {document}");
        at += 1;
        check_envelope(document);
    }
    documents
}

/// The envelope stands first and is the stream's, and nothing else at the top level has a name of it.
fn check_envelope(document: &str) {
    assert!(document.starts_with(ENVELOPE), "{document}");
    let members = parse(document).into_members();
    for (at, (key, _)) in members.iter().enumerate() {
        let of_envelope = |name: &&&str| key == **name || key.starts_with(&format!("{name}."));
        if let Some(name) = ENVELOPE_NAMES.iter().find(of_envelope) {
            let is_last_event = *name == "event" && at == members.len() - 1;
            assert!(key == *name && (at < 6 || is_last_event), "the envelope is forged by {key}: {document}");
        }
    }
}

/// The documents of lines.
pub(super) fn run(lines: &[&str], parser: &Parser, stages: &mut [Stage<'_>]) -> Out {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    run_batch(&batch(&lines), parser, stages)
}

/// What a document has besides the envelope, as it stands there.
pub(super) fn own(document: &str) -> String {
    let rest = document.strip_prefix(ENVELOPE).unwrap().trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = match rest.strip_prefix(",\"flags\":[") {
        Some(flags) => flags.split_once(']').unwrap().1,
        None => rest,
    };
    let rest = rest.strip_prefix('}').unwrap();
    format!("{{{}", rest.strip_prefix(',').unwrap_or(rest))
}

/// The same as a tree.
pub(super) fn own_tree(document: &str) -> Json {
    parse(&own(document))
}

/// The names in `log.flags`.
pub(super) fn flags(document: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(document).unwrap();
    let names = value["log"]["flags"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// What stages make of one line.
#[track_caller]
pub(super) fn check(line: &str, stages: &mut [Stage<'_>], expected: &str) {
    let out = run(&[line], &Parser::Json, stages);
    let documents: Vec<String> = out.documents.iter().map(|document| own(document)).collect();
    assert_eq!(documents, [expected], "of {line}");
    assert!(out.applied.iter().all(|applied| applied.refused == 0), "{:?}", out.applied);
}

/// What edits make of a line: as those of a plan, as patches at planned paths and as patches at any.
#[track_caller]
pub(super) fn check_edits(line: &str, edits: &[Edit], expected: &str) {
    check(line, &mut [Stage::edits(edits)], expected);
    let paths: Vec<&str> = edits.iter().flat_map(paths_of).collect();
    check(line, &mut [Stage::patches(&paths, edits)], expected);
    check(line, &mut [Stage::patches(&["*"], edits)], expected);
    // One stage for each edit, each reading everything, gives the same.
    let reads_all = |edit: &Edit| {
        let plan = Plan { reads: strings(&["*"]), edits: vec![edit.clone()], ..Plan::default() };
        Stage::new(plan, |_, _| Handled::default())
    };
    let mut stages: Vec<Stage<'_>> = edits.iter().map(reads_all).collect();
    stages.push(Stage::new(Plan { reads: strings(&["*"]), ..Plan::default() }, |_, _| Handled::default()));
    let out = run(&[line], &Parser::Json, &mut stages);
    assert_eq!(own_tree(&out.documents[0]).sorted(), parse(expected).sorted(), "one by one, of {line}");
}

fn paths_of(edit: &Edit) -> Vec<&str> {
    match edit {
        Edit::Remove(path) | Edit::Set(path, _) => vec![path],
        Edit::Rename(from, to) => vec![from, to],
        Edit::KeepOnly(paths) => paths.iter().map(String::as_str).collect(),
    }
}
