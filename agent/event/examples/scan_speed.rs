//! Measures the structural scan alone: `cargo run --release -p weir-event --example scan_speed -- FILE`, where FILE
//! holds container log lines.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::Instant;

use weir_event::batch::PADDING;
use weir_event::path::PathTree;
use weir_event::scan::{Level, Scanner, Text, Value};

fn main() {
    let path = std::env::args().nth(1).expect("a file of container log lines");
    let mut bytes = std::fs::read(path).expect("readable");
    let len = bytes.len();
    bytes.resize(len + PADDING, 0);
    let mut rows = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &bytes[..len]) {
        if end - start > 40 && bytes[start + 40] == b'{' {
            rows.push((start + 40, end));
        }
        start = end + 1;
    }
    let mut tree = PathTree::default();
    for field in ["level", "trace_id"] {
        tree.add_field(field).expect("a path");
    }
    for path in
        ["user.email", "labels", "@timestamp", "cluster", "node", "kubernetes", "stream", "log", "event"]
    {
        tree.add_recorded(path).expect("a path");
    }
    let levels = match std::env::args().nth(2) {
        Some(_) => vec![Level::detect()],
        None => vec![Level::detect(), Level::Portable],
    };
    for level in levels {
        let mut scanner = Scanner::new(level);
        let mut hits = Vec::new();
        let mut values = vec![Value::default(); tree.fields()];
        let (mut best, mut objects) = (f64::MAX, 0);
        for _ in 0..7 {
            let begin = Instant::now();
            objects = 0;
            for (start, end) in &rows {
                hits.clear();
                values.fill(Value::default());
                let text = Text { stream: 0, padded: &bytes[*start..], len: end - start };
                let scanned = scanner.scan(text, &tree, &mut hits, &mut values);
                objects += usize::from(scanned.is_ok());
            }
            best = best.min(begin.elapsed().as_nanos() as f64 / rows.len() as f64);
        }
        println!("{level:?}: {best:.1} ns per event, {objects} objects of {} rows", rows.len());
    }
}
