//! Applies an outcome as the agent does, and refuses what the agent refuses.

use super::document::{self, Members, Node};
use super::{Fate, Made, Run};
use crate::bindings::{Column, Edit, NewEvent, Outcome, Plan};
use crate::{Json, Kind};

/// What became of the events: written columns first, then edits of single rows, then the plan's edits. New events meet
/// only the edits of later stages.
pub(super) fn apply(plan: &Plan, mut documents: Vec<Members>, outcome: Outcome) -> Result<Run, String> {
    let rows = documents.len();
    if !outcome.verdicts.is_empty() && outcome.verdicts.len() != rows {
        return Err(format!("{} verdicts for {rows} rows", outcome.verdicts.len()));
    }
    for (index, written) in outcome.columns.iter().enumerate() {
        if outcome.columns[..index].iter().any(|other| other.field == written.field) {
            return Err(format!("two columns for the write {}", written.field));
        }
        let path = plan.writes.get(written.field as usize).filter(|path| *path != "*");
        let path = path.ok_or_else(|| format!("a column for the undeclared write {}", written.field))?;
        write_column(&mut documents, path, &written.values)
            .map_err(|what| format!("column {path}: {what}"))?;
    }
    for patch in &outcome.patches {
        let document = documents.get_mut(patch.row as usize);
        let document = document.ok_or_else(|| format!("an edit of row {} of {rows}", patch.row))?;
        declared(plan, &patch.edit)?;
        apply_edit(document, &patch.edit)?;
    }
    for edit in &plan.edits {
        for document in &mut documents {
            apply_edit(document, edit)?;
        }
    }
    let events: Result<Vec<Made>, String> = outcome.events.iter().map(|event| made(event, rows)).collect();
    let verdicts = outcome.verdicts.into_iter().chain(std::iter::repeat(0));
    let fates: Result<Vec<Fate>, String> =
        documents.iter().zip(verdicts).map(|(document, verdict)| fate(plan, document, verdict)).collect();
    Ok(Run { rows: fates?, events: events? })
}

/// The paths that an edit changes; keeping only some changes all.
pub(super) fn paths_of(edit: &Edit) -> Vec<&str> {
    match edit {
        Edit::Remove(path) | Edit::Set((path, _)) => vec![path],
        Edit::Rename((from, to)) => vec![from, to],
        Edit::KeepOnly(_) => vec!["*"],
    }
}

/// Whether a list of declared paths covers a path: it, or what it lies in, or everything is declared.
pub(super) fn covers<'a>(mut declared: impl Iterator<Item = &'a str>, path: &str) -> bool {
    declared.any(|declared| {
        declared == "*"
            || path.strip_prefix(declared).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn declared(plan: &Plan, edit: &Edit) -> Result<(), String> {
    let paths = paths_of(edit);
    let missing = paths.iter().find(|path| !covers(plan.writes.iter().map(String::as_str), path));
    missing.map_or(Ok(()), |path| Err(format!("an edit of {path}, which the plan does not write")))
}

fn apply_edit(document: &mut Members, edit: &Edit) -> Result<(), String> {
    match edit {
        Edit::Remove(path) => document::remove(document, path),
        Edit::Set((path, json)) => {
            let value =
                Node::parse(json).map_err(|error| format!("the value set at {path} is not JSON: {error}"))?;
            document::set(document, path, &value);
        }
        Edit::Rename((from, to)) => document::rename(document, from, to),
        Edit::KeepOnly(paths) => {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            document::keep_only(document, &paths);
        }
    }
    Ok(())
}

fn write_column(documents: &mut [Members], path: &str, column: &Column) -> Result<(), String> {
    if column.kinds.len() != documents.len() || column.offsets.len() != documents.len() + 1 {
        return Err(format!(
            "{} kinds and {} offsets for {} rows",
            column.kinds.len(),
            column.offsets.len(),
            documents.len()
        ));
    }
    for (row, document) in documents.iter_mut().enumerate() {
        let (start, end) = (column.offsets[row] as usize, column.offsets[row + 1] as usize);
        let bytes =
            column.data.get(start..end).ok_or_else(|| format!("the offsets of row {row} lie outside"))?;
        if let Some(value) = written(column.kinds[row], bytes).map_err(|what| format!("row {row} {what}"))? {
            document::set(document, path, &value);
        }
    }
    Ok(())
}

fn written(kind: u8, bytes: &[u8]) -> Result<Option<Node>, String> {
    if kind == Kind::Absent as u8 {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if kind == Kind::String as u8 {
        return Ok(Some(Node::Other(Json::from(text).to_string())));
    }
    let value = Node::parse(text).map_err(|error| format!("is not JSON: {error}"))?;
    if value.kind_and_bytes().0 as u8 != kind {
        return Err(format!("is of another kind than {kind}: {text}"));
    }
    Ok(Some(value))
}

fn made(event: &NewEvent, rows: usize) -> Result<Made, String> {
    let parent = event.parent as usize;
    if parent >= rows {
        return Err(format!("a new event of row {parent} of {rows}"));
    }
    match serde_json::from_slice(&event.document) {
        Ok(document @ Json::Object(_)) => Ok(Made { parent, document }),
        _ => Err(format!(
            "a new event that is not a JSON object: {}",
            String::from_utf8_lossy(&event.document)
        )),
    }
}

fn fate(plan: &Plan, document: &Members, verdict: u8) -> Result<Fate, String> {
    let Some(index) = usize::from(verdict).checked_sub(1) else {
        return Ok(Fate::Kept(document::to_json(document)));
    };
    let reason = plan.reasons.get(index);
    let reason = reason.ok_or_else(|| format!("verdict {verdict} of {} reasons", plan.reasons.len()))?;
    Ok(Fate::Dropped(reason.name.clone()))
}
