//! What a transform stage is told and what it answers, whether it is a plugin or native.
//! The same shapes as in `wit/transform.wit`, free of wasmtime.

use crate::column::Column;
use crate::tally::Tally;

/// The rows of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// How many rows the call has.
    pub rows: u32,
    /// Per row: index of its stream in every column of [`Context::attributes`].
    pub streams: Vec<u32>,
    /// Per row: nanoseconds since the Unix epoch.
    pub times: Vec<i64>,
    /// One column for each of [`Plan::reads`], in that order.
    pub columns: Vec<Column>,
}

impl Call {
    /// Empties it for rows with so many columns, and keeps its memory.
    pub(crate) fn begin(&mut self, columns: usize) {
        self.rows = 0;
        self.streams.clear();
        self.times.clear();
        self.columns.resize_with(columns, Column::default);
        for column in &mut self.columns {
            column.clear();
        }
    }
}

/// What holds for the whole call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// Now, in nanoseconds since the Unix epoch.
    pub now: i64,
    /// How full the buffers behind the pipeline are: 0 empty, 1 full.
    pub pressure: f32,
    /// One column for each of [`Plan::attributes`], one value per stream.
    pub attributes: Vec<Column>,
}

/// A change of one event. Paths are dotted, as in the configuration; values are raw JSON text. What each does in every
/// case is said in [`crate::edit`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Edit {
    /// Remove every member at this path.
    Remove(String),
    /// Write raw JSON text to this path: to every member there, else as a new one. What is on the way to it and no
    /// object becomes one.
    Set(String, String),
    /// Move the value from the first path to the second.
    Rename(String, String),
    /// Remove everything but these paths. On the way to them arrays do not stay.
    KeepOnly(Vec<String>),
}

/// How the ledger books what a reason drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonClass {
    /// Left out on purpose, to save volume.
    Sampled,
    /// Filtered out.
    Dropped,
}

/// A named reason for which rows are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The label under which it is counted.
    pub name: String,
    /// How it is booked.
    pub class: ReasonClass,
}

/// What a configured transform reads, writes, drops and edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Dotted paths handed over as columns; `*` is the whole event.
    pub reads: Vec<String>,
    /// Stream attributes handed over as columns.
    pub attributes: Vec<String>,
    /// Dotted paths that written columns and patches may change; `*` for any.
    pub writes: Vec<String>,
    /// Verdict n drops for `reasons[n - 1]`.
    pub reasons: Vec<Reason>,
    /// Applied to every kept event, in this order.
    pub edits: Vec<Edit>,
}

/// Values for `plan.writes[field]`, one per row of the call; absent leaves a row as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenColumn {
    /// Index into [`Plan::writes`].
    pub field: u32,
    /// The values.
    pub values: Column,
}

/// An edit of one row of the call. A row with more than [`crate::sheet::MAX_ROW_EDITS`] is one that the stage could not
/// handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The row.
    pub row: u32,
    /// The edit.
    pub edit: Edit,
}

/// An event that a stage makes. Its stream and time are its parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The row of the call that it comes from.
    pub parent: u32,
    /// A JSON object.
    pub document: Vec<u8>,
}

/// What a transform answers to one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Per row: 0 keep, n drop for reason n; empty keeps every row.
    pub verdicts: Vec<u8>,
    /// Columns written.
    pub columns: Vec<WrittenColumn>,
    /// Edits of single rows.
    pub patches: Vec<Patch>,
    /// New events.
    pub events: Vec<NewEvent>,
}

/// What came of a call after faults were dealt with.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// The outcome; suspect rows have verdict 0 in it and no edits.
    pub outcome: Outcome,
    /// Rows of the call, ascending, that the stage could not handle: they meet its `on_error`.
    pub suspects: Vec<u32>,
}

/// One step that looks at columns and answers with verdicts and edits.
pub trait Transform: Send {
    /// What it reads, writes, drops and edits. Does not change during its life.
    fn plan(&self) -> &Plan;

    /// Handles one call. Never panics and never blocks beyond its deadlines; faults end up in
    /// [`Handled::suspects`].
    fn transform(&mut self, call: &Call, context: &Context) -> Handled;

    /// What the last call counted, to become durable with the batch; most stages count nothing. Asked for once a call,
    /// where the events are on their way to a sink, and nowhere else: what nobody asked for by the next call is
    /// forgotten.
    fn take_tally(&mut self) -> Option<Tally> {
        None
    }
}
