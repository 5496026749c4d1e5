//! The memory of the puppet: its two answers as the canonical ABI lays them out.

use weir_event::column::Column;
use weir_event::transform::{Edit, NewEvent, Patch, Plan, Reason, ReasonClass, WrittenColumn};

/// Where the image begins in the puppet's memory.
const BASE: usize = 1024;
/// `result<plan, string>` and the outcome.
const PLAN_BYTES: usize = 44;
const ANSWER_BYTES: usize = PLAN_BYTES + 32;

/// What `transform` answers. Unlike an `Outcome`, it need make no sense.
#[derive(Debug, Default)]
pub struct Answer {
    pub verdicts: Vec<u8>,
    pub columns: Vec<WrittenColumn>,
    pub patches: Vec<Patch>,
    pub events: Vec<NewEvent>,
}

/// The memory, which grows by what is pointed at.
pub struct Image(pub Vec<u8>);

impl Image {
    /// An image of both answers.
    pub fn new(plan: &Plan, answer: &Answer) -> Image {
        let mut image = Image(vec![0; ANSWER_BYTES]);
        image.strings(4, &plan.reads);
        image.strings(12, &plan.attributes);
        image.strings(20, &plan.writes);
        let reasons = image.list(28, plan.reasons.len(), 12);
        for (place, Reason { name, class }) in reasons.zip(&plan.reasons) {
            image.bytes(place, name.as_bytes());
            image.0[place + 8] = u8::from(*class == ReasonClass::Dropped);
        }
        let edits = image.list(36, plan.edits.len(), 20);
        for (place, edit) in edits.zip(&plan.edits) {
            image.edit(place, edit);
        }
        image.bytes(PLAN_BYTES, &answer.verdicts);
        let columns = image.list(PLAN_BYTES + 8, answer.columns.len(), 28);
        for (place, WrittenColumn { field, values }) in columns.zip(&answer.columns) {
            image.number(place, *field);
            image.column(place + 4, values);
        }
        let patches = image.list(PLAN_BYTES + 16, answer.patches.len(), 24);
        for (place, Patch { row, edit }) in patches.zip(&answer.patches) {
            image.number(place, *row);
            image.edit(place + 4, edit);
        }
        let events = image.list(PLAN_BYTES + 24, answer.events.len(), 12);
        for (place, NewEvent { parent, document }) in events.zip(&answer.events) {
            image.number(place, *parent);
            image.bytes(place + 4, document);
        }
        image
    }

    /// As the puppet's configuration.
    pub fn to_config(&self) -> String {
        let digits = self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("\"{digits}\"")
    }

    fn edit(&mut self, place: usize, edit: &Edit) {
        let mut pair = |kind, first: &String, second: &String| {
            self.0[place] = kind;
            self.bytes(place + 4, first.as_bytes());
            self.bytes(place + 12, second.as_bytes());
        };
        match edit {
            Edit::Remove(path) => self.bytes(place + 4, path.as_bytes()),
            Edit::Set(path, value) => pair(1, path, value),
            Edit::Rename(from, to) => pair(2, from, to),
            Edit::KeepOnly(paths) => {
                self.0[place] = 3;
                self.strings(place + 4, paths);
            }
        }
    }

    fn column(&mut self, place: usize, column: &Column) {
        self.bytes(place, &column.kinds);
        let offsets = self.list(place + 8, column.offsets.len(), 4);
        for (place, offset) in offsets.zip(&column.offsets) {
            self.number(place, *offset);
        }
        self.bytes(place + 16, &column.data);
    }

    fn strings(&mut self, place: usize, strings: &[String]) {
        let items = self.list(place, strings.len(), 8);
        for (place, text) in items.zip(strings) {
            self.bytes(place, text.as_bytes());
        }
    }

    fn bytes(&mut self, place: usize, bytes: &[u8]) {
        self.number(place, (BASE + self.0.len()) as u32);
        self.number(place + 4, bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }

    /// Makes room for the items of a list and gives their places.
    fn list(&mut self, place: usize, count: usize, bytes_each: usize) -> impl Iterator<Item = usize> + use<> {
        let start = self.0.len().next_multiple_of(4);
        self.0.resize(start + count * bytes_each, 0);
        self.number(place, (BASE + start) as u32);
        self.number(place + 4, count as u32);
        (0..count).map(move |item| start + item * bytes_each)
    }

    fn number(&mut self, place: usize, number: u32) {
        self.0[place..place + 4].copy_from_slice(&number.to_le_bytes());
    }
}
