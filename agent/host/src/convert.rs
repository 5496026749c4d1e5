//! Between the shapes of `weir-event` and the generated ones. Going in, columns are borrowed; coming out,
//! their vectors are moved: no value is copied but by wasmtime itself.

use weir_event::column::Column;
use weir_event::transform as event;

use crate::bindings::weir::plugin::types as guest;

/// A column without values still has the offset of its end.
const NO_OFFSETS: [u32; 1] = [0];

pub(crate) fn columns(columns: &[Column]) -> Vec<guest::ColumnParam<'_>> {
    columns.iter().map(column).collect()
}

fn column(column: &Column) -> guest::ColumnParam<'_> {
    let offsets: &[u32] = if column.offsets.is_empty() { &NO_OFFSETS } else { &column.offsets };
    guest::ColumnParam { kinds: &column.kinds, offsets, data: &column.data }
}

pub(crate) fn plan(plan: guest::Plan) -> event::Plan {
    event::Plan {
        reads: plan.reads,
        attributes: plan.attributes,
        writes: plan.writes,
        reasons: plan.reasons.into_iter().map(reason).collect(),
        edits: plan.edits.into_iter().map(edit).collect(),
    }
}

fn reason(reason: guest::Reason) -> event::Reason {
    let class = match reason.class {
        guest::ReasonClass::Sampled => event::ReasonClass::Sampled,
        guest::ReasonClass::Dropped => event::ReasonClass::Dropped,
    };
    event::Reason { name: reason.name, class }
}

fn edit(edit: guest::Edit) -> event::Edit {
    match edit {
        guest::Edit::Remove(path) => event::Edit::Remove(path),
        guest::Edit::Set((path, value)) => event::Edit::Set(path, value),
        guest::Edit::Rename((from, to)) => event::Edit::Rename(from, to),
        guest::Edit::KeepOnly(paths) => event::Edit::KeepOnly(paths),
    }
}

pub(crate) fn outcome(outcome: guest::Outcome) -> event::Outcome {
    event::Outcome {
        verdicts: outcome.verdicts,
        columns: outcome.columns.into_iter().map(written_column).collect(),
        patches: outcome.patches.into_iter().map(patch).collect(),
        events: outcome.events.into_iter().map(new_event).collect(),
    }
}

fn written_column(column: guest::WrittenColumn) -> event::WrittenColumn {
    let guest::ColumnResult { kinds, offsets, data } = column.values;
    event::WrittenColumn { field: column.field, values: Column { kinds, offsets, data } }
}

fn patch(patch: guest::Patch) -> event::Patch {
    event::Patch { row: patch.row, edit: edit(patch.edit) }
}

fn new_event(event: guest::NewEvent) -> event::NewEvent {
    event::NewEvent { parent: event.parent, document: event.document }
}
