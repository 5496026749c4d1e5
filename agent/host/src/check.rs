//! What a guest answers, checked before anybody else sees it.
//!
//! A malformed answer is a fault like a trap: nothing of it holds. A write to a path that the plan does not
//! declare is refused alone: such a column or patch is taken out and counted, the rest of the answer holds.
//! Declared is a patch all of whose paths some path of `plan.writes` covers, and a column whose `field` is
//! the index of a path there that names a member.

use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::column::{Column, Kind};
use weir_event::sheet::MAX_NEW_EVENTS;
use weir_event::transform::{NewEvent, Outcome, Patch, Plan, WrittenColumn};
use weir_manifest::{EVERYTHING, covers, written_paths};

use crate::json;
use crate::plan::check_edit;

/// Takes undeclared writes out of `outcome` and counts them; an error says what is malformed.
pub(crate) fn check(outcome: &mut Outcome, rows: u32, plan: &Plan) -> Result<u64, String> {
    check_verdicts(&outcome.verdicts, rows, plan)?;
    let written = outcome.columns.len() + outcome.patches.len();
    outcome.columns.retain(|column| is_declared_column(column, plan));
    outcome.patches.retain(|patch| is_declared_patch(patch, plan));
    let undeclared = written - outcome.columns.len() - outcome.patches.len();
    check_columns(&outcome.columns, rows)?;
    outcome.patches.iter().try_for_each(|patch| check_patch(patch, rows))?;
    check_events(&outcome.events, rows)?;
    Ok(undeclared as u64)
}

fn check_verdicts(verdicts: &[u8], rows: u32, plan: &Plan) -> Result<(), String> {
    if !verdicts.is_empty() && verdicts.len() != rows as usize {
        return Err(format!("it answered with {} verdicts for {rows} rows", verdicts.len()));
    }
    let largest = verdicts.iter().copied().max().unwrap_or(0);
    if usize::from(largest) > plan.reasons.len() {
        return Err(format!(
            "it answered with verdict {largest}, but its plan has {} reasons",
            plan.reasons.len()
        ));
    }
    Ok(())
}

fn is_declared_column(column: &WrittenColumn, plan: &Plan) -> bool {
    plan.writes.get(column.field as usize).is_some_and(|path| path != EVERYTHING)
}

fn is_declared_patch(patch: &Patch, plan: &Plan) -> bool {
    written_paths(&patch.edit).all(|path| plan.writes.iter().any(|declared| covers(declared, path)))
}

fn check_columns(columns: &[WrittenColumn], rows: u32) -> Result<(), String> {
    for (at, column) in columns.iter().enumerate() {
        let field = column.field;
        if columns.iter().skip(at + 1).any(|other| other.field == field) {
            return Err(format!("it wrote two columns to field {field}"));
        }
        check_shape(&column.values, rows)
            .map_err(|problem| format!("the column for field {field} {problem}"))?;
        check_values(&column.values).map_err(|problem| format!("the column for field {field} {problem}"))?;
    }
    Ok(())
}

fn check_shape(column: &Column, rows: u32) -> Result<(), String> {
    let rows = rows as usize;
    if column.kinds.len() != rows {
        return Err(format!("has {} kinds for {rows} rows", column.kinds.len()));
    }
    if column.offsets.len() != rows + 1 {
        return Err(format!("has {} offsets for {rows} rows, wanted is one more", column.offsets.len()));
    }
    let largest = column.kinds.iter().copied().max().unwrap_or(0);
    if Kind::from_number(largest).is_none() {
        return Err(format!("has the kind {largest}, which does not exist"));
    }
    if !column.offsets.is_sorted() {
        return Err("has offsets that descend".to_owned());
    }
    let end = column.offsets.last().copied().unwrap_or(0) as usize;
    if end > column.data.len() {
        return Err(format!("has offsets up to {end} for {} bytes", column.data.len()));
    }
    Ok(())
}

/// Columns often hold one value over and over; what was just found good is not looked at again.
fn check_values(column: &Column) -> Result<(), String> {
    let mut good = (Kind::Absent, [].as_slice());
    for row in 0..column.len() {
        let Some((kind, value)) = column.get(row) else { return Err(format!("has no value in row {row}")) };
        if kind == Kind::Absent || good == (kind, value) {
            continue;
        }
        let is_good = match kind {
            Kind::String => std::str::from_utf8(value).is_ok(),
            _ => json::kind_of(value) == Some(kind),
        };
        if !is_good {
            return Err(format!("has a value in row {row} that is not of its kind, {kind:?}"));
        }
        good = (kind, value);
    }
    Ok(())
}

fn check_patch(patch: &Patch, rows: u32) -> Result<(), String> {
    if patch.row >= rows {
        return Err(format!("it patched row {} of {rows}", patch.row));
    }
    check_edit(&patch.edit).map_err(|problem| format!("the patch of row {} is wrong: {problem}", patch.row))
}

fn check_events(events: &[NewEvent], rows: u32) -> Result<(), String> {
    if events.len() > MAX_NEW_EVENTS {
        return Err(format!("it made {} events, more than {MAX_NEW_EVENTS}", events.len()));
    }
    events.iter().try_for_each(|event| check_event(event, rows))
}

fn check_event(event: &NewEvent, rows: u32) -> Result<(), String> {
    if event.parent >= rows {
        return Err(format!("it made an event of row {} of {rows}", event.parent));
    }
    if event.document.len() > MAX_EVENT_BYTES {
        let (parent, bytes) = (event.parent, event.document.len());
        return Err(format!(
            "the event that it made of row {parent} has {bytes} bytes, more than {MAX_EVENT_BYTES}"
        ));
    }
    if json::kind_of(&event.document) != Some(Kind::Object) {
        return Err(format!("the event that it made of row {} is not a JSON object", event.parent));
    }
    Ok(())
}

/// Bytes that an answer holds in the host.
pub(crate) fn size(outcome: &Outcome) -> usize {
    let column = |column: &WrittenColumn| {
        size_of::<WrittenColumn>()
            + column.values.kinds.len()
            + column.values.offsets.len() * size_of::<u32>()
            + column.values.data.len()
    };
    let patch = |patch: &Patch| size_of::<Patch>() + written_paths(&patch.edit).map(str::len).sum::<usize>();
    let value = |patch: &Patch| match &patch.edit {
        weir_event::transform::Edit::Set(_, value) => value.len(),
        _ => 0,
    };
    let event = |event: &NewEvent| size_of::<NewEvent>() + event.document.len();
    outcome.verdicts.len()
        + outcome.columns.iter().map(column).sum::<usize>()
        + outcome.patches.iter().map(|one| patch(one) + value(one)).sum::<usize>()
        + outcome.events.iter().map(event).sum::<usize>()
}

#[cfg(test)]
mod tests;
