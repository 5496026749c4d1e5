//! The editor: any stages do to any lines what their last edit promises, and every line becomes one valid document
//! whose envelope nobody forged.
//!
//! An input is text. Lines up to the first empty one are edits, in order:
//!
//! - `-path` removes, `=path value` sets, `>from to` renames, `!path path` keeps only;
//! - `|` begins the next stage, `?path` is read by the stage at hand, `~path` is written by it;
//! - behind a `+`, an edit is a patch of every row instead of one of the plan.
//!
//! The lines behind it are those of a container.
#![no_main]

mod common;

use std::cell::RefCell;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use weir_event::batch::ArenaPool;
use weir_event::column::Kind;
use weir_event::edit::Compiled;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, MAX_ROW_EDITS, OnFault, Sheet};
use weir_event::transform::{Call, Edit, Handled, Patch, Plan};

use common::{batch, check_documents, is_beyond, is_json};

/// A longer pipeline finds nothing new.
const MAX_STAGES: usize = 6;

#[derive(Default)]
struct Stage {
    plan: Plan,
    patches: Vec<Edit>,
}

thread_local! {
    /// A sheet serves one pipeline after another, and keeps its memory.
    static BENCH: RefCell<(Sheet, Arc<ArenaPool>)> = RefCell::new((Sheet::new(), ArenaPool::new()));
}

fuzz_target!(|data: &[u8]| BENCH.with_borrow_mut(|(sheet, pool)| check(data, sheet, pool)));

fn check(data: &[u8], sheet: &mut Sheet, pool: &Arc<ArenaPool>) {
    let (head, lines) = split(data);
    let Some(mut stages) = stages(head) else { return };
    let promise = last_edit(&stages);
    // One more stage looks at what the others left.
    let reads = promise.iter().flat_map(paths).map(str::to_owned).chain(["*".to_owned()]);
    stages.push(Stage { plan: Plan { reads: reads.collect(), ..Plan::default() }, patches: Vec::new() });
    let plans: Vec<&Plan> = stages.iter().map(|stage| &stage.plan).collect();
    let Ok(compiled) = Compiled::new(&plans) else { return };
    let batch = batch(lines, pool);
    sheet.load(&compiled, &Parser::Json, None, &batch);
    for (index, stage) in stages.iter().enumerate() {
        let Some(call) = sheet.call(&compiled, index, &batch) else { break };
        check_columns(call);
        if index + 1 == stages.len() {
            check_promise(promise.as_ref(), call);
        }
        let handled = answer(stage, call.rows);
        sheet.apply(&compiled, index, &batch, &handled, OnFault::Pass);
    }
    assert_eq!(check_documents(sheet, &compiled, &batch, Encoded::Kept), batch.rows().len());
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (&[], data),
    }
}

/// The stages that the head describes, `None` where it holds what the host would refuse.
fn stages(head: &[u8]) -> Option<Vec<Stage>> {
    let mut stages = vec![Stage::default()];
    for line in std::str::from_utf8(head).ok()?.lines() {
        if line == "|" {
            stages.push(Stage::default());
            continue;
        }
        let stage = stages.last_mut()?;
        if let Some(path) = line.strip_prefix('?') {
            stage.plan.reads.push(path.to_owned());
        } else if let Some(path) = line.strip_prefix('~') {
            stage.plan.writes.push(path.to_owned());
        } else if let Some(patch) = line.strip_prefix('+') {
            stage.patches.extend(edit(patch)?);
        } else {
            stage.plan.edits.extend(edit(line)?);
        }
    }
    let is_handled = stages.iter().all(|stage| stage.patches.len() <= MAX_ROW_EDITS);
    (is_handled && stages.len() <= MAX_STAGES).then_some(stages)
}

/// `Some(None)` for a line that is no edit.
fn edit(line: &str) -> Option<Option<Edit>> {
    let Some(kind) = line.get(..1) else { return Some(None) };
    let rest = &line[1..];
    let both = || rest.split_once(' ');
    let edit = match (kind, both()) {
        ("-", _) => Edit::Remove(rest.to_owned()),
        ("=", Some((path, json))) => {
            serde_json::from_str::<Value>(json).ok()?;
            Edit::Set(path.to_owned(), json.to_owned())
        }
        (">", Some((from, to))) => Edit::Rename(from.to_owned(), to.to_owned()),
        ("!", _) => Edit::KeepOnly(rest.split(' ').map(str::to_owned).collect()),
        _ => return Some(None),
    };
    // In an edit, `*` names no member.
    (!paths(&edit).contains(&"*")).then_some(Some(edit))
}

/// The edit that is made last. Patches come before the plan's edits.
fn last_edit(stages: &[Stage]) -> Option<Edit> {
    let last = |stage: &Stage| stage.plan.edits.last().or(stage.patches.last()).cloned();
    stages.iter().rev().find_map(last)
}

fn paths(edit: &Edit) -> Vec<&str> {
    match edit {
        Edit::Remove(path) | Edit::Set(path, _) => vec![path],
        Edit::Rename(from, to) => vec![from, to],
        Edit::KeepOnly(paths) => paths.iter().map(String::as_str).collect(),
    }
}

fn answer(stage: &Stage, rows: u32) -> Handled {
    let mut handled = Handled::default();
    for row in 0..rows {
        handled.outcome.patches.extend(stage.patches.iter().map(|edit| Patch { row, edit: edit.clone() }));
    }
    handled
}

fn check_columns(call: &Call) {
    for column in &call.columns {
        assert_eq!((column.len(), column.offsets.len()), (call.rows as usize, call.rows as usize + 1));
        for row in 0..column.len() {
            let (kind, text) = column.get(row).expect("a value");
            let text = std::str::from_utf8(text).expect("UTF-8");
            assert!(matches!(kind, Kind::Absent | Kind::String) || is_json(text), "{kind:?} {text}");
        }
    }
}

/// What the last edit promises of what is read behind it.
fn check_promise(promise: Option<&Edit>, call: &Call) {
    let at = |column: usize, row: usize| call.columns[column].get(row).expect("a value");
    let whole = call.columns.len() - 1;
    for row in 0..call.rows as usize {
        let object = std::str::from_utf8(at(whole, row).1).expect("UTF-8");
        match promise {
            None => {}
            Some(Edit::Remove(path)) => {
                assert_eq!(at(0, row).0, Kind::Absent);
                assert!(
                    !has_path(object, &|own| own == path || is_beyond(own, path)),
                    "{path} is in {object}"
                );
            }
            Some(Edit::Set(path, json)) => {
                let (kind, text) = at(0, row);
                assert!(kind != Kind::Absent, "{path} is not in {object}");
                if kind != Kind::String {
                    let text = std::str::from_utf8(text).expect("UTF-8");
                    assert_eq!(text.trim(), json.replace(['\n', '\r'], " ").trim());
                }
            }
            Some(Edit::Rename(from, to)) => {
                let is_apart = from != to && !is_beyond(to, from) && !is_beyond(from, to);
                assert!(!is_apart || at(0, row).0 == Kind::Absent, "{from} is in {object}");
            }
            Some(Edit::KeepOnly(paths)) => {
                let is_kept = |own: &str| {
                    paths.iter().any(|path| own == path || is_beyond(own, path) || is_beyond(path, own))
                };
                assert!(!has_path(object, &|own| !is_kept(own)), "more than {paths:?} is in {object}");
            }
        }
    }
}

/// Whether any member's path is one of those asked for. An object's duplicates count once: serde_json has the last.
fn has_path(object: &str, asked: &dyn Fn(&str) -> bool) -> bool {
    // Deeper than serde_json goes, or with a lone surrogate, it cannot be looked into.
    serde_json::from_str::<Value>(object).is_ok_and(|value| any_path(&value, None, asked))
}

fn any_path(value: &Value, path: Option<&str>, asked: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| any_path(item, path, asked)),
        Value::Object(members) => members.iter().any(|(key, value)| {
            let own = path.map_or_else(|| key.clone(), |path| format!("{path}.{key}"));
            asked(&own) || any_path(value, Some(&own), asked)
        }),
        _ => false,
    }
}
