//! What the puppet is to say, made of an input: mostly what a plugin could say, with slips.

use weir_event::column::Column;
use weir_event::transform::{Edit, NewEvent, Patch, Plan, Reason, ReasonClass, WrittenColumn};

use super::image::Answer;
use super::input::Input;

const PATHS: [&str; 16] = [
    "level",
    "user",
    "user.email",
    "a",
    "a.b",
    "a.b.c",
    "message",
    "*",
    "event",
    "event.a",
    "@timestamp",
    "kubernetes.pod",
    "log.offset",
    "",
    "a..b",
    "é",
];
const VALUES: [&str; 12] = [
    "null",
    "true",
    "1",
    "-0.5e3",
    "\"x\"",
    "\"\\u00e9\"",
    "{\"a\":{\"b\":1}}",
    "[{\"a\":1}]",
    "{}",
    "01",
    "\"",
    "{\"a\":1}\n",
];
const ATTRIBUTES: [&str; 5] = ["source", "pod", "stream", "path", "host"];
const REASONS: [&str; 5] = ["noise", "rate", "a b", "", "debug"];
const LINES: [&str; 8] = [
    r#"{"level":"info","user":{"email":"a@b","name":"n"},"a":{"b":1}}"#,
    r#"{"a.b":1,"a":[{"b":2},{"b":{"c":3}}],"a":{"b":null}}"#,
    r#"{"@timestamp":"forged","kubernetes":{"pod":"forged"},"event":{"a":1},"log":1}"#,
    "not json",
    "{}",
    r#"{"level":"\u0064ebug","mess\u0061ge":"\ud83d"}"#,
    "{\"a\":",
    "",
];

/// What one input says.
#[derive(Debug)]
pub struct Script {
    pub lines: Vec<u8>,
    pub plan: Plan,
    pub answer: Answer,
    /// Bytes of the image that are overwritten.
    pub slips: Vec<(usize, u8)>,
    pub on_error: usize,
    pub is_fresh: bool,
}

impl Script {
    pub fn new(input: &mut Input<'_>) -> Script {
        let lines = input.some(8, |input| input.text_of(&LINES)).join("\n").into_bytes();
        let rows = lines.split(|byte| *byte == b'\n').count() as u32;
        Script {
            lines,
            plan: plan(input),
            answer: answer(input, rows),
            slips: if input.one_in(4) {
                input.some(4, |input| (input.number() as usize, input.byte()))
            } else {
                Vec::new()
            },
            on_error: input.below(4),
            is_fresh: input.one_in(8),
        }
    }
}

fn plan(input: &mut Input<'_>) -> Plan {
    Plan {
        reads: input.some(4, |input| input.text_of(&PATHS)),
        attributes: input.some(3, |input| input.text_of(&ATTRIBUTES)),
        writes: input.some(4, |input| input.text_of(&PATHS)),
        reasons: input.some(3, |input| {
            let class = if input.one_in(2) { ReasonClass::Sampled } else { ReasonClass::Dropped };
            Reason { name: input.text_of(&REASONS), class }
        }),
        edits: input.some(5, edit),
    }
}

fn answer(input: &mut Input<'_>, rows: u32) -> Answer {
    let verdicts = match input.below(4) {
        0 => Vec::new(),
        1 => input.some(9, Input::byte),
        _ => (0..rows).map(|_| input.below(4) as u8).collect(),
    };
    Answer {
        verdicts,
        columns: input.some(3, |input| written_column(input, rows)),
        patches: input.some(6, |input| Patch { row: row(input, rows), edit: edit(input) }),
        events: input.some(4, |input| {
            let document = if input.one_in(2) { input.text_of(&LINES) } else { input.text_of(&VALUES) };
            NewEvent { parent: row(input, rows), document: document.into_bytes() }
        }),
    }
}

/// A row that there is, but for a slip.
fn row(input: &mut Input<'_>, rows: u32) -> u32 {
    if input.one_in(16) { input.number() } else { input.below(rows.max(1) as usize) as u32 }
}

fn edit(input: &mut Input<'_>) -> Edit {
    let path = input.text_of(&PATHS);
    match input.below(4) {
        0 => Edit::Remove(path),
        1 => Edit::Set(path, input.text_of(&VALUES)),
        2 => Edit::Rename(path, input.text_of(&PATHS)),
        _ => Edit::KeepOnly(input.some(3, |input| input.text_of(&PATHS))),
    }
}

fn written_column(input: &mut Input<'_>, rows: u32) -> WrittenColumn {
    let mut values = Column::default();
    values.clear();
    for _ in 0..rows {
        let value = input.text_of(&VALUES);
        values.kinds.push(if input.one_in(8) { input.byte() } else { kind_of(&value) });
        values.data.extend_from_slice(value.as_bytes());
        values.offsets.push(values.data.len() as u32);
    }
    if input.one_in(16) {
        values.offsets = input.some(9, Input::number);
    }
    WrittenColumn { field: input.below(4) as u32, values }
}

/// The number of the kind that a value begins like.
fn kind_of(value: &str) -> u8 {
    match value.as_bytes().first() {
        None => 0,
        Some(b'n') => 1,
        Some(b't') => 4,
        Some(b'"') => 2,
        Some(b'{') => 5,
        Some(b'[') => 6,
        Some(_) => 3,
    }
}
