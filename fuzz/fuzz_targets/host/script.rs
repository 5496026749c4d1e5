//! What the puppet is to say, made of an input: mostly what a plugin could say, with slips.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use weir_event::column::Column;
use weir_event::transform::{Edit, NewEvent, Patch, Plan, Reason, ReasonClass, WrittenColumn};

use crate::image::Answer;

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
pub struct Script {
    pub lines: Vec<u8>,
    pub plan: Plan,
    pub answer: Answer,
    /// Bytes of the image that are overwritten.
    pub slips: Vec<(u16, u8)>,
    pub on_error: u8,
    pub is_fresh: bool,
}

impl Script {
    pub fn new(input: &mut Unstructured<'_>) -> Result<Script> {
        let line = |input: &mut Unstructured<'_>| one_of(input, &LINES);
        let lines = some(input, 8, line)?.join("\n").into_bytes();
        let rows = lines.split(|byte| *byte == b'\n').count() as u32;
        Ok(Script {
            lines,
            plan: plan(input)?,
            answer: answer(input, rows)?,
            slips: if input.ratio(1, 4)? { some(input, 4, Unstructured::arbitrary)? } else { Vec::new() },
            on_error: input.int_in_range(0..=3)?,
            is_fresh: input.ratio(1, 8)?,
        })
    }
}

fn plan(input: &mut Unstructured<'_>) -> Result<Plan> {
    let path = |input: &mut Unstructured<'_>| one_of(input, &PATHS);
    let reason = |input: &mut Unstructured<'_>| {
        let class = if input.arbitrary()? { ReasonClass::Sampled } else { ReasonClass::Dropped };
        Ok(Reason { name: one_of(input, &REASONS)?, class })
    };
    Ok(Plan {
        reads: some(input, 4, path)?,
        attributes: some(input, 3, |input| one_of(input, &ATTRIBUTES))?,
        writes: some(input, 4, path)?,
        reasons: some(input, 3, reason)?,
        edits: some(input, 5, edit)?,
    })
}

fn answer(input: &mut Unstructured<'_>, rows: u32) -> Result<Answer> {
    let verdicts = match input.int_in_range(0..=3)? {
        0 => Vec::new(),
        1 => some(input, 9, Unstructured::arbitrary)?,
        _ => (0..rows).map(|_| input.int_in_range(0..=3)).collect::<Result<_>>()?,
    };
    Ok(Answer {
        verdicts,
        columns: some(input, 3, |input| written_column(input, rows))?,
        patches: some(input, 6, |input| Ok(Patch { row: row(input, rows)?, edit: edit(input)? }))?,
        events: some(input, 4, |input| {
            let document = if input.ratio(1, 2)? { one_of(input, &LINES)? } else { one_of(input, &VALUES)? };
            Ok(NewEvent { parent: row(input, rows)?, document: document.into_bytes() })
        })?,
    })
}

/// A row that there is, but for a slip.
fn row(input: &mut Unstructured<'_>, rows: u32) -> Result<u32> {
    if input.ratio(1, 16)? { input.arbitrary() } else { input.int_in_range(0..=rows.saturating_sub(1)) }
}

fn edit(input: &mut Unstructured<'_>) -> Result<Edit> {
    let path = one_of(input, &PATHS)?;
    Ok(match input.int_in_range(0..=3)? {
        0 => Edit::Remove(path),
        1 => Edit::Set(path, one_of(input, &VALUES)?),
        2 => Edit::Rename(path, one_of(input, &PATHS)?),
        _ => Edit::KeepOnly(some(input, 3, |input| one_of(input, &PATHS))?),
    })
}

fn written_column(input: &mut Unstructured<'_>, rows: u32) -> Result<WrittenColumn> {
    let mut values = Column::default();
    values.clear();
    for _ in 0..rows {
        let value = one_of(input, &VALUES)?;
        let kind = if input.ratio(1, 8)? { input.arbitrary()? } else { kind_of(&value) };
        values.data.extend_from_slice(value.as_bytes());
        values.kinds.push(kind);
        values.offsets.push(values.data.len() as u32);
    }
    if input.ratio(1, 16)? {
        values.offsets = some(input, 9, Unstructured::arbitrary)?;
    }
    Ok(WrittenColumn { field: input.int_in_range(0..=3)?, values })
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

/// One of these, now and then another text.
fn one_of(input: &mut Unstructured<'_>, texts: &[&str]) -> Result<String> {
    if input.ratio(1, 12)? {
        return Ok(input.arbitrary::<&str>()?.to_owned());
    }
    Ok((*input.choose(texts)?).to_owned())
}

/// Up to `most` of them.
fn some<'a, T>(
    input: &mut Unstructured<'a>,
    most: usize,
    mut one: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = input.int_in_range(0..=most)?;
    (0..count).map(|_| one(input)).collect()
}
