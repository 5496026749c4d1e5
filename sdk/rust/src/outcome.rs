//! The outcome: what a plugin decided about a batch.

use std::fmt::Display;
use std::io::Write as _;

use crate::Json;
use crate::bindings::{self, Edit};
use crate::column::Kind;
use crate::plan::{Reason, Write};

/// What becomes of the rows of one call. Rows that nothing is said about are kept as they are.
///
/// A row number beyond the batch is a bug of the plugin and panics: the agent then treats the call as failed.
#[derive(Debug)]
pub struct Outcome {
    rows: usize,
    raw: bindings::Outcome,
}

impl Outcome {
    pub(crate) fn new(rows: usize) -> Outcome {
        let raw = bindings::Outcome {
            verdicts: Vec::new(),
            columns: Vec::new(),
            patches: Vec::new(),
            events: Vec::new(),
        };
        Outcome { rows, raw }
    }

    /// Drops the row.
    #[inline]
    pub fn drop(&mut self, row: usize, reason: Reason) {
        if self.raw.verdicts.is_empty() {
            self.raw.verdicts = vec![0; self.rows];
        }
        self.raw.verdicts[row] = reason.0;
    }

    /// Writes a column: the cheap way to give many rows a value at the same path. A column without values is ignored.
    pub fn write(&mut self, field: Write, column: ColumnBuilder) {
        assert_eq!(column.rows, self.rows, "the column was begun for another number of rows");
        if !column.raw.kinds.is_empty() {
            self.raw.columns.push(bindings::WrittenColumn { field: field.0, values: column.finish() });
        }
    }

    /// Removes every member at this path from the row.
    pub fn remove(&mut self, row: usize, path: &str) {
        self.patch(row, Edit::Remove(path.into()));
    }

    /// Writes a value to this path of the row: in place of what is there, else as a new member.
    pub fn set(&mut self, row: usize, path: &str, value: impl Into<Json>) {
        self.patch(row, Edit::Set((path.into(), value.into().to_string())));
    }

    /// Moves the value of the row from one path to another.
    pub fn rename(&mut self, row: usize, from: &str, to: &str) {
        self.patch(row, Edit::Rename((from.into(), to.into())));
    }

    /// Removes everything but these paths from the row.
    pub fn keep_only(&mut self, row: usize, paths: impl IntoIterator<Item = impl Into<String>>) {
        self.patch(row, Edit::KeepOnly(paths.into_iter().map(Into::into).collect()));
    }

    /// Makes a new event, which must be an object. It takes its stream and its time from the row `parent`.
    pub fn event(&mut self, parent: usize, document: &Json) {
        assert!(parent < self.rows, "row {parent} is beyond the batch");
        assert!(document.is_object(), "a new event must be an object");
        let document = document.to_string().into_bytes();
        self.raw.events.push(bindings::NewEvent { parent: parent as u32, document });
    }

    pub(crate) fn finish(self) -> bindings::Outcome {
        self.raw
    }

    fn patch(&mut self, row: usize, edit: Edit) {
        assert!(row < self.rows, "row {row} is beyond the batch");
        self.raw.patches.push(bindings::Patch { row: row as u32, edit });
    }
}

/// A column being written, row by row in ascending order. Rows that are left out keep what they have.
///
/// Writing a row behind one that was written already panics, as does a row beyond the batch.
#[derive(Debug)]
pub struct ColumnBuilder {
    rows: usize,
    raw: bindings::Column,
}

impl ColumnBuilder {
    /// A column for a batch of this many rows. It takes no memory until the first value.
    pub fn new(rows: usize) -> ColumnBuilder {
        let raw = bindings::Column { kinds: Vec::new(), offsets: Vec::new(), data: Vec::new() };
        ColumnBuilder { rows, raw }
    }

    /// Writes a string.
    #[inline]
    pub fn string(&mut self, row: usize, text: &str) {
        self.raw(row, Kind::String, text.as_bytes());
    }

    /// Writes a number. One that JSON cannot express (NaN, infinite) becomes `null`.
    pub fn number(&mut self, row: usize, number: impl Into<f64>) {
        let number = number.into();
        if !number.is_finite() {
            return self.raw(row, Kind::Null, b"null");
        }
        self.begin(row);
        self.display(number);
        self.end(Kind::Number);
    }

    /// Writes `true` or `false`.
    pub fn bool(&mut self, row: usize, bool: bool) {
        self.raw(row, Kind::Bool, if bool { b"true" } else { b"false" });
    }

    /// Writes any JSON value.
    pub fn json(&mut self, row: usize, value: &Json) {
        if let Json::String(text) = value {
            return self.string(row, text);
        }
        self.begin(row);
        self.display(value);
        self.end(kind_of(value));
    }

    /// Writes a value as [`Column::kind`](crate::Column::kind) and [`Column::bytes`](crate::Column::bytes) give it:
    /// a string's content, or the JSON text of another kind. [`Kind::Absent`] leaves the row as it is.
    #[inline]
    pub fn raw(&mut self, row: usize, kind: Kind, bytes: &[u8]) {
        self.begin(row);
        self.raw.data.extend_from_slice(bytes);
        self.end(kind);
    }

    #[inline]
    fn begin(&mut self, row: usize) {
        if self.raw.offsets.is_empty() {
            self.raw.kinds.reserve_exact(self.rows);
            self.raw.offsets.reserve_exact(self.rows + 1);
            self.raw.offsets.push(0);
        }
        assert!(
            row < self.rows && row >= self.raw.kinds.len(),
            "row {row} is out of order or beyond the batch"
        );
        self.skip_to(row);
    }

    #[inline]
    fn skip_to(&mut self, row: usize) {
        let end = self.raw.data.len() as u32;
        self.raw.kinds.resize(row, Kind::Absent as u8);
        self.raw.offsets.resize(row + 1, end);
    }

    #[inline]
    fn end(&mut self, kind: Kind) {
        self.raw.kinds.push(kind as u8);
        self.raw.offsets.push(self.raw.data.len() as u32);
    }

    fn display(&mut self, value: impl Display) {
        // Writing into a vector does not fail.
        let _ = write!(self.raw.data, "{value}");
    }

    fn finish(mut self) -> bindings::Column {
        self.skip_to(self.rows);
        self.raw
    }
}

fn kind_of(value: &Json) -> Kind {
    match value {
        Json::Null => Kind::Null,
        Json::Bool(_) => Kind::Bool,
        Json::Number(_) => Kind::Number,
        Json::String(_) => Kind::String,
        Json::Array(_) => Kind::Array,
        Json::Object(_) => Kind::Object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn verdicts_are_made_with_the_first_drop() {
        let mut outcome = Outcome::new(3);
        assert_eq!(Outcome::new(3).finish().verdicts, Vec::<u8>::new());
        outcome.drop(1, Reason(7));
        assert_eq!(outcome.finish().verdicts, [0, 7, 0]);
    }

    #[test]
    fn a_written_column_has_a_value_for_every_row() {
        let mut column = ColumnBuilder::new(8);
        column.string(1, "ü\"");
        column.number(2, 2.5);
        column.number(3, f64::NAN);
        column.bool(4, true);
        column.json(6, &json!({"a": [1]}));
        let mut outcome = Outcome::new(8);
        outcome.write(Write(3), column);
        outcome.write(Write(4), ColumnBuilder::new(8));
        let columns = outcome.finish().columns;
        assert_eq!(columns.len(), 1);
        assert_eq!(columns[0].field, 3);
        assert_eq!(columns[0].values.kinds, [0, 2, 3, 1, 4, 0, 5, 0]);
        assert_eq!(columns[0].values.offsets, [0, 0, 3, 6, 10, 14, 14, 23, 23]);
        assert_eq!(columns[0].values.data, "ü\"2.5nulltrue{\"a\":[1]}".as_bytes());
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        let mut column = ColumnBuilder::new(2);
        column.number(0, 10);
        column.number(1, 1e21);
        assert_eq!(column.finish().data, b"101000000000000000000000");
    }

    #[test]
    fn edits_and_events_name_their_row() {
        let mut outcome = Outcome::new(2);
        outcome.set(1, "a.b", "x");
        outcome.remove(0, "c");
        outcome.event(1, &json!({"n": 1}));
        let raw = outcome.finish();
        assert_eq!(raw.patches[0].edit, Edit::Set(("a.b".into(), "\"x\"".into())));
        assert_eq!((raw.patches[0].row, raw.patches[1].row), (1, 0));
        assert_eq!((raw.events[0].parent, raw.events[0].document.as_slice()), (1, &b"{\"n\":1}"[..]));
    }
}
