//! Measures the in-memory path on one thread: lines to rows, scan, columns, a native stage with the logic of the
//! bench's W1, edits, documents. `cargo run --release -p weir-event --example path_speed -- FILE`, where FILE holds
//! container log lines.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::{Duration, Instant};

use weir_event::batch::{ArenaPool, Batch, BatchBuilder, Flags, MAX_BATCH_BYTES, Row, Span};
use weir_event::cri::parse_line;
use weir_event::edit::Compiled;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, OnFault, Sheet};
use weir_event::stream::{Attributes, Stream};
use weir_event::time::Rfc3339Reader;
use weir_event::transform::{Call, Context, Edit, Handled, Plan, Reason, ReasonClass};

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

fn verdicts(call: &Call) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16).unwrap_or(16);
    (0..call.rows as usize)
        .map(|row| {
            let level = call.columns[0].get(row).map_or(&b""[..], |(_, value)| value);
            let trace = call.columns[1].get(row).map_or(&b""[..], |(_, value)| value);
            match (level, trace) {
                (b"debug", _) => 1,
                (b"info", [.., high, low]) if hex(*high) * 16 + hex(*low) < 26 => 0,
                (b"info", _) => 2,
                _ => 0,
            }
        })
        .collect()
}

fn batches(bytes: &[u8]) -> Vec<Batch> {
    let pool = ArenaPool::new();
    let stream = Stream::new(Attributes { cluster: "bench".into(), ..Attributes::default() }, 7);
    let mut reader = Rfc3339Reader::default();
    let mut batches = Vec::new();
    let mut rest = bytes;
    let mut offset = 0;
    while !rest.is_empty() {
        let mut builder = BatchBuilder::new(pool.take());
        let at = builder.add_stream(&stream);
        let take = rest.len().min(MAX_BATCH_BYTES);
        let end = memchr::memrchr(b'\n', &rest[..take]).expect("lines shorter than a batch") + 1;
        builder.arena.append(&rest[..end]);
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', &rest[..end]) {
            let line = &rest[start..newline];
            if let Ok(cri) = parse_line(line, &mut reader) {
                let content = Span::between(start + cri.content_start, newline);
                let raw = Span::between(start, newline);
                let offset = offset + start as u64;
                builder.push(Row {
                    content,
                    raw,
                    offset,
                    time: cri.time,
                    stream: at,
                    flags: Flags::default(),
                });
            }
            start = newline + 1;
        }
        offset += end as u64;
        rest = &rest[end..];
        batches.push(builder.finish(&pool));
    }
    batches
}

fn main() {
    let path = std::env::args().nth(1).expect("a file of container log lines");
    let bytes = std::fs::read(path).expect("readable");
    let plan = plan();
    let compiled = Compiled::new(&[&plan]).expect("a good plan");
    let begin = Instant::now();
    let batches = batches(&bytes);
    let lines: usize = batches.iter().map(|batch| batch.rows().len()).sum();
    println!("rows: {:.1} ns", begin.elapsed().as_nanos() as f64 / lines as f64);
    let mut sheet = Sheet::new();
    let mut out = Vec::new();
    let mut best = [Duration::MAX; 4];
    let mut kept = 0;
    for _ in 0..5 {
        let mut sums = [Duration::ZERO; 4];
        kept = 0;
        for batch in &batches {
            let t0 = Instant::now();
            sheet.load(&compiled, &Parser::Json, None, batch);
            let t1 = Instant::now();
            let mut context = Context::default();
            Sheet::context(&compiled, 0, batch, &mut context);
            let verdicts = verdicts(sheet.call(&compiled, 0, batch).expect("rows"));
            let t2 = Instant::now();
            let mut handled = Handled::default();
            handled.outcome.verdicts = verdicts;
            sheet.apply(&compiled, 0, batch, &handled, OnFault::Pass);
            let t3 = Instant::now();
            out.clear();
            sheet.encode(&compiled, batch, Encoded::Kept, &mut out, |_, _| kept += 1);
            for (sum, part) in sums.iter_mut().zip([t1 - t0, t2 - t1, t3 - t2, t3.elapsed()]) {
                *sum += part;
            }
        }
        if sums.iter().sum::<Duration>() < best.iter().fold(Duration::ZERO, |a, b| a.saturating_add(*b)) {
            best = sums;
        }
    }
    for (name, time) in ["load", "call", "apply", "encode"].iter().zip(best) {
        println!("{name}: {:.1} ns", time.as_nanos() as f64 / lines as f64);
    }
    println!("{kept} of {lines} kept");
}
