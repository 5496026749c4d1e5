//! Measures the event path from batches to documents, in memory and without a plugin's sandbox:
//! `cargo run --release -p weir-event --example sheet_speed -- FILE`, where FILE holds container log lines. The stage
//! drops debug, keeps a tenth of info by its trace id, removes two paths and sets one.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::sync::Arc;
use std::time::Instant;

use weir_event::batch::{ArenaPool, Batch, BatchBuilder, Flags, Row, Span};
use weir_event::cri::parse_line;
use weir_event::edit::Compiled;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, OnFault, Sheet};
use weir_event::stream::{Attributes, Stream};
use weir_event::time::Rfc3339Reader;
use weir_event::transform::{Call, Edit, Handled, Plan, Reason, ReasonClass};

fn main() {
    let path = std::env::args().nth(1).expect("a file of container log lines");
    let bytes = std::fs::read(path).expect("readable");
    let batches = batches(&bytes);
    let rows: usize = batches.iter().map(|batch| batch.rows().len()).sum();
    let plan = plan();
    let compiled = Compiled::new(&[&plan]).expect("a plan");
    let (mut sheet, mut out) = (Sheet::new(), Vec::new());
    let (mut best, mut kept, mut written) = (f64::MAX, 0, 0);
    for _ in 0..9 {
        (kept, written) = (0, 0);
        let begin = Instant::now();
        for batch in &batches {
            sheet.load(&compiled, &Parser::Json, batch);
            if let Some(call) = sheet.call(&compiled, 0, batch) {
                let handled = transform(call);
                sheet.apply(&compiled, 0, batch, &handled, OnFault::Pass);
            }
            out.clear();
            sheet.encode(&compiled, batch, Encoded::Kept, &mut out, |_, _| kept += 1);
            written += out.len();
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / rows as f64);
    }
    println!("{best:.1} ns per event, {rows} rows, {kept} kept, {written} bytes written");
}

fn batches(bytes: &[u8]) -> Vec<Batch> {
    let pool = ArenaPool::new();
    let stream = Stream::new(Attributes { cluster: "dev".into(), ..Attributes::default() }, 1);
    let start = || {
        let mut builder = BatchBuilder::new(pool.take());
        builder.add_stream(&stream);
        builder
    };
    let (mut batches, mut builder) = (Vec::new(), start());
    let mut reader = Rfc3339Reader::default();
    let mut offset = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(cri) = parse_line(line, &mut reader) {
            let raw = builder.arena.append(line);
            let content = Span::between(raw.start as usize + cri.content_start, raw.end());
            let (time, flags) = (cri.time, Flags::default());
            builder.push(Row { content, raw, offset, time, stream: 0, flags });
        }
        offset += line.len() as u64 + 1;
        if builder.is_full() {
            batches.push(std::mem::replace(&mut builder, start()).finish(&pool));
        }
    }
    batches.push(builder.finish(&Arc::clone(&pool)));
    batches
}

fn plan() -> Plan {
    let reason = |name: &str| Reason { name: name.into(), class: ReasonClass::Sampled };
    Plan {
        reads: vec!["level".into(), "trace_id".into()],
        reasons: vec![reason("debug"), reason("info")],
        edits: vec![
            Edit::Remove("user.email".into()),
            Edit::Remove("labels".into()),
            Edit::Set("cluster".into(), "\"dev-1\"".into()),
        ],
        ..Plan::default()
    }
}

fn transform(call: &Call) -> Handled {
    let mut handled = Handled::default();
    let [levels, traces] = call.columns.as_slice() else { return handled };
    let verdict = |row: usize| match (levels.get(row), traces.get(row)) {
        (Some((_, b"debug")), _) => 1,
        (Some((_, b"info")), Some((_, trace))) if !is_sampled(trace) => 2,
        _ => 0,
    };
    handled.outcome.verdicts = (0..call.rows as usize).map(verdict).collect();
    handled
}

fn is_sampled(trace: &[u8]) -> bool {
    let digits = trace.last_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_none_or(|number| number < 26)
}
